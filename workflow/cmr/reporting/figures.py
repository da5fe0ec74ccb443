"""What the report's figures show: plain descriptions, drawn by `cmr.reporting.drawing`."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import numpy as np

from cmr import registry
from cmr.boundary import plain
from cmr.errors import UserError, quantity
from cmr.reporting.collect import AVERAGE, Row
from cmr.reporting.protocols import Group, Protocol, differing_keys, in_file_name, parameters, value_in_words
from cmr.reporting.runs import Direction, Run
from cmr.selection import CHOOSING

MAX_POINTS = 200
MAX_CLASSES = 40
MAX_BARS = 8  # methods side by side at each class
NAMED = 8  # lines that a file tells apart: as many as there are colours
MAX_BARS_IN_ALL = 400
LOG_SPAN = 50
LOG_SPAN_OF_COSTS = 5
"""Below it an axis of logarithms would have no two round numbers to name."""


@dataclass(frozen=True)
class Series:
    """``x`` and ``y`` of the same length; ``style`` chooses colour, dash and marker; ``items`` are named on hover.

    ``error``: how far above a value its interval ends, None for none; below it as far, unless ``below`` says how far.
    """

    name: str
    x: Sequence[Any]
    y: Sequence[float]
    style: int = 0
    error: Sequence[float | None] | None = None
    marker: int = 0
    items: Sequence[str] | None = None
    below: Sequence[float | None] | None = None


@dataclass(frozen=True)
class Figure:
    """``name`` is its files' stem, ``protocol`` a label. ``method`` is set where a reader sees one at a time.

    ``heat`` (rows, columns) of values goes with ``rows`` and ``columns``, the names on its axes, in series' place.
    Of ``intervals``, ``rows`` are the names that the series' ``y`` count from 0, from top to bottom. ``chance`` is a
    line across the figure, at the expectation under random scores. ``limits`` of the values' axis, where it shares
    them with another figure. Of ``ranks``, mean ranks that are ``critical`` apart differ, and ``groups`` are the first
    and last of the ``rows`` that do not.
    """

    name: str
    section: str
    protocol: str
    kind: Literal["lines", "bars", "points", "heat", "map", "intervals", "ranks"]
    title: str
    x: str
    y: str
    series: tuple[Series, ...] = ()
    note: str = ""
    method: str = ""
    log_x: bool = False
    log_y: bool = False
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    heat: Sequence[Sequence[float]] = field(default=(), repr=False)
    chance: float | None = None
    limits: tuple[float, float] | None = None
    critical: float | None = None
    groups: tuple[tuple[int, int], ...] = ()

    @property
    def many(self) -> bool:
        """Whether files name the first few series alone, and draw the others in grey."""
        return self.kind in ("lines", "points") and len(self.series) > NAMED

    @property
    def alt(self) -> str:
        """A text for readers who do not see the figure."""
        if self.kind == "heat":
            size = f"{quantity(len(self.rows), 'row')} by {quantity(len(self.columns), 'column')}"
            return f"{self.title}; {self.protocol}. Heat map, {size}. {self.note}".strip()
        if self.kind == "ranks":
            places = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(self.rows, self.series[0].x, strict=True))
            return f"{self.title}; {self.protocol}. {places}. {self.note}"
        names = ", ".join(series.name for series in self.series)
        return f"{self.title}; {self.protocol}. {self.y} against {self.x}, for {names}. {self.note}".strip()


def of_protocol(protocol: Protocol, rows: Iterable[Row]) -> Iterator[Figure]:
    """All figures of one protocol but its maps; ``rows`` are the collection's united rows."""
    own = [row for row in rows if row["group"].startswith(f"{protocol.key}/")]
    yield from curves(protocol)
    if protocol.items.has_classes:
        yield from per_class(protocol)
        yield from confusion(protocol)
    yield from cost(protocol, own)
    yield from convergence(protocol)
    yield from grids(protocol, own)


def name_of(kind: str, protocol: Protocol, *parts: str) -> str:
    """What names a figure's files. A metric, or a column of a history, may be of somebody's file."""
    return "--".join([in_file_name(kind), protocol.slug, *map(in_file_name, parts)])


def arrow(direction: Direction) -> str:
    return "→".join(direction)


def title_of(kind: str, name: str) -> str:
    """A plug-in's title, or its name where this version of the package does not have it."""
    return registry.info(kind, name).title if name in registry.names(kind) else name


