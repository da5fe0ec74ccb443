"""Results that others made or copied: are they what their records say, and what does no experiment refer to?"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cmr import config, paths, provenance, store
from cmr.errors import UserError
from cmr.plan import Plan, Run

STAGES = ("data", "weights", "features", "codes", "fits", "runs")
CACHED_HASHES = 100_000


@dataclass(frozen=True)
class Finding:
    """``kind``: missing, damaged, stale (made from or by something else than what is here) or foreign (not of here)."""

    kind: str
    path: str
    reason: str


def verify(results: str | Path) -> tuple[int, list[Finding]]:
    """The number of runs in the tree, and what is wrong with them; each finding once.

    Every run is checked against its ``run.json`` and the ``fit.json`` in it: schema, path and configuration, hashes
    of what it was made from and of what it consists of, the plug-ins' code and the packages' versions. Raises
    `UserError` where there is no run.
    """
    results = Path(results)
    records = sorted((results / "runs").rglob("run*.json"))
    unfinished = [folder for folder in _run_folders(results) if not list(folder.glob("run*.json"))]
    if not records and not unfinished:
        raise UserError(f"{results}: no runs in it; name a results folder")
    found = [Finding("missing", str(folder), "it has no run.json; `snakemake metrics`") for folder in unfinished]
    hashes = lru_cache(CACHED_HASHES)(provenance.file_hash)
    for file in records:
        try:
            found += _of_run(results, file, hashes)
        except UserError as error:
            found.append(Finding("foreign", str(file), str(error)))
        except (KeyError, TypeError, AttributeError) as error:
            found.append(Finding("damaged", str(file), f"not a run's record: {error!r}"))
    return len(records) + len(unfinished), list(dict.fromkeys(found))


def _run_folders(results: Path) -> list[Path]:
    return sorted({path.parent for path in (results / "runs").rglob("metrics*.json")})


def _of_run(results: Path, file: Path, hashes: Any) -> Iterator[Finding]:
    try:
        record = store.read_json(file)
    except UserError as error:
        yield Finding("damaged", str(file), str(error))
        return
    for part in (record, *record["fits"]):
        if part["schema_version"] != store.SCHEMA_VERSION:
            reason = f"schema {part['schema_version']}, this code reads {store.SCHEMA_VERSION}"
            yield Finding("foreign", str(file), reason)
            return
    plan, run = plan_of(record, "its configuration")
    expected = _inside(results, plan.run_files(run)["run"])
    if expected != file:
        yield Finding("foreign", str(file), f"its configuration leads to {expected}")
    yield from _files(results, file, record, hashes)
    yield from _code(results, file, record, plan, run, hashes)
    yield from _versions(file, record)


def _files(results: Path, file: Path, record: Mapping[str, Any], hashes: Any) -> Iterator[Finding]:
    """What the run and its fits were made from, and what the run consists of."""
    recorded = [
        (name, value, "stale") for part in (record, *record["fits"]) for name, value in part["input_hashes"].items()
    ]
    recorded += [(name, value, "damaged") for name, value in record.get("output_hashes", {}).items()]
    for name, value, kind in recorded:
        path = _inside(results, name)
        if not path.exists():
            yield Finding("missing", str(path), f"named by {file}")
        elif hashes(path) != value:
            reason = "other bytes than it was made from" if kind == "stale" else "other bytes than were written"
            yield Finding(kind, str(file if kind == "stale" else path), f"{path}: {reason}")


def _code(results: Path, file: Path, record: Mapping[str, Any], plan: Plan, run: Run, hashes: Any) -> Iterator[Finding]:
    """The plug-ins' code then and now; that of features and codes stands in their own files."""
    recorded = {name: value for fit in record["fits"] for name, value in fit["input_hashes"].items()}

    def compared(path: Path, then: str, kind: str, *plugins: str) -> Iterator[Finding]:
        if then != provenance.code_hash(kind, *plugins):
            yield Finding("stale", str(path), f"the code of {', '.join(plugins)} is another now")

    def in_file(name: str, kind: str, plugin: str) -> Iterator[Finding]:
        path = _inside(results, name)
        if path.exists() and hashes(path) == recorded.get(name, hashes(path)):  # HDF5 may crash on other bytes
            yield from compared(path, _attribute(path, "code"), kind, plugin)

    yield from compared(file, record["code"], "metrics", *(metric["metric"] for metric in record["metrics"]))
    for fit in record["fits"]:
        yield from compared(file, fit["code"], "methods", fit["method"]["method"])
    for name, entry in plan.features.items():
        yield from in_file(plan.feature_file(run.data, run.split, name), "extractors", entry.plugin)
    for codes in filter(None, map(plan.codes_file, plan.fits(run))):
        (dictionary,) = plan.dictionaries.values()
        yield from in_file(codes, "dictionaries", dictionary.plugin)


