"""Gathers the runs of a results tree into long-form rows. Reads JSON only, so that a summary comes at once."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from cmr.errors import UserError
from cmr.params import canonical
from cmr.paths import suffixed
from cmr.store import read_json

AVERAGE = "average"
Row = dict[str, Any]


def identity(component: str) -> str:
    """The id in a path component: ``dla-4a7405`` → ``dla``. Ids have no hyphen."""
    return component.partition("-")[0]


@dataclass(frozen=True)
class Run:
    """One method with one seed on one split and inputs, as evaluated.

    ``path`` lies under the results folder: ``runs/{data}/{split}/{inputs}/{method}/{seed}``. ``digest`` marks the
    files of an evaluation whose metrics are not the default ones.
    """

    results: Path
    path: str
    digest: str

    @property
    def data(self) -> str:
        return self.path.split("/")[1]

    @property
    def split(self) -> str:
        return self.path.split("/")[2]

    @property
    def inputs(self) -> str:
        return self.path.split("/")[3]

    @property
    def variant(self) -> str:
        """The method's path component: its id, and a digest of what differs from the defaults."""
        return self.path.split("/")[4]

    @property
    def seed(self) -> int:
        return int(self.path.split("/")[5])

    @property
    def protocol(self) -> str:
        """What must be the same for two runs to be compared: data set, split and inputs."""
        return f"{self.data}/{self.split}/{self.inputs}"

    @property
    def group(self) -> str:
        """What the seeds of one table row share."""
        return f"{self.protocol}/{self.variant}"

    def file(self, name: str) -> Path:
        return self.results / self.path / suffixed(name, self.digest)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return self._read("metrics.json")

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``."""
        return self._read("run.json")

    @property
    def fits(self) -> list[dict[str, Any]]:
        """The records of the fits that the run consists of."""
        return self.record["fits"]

    @property
    def method(self) -> dict[str, Any]:
        """The method's entry: ``id``, ``method`` (the plug-in's name) and ``params``."""
        return self.fits[0]["method"]

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return read_json(self.file(name))
        except FileNotFoundError:
            raise UserError(
                f"{self.file(name)}: no such file, though an experiment lists it; run `snakemake metrics` again"
            ) from None


@dataclass(frozen=True)
class Experiment:
    """All index files of one experiment id, united: each run once."""

    id: str
    runs: tuple[Run, ...]
    configurations: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Collection:
    results: Path
    experiments: tuple[Experiment, ...]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs of all experiments, each once."""
        return tuple({(r.path, r.digest): r for e in self.experiments for r in e.runs}.values())

    def rows(self) -> list[Row]:
        """Long-form results: one row an experiment, group of seeds, metric and direction.

        Keys: dataset, split, inputs, experiment, method (the plug-in), id (the entry), metric, query, gallery
        (both ``average`` for the mean over directions), mean, std (sample standard deviation over seeds, None for
        one seed), seeds (their number), chance (None where unknown), plugin (the metric's), params (the metric's),
        group (the runs' path without the seed). Seeds are put together only where data set, split, inputs, method,
        all their parameters and the metric's options agree.
        """
        rows = [row for experiment in self.experiments for row in _rows(experiment)]
        _tell_options_apart(rows)
        return rows


def load(results: str | Path, experiments: Iterable[str | Path] | None = None) -> Collection:
    """Reads experiment index files, by default all of ``results/experiments``, and finds their runs.

    Raises `UserError` where there is no experiment, or an index or one of its runs is missing or damaged.
    """
    results = Path(results)
    files = sorted((results / "experiments").glob("*.json")) if experiments is None else [Path(f) for f in experiments]
    if not files:
        raise UserError(f"{results}/experiments: no finished experiment; run `snakemake metrics` first")
    indices: dict[str, list[dict]] = defaultdict(list)
    for file in files:
        index = _read_index(file)
        indices[index["id"]].append(index)
    return Collection(results, tuple(_unite(results, name, found) for name, found in indices.items()))


def _read_index(file: Path) -> dict[str, Any]:
    try:
        index = read_json(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such experiment index; `snakemake metrics` writes it") from None
    missing = {"id", "runs", "metrics", "configuration"} - set(index)
    if missing:
        raise UserError(f"{file}: not an experiment index, it lacks {', '.join(sorted(missing))}")
    return index


def _unite(results: Path, name: str, indices: list[dict[str, Any]]) -> Experiment:
    runs = {
        (path, digest): Run(results, path, digest)
        for index in indices
        for digest in [_digest(index["metrics"])]
        for path in index["runs"]
    }
    return Experiment(name, tuple(runs.values()), tuple(index["configuration"] for index in indices))


def _digest(metrics_file: str) -> str:
    """``metrics-1a2b3c.json`` → ``1a2b3c``; empty for ``metrics.json``."""
    return metrics_file.removesuffix(".json").removeprefix("metrics").removeprefix("-")


def _rows(experiment: Experiment) -> Iterator[Row]:
    values: dict[tuple, dict[int, float]] = defaultdict(dict)
    chances: dict[tuple, dict[int, float | None]] = defaultdict(dict)
    first: dict[tuple, Run] = {}
    for run in experiment.runs:
        for key, value, chance in _values(run):
            first.setdefault(key, run)
            values[key][run.seed] = value
            chances[key][run.seed] = chance
    for key, by_seed in values.items():
        group, metric, plugin, options, query, gallery = key
        run, found = first[key], list(by_seed.values())
        yield {
            "dataset": identity(run.data),
            "split": run.split,
            "inputs": "+".join(identity(part) for part in run.inputs.split("+")),
            "experiment": experiment.id,
            "method": run.method["method"],
            "id": run.method["id"],
            "metric": metric,
            "query": query,
            "gallery": gallery,
            "mean": mean(found),
            "std": stdev(found) if len(found) > 1 else None,
            "seeds": len(found),
            "chance": _mean_or_none(chances[key].values()),
            "plugin": plugin,
            "params": json.loads(options),
            "group": group,
        }


def _values(run: Run) -> Iterator[tuple[tuple, float, float | None]]:
    """(key, value, chance) of each metric and direction of one run, and of the mean over directions."""
    over_directions: dict[tuple, list[tuple[float, float | None]]] = defaultdict(list)
    for task in run.metrics["tasks"]:
        for metric, found in task["metrics"].items():
            if "value" not in found:
                continue  # a curve
            key = (run.group, metric, found["metric"], canonical(found["params"]))
            chance = found.get("chance")
            yield (*key, task["query"], task["gallery"]), found["value"], chance
            over_directions[key].append((found["value"], chance))
    for key, pairs in over_directions.items():
        value, chance = mean(v for v, _ in pairs), _mean_or_none(c for _, c in pairs)
        yield (*key, AVERAGE, AVERAGE), value, chance


def _mean_or_none(values: Iterable[float | None]) -> float | None:
    found = list(values)
    return None if None in found else mean(found)


def _tell_options_apart(rows: list[Row]) -> None:
    """Adds the options that differ where one name stands for several: ``map@50 (normalise=relevant)``."""
    options: dict[str, dict[str, dict]] = defaultdict(dict)
    for row in rows:
        options[row["metric"]][canonical([row["plugin"], row["params"]])] = row["params"]
    for row in rows:
        variants = list(options[row["metric"]].values())
        keys = sorted({key for params in variants for key in params})
        differing = [k for k in keys if len({canonical(params.get(k)) for params in variants}) > 1]
        if differing:
            row["metric"] += " (" + ", ".join(f"{k}={row['params'].get(k)}" for k in differing) + ")"
