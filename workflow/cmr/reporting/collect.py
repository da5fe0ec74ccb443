"""Gathers the runs of a results tree into long-form rows. Imports nothing slow, so that a summary comes at once."""

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import isclose
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from cmr import boundary, registry
from cmr.errors import Damaged, UserError
from cmr.params import canonical
from cmr.publish import read_json
from cmr.reporting.agreement import agreeing, warning_notes
from cmr.reporting.runs import Run, choices_at_edge, identity

AVERAGE = "average"
SAME = 1e-9
"""Means that are nearer are equal: of the same values, in another order."""

ASIDE = ("chance", "pessimistic", "optimistic")
Row = dict[str, Any]


@dataclass(frozen=True)
class Index:
    """One index file: the configuration of an experiment and its runs."""

    name: str
    configuration: dict[str, Any]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class UnitedIndices:
    """All index files of one experiment id, united: each run once."""

    id: str
    indices: tuple[Index, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(dict.fromkeys(run for index in self.indices for run in index.runs))


@dataclass(frozen=True)
class Collection:
    """``left_out``: a line for each group of runs that are not shown or not finished, and why."""

    results: Path
    experiments: tuple[UnitedIndices, ...]
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the runs as a whole."""
        return self.notes_of(self.runs)

    def notes_of(self, runs: Sequence[Run]) -> tuple[str, ...]:
        """Which runs are left out, and of the given ones what jobs warned of, and queries that have nothing to find."""
        return (*self.left_out, *warning_notes(runs), *_nothing_relevant(runs))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs of all experiments, each once."""
        return tuple(dict.fromkeys(run for experiment in self.experiments for run in experiment.runs))

    def rows(self) -> list[Row]:
        """Long-form results: one row an experiment, group of seeds, metric and direction.

        Keys: dataset, split, inputs, experiment, method (the plug-in), id (the entry), metric, query, gallery
        (both ``average`` for the mean over directions), mean, std (sample standard deviation over seeds, None for
        one seed), seeds (their number), chance, pessimistic and optimistic (None where not known), seconds (of a
        seed's fits, mean over seeds), peak_memory_mb (of a fit, the greatest), at_edge (the choices that lie at the
        end of what was tried, in words) and note (what the evaluation says of the figure, such as that the metric's cut
        is beyond the gallery); and, for code that goes on from here, plugin and params (the metric's), key
        (the metric's name in the runs' files), sample (how many queries were asked, in words; empty for all) and
        group (the runs' path without the seed). Seeds are put together only where data set, split, inputs, method, all
        their parameters, the metric's options and the sample agree.
        """
        rows = [row | {"experiment": e.id} for e in self.experiments for row in _rows(e.runs)]
        _tell_options_apart(rows)
        _tell_variants_apart(rows)
        return rows

    def united_rows(self) -> list[Row]:
        """As `rows`, with the runs of all experiments together; ``experiment`` lists who took part."""
        members = defaultdict(set)
        for experiment in self.experiments:
            for run in experiment.runs:
                members[run.group].add(experiment.id)
        rows = [row | {"experiment": ", ".join(sorted(members[row["group"]]))} for row in _rows(self.runs)]
        _tell_options_apart(rows)
        _tell_variants_apart(rows)
        return rows


def direction(row: Mapping[str, Any]) -> str:
    """``image→text``, or ``average``."""
    return AVERAGE if row["query"] == AVERAGE else f"{row['query']}→{row['gallery']}"


def mean_and_deviation(mean: float, std: float | None) -> str:
    """``0.571 ± 0.004``; without the deviation where there is one seed."""
    return f"{mean:.3f}" + ("" if std is None else f" ± {std:.3f}")


def notes_of(rows: Iterable[Row]) -> list[str]:
    """What the evaluation says of the figures of a table, each once."""
    return list(dict.fromkeys(row["note"] for row in rows if row["note"] and row["query"] != AVERAGE))


def higher_is_better(row: Row) -> bool:
    known = row["plugin"] in registry.names("metrics")
    return registry.info("metrics", row["plugin"]).higher_is_better if known else True


def best_of(rows: Sequence[Row]) -> list[Row]:
    """The rows of a column with the best mean: several where means are equal, up to the rounding of floats."""
    best = (max if higher_is_better(rows[0]) else min)(row["mean"] for row in rows)
    return [row for row in rows if isclose(row["mean"], best, rel_tol=SAME, abs_tol=SAME)]


def load(
    results: str | Path,
    experiments: Iterable[str | Path] | None = None,
    folders: tuple[str, ...] = (),
    more: Sequence[UnitedIndices] = (),
) -> Collection:
    """Reads experiment index files, by default all of ``results/experiments``, and finds their runs.

    ``folders``: those of the user's own that links in the results may lead to. ``more``: experiments that have no index
    file yet.

    Raises `UserError` where there is no experiment, or an index is missing or damaged.
    """
    results = Path(results)
    files = sorted((results / "experiments").glob("*.json")) if experiments is None else [Path(f) for f in experiments]
    if experiments is None and not results.is_dir():
        raise UserError(f"{results}: no such folder; name a folder of results, or run `snakemake metrics` first")
    if not files and not any(united.runs for united in more):
        raise UserError(f"{results}/experiments: no finished experiment; run `snakemake metrics` first")
    indices: dict[str, list[Index]] = defaultdict(list)
    runs: dict[Run, Run] = {}
    for file in files:
        name, index = _read_index(results, file, folders)
        kept = tuple(runs.setdefault(run, run) for run in index.runs)  # one object a run, so that it is read once
        indices[name].append(Index(index.name, index.configuration, kept))
    for index in (index for united in more for index in united.indices if index.runs):
        kept = tuple(runs.setdefault(run, run) for run in index.runs)
        indices[index.configuration["id"]].append(replace(index, runs=kept))
    with _damage_told(results, "results of this version"):
        shown, notes = agreeing(list(runs))
    if not shown:
        raise UserError(f"{results}: no run of the data that are here; run `snakemake` again\n" + "\n".join(notes))
    experiments_shown = tuple(
        UnitedIndices(name, tuple(_without(index, set(shown)) for index in found)) for name, found in indices.items()
    )
    return Collection(results, experiments_shown, tuple(notes))


def _nothing_relevant(runs: Iterable[Run]) -> list[str]:
    """How many queries of a direction have nothing relevant to find, and figures that have no value for want of it: a
    line each, as `warning_notes`.
    """
    found: dict[str, None] = {}
    for run in runs:
        with _damage_told(run.file("metrics.json"), "what an evaluation writes"):
            for task in run.metrics["tasks"]:
                what = f"{run.data}, {run.split}, {run.inputs}: {task['query']}→{task['gallery']}"
                if missing := task["queries_without_relevant"]:
                    told = f"{missing:,} of {task['queries']:,} queries have nothing relevant in the gallery"
                    found[f"{what}: {told}"] = None
                for metric, entry in task["metrics"].items():
                    if "value" not in entry and "note" in entry and _gives_number(entry["metric"]):
                        found[f"{what}: {metric}: {entry['note']}"] = None
    return list(found)


def _gives_number(metric: str) -> bool:
    """A curve's note stands below its figure."""
    return metric in registry.names("metrics") and registry.info("metrics", metric).gives == "number"


def _without(index: Index, shown: Container[Run]) -> Index:
    return replace(index, runs=tuple(run for run in index.runs if run in shown))


def _read_index(results: Path, file: Path, folders: tuple[str, ...]) -> tuple[str, Index]:
    try:
        index = read_json(boundary.within(results, file, folders))
    except FileNotFoundError:
        raise UserError(f"{file}: no such experiment index; `snakemake metrics` writes it") from None
    missing = {"id", "runs", "metrics", "configuration"} - set(index if isinstance(index, dict) else ())
    if missing:
        raise UserError(f"{file}: not an experiment index, it lacks {', '.join(sorted(missing))}")
    with _damage_told(file, "an experiment index"):
        runs = tuple(Run.listed(results, path, index["metrics"], folders) for path in index["runs"])
        for run in runs:
            _ = run.seed  # the last part of its path, a number
        return str(index["id"]), Index(file.stem, dict(index["configuration"]), runs)


@contextmanager
def _damage_told(file: object, what: str) -> Iterator[None]:
    """Makes what a block meets in JSON of another form a `UserError` that names the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Damaged(f"{file}: not {what} ({error!r}); delete it and run again") from None


Key = tuple[str, str, str, str, str, str, str]
"""Group, metric, the metric's plug-in and options, sample, query, gallery: what the seeds of a row share.

The sample is how many queries were asked at most, in words; empty where all were.
"""


def _rows(runs: Iterable[Run]) -> Iterator[Row]:
    found: dict[Key, dict[int, dict[str, Any]]] = defaultdict(dict)
    first: dict[Key, Run] = {}
    costs: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    members: dict[str, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        for key, numbers in checked_numbers(run):
            first.setdefault(key, run)
            found[key][run.seed] = numbers
        with _damage_told(run.file("run.json"), "what an evaluation writes"):
            costs[run.group][run.seed] = run.seconds, run.peak_memory_mb
            members[run.group][run.seed] = run
            if not all(map(boundary.is_number, costs[run.group][run.seed])):
                raise TypeError("seconds or memory that are no finite numbers")
    edges = {group: choices_at_edge(by_seed.values()) for group, by_seed in members.items()}
    for key, by_seed in found.items():
        group, metric, plugin, options, sample, query, gallery = key
        run, seeds = first[key], list(by_seed.values())
        values = [numbers["value"] for numbers in seeds]
        seconds, memory = zip(*costs[group].values(), strict=True)
        yield {
            "dataset": identity(run.data),
            "split": run.split,
            "inputs": "+".join(identity(part) for part in run.inputs.split("+")),
            "experiment": "",
            "method": run.method["method"],
            "id": run.method["id"],
            "metric": f"{metric}, {sample}" if sample else metric,
            "query": query,
            "gallery": gallery,
            "mean": mean(values),
            "std": stdev(values) if len(values) > 1 else None,
            "seeds": len(values),
            **{name: _mean_or_none(numbers[name] for numbers in seeds) for name in ASIDE},
            "seconds": mean(seconds),
            "peak_memory_mb": max(memory),
            "at_edge": "; ".join(edges[group]),
            "note": _each_once(numbers["note"] for numbers in seeds),
            "plugin": plugin,
            "params": json.loads(options),
            "key": metric,
            "sample": sample,
            "group": group,
        }


def checked_numbers(run: Run) -> list[tuple[Key, dict[str, Any]]]:
    """As `_numbers`; raises `UserError` where the run's files are JSON, but not what an evaluation writes."""
    with _damage_told(f"{run.file('metrics.json')}, {run.file('run.json').name}", "what an evaluation writes"):
        found = list(_numbers(run))
        names = [run.method["method"], run.method["id"], *(part for key, _ in found for part in key)]
        names += [numbers["note"] for _, numbers in found]
        numbers = [numbers["value"] for _, numbers in found]
        aside = [numbers[name] for _, numbers in found for name in ASIDE if numbers[name] is not None]
        if not all(isinstance(name, str) for name in names) or not all(map(boundary.is_number, [*numbers, *aside])):
            raise TypeError("a name that is no text, or a value that is no finite number")
        for task in run.metrics["tasks"]:
            boundary.check_name(task["query"]), boundary.check_name(task["gallery"])
        return found


def _numbers(run: Run) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The value of each metric and direction of one run, and of the mean over directions, with what goes beside it."""
    over_directions: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for task in run.metrics["tasks"]:
        for metric, entry in task["metrics"].items():
            if "value" not in entry:
                continue  # a curve, or a metric that is not defined here
            key = (run.group, metric, entry["metric"], canonical(dict(entry["params"])), sample_of(task))
            numbers = {name: entry.get(name) for name in ("value", *ASIDE)} | {"note": entry.get("note", "")}
            yield (*key, task["query"], task["gallery"]), numbers
            over_directions[key].append(numbers)
    for key, directions in over_directions.items():
        average = {name: _mean_or_none(numbers[name] for numbers in directions) for name in ("value", *ASIDE)}
        yield (*key, AVERAGE, AVERAGE), average | {"note": _each_once(numbers["note"] for numbers in directions)}


def _each_once(notes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, notes)))


def sample_of(task: Mapping[str, Any]) -> str:
    """``1,000 queries`` where no more were asked in a run's metrics, of more that there are; empty where all were."""
    return f"{task['sample']:,} queries" if "sample" in task else ""


def measures(run: Run, row: Mapping[str, Any]) -> bool:
    """Whether the run was evaluated with the metric of a row, with its very options and on as many queries."""
    task = run.metrics["tasks"][0]
    entry = task["metrics"].get(row["key"])
    return entry is not None and entry["params"] == row["params"] and sample_of(task) == row["sample"]


def _mean_or_none(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return mean(known) if len(known) == len(found) else None


def _tell_options_apart(rows: list[Row]) -> None:
    """Adds the options that differ where one name stands for several: ``map@50 (normalise=relevant)``."""
    options: dict[str, dict[str, dict]] = defaultdict(dict)
    for row in rows:
        options[row["key"]][canonical([row["plugin"], row["params"]])] = row["params"]
    for row in rows:
        variants = list(options[row["key"]].values())
        keys = sorted({key for params in variants for key in params})
        differing = [k for k in keys if len({canonical(params.get(k)) for params in variants}) > 1]
        if differing:
            row["metric"] += " (" + ", ".join(f"{k}={row['params'].get(k)}" for k in differing) + ")"


def _tell_variants_apart(rows: list[Row]) -> None:
    """Shows the whole path component where a data set's or inputs' name stands for several: ``emoji-1a2b3c``."""
    for key, position in (("dataset", 0), ("inputs", 2)):
        variants: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            variants[row[key]].add(row["group"].split("/")[position])
        for row in rows:
            if len(variants[row[key]]) > 1:
                row[key] = row["group"].split("/")[position]
