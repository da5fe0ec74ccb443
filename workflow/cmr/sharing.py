"""Results that others made or copied: are they what their records say, and what does no experiment refer to?"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cmr import boundary, code, config, content, job, paths, provenance, records, settings
from cmr.content import Hashes
from cmr.errors import Damaged, UserError, quantity
from cmr.machine import Machine
from cmr.plan import Plan, Result
from cmr.publish import read_json
from cmr.recorded import plan_of
from cmr.records import Origin, Record
from cmr.reporting.collect import checked_numbers
from cmr.reporting.runs import Run
from cmr.store import SELECTION

STAGES = ("data", "weights", "features", "codes", "fits", "runs")
CACHED_HASHES = 100_000


@dataclass(frozen=True)
class Finding:
    """``kind``: missing, damaged, stale (made from or by something else than what is here) or foreign (not of here)."""

    kind: str
    path: str
    reason: str


def verify(results: str | Path, machine: Machine) -> tuple[int, list[Finding]]:
    """The number of runs in the tree, and what is wrong with them and with what they are made from; each finding once.

    The runs that an experiment lists must be there. Every record is checked: its schema, the hashes of the files that
    the result consists of and was made from, the identities of the results that it was made from, code and versions,
    and whether its own identity follows from all that. Where the user's own files and the pictures are on this machine,
    they are compared too. Raises `UserError` where there is no run.
    """
    checker = _Checker(Path(results), machine)
    runs = sorted((checker.results / "runs").rglob("run*.json"))
    indices = sorted((checker.results / "experiments").glob("*.json"))
    if not runs and not checker.unfinished and not indices:
        raise UserError(f"{results}: no runs in it; name a results folder")
    found = [
        Finding("missing", str(folder), "it has no run.json; `snakemake metrics`") for folder in checker.unfinished
    ]
    for index in indices:
        found += checker.told(index, lambda index=index: checker.index(index))
    for file in runs:
        found += checker.told(file, lambda file=file: checker.run(file))
    return len(runs) + len(checker.unfinished), list(dict.fromkeys(found))


def _run_folders(results: Path) -> list[Path]:
    return sorted({path.parent for path in (results / "runs").rglob("metrics*.json")})


class _Checker:
    """Checks each record of a tree once."""

    def __init__(self, results: Path, machine: Machine):
        self.results = results
        self.machine = machine
        self.hash_of = lru_cache(CACHED_HASHES)(provenance.file_hash)
        self.remembered = Hashes(machine.cache)
        self.seen: set[str] = set()
        self.unfinished = [folder for folder in _run_folders(results) if not list(folder.glob("run*.json"))]

    def told(self, file: Path, check: Any) -> list[Finding]:
        """The findings of a check, in which a mistake of a record is a finding too."""
        try:
            return list(check())
        except UserError as error:
            kind = "damaged" if isinstance(error, Damaged) else "foreign"
            return [Finding(kind, str(file), str(error).removeprefix(f"{file}: "))]
        except FileNotFoundError as error:
            return [Finding("missing", str(error.filename), f"needed by {file}")]
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            return [Finding("damaged", str(file), f"not a record: {error!r}")]

    def index(self, file: Path) -> Iterator[Finding]:
        """The runs that an experiment lists are there; those without a record alone are told already."""
        index = read_json(boundary.within(self.results, file, self.machine.folders))
        for run in (self.place(f"{run}/{index['run']}") for run in index["runs"]):
            if not run.exists() and run.parent not in self.unfinished:
                yield Finding("missing", str(run), f"listed by {file}")

    def run(self, file: Path) -> Iterator[Finding]:
        """A run, and all that its configuration says it is made from."""
        record = records.read_run(boundary.within(self.results, file, self.machine.folders))
        metrics = file.with_name(f"metrics{file.name.removeprefix('run')}")
        if metrics.exists():
            yield from self.told(metrics, lambda: self.figures(metrics))
        plan, run = plan_of(record, "its configuration")
        result = plan.run(run)
        if self.place(result.record) != file:
            yield Finding("foreign", str(file), f"its configuration leads to {self.place(result.record)}")
            return
        yield from self.with_sources(result)
        for fit, copy in zip(result.sources("fit"), record["fits"], strict=True):
            there = self.place(fit.record)
            if records.recorded_identity(there) == copy["identity"] and read_json(there) != copy:
                yield Finding("damaged", str(file), f"what it says of {there} is not what stands there")

    def figures(self, metrics: Path) -> list[Finding]:
        """Raises `UserError` where a run's figures are no finite numbers."""
        folder = metrics.parent.relative_to(self.results).as_posix()
        run = Run.listed(self.results, folder, metrics.name, self.machine.folders)
        if run.is_as_written:  # else `files` tells it
            checked_numbers(run)
        return []

    def with_sources(self, result: Result) -> Iterator[Finding]:
        if result.record in self.seen:
            return
        self.seen.add(result.record)
        for source in result.made_from:
            yield from self.with_sources(source)
        file = self.place(result.record)
        yield from self.told(file, lambda: self.of(result, file))

    def place(self, path: str) -> Path:
        return Path(paths.inside(str(self.results), path, self.machine.folders))

    def of(self, result: Result, file: Path) -> Iterator[Finding]:
        record = records.read(file)
        yield from self.files(file, record)
        yield from self.sources(file, record)
        if record.code != code.of_stage(result.stage, result.plugins):
            names = ", ".join(dict.fromkeys(name for _, name in result.plugins)) or result.stage
            reason = f"the code that {result.stage} runs with {names} is another now; made by {record.project}"
            yield Finding("stale", str(file), reason)
        told = Origin(
            result.stage, record.code, result.identifying, record.made_from, record.own_files, record.contents
        )
        if told.identity != record.identity:
            yield Finding("damaged", str(file), "its identity does not follow from what it says it is made from")
        yield from self.data(result, file, record)
        yield from _versions(file, record)

    def files(self, file: Path, record: Record) -> Iterator[Finding]:
        """What the result consists of, and what it was made from."""
        recorded = [(name, value, "damaged") for name, value in record.output_hashes.items()]
        recorded += [(name, value, "stale") for name, value in record.input_hashes.items()]
        for name, value, kind in recorded:
            path = self.place(name)
            if not path.exists():
                yield Finding("missing", str(path), f"named by {file}")
            elif self.hash_of(path) != value:
                reason = "other bytes than it was made from" if kind == "stale" else "other bytes than were written"
                yield Finding(kind, str(file if kind == "stale" else path), f"{path}: {reason}")

    def sources(self, file: Path, record: Record) -> Iterator[Finding]:
        for name, identity in record.made_from.items():
            here = records.recorded_identity(self.place(name))
            if here is not None and here != identity:
                yield Finding("stale", str(file), f"made from another {self.place(name)} than is here")

    def data(self, result: Result, file: Path, record: Record) -> Iterator[Finding]:
        """The user's own files and the pictures, as far as they are on this machine."""
        for name, value in record.own_files.items():
            path = Path(self.machine.located(name))
            if path.exists() and self.remembered.of(path) != value:
                yield Finding("stale", str(file), f"{path}: other bytes than it was made from")
        if not record.contents or result.stage not in ("download", "prepare"):
            return
        facts = record.model_dump()
        listed = result.stage == "prepare"
        pairs = list(content.read_list(self.place(result.files[1]))) if listed else list(facts["files"].items())
        folder = self.folder_of(facts["root"])
        now = self.remembered.of_all([f"{folder}/{name}" for name, _ in pairs])
        others = [name for (name, then), found in zip(pairs, now, strict=True) if found not in (then, content.ABSENT)]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            yield Finding("stale", str(file), f"{folder}/{others[0]}{more}: other bytes than it was made from")

    def folder_of(self, root: str) -> str:
        """Where the pictures are; those within results, in this tree."""
        name, _, relative = root.partition(":")
        return str(self.results / relative) if name == "results" else self.machine.unanchored(root)


