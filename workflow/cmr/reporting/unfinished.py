"""Experiments of a configuration that have not ended: what is finished of them, and why the rest is not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cmr import config, paths, settings
from cmr.errors import UserError
from cmr.plan import Plan, Result, RunName, learned_for, shard_of
from cmr.reporting.collect import Collection, Index, UnitedIndices, load
from cmr.reporting.runs import Run

ERROR = "error: "
LOGS = f"{paths.RESULTS}/.logs"


def with_unfinished(results: str | Path, config_files: Sequence[str]) -> Collection:
    """What `load` gives, with the finished runs of experiments that the configuration asks for and that have no index.

    A note for each of these experiments says how many runs there are, and what failed. Raises `UserError` as `load`
    does, and for a configuration that was named and cannot be read.
    """
    plan, folders = _configured(config_files)
    begun = [] if plan is None else list(_begun(Path(results), plan, folders, named=bool(config_files)))
    indices = [index for index, _ in begun if index.runs]
    notes = [note for _, found in begun for note in found]
    try:
        found = load(results, folders=folders, more=indices)
    except UserError as error:
        raise UserError("\n".join([str(error), *notes])) from None
    return replace(found, left_out=(*found.left_out, *notes))


def _configured(config_files: Sequence[str]) -> tuple[Plan | None, tuple[str, ...]]:
    """The plan, and the folders that links in the results may lead to.

    Neither in a folder without a configuration, or with one that is none: a summary is of results.
    """
    files = settings.files_of(config_files)
    if not files:
        return None, ()
    try:
        machine = settings.machine(config_files)
        return Plan(config.validate(settings.merged(config_files), ", ".join(files))), machine.folders
    except UserError:
        if config_files:
            raise
        return None, ()


def _begun(
    results: Path, plan: Plan, folders: tuple[str, ...], named: bool
) -> Iterator[tuple[UnitedIndices, list[str]]]:
    """Experiments that have begun, or all that have not ended where their configuration was ``named``."""
    for name, runs in plan.runs_of.items():
        index = plan.index(name)
        if _place(results, index.record).exists():
            continue
        there = [run for run in runs if _place(results, plan.run(run).record).exists()]
        failures = list(_failures(results, plan, [run for run in runs if run not in there]))
        if not (there or failures or named):
            continue
        what, files = index.settings["id"], [Path(plan.run_files(run)["metrics"]).name for run in there]
        listed = [Run.listed(results, run.folder, file, folders) for run, file in zip(there, files, strict=True)]
        note = f"experiment {what}: {len(there)} of {len(runs)} runs are finished; run `snakemake` again"
        yield UnitedIndices(what, (Index(name, dict(index.settings), tuple(listed)),)), [note, *failures]


def _failures(results: Path, plan: Plan, missing: Sequence[RunName]) -> Iterator[str]:
    """A line for each job of the missing runs whose log ends with an error."""
    ahead = [plan.run(run) for run in missing]
    told: set[str] = set()
    while ahead:
        result = ahead.pop(0)
        ahead += [*result.made_from, *(_parts(results, result) if result.stage == "extract" else [])]
        log = _log(result.stage, result.record)
        if log not in told and not _place(results, result.record).exists():
            told.add(log)
            if error := _error(_place(results, log)):
                yield f"{result.stage} of {result.folder.removeprefix(f'{paths.RESULTS}/')}: {error}"


def _parts(results: Path, features: Result) -> Iterator[Result]:
    """Jobs that features are joined from, of those that have a log."""
    yield learned_for(features)
    for log in sorted(_place(results, _log("shard", shard_of(features, range(0)).record)).parent.glob("*.log")):
        start, _, stop = log.stem.partition("-")
        if start.isdigit() and stop.isdigit():
            yield shard_of(features, range(int(start), int(stop)))


def _log(stage: str, record: str) -> str:
    """The log of the job that writes a record, as the rules name it."""
    name = record.removeprefix(f"{paths.RESULTS}/").partition("/")[2].removesuffix(".json")
    if stage in ("download", "prepare", "fit", "evaluate"):  # the folder says what it is, or a digest behind the name
        folder, _, own = name.rpartition("/")
        _, dash, digest = own.partition("-")
        name = f"{folder}{dash}{digest}"
    return f"{LOGS}/{stage}/{name.replace('/splits/', '/')}.log"


def _error(log: Path) -> str:
    """The first line of what a job ended with; empty where it did not end with an error."""
    if not log.exists():
        return ""
    lines = log.read_text("utf-8", "replace").splitlines()
    return next((line.removeprefix(ERROR) for line in reversed(lines) if line.startswith(ERROR)), "")


def _place(results: Path, path: str) -> Path:
    return results / path.removeprefix(f"{paths.RESULTS}/")