# Curves ------------------------------------------------------------------------------------------------------------


def curves(protocol: Protocol) -> Iterator[Figure]:
    """Mean curve over seeds of every metric that gives one, a figure a direction."""
    metrics = dict.fromkeys(m for g in protocol.shown for task in g.shown.tasks.values() for m in task.curves)
    for metric in metrics:
        entries = (group.shown.metrics["tasks"][0]["metrics"].get(metric) for group in protocol.shown)
        title, x, y, options = _curve_labels(metric, next(filter(None, entries)))
        series = {
            direction: tuple(
                _curve(g, metric, direction) for g in protocol.shown if metric in g.shown.tasks[direction].curves
            )
            for direction in protocol.directions
        }
        highest = max((max(one.y) for of_direction in series.values() for one in of_direction), default=1.0)
        for direction, of_direction in series.items():
            # at each recall random scores have a higher precision than this share, the more the fewer are relevant
            relevant = relevant_share(protocol, direction) if (x, y) == ("scope", "precision") else None
            yield Figure(
                name=name_of(metric, protocol, "-to-".join(direction)),
                section="curves",
                protocol=protocol.label,
                kind="lines",
                title=f"{title}, {arrow(direction)}",
                x=x,
                y=y,
                series=of_direction,
                note="; ".join(filter(None, [options, "chance: the share of relevant items" if relevant else ""])),
                chance=relevant,
                limits=(0.0, 1.05 * highest),
            )


def relevant_share(protocol: Protocol, direction: Direction) -> float | None:
    """Of all pairs of a query and a gallery item, the share that has a class in common; None without classes, and where
    queries meet a part of the gallery each.
    """
    run = protocol.shown[0].shown
    if not protocol.items.has_classes or run.metrics["tasks"][0].get("folds"):
        return None
    queries = protocol.items.labels(run.tasks[direction].ids).astype(bool)
    gallery = protocol.items.labels(run.embeddings(direction)[direction[1]].ids).astype(bool)
    return float(f"{(queries.astype(np.float32) @ gallery.T.astype(np.float32) > 0).mean():.5g}")


def _curve_labels(metric: str, entry: dict[str, Any]) -> tuple[str, str, str, str]:
    """Title, names of the axes, and the options and note that the evaluation recorded."""
    note = "; ".join(filter(None, [in_words(entry["params"]), entry.get("note", "")]))
    if entry["metric"] not in registry.names("metrics"):
        return metric, "x", "y", note
    info = registry.info("metrics", entry["metric"])
    return info.title, info.x, info.y, note


def in_words(options: Mapping[str, Any]) -> str:
    """``points 11, interpolated``: without what is not set, and without lists, which the axes show."""
    shown = {key: value for key, value in options.items() if value is not None and not isinstance(value, list)}
    return ", ".join(
        key if value is True else f"not {key}" if value is False else f"{key} {value}" for key, value in shown.items()
    )


def _curve(group: Group, metric: str, direction: Direction) -> Series:
    found = [run.tasks[direction].curves[metric] for run in group.runs]
    x, y = np.mean(found, axis=0)
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).round().astype(int))
    return Series(group.name, short(x[kept]), short(y[kept]), group.style, marker=group.style)


def short(values: Iterable[float]) -> list[float]:
    """Five significant digits: more than a screen can show, less than a file need carry."""
    return [float(f"{value:.5g}") for value in values]


def nullable(values: Iterable[float]) -> list[float | None]:
    """None for NaN, which JSON lacks."""
    return [value if value == value else None for value in values]


# Classes -----------------------------------------------------------------------------------------------------------


def per_class(protocol: Protocol) -> Iterator[Figure]:
    """Mean over seeds of the headline metric of each class's queries, a figure a direction and one of the mean over
    directions: bars of a few methods, or a heat map of many methods or classes, whose bars nobody could tell apart.
    """
    values = {
        d: {group: _per_class(protocol, group, d) for group in protocol.with_headline} for d in protocol.directions
    }
    for direction, of_direction in values.items():
        yield _class_figure(protocol, of_direction, "-to-".join(direction), arrow(direction))
    if len(values) > 1:
        yield _class_figure(protocol, _mean_over_directions(list(values.values())), AVERAGE, AVERAGE)