def _versions(file: Path, record: Record) -> Iterator[Finding]:
    here = provenance.versions()
    others = [
        f"{name} {then} (here {here.get(name, 'none')})"
        for name, then in record.versions.items()
        if here.get(name) != then
    ]
    if others:
        yield Finding("foreign", str(file), f"made with {', '.join(others)}")


@dataclass(frozen=True)
class Unreferenced:
    """A file or a whole folder, with its size in bytes."""

    path: Path
    size: int


@dataclass(frozen=True)
class Pruned:
    """``found``: what was found; ``kept_for``: the configurations whose results were kept, in words."""

    found: list[Unreferenced]
    kept_for: list[str]


def prune(
    results: str | Path, configs: Iterable[str | Path], remove: bool = False, folders: tuple[str, ...] = ()
) -> Pruned:
    """What neither an experiment in the tree nor a configuration refers to; removed where ``remove``.

    ``configs``: files that extend ``config.yaml``, alone or together.

    ``folders``: those of the user's own that links to indices and records may lead to.

    Links are never followed: one that nothing refers to is removed itself, and what lies behind others stays. Where a
    run with ``--configfile`` was interrupted, what it had made is kept. Raises `UserError` while Snakemake works in the
    folder, and where a run's plug-ins are not known here.
    """
    results = Path(results)
    if not results.is_dir():
        raise UserError(f"{results}: no such folder")
    projects = {results.absolute().parent, results.resolve().parent}
    locks = [lock for project in projects for lock in (project / ".snakemake" / "locks").glob("*")]
    locks += [results] if boundary.is_in_use(results) else []
    if remove and locks:
        raise UserError(f"{results}: a run is going on there ({locks[0]}); wait for its end, or `snakemake --unlock`")
    given = {" + ".join(files): _plan(files) for files in _combined(list(map(str, configs)))}
    begun = dict(_unfinished(results, projects))
    recorded = list(_recorded_plans(results, folders))
    asked = _files_of([*given.values(), *recorded], results)
    begun = {file: plan for file, plan in begun.items() if _alone(results, plan, asked)}
    found = list(_without(results, asked | _files_of(begun.values(), results)))
    for item in found if remove else ():
        is_folder = item.path.is_dir() and not item.path.is_symlink()
        shutil.rmtree(item.path) if is_folder else item.path.unlink()
    unfinished = [
        f"{file} (interrupted; delete it to let go of {', '.join(plan.runs_of)})" for file, plan in begun.items()
    ]
    indices = [f"{quantity(len(recorded), 'run')} of the experiments in {results / 'experiments'}"] if recorded else []
    return Pruned(found, [*given, *unfinished, *indices])


