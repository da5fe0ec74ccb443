"""The headline table: methods × directions of every protocol and metric, with chance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cmr import registry
from cmr.reporting.collect import AVERAGE, Row, direction, higher_is_better, mean_and_deviation, notes_of
from cmr.reporting.figures import in_words, title_of
from cmr.reporting.protocols import Group, Protocol, in_file_name
from cmr.reporting.runs import choices_at_edge
from cmr.reporting.significance import NOT_WORSE, UNTESTED, Column, Evidence, column_of, p_in_words

TIES_SHOWN_FROM = 1e-4
SIGNS = {NOT_WORSE: "†", UNTESTED: "§"}
"""Marks that a cell shows with a sign; the best is bold."""

MEASURED, CHANCE = "measured", "chance"


@dataclass(frozen=True)
class Cell:
    """One value; ``bounds`` of ties are given where they differ by more than 1e-4."""

    mean: float
    std: float | None = None
    evidence: Evidence = field(default_factory=Evidence)
    bounds: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        return mean_and_deviation(self.mean, self.std)

    @property
    def details(self) -> str:
        """What a table has no room for."""
        parts = []
        if self.evidence.mean:
            covers = "queries alone, one seed" if self.evidence.one_seed else self.evidence.mean.covers
            parts.append("95 % interval over {}: {:.3f} to {:.3f}".format(covers, *self.evidence.mean.ci95))
        if self.evidence.difference and self.evidence.p_holm is not None:
            low, high = self.evidence.difference.ci95
            difference = f"{self.evidence.difference.value:+.3f} ({low:+.3f} to {high:+.3f})"
            parts.append(f"difference to the best: {difference}, corrected p {p_in_words(self.evidence.p_holm, '.3g')}")
        if self.evidence.reason:
            parts.append(f"not tested against the best: {self.evidence.reason}")
        if self.bounds:
            parts.append("ties: between {:.3f} and {:.3f}".format(*self.bounds))
        return "; ".join(parts)


@dataclass(frozen=True)
class Line:
    """One method; ``badges`` say what a reader must know before comparing it; ``cells`` by direction.

    ``seed_averages``: each seed's mean over directions. ``seconds`` of a seed's fits, mean over seeds, choosing
    included; ``memory``: MB, the greatest peak of a fit.
    """

    name: str
    kind: str
    cells: Mapping[str, Cell]
    seeds: int | None = None
    experiment: str = ""
    badges: tuple[str, ...] = ()
    seed_averages: tuple[float, ...] = ()
    seconds: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Block:
    """One protocol and metric, ``key`` in the runs' files; ``sample``: how many queries were asked, in words, where not
    all were.
    """

    protocol: Protocol
    metric: str
    title: str
    options: Mapping[str, object]
    directions: tuple[str, ...]
    lines: tuple[Line, ...] = field(default=())
    higher_is_better: bool = True
    sample: str = ""
    key: str = ""

    @property
    def measure(self) -> dict[str, Any]:
        """What of a run's metrics this is, for `Group.measuring`."""
        return {"key": self.key, "params": self.options, "sample": self.sample}

    @property
    def slug(self) -> str:
        return f"{self.protocol.slug}--{in_file_name(self.metric)}"


def blocks(
    protocols: Iterable[Protocol], rows: Sequence[Row], evidence: Mapping[tuple[Column, str], Evidence]
) -> list[Block]:
    """The blocks of all protocols; ``rows`` are united rows, with the ``evidence`` that `significance.weigh` finds."""
    found = []
    for protocol in protocols:
        groups = {group.key: group for group in protocol.groups}
        own = [row for row in rows if row["group"] in groups]
        for metric in dict.fromkeys(row["metric"] for row in own):
            found.append(_block(protocol, groups, [r for r in own if r["metric"] == metric], evidence))
    return found