def _class_figure(protocol: Protocol, values: Mapping[Group, dict[str, float]], name: str, title: str) -> Figure:
    metric = protocol.headline_metric
    figure = Figure(
        name=name_of("per_class", protocol, name),
        section="classes",
        protocol=protocol.label,
        kind="bars",
        title=f"{metric} of each class, {title}",
        x="class of the query",
        y=metric,
        series=tuple(Series(g.name, list(own), short(own.values()), g.style) for g, own in values.items()),
    )
    bars = sum(len(one.x) for one in figure.series)
    return figure if len(figure.series) <= MAX_BARS and bars <= MAX_BARS_IN_ALL else as_heat(figure)


def _per_class(protocol: Protocol, group: Group, direction: Direction) -> dict[str, float]:
    """Class → the headline metric's mean over seeds."""
    tables = [_class_table(run.metrics, *direction, protocol.headline_metric) for run in group.runs]
    return {name: mean(table[name] for table in tables) for name in tables[0]}


def _mean_over_directions(values: Sequence[Mapping[Group, dict[str, float]]]) -> dict[Group, dict[str, float]]:
    """Of the classes that have queries in every direction."""
    return {
        group: {
            name: mean(of_direction[group][name] for of_direction in values)
            for name in values[0][group]
            if all(name in of_direction[group] for of_direction in values)
        }
        for group in values[0]
    }


def as_heat(figure: Figure) -> Figure:
    """The bars of series over the same names as a heat map, a row a series."""
    rows, columns = [series.name for series in figure.series], figure.series[0].x
    heat = [series.y for series in figure.series]
    return replace(figure, kind="heat", y="method", series=(), rows=rows, columns=columns, heat=heat)


def _class_table(metrics: dict[str, Any], query: str, gallery: str, metric: str) -> dict[str, float]:
    task = next(t for t in metrics["tasks"] if (t["query"], t["gallery"]) == (query, gallery))
    return task["metrics"][metric]["per_class"]


def confusion(protocol: Protocol) -> Iterator[Figure]:
    """Which classes the first results of each class's queries are of; more than two directions are put together."""
    classes = protocol.items.classes
    if len(classes) > MAX_CLASSES:
        return
    pair = len(protocol.directions) <= 2
    parts = [(d,) for d in protocol.directions] if pair else [tuple(protocol.directions)]
    for group in protocol.shown:
        for directions in parts:
            shares, depth = confusion_shares(protocol, group, directions)
            name = "-to-".join(directions[0]) if pair else "all"
            yield Figure(
                name=name_of("confusion", protocol, group.shown.variant, name),
                section="confusion",
                protocol=protocol.label,
                kind="heat",
                title=f"Classes of the first {depth} results, {group.name}, "
                + (arrow(directions[0]) if pair else "all directions"),
                x="class of the result",
                y="class of the query",
                method=group.name,
                rows=classes,
                columns=classes,
                heat=[short(row) for row in shares],
                note="Share of the results; each row sums to 1. First seed.",
            )


def confusion_shares(protocol: Protocol, group: Group, directions: Iterable[Direction]) -> tuple[np.ndarray, int]:
    """(classes, classes) share of class c′ among the first results of queries of class c, and how many are counted.

    An item of several classes counts as an equal part of each.
    """
    counts, depth = np.zeros(()), 0
    for direction in directions:
        task = group.shown.tasks[direction]
        gallery = group.shown.embeddings(direction)[direction[1]].ids
        of_query, of_gallery = (_parts_of_classes(protocol, ids) for ids in (task.ids, gallery))
        counts = counts + of_query.T @ of_gallery[task.top].mean(axis=1)
        depth = task.top.shape[1]
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12), depth


def _parts_of_classes(protocol: Protocol, ids: np.ndarray) -> np.ndarray:
    labels = protocol.items.labels(ids).astype(float)
    return labels / labels.sum(axis=1, keepdims=True)


# Cost --------------------------------------------------------------------------------------------------------------

COSTS: dict[str, tuple[str, str, Callable[[Iterable[float]], float]]] = {
    "seconds": ("time", "wall time of the fits of one seed, s", sum),
    "peak_memory_mb": ("memory", "peak memory of a fit, MB", max),
    "peak_gpu_memory_mb": ("gpu_memory", "peak GPU memory of a fit, MB", max),
}


