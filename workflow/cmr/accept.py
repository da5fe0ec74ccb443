"""Keeps results after an edit of the code that changes no figure, on the evidence of a sample that is made again.

Results whose records differ from what would be made now in nothing but code are gathered by stage, plug-ins and code.
For each such kind, runs are made again in a folder of their own. Where every figure and every embedding comes out the
same, bit for bit, the kind's records are written anew with the present identity, and say so and on what evidence.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmr import code, paths, records
from cmr.errors import UserError, quantity
from cmr.expected import Expected
from cmr.machine import Machine
from cmr.plan import Plan, Result, with_sources
from cmr.provenance import project
from cmr.publish import read_json, write_json
from cmr.recorded import plan_of
from cmr.records import Acceptance, Origin, Record
from cmr.reporting.runs import Run
from cmr.rerun import rerun
from cmr.store import read_matrix

Kind = tuple[str, tuple[tuple[str, str], ...], str]
"""Stage, plug-ins and the code that made it."""


@dataclass(frozen=True)
class Candidate:
    """A run of the tree whose results, itself included, may be of other code."""

    run: Run
    plan: Plan
    stale: tuple[Result, ...]

    @property
    def name(self) -> str:
        """The run's path; of an evaluation by other metrics than the default ones with the digest of its files."""
        return f"{self.run.path}-{self.run.digest}" if self.run.digest else self.run.path  # ids of data may have a dot

    @property
    def kinds(self) -> set[Kind]:
        return {kind_of(result) for result in self.stale}


@dataclass(frozen=True)
class Outcome:
    """``compared``: run → whether it came out the same. ``accepted``: records. ``kept``: how many stay as they are."""

    compared: Mapping[str, bool]
    accepted: tuple[str, ...]
    kept: int


def kind_of(result: Result) -> Kind:
    return result.stage, result.plugins, records.read(result.record).code


def accept(machine: Machine, directory: Path, sample: int = 1) -> Outcome:
    """Makes ``sample`` runs of each kind again below ``directory`` and accepts the kinds that come out the same.

    For the results folder in the working directory. Raises `UserError` where there is nothing to accept.
    """
    expected = Expected(machine)
    candidates = [found for file in _run_records() if (found := _candidate(file, expected)).stale]
    if not candidates:
        raise UserError(f"{paths.RESULTS}: no result differs from what would be made now in nothing but code")
    made_in: dict[str, Path] = {}
    compared = {c.name: _same(c, machine, directory / c.name, made_in) for c in _sampled(candidates, sample)}
    proven = {kind for c in candidates if compared.get(c.name) for kind in c.kinds}
    proven -= {kind for c in candidates if compared.get(c.name) is False for kind in c.kinds}
    stale = {result.record: result for c in candidates for result in c.stale}
    accepted = _accepted(stale.values(), proven, expected)
    evidence = [run for run, same in compared.items() if same]
    for result in accepted:
        _rewrite(result, expected.of(result), evidence)
    return Outcome(compared, tuple(result.record for result in accepted), len(stale) - len(accepted))


def _run_records() -> list[Path]:
    return sorted(Path(paths.RESULTS, "runs").rglob("run*.json"))


def _candidate(file: Path, expected: Expected) -> Candidate:
    """The run of a record, and those of its results that differ in code alone, or in what they are made from."""
    plan, planned = plan_of(records.read_run(file), str(file))
    run = Run.listed(Path(paths.RESULTS), planned.folder, Path(plan.run_files(planned)["metrics"]).name)
    stale = [result for result in with_sources(plan.run(planned)) if _differs_in_code(result, expected)]
    if any(_differs_otherwise(result, expected) for result in with_sources(plan.run(planned))):
        stale = []
    return Candidate(run, plan, tuple(stale))


def _differs_in_code(result: Result, expected: Expected) -> bool:
    return records.read(result.record).identity != expected.of(result).identity


def _differs_otherwise(result: Result, expected: Expected) -> bool:
    """Whether parameters or data are others too, or a source was made again since, so that equal figures would prove
    nothing.
    """
    then, now = records.read(result.record), expected.of(result)
    told = Origin(then.stage, then.code, result.identifying, then.made_from, then.own_files, then.contents)
    same_data = (then.own_files, then.contents, set(then.made_from)) == (
        dict(now.own_files),
        now.contents,
        set(now.made_from),
    )
    same_sources = all(then.made_from.get(source.record) in _identities(source) for source in result.made_from)
    return told.identity != then.identity or not same_data or not same_sources