def _attribute(path: Path, name: str) -> str:
    with store.open_hdf5(path) as file:
        return str(file.attrs.get(name, ""))


def _versions(file: Path, record: Mapping[str, Any]) -> Iterator[Finding]:
    here = provenance.versions()
    for part in (record, *record["fits"]):
        others = [
            f"{name} {then} (here {here.get(name, 'none')})"
            for name, then in part["versions"].items()
            if here.get(name) != then
        ]
        if others:
            yield Finding("foreign", str(file), f"made with {', '.join(others)}")


def configuration_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, as a user would write it, whose last run is the recorded one."""
    fits = record["fits"]
    features = {entry["id"]: entry for fit in fits for entry in fit["features"]}
    first = fits[0]
    return {
        "datasets": [first["data"]],
        "features": list(features.values()),
        "dictionaries": [first["dictionary"]] if first["dictionary"] else [],
        "metrics": record["metrics"],
        "experiments": [
            {
                "id": "recorded",
                "data": [f"{first['data']['id']}/{first['split']}"],
                "inputs": [list(features)],
                "methods": [first["method"]],
                "seeds": first["seed"] + 1,
            }
        ],
    }


def plan_of(record: Mapping[str, Any], source: str) -> tuple[Plan, Run]:
    """The plan that a run's record leads to, and the run in it. Raises `UserError` for plug-ins not known here."""
    plan = Plan(config.validate(configuration_of(record), source))
    return plan, plan.runs[-1]


def _inside(results: Path, path: str) -> Path:
    """A path as results name it, in a tree that may lie elsewhere."""
    return results / path.removeprefix(f"{paths.RESULTS}/")


@dataclass(frozen=True)
class Unreferenced:
    """A file or a whole folder, with its size in bytes."""

    path: Path
    size: int


def prune(results: str | Path, configs: Iterable[str | Path], remove: bool = False) -> list[Unreferenced]:
    """What neither an experiment in the tree nor one of the configurations refers to; removed where ``remove``.

    Raises `UserError` while Snakemake has locked the folder, and where a run's plug-ins are not known here.
    """
    results = Path(results)
    if not results.is_dir():
        raise UserError(f"{results}: no such folder")
    locks = list((results.absolute().parent / ".snakemake" / "locks").glob("*"))
    if remove and locks:
        raise UserError(f"{results}: a run is going on there ({locks[0]}); wait for its end, or `snakemake --unlock`")
    plans = [Plan(config.load(file)) for file in configs] + list(_recorded_plans(results))
    kept = {path for plan in plans for path in referred(plan)}
    found = list(_without(results, {_inside(results, path) for path in kept}))
    for item in found if remove else ():
        shutil.rmtree(item.path) if item.path.is_dir() else item.path.unlink()
    return found


def _recorded_plans(results: Path) -> Iterator[Plan]:
    """A plan for each finished run of each experiment in the tree."""
    for index in sorted((results / "experiments").glob("*.json")):
        experiment = store.read_json(index)
        for run in experiment["runs"]:
            file = _inside(results, f"{run}/{experiment['run']}")
            if not file.exists():
                raise UserError(f"{file}: missing, but {index} refers to it; make it again, or delete the index")
            try:
                yield plan_of(store.read_json(file), str(file))[0]
            except UserError as error:
                remedy = f"bring the plug-in back, or delete {index}, which refers to the run"
                raise UserError(f"{error}; {remedy}") from None


def referred(plan: Plan) -> Iterator[str]:
    """The files and folders that a plan's runs consist of and are made from."""
    for data in plan.datasets:
        yield paths.DATA.format(data=data)
    for feature in plan.features:
        yield paths.WEIGHTS.format(feature=feature)
    for run in plan.runs:
        yield from plan.run_files(run).values()
        yield from plan.feature_files(run.data, run.split, run.inputs)
        for fit in plan.fits(run):
            yield fit.folder
            yield from filter(None, [plan.codes_file(fit)])


def _without(results: Path, kept: set[Path]) -> Iterator[Unreferenced]:
    """The largest folders, and single files, that hold nothing of ``kept``. Unfinished work goes with its result."""
    needed = kept | {results / ".partial" / path.relative_to(results) for path in kept}
    above = {parent for path in needed for parent in path.parents}

    def search(path: Path) -> Iterator[Unreferenced]:
        if path in needed:
            return
        if path in above and path.is_dir():
            for inner in sorted(path.iterdir()):
                yield from search(inner)
        else:
            yield Unreferenced(path, _size(path))

    for stage in (*STAGES, *(f".partial/{stage}" for stage in STAGES)):
        for path in sorted((results / stage).glob("*")):
            yield from search(path)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