def cost(protocol: Protocol, rows: Sequence[Row]) -> Iterator[Figure]:
    """Time and memory of fitting against the headline metric, means over seeds."""
    metric = protocol.headline_metric
    value = protocol.averages(rows)
    chance = next((row["chance"] for row in value.values() if row["chance"] is not None), None)
    for usage, (name, label, over_fits) in COSTS.items():
        groups = [g for g in protocol.with_headline if all(usage in fit["usage"] for run in g.runs for fit in run.fits)]
        series: list[Series] = []
        for group in groups:
            spent = mean(over_fits(fit["usage"][usage] for fit in run.fits) for run in group.runs)
            row = value[group.key]
            series.append(
                Series(group.name, short([spent]), short([row["mean"]]), group.style, [row["std"]], group.style)
            )
        if series:
            yield Figure(
                name=name_of(name, protocol),
                section="cost",
                protocol=protocol.label,
                kind="points",
                title=f"{metric}, average, against {label.partition(',')[0]}",
                x=label,
                y=f"{metric}, average",
                series=tuple(series),
                log_x=_wants_log([one.x for one in series], LOG_SPAN_OF_COSTS),
                chance=chance,
                note="Without the extraction of features and the learning of dictionaries, which runs share.",
            )


# Convergence -------------------------------------------------------------------------------------------------------

VALIDATION = "validation"
SUM = "sum"


def convergence(protocol: Protocol) -> Iterator[Figure]:
    """What fits recorded at each step, means over seeds: the validation scores of all, and the losses of each."""
    histories = {
        (group, folder.parts[-3]): _mean_history([_history_file(run, number) for run in group.runs])
        for group in protocol.shown
        for number, folder in enumerate(group.shown.fit_folders)
    }
    histories = {key: history for key, history in histories.items() if len(next(iter(history.values()), ())) > 1}
    scores: dict[str, list[Series]] = {}
    for (group, inputs), history in histories.items():
        if VALIDATION in history:
            scores.setdefault(next(iter(history)), []).append(_validation(group, inputs, history, protocol))
    for step, series in scores.items():
        yield Figure(
            name=name_of("validation", protocol, *([step] if len(scores) > 1 else [])),
            section="convergence",
            protocol=protocol.label,
            kind="lines",
            title="Validation score during the fits",
            x=step,
            y="validation score",
            series=tuple(series),
            note="On held-out rows; mean over seeds, as far as all of them went.",
        )
    for (group, inputs), history in histories.items():
        yield from _losses(protocol, group, inputs, history)


def _validation(group: Group, inputs: str, history: dict[str, list[float]], protocol: Protocol) -> Series:
    name = group.name if inputs == protocol.first.inputs else f"{group.name}, {inputs}"
    return Series(name, next(iter(history.values())), short(history[VALIDATION]), group.style, marker=group.style)


def _losses(protocol: Protocol, group: Group, inputs: str, history: dict[str, list[float]]) -> Iterator[Figure]:
    step, *columns = history
    lines = [column for column in columns if column != VALIDATION and np.isfinite(history[column]).any()]
    values = {column: history[column] for column in lines}
    terms = [column for column in lines if column != CHOOSING]
    if len(terms) > 1:
        values[SUM] = [sum(at_step) for at_step in zip(*(history[term] for term in terms), strict=True)]
    series = [
        Series(name, history[step], short(v), style, marker=style) for style, (name, v) in enumerate(values.items())
    ]
    notes = [
        f"Mean over {len(group.runs)} seeds, as far as all of them went." if len(group.runs) > 1 else "",
        f"{CHOOSING}: the sum in the fit that the choice was made by, without the held-out rows."
        if CHOOSING in values
        else "",
    ]
    if series:
        yield Figure(
            name=name_of("convergence", protocol, group.shown.variant, inputs),
            section="convergence",
            protocol=protocol.label,
            kind="lines",
            title=f"Course of the fit of {group.name}, {inputs}",
            x=step,
            y="value",
            series=tuple(series),
            method=group.name,
            log_y=_wants_log([s.y for s in series]),
            note=" ".join(filter(None, notes)),
        )


def _history_file(run: Run, number: int) -> Path:
    return run.own(run.fit_folders[number] / "history.csv")


def _mean_history(files: Sequence[Path]) -> dict[str, list[float]]:
    """Column → mean over seeds at each step that all seeds reached, the steps' own column first."""
    histories = [read_history(file) for file in files]
    columns = [column for column in histories[0] if all(column in history for history in histories)]
    return {column: [mean(step) for step in zip(*(h[column] for h in histories), strict=False)] for column in columns}