def _identities(result: Result) -> set[str]:
    """That of a result that is here, and those that it was accepted from."""
    here = records.read(result.record)
    return {here.identity, *(acceptance.identity for acceptance in here.accepted)}


def _sampled(candidates: Iterable[Candidate], sample: int) -> list[Candidate]:
    """The cheapest runs with which every kind is made again ``sample`` times, as far as there are so many."""
    times: dict[Kind, int] = {}
    chosen = []
    for candidate in sorted(candidates, key=lambda c: c.run.seconds):
        if any(times.get(kind, 0) < sample for kind in candidate.kinds):
            chosen.append(candidate)
            for kind in candidate.kinds:
                times[kind] = times.get(kind, 0) + 1
    return chosen


def _same(candidate: Candidate, machine: Machine, directory: Path, made_in: dict[str, Path]) -> bool:
    """Makes a run again, from what is of the present code already, and compares it bit for bit.

    ``made_in``: record → the folder that a result was made in for an earlier run; that of this run are added.
    """
    stale = {result.record for result in candidate.stale}
    walked = list(with_sources(candidate.plan.run(candidate.plan.runs[-1])))
    for result in walked:
        if result.record not in stale or result.record in made_in:
            _lend(result, made_in.get(result.record, Path()), directory)
    comparison = rerun(candidate.run, directory, machine)
    made_in |= dict.fromkeys(stale - set(made_in), directory)
    again = Run.listed(directory / paths.RESULTS, candidate.run.path, candidate.run.file("metrics.json").name)
    return not comparison.differing and _embeddings_agree(candidate.run, again)


def _lend(result: Result, source: Path, directory: Path) -> None:
    """Puts a result into another folder, with all that lies in the data set's folder for its items."""
    named = [result.folder] if result.stage == "prepare" else [result.record, *result.files]
    for name in named:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, copy_function=_link, dirs_exist_ok=True)
        else:
            _link(source / name, target)


def _link(source: str | Path, target: str | Path) -> None:
    if not os.path.exists(target):
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)


def _embeddings_agree(then: Run, now: Run) -> bool:
    names, again = (
        sorted(file.relative_to(run.file("embeddings")) for file in run.file("embeddings").rglob("*.h5"))
        for run in (then, now)
    )
    pairs = ([read_matrix(run.file("embeddings") / name, "embeddings") for run in (then, now)] for name in names)
    return (
        bool(names)
        and names == again
        and all(np.array_equal(a.ids, b.ids) and np.array_equal(a.values, b.values) for a, b in pairs)
    )


def _accepted(stale: Iterable[Result], proven: set[Kind], expected: Expected) -> list[Result]:
    """Of results in the order of their making, those of a proven kind that are made from nothing that stays stale."""
    accepted: dict[str, Result] = {}
    for result in stale:
        sources = [source for source in result.made_from if _differs_in_code(source, expected)]
        if kind_of(result) in proven and all(source.record in accepted for source in sources):
            accepted[result.record] = result
    return list(accepted.values())


def _rewrite(result: Result, now: Origin, compared: list[str]) -> None:
    """The record under the present identity; that of a run with the records of its fits as they are now."""
    then: Record = records.read(result.record)
    note = Acceptance(identity=then.identity, code=then.code, compared=compared, project=project())
    changes: dict[str, Any] = {"identity": now.identity, "code": now.code, "made_from": dict(now.made_from)}
    changes["accepted"] = [*(a.model_dump() for a in then.accepted), note.model_dump()]
    if result.stage == "fit":
        changes["fitted_by"] = code.without_method("fit", result.plugins)
    if result.stage == "evaluate":
        changes["measured_by"] = code.without_method("evaluate", result.plugins)
        changes["fits"] = [read_json(fit.record) for fit in result.sources("fit")]
    write_json(result.record, read_json(result.record) | changes)


def described(outcome: Outcome) -> str:
    lines = [f"{'the same' if same else 'differs '}  {run}" for run, same in outcome.compared.items()]
    lines.append(
        f"{quantity(len(outcome.accepted), 'result')} accepted for the present code, {outcome.kept} stay as they are"
    )
    return "\n".join(lines)
