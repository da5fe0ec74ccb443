"""Makes a recorded run again in a new folder, from its ``run.json`` alone, and says whether the figures are equal."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cmr import project
from cmr.config import check_own_files
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.publish import atomic
from cmr.recorded import check, configuration_of, plan_of
from cmr.reporting.runs import Run

SNAKEFILE = project.path("Snakefile")
ORIGIN = ("code", "project", "versions", "hardware", "input_hashes")

Difference = tuple[str, Any, Any]
"""What differs: its name, as recorded, now; None where one of the two lacks it."""


@dataclass(frozen=True)
class Comparison:
    """``figures``: how many there are; ``differing``: those that are not equal; ``origins``: what else differs."""

    figures: int
    differing: tuple[Difference, ...]
    origins: tuple[Difference, ...]


def rerun(run: Run, directory: Path, machine: Machine) -> Comparison:
    """Writes ``directory/config.yaml`` from the run's record, makes exactly that run there, and compares the two.

    ``machine``: this one, for where data lie is not recorded.
    An interrupted rerun goes on when it is called again. Raises `UserError` where the folder holds another
    configuration, or Snakemake fails.
    """
    record = run.record
    plan, again = plan_of(record, str(run.file("run.json")))
    check(record, machine, str(run.file("run.json")))
    try:
        for entry in plan.datasets.values():
            check_own_files(entry, machine.base)
    except UserError as error:
        raise UserError(f"{error}; --config names the configuration that the run was made with") from None
    _configure(directory, configuration_of(record) | {"title": run.path} | _settings(machine, directory))
    files = plan.run_files(again)
    command = ["--snakefile", str(SNAKEFILE), "--directory", str(directory), files["run"]]
    status = subprocess.run([sys.executable, "-P", "-m", "snakemake", *command]).returncode
    if status:
        raise UserError(f"{directory}: Snakemake ended with status {status}; what it says stands above")
    return compare(run, Run.listed(directory / "results", again.folder, Path(files["metrics"]).name))


def _settings(machine: Machine, directory: Path) -> dict[str, Any]:
    """What the record does not hold, as paths that are right in ``directory``."""
    base, cache = os.path.relpath(machine.base, directory), os.path.abspath(machine.cache)
    data_root = machine.data_root and os.path.abspath(machine.data_root)
    own = {"plugins": os.path.relpath(machine.plugins, directory)} if machine.plugins else {}
    return {"cache": cache, "base": base, "device": machine.device, "data_root": data_root, **own}


def _configure(directory: Path, configuration: Mapping[str, Any]) -> None:
    file = directory / "config.yaml"
    text = yaml.safe_dump(dict(configuration), sort_keys=False, allow_unicode=True)
    if file.exists() and file.read_text("utf-8") != text:
        raise UserError(f"{file}: another configuration stands there; name a new folder with --directory")
    with atomic(file) as temporary:
        temporary.write_text(text, "utf-8")


def compare(recorded: Run, now: Run) -> Comparison:
    """Every number of two runs' ``metrics.json``, and what their records say of code, versions, machine and inputs."""
    then, here = (dict(_leaves(run.metrics)) for run in (recorded, now))
    origins = (dict(_leaves(_origin(run.record))) for run in (recorded, now))
    return Comparison(len(then), tuple(_differences(then, here)), tuple(_differences(*origins)))


def _origin(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"evaluation": {key: record.get(key) for key in ORIGIN}} | {
        f"fit {number}": {key: fit.get(key) for key in ORIGIN} for number, fit in enumerate(record["fits"])
    }


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything in a JSON value that is neither a mapping nor a list."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{position}]")
    else:
        yield name, value


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            yield name, then.get(name), now.get(name)


def described(comparison: Comparison) -> str:
    """What is printed: that all is equal, or what differs, a line each."""
    differing, origins = comparison.differing, comparison.origins
    if not differing:
        return f"equal: all {comparison.figures} entries of the metrics are those that were recorded"
    lines = [f"{len(differing)} of {comparison.figures} entries of the metrics differ:"]
    lines += [f"  {name}: {then} recorded, {now} now" for name, then, now in differing]
    lines += ["what it was made with differs too:"] if origins else ["code, versions, machine and inputs are the same"]
    lines += [f"  {name}: {then} recorded, {now} now" for name, then, now in origins]
    return "\n".join(lines)