def _block(
    protocol: Protocol,
    groups: Mapping[str, Group],
    rows: Sequence[Row],
    evidence: Mapping[tuple[Column, str], Evidence],
) -> Block:
    by_group: dict[str, list[Row]] = {}
    for row in rows:
        by_group.setdefault(row["group"], []).append(row)
    lines = sorted((_line(groups[key], members, evidence) for key, members in by_group.items()), key=_rank(rows[0]))
    chance = {direction(row): Cell(row["chance"]) for row in rows if row["chance"] is not None}
    if chance:
        lines.append(Line("chance", CHANCE, chance))
    metric = rows[0]["metric"]
    directions = tuple(dict.fromkeys(direction(row) for row in rows))
    return Block(
        protocol,
        metric,
        title_of("metrics", rows[0]["plugin"]),
        rows[0]["params"],
        directions,
        tuple(lines),
        higher_is_better(rows[0]),
        rows[0]["sample"],
        rows[0]["key"],
    )


def _rank(row: Row) -> Callable[[Line], tuple[bool, float]]:
    """Sorts lines by their average, best first, and what has none last."""
    sign = -1 if higher_is_better(row) else 1
    return lambda line: (AVERAGE not in line.cells, sign * line.cells[AVERAGE].mean if AVERAGE in line.cells else 0.0)


def metric_options(blocks: Iterable[Block]) -> dict[str, str]:
    """Metric → its title and options in words, and that queries were sampled."""
    found = {}
    for block in blocks:
        options = in_words(block.options)
        sample = f"; a sample of {block.sample} of each direction, not all test queries" if block.sample else ""
        found[block.metric] = (f"{block.title}: {options}" if options else block.title) + sample
    return found


def _line(group: Group, rows: Sequence[Row], evidence: Mapping[tuple[Column, str], Evidence]) -> Line:
    cells = {
        direction(row): Cell(row["mean"], row["std"], evidence[column_of(row), row["group"]], _bounds(row))
        for row in rows
    }
    values = [run.metrics["average"].get(rows[0]["key"]) for run in group.measuring(rows[0])]
    return Line(
        group.name,
        MEASURED,
        cells,
        max(r["seeds"] for r in rows),
        rows[0]["experiment"],
        (*badges(group), *_tied(cells.values()), *notes_of(rows)),
        tuple(value for value in values if value is not None),
        rows[0]["seconds"],
        rows[0]["peak_memory_mb"],
    )


def _tied(cells: Iterable[Cell]) -> list[str]:
    """``ties move it by up to 0.012``: how far the order among equal scores moves a figure of the line."""
    spans = [high - low for cell in cells if cell.bounds for low, high in [cell.bounds]]
    return [f"ties move it by up to {max(spans):.3f}"] if spans else []


def _bounds(row: Row) -> tuple[float, float] | None:
    """Of the figure over all orders of ties, the less first: of a rank that is the optimistic one."""
    found = row["pessimistic"], row["optimistic"]
    if None in found:
        return None
    low, high = sorted(found)
    return (low, high) if high - low > TIES_SHOWN_FROM else None


def badges(group: Group) -> tuple[str, ...]:
    """``transductive`` methods see the test items; features that use labels have seen those of training items.

    ``… highest tried``: a choice at the end of what was tried; a better one may lie beyond.
    Pairs that are drawn within a class tell a method the classes too.
    """
    found = []
    method = group.shown.method["method"]
    if method in registry.names("methods") and registry.info("methods", method).transductive:
        found.append("transductive")
    if any(fit.get("drawn_pairs") for fit in group.shown.fits):
        found.append("pairs drawn within a class")
    for feature in (feature for fit in group.shown.fits for feature in fit["features"]):
        known = feature["extractor"] in registry.names("extractors")
        if known and registry.info("extractors", feature["extractor"]).uses_labels:
            found.append(f"{feature['id']} uses labels")
    return tuple(dict.fromkeys([*found, *choices_at_edge(group.runs)]))