def _combined(configs: list[str]) -> Iterator[list[str]]:
    """``config.yaml`` alone, with each of the files that extend it, and with all of them."""
    for given in ([], *([file] for file in configs), configs):
        if files := settings.files_of(given):
            yield files


def _plan(files: list[str]) -> Plan:
    return Plan(config.validate(settings.merged(files), ", ".join(files)))


def _unfinished(results: Path, projects: Iterable[Path]) -> Iterator[tuple[str, Plan]]:
    """File → the plan that `snakemake` wrote when it began, of those that made something, but not all runs."""
    for file in sorted(file for project in projects for file in (project / job.FOLDER).glob("*.json")):
        try:
            plan, _ = job.read(str(file), 1)
        except (UserError, ValueError, LookupError, TypeError):  # of another version, whose results are none of ours
            continue
        finished = all(_place(results, plan.run(run).record).exists() for run in plan.runs)
        if not finished and any(_is_begun(results, result) for result in plan.results()):
            yield str(file), plan


def _is_begun(results: Path, result: Result) -> bool:
    """Whether a result is there, or unfinished work of it. Raw files lie in the cache, so their record is nothing."""
    places = [_place(results, result.record), *(_place(results, paths.partial(file)) for file in result.files)]
    return result.stage != "download" and any(map(Path.exists, places))


def _recorded_plans(results: Path, folders: tuple[str, ...]) -> Iterator[Plan]:
    """A plan for each finished run of each experiment in the tree."""
    for index in sorted((results / "experiments").glob("*.json")):
        experiment = read_json(boundary.within(results, index, folders))
        try:
            files = [_place(results, f"{run}/{experiment['run']}") for run in experiment["runs"]]
        except (LookupError, TypeError) as error:
            raise UserError(f"{index}: not an experiment index ({error!r}); delete it and run again") from None
        for file in files:
            if not file.exists():
                raise UserError(f"{file}: missing, but {index} refers to it; make it again, or delete the index")
            try:
                yield plan_of(records.read_run(boundary.within(results, file, folders)), str(file))[0]
            except UserError as error:
                remedy = f"bring the plug-in back, or delete {index}, which refers to the run"
                raise UserError(f"{error}; {remedy}") from None


def _files_of(plans: Iterable[Plan], results: Path) -> set[Path]:
    return {_place(results, path) for plan in plans for path in (*referred(plan), *_shards(results, plan))}


def _alone(results: Path, plan: Plan, asked: set[Path]) -> bool:
    """Whether a plan keeps something that nothing else asks for."""
    return any(_is_begun(results, result) and _place(results, result.record) not in asked for result in plan.results())


def _place(results: Path, path: str) -> Path:
    """By names alone: what a link points to is not ours to ask for."""
    return Path(paths.lexically_inside(str(results), path))


def referred(plan: Plan) -> Iterator[str]:
    """The files and folders that a plan's results consist of."""
    for result in plan.results():
        yield from (result.record, *result.files)
        if result.stage in ("prepare", "fit"):
            yield result.folder
        if result.stage == "extract":  # unfinished work of the features that choices are made on
            yield f"{result.files[0]}{SELECTION}"


def _shards(results: Path, plan: Plan) -> Iterator[str]:
    """Folders of shards whose features are not joined yet."""
    for result in plan.results():
        if result.stage == "extract" and not _place(results, result.record).exists():
            yield paths.shards(result.files[0])


def _without(results: Path, kept: set[Path]) -> Iterator[Unreferenced]:
    """The largest folders, and single files, that hold nothing of ``kept``. Unfinished work goes with its result."""
    needed = kept | {results / ".partial" / path.relative_to(results) for path in kept}
    above = {parent for path in needed for parent in path.parents}

    def search(path: Path) -> Iterator[Unreferenced]:
        if path in needed or (path in above and path.is_symlink()):
            return
        if path in above and path.is_dir():
            for inner in sorted(path.iterdir()):
                yield from search(inner)
        else:
            yield Unreferenced(path, _size(path))

    for stage in (*STAGES, *(f".partial/{stage}" for stage in STAGES)):
        for path in sorted((results / stage).glob("*")) if not (results / stage).is_symlink() else ():
            yield from search(path)


def _size(path: Path) -> int:
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
