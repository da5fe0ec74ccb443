"""The project's configurations in ``resources/experiments``, entry by entry: what each makes, and what that takes."""

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from cmr import config, missing, project, settings
from cmr.config import Config, Experiment
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.params import canonical
from cmr.plan import Plan, RunName
from cmr.progress import duration

FILES = project.path("resources/experiments")
MEASURED = project.path("resources/measured")
HERE, DOWNLOAD, MISSING = "here", "to download", "missing"
WIDTH = 80

Key = tuple[str, ...]
"""Data set, split, inputs, plug-in and parameters of a method, as the files of measured results name them."""


def described(given: Sequence[str]) -> list[dict[str, Any]]:
    """What each file says: ``file``, ``title``, ``not_made`` and ``entries``.

    An entry is an experiment on one of its data sets: ``experiment``, ``makes``, ``data``, ``state`` (here, to
    download, or missing: then ``missing`` says what to place where), ``runs`` (their number), ``measured`` (of how many
    the time is known) and ``seconds`` (of these). ``given``: files that each of them extends. A file that does not
    extend them has a ``problem`` in the place of entries. Where some of the folder's own files are given, these alone
    are described. Raises `UserError` where one of them cannot be read.
    """
    config.read_all(settings.files_of(given))  # else each file of the folder would have the same problem
    seconds = _seconds()
    files = {file.resolve(): file for file in sorted(FILES.glob("*.yaml"))}
    asked = {Path(name).resolve(): name for name in given}
    described_alone = [file for place, file in files.items() if place in asked]
    extended = [name for place, name in asked.items() if place not in files]
    return [_described(file, extended, seconds) for file in described_alone or files.values()]


def _described(file: Path, given: Sequence[str], seconds: Mapping[Key, float]) -> dict[str, Any]:
    files = [*given, str(file)]
    found: dict[str, Any] = {"file": file.name, "title": "", "not_made": {}, "entries": []}
    try:
        configuration = config.validate(settings.merged(files), file.name)
        machine = settings.machine(files)
        entries = [
            _entry(configuration, machine, experiment, data, seconds)
            for experiment in configuration.experiments
            for data in experiment.data
        ]
    except UserError as error:
        return found | {"problem": str(error)}
    return found | {"title": configuration.title, "not_made": configuration.not_made, "entries": entries}


def _entry(
    configuration: Config, machine: Machine, experiment: Experiment, data: str, seconds: Mapping[Key, float]
) -> dict[str, Any]:
    alone = experiment.model_copy(update={"data": [data]})
    plan = Plan(configuration.model_copy(update={"experiments": [alone]}))
    known = [seconds[key] for run in plan.runs if (key := _key(plan, run)) in seconds]
    entry, _ = configuration.data(data)
    lacking = missing.missing_data(entry, machine)
    state = MISSING if lacking else HERE if missing.is_here(entry, machine) else DOWNLOAD
    return {
        "experiment": experiment.id,
        "makes": experiment.makes,
        "data": data,
        "state": state,
        "missing": lacking,
        "runs": len(plan.runs),
        "measured": len(known),
        "seconds": sum(known) if known else None,
    }


def _key(plan: Plan, run: RunName) -> Key:
    from cmr.reporting.measured import parameters

    method = plan.methods[run.method]
    inputs = "+".join(plan.features[name].id for name in run.inputs)
    own = canonical(parameters(method.model_dump(mode="json")))
    return plan.datasets[run.data].id, run.split, inputs, method.method, own


def _seconds() -> dict[Key, float]:
    """Seconds of the fits of one seed, as ``resources/measured`` has them; of several measurements the mean."""
    from cmr.reporting.measured import read

    found: dict[Key, set[float]] = defaultdict(set)
    for file in sorted(MEASURED.glob("*.csv")):
        for row in read(file):
            key = (row["dataset"], row["split"], row["inputs"], row["method"], row["parameters"])
            found[key].add(row["seconds"])
    return {key: mean(values) for key, values in found.items()}


def lines(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The same for people, 80 columns wide."""
    for file in found:
        yield f"{file['file']}: {file['title']}" if file["title"] else file["file"]
        yield from _table(file["entries"])
        said = {**{f"not made: {what}": why for what, why in file["not_made"].items()}, **_to_place(file["entries"])}
        if "problem" in file:
            said["no configuration that extends this folder's"] = file["problem"]
        for what, why in said.items():
            options: Any = {"break_long_words": False, "break_on_hyphens": False}
            yield from textwrap.wrap(f"{what}: {why}", WIDTH, initial_indent="  ", subsequent_indent="    ", **options)
        yield ""


def _table(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    width = max((len(entry["data"]) for entry in entries), default=0)
    told = ""
    for entry in entries:
        head = f"  {entry['experiment']}{': ' if entry['makes'] else ''}{', '.join(entry['makes'])}"
        if head != told:
            yield head
        told = head
        runs = f"{entry['runs']:>4} {'runs' if entry['runs'] > 1 else 'run '}"
        yield f"    {entry['data']:<{width}}  {entry['state']:<11}  {runs}  {_time(entry)}"


def _time(entry: Mapping[str, Any]) -> str:
    if entry["seconds"] is None:
        return "time unknown"
    return f"{'' if entry['measured'] == entry['runs'] else 'over '}{duration(entry['seconds'])}"


def _to_place(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {entry["data"].partition("/")[0]: entry["missing"] for entry in entries if entry["missing"]}