def read_history(file: Path) -> dict[str, list[float]]:
    """Column → values of a fit's history; NaN where a step has none. Raises `UserError` for what is no table."""
    try:
        with open(plain(file), newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines, restkey=""))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file, though a run lists its fit; run again") from None
    except (csv.Error, ValueError) as error:
        raise UserError(f"{file}: not the history of a fit ({error}); delete its folder and run again") from None
    return {key: [_number(row[key]) for row in rows] for key in (rows[0] if rows else {}) if key}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # a word: nothing to plot
        return float("nan")


def _wants_log(columns: Iterable[Sequence[float]], span: float = LOG_SPAN) -> bool:
    values = [value for column in columns for value in column if value == value]
    return bool(values) and min(values) > 0 and max(values) / min(values) > span


# Parameter grids ---------------------------------------------------------------------------------------------------


def grids(protocol: Protocol, rows: Sequence[Row]) -> Iterator[Figure]:
    """Of each swept entry, the headline metric over the values of one parameter (a line) or of two (a heat map): the
    average, each direction, and the score on the held-out rows that the fits chose by.
    """
    for name, groups in protocol.families.items():
        swept = differing_keys([parameters("methods", group.shown.method) for group in groups])
        if len(groups) > 2 and len(swept) in (1, 2):
            for ending, quantity, values in _grid_values(protocol, groups, rows):
                yield _grid(protocol, name, ending, quantity, swept, groups, values)


def _grid_values(
    protocol: Protocol, groups: Sequence[Group], rows: Sequence[Row]
) -> Iterator[tuple[list[str], str, dict[str, float]]]:
    """Ending of the figure's name, what is shown, and group → its value, for every figure of a grid."""
    metric = protocol.headline_metric
    yield [], f"{metric}, {AVERAGE}", {key: row["mean"] for key, row in protocol.averages(rows).items()}
    if len(protocol.directions) == 2:
        for direction in protocol.directions:
            found = protocol.averages(rows, direction)
            yield (
                ["-to-".join(direction)],
                f"{metric}, {arrow(direction)}",
                {k: row["mean"] for k, row in found.items()},
            )
    scores = {group.key: group.held_out_score for group in groups}
    if all(score is not None for score in scores.values()):
        yield [VALIDATION], "score on held-out rows", {key: score for key, score in scores.items() if score is not None}


def _grid(
    protocol: Protocol,
    name: str,
    ending: Sequence[str],
    quantity: str,
    swept: Sequence[str],
    groups: Sequence[Group],
    values: Mapping[str, float],
) -> Figure:
    points = [(parameters("methods", g.shown.method), values[g.key]) for g in groups if g.key in values]
    title = f"{quantity}, of {name} over {' and '.join(swept)}"
    file = name_of("grid", protocol, name, *ending)
    if len(swept) == 2:
        return _heat(protocol, file, title, swept, points)
    ordered = sorted((_sortable(point[swept[0]]), value) for point, value in points)
    places = [place[-1] for place, _ in ordered]
    numbers = all(isinstance(place, int | float) for place in places)
    places = places if numbers else [value_in_words(place) for place in places]
    return Figure(
        name=file,
        section="grids",
        protocol=protocol.label,
        kind="lines",
        title=title,
        x=swept[0],
        y=quantity.partition(",")[0],
        series=(Series(name, places, short(v for _, v in ordered), groups[0].style),),
        log_x=numbers and _wants_log([places]),
    )


def _sortable(value: Any) -> tuple:
    """Numbers by size, other values after them by name."""
    number = isinstance(value, int | float)
    return (not number, value if number else 0, str(value), value if number else str(value))


def _heat(
    protocol: Protocol, file: str, title: str, swept: Sequence[str], points: Sequence[tuple[dict, float]]
) -> Figure:
    rows, columns = ([v[-1] for v in sorted({_sortable(point[key]) for point, _ in points})] for key in swept)
    found = {(str(point[swept[0]]), str(point[swept[1]])): value for point, value in points}
    heat = [[found.get((str(r), str(c)), float("nan")) for c in columns] for r in rows]
    return Figure(
        name=file,
        section="grids",
        protocol=protocol.label,
        kind="heat",
        title=title,
        x=swept[1],
        y=swept[0],
        rows=[value_in_words(r) for r in rows],
        columns=[value_in_words(c) for c in columns],
        heat=[short(row) for row in heat],
    )
