"""The headline table as text for a terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from cmr.errors import one_line
from cmr.reporting.collect import Row, best_of, direction, higher_is_better, mean_and_deviation, notes_of

PROTOCOL = ("dataset", "split", "inputs", "metric")


def table(rows: Iterable[Row]) -> str:
    """Methods × directions, mean ± standard deviation over seeds, with chance below, for one protocol after the other.

    The best average comes first, and a star marks the best of each column. Beside them the wall time of a seed's fits,
    choosing included, and the greatest peak memory of a fit. Below them the choices that lie at the end of what was
    tried, and notes of the evaluation. Protocols with the same directions share the heading and the columns' widths.

    The rows are those of `cmr.reporting.collect.Collection.united_rows`.
    """
    alike: dict[tuple[str, ...], dict[tuple[str, ...], list[Row]]] = {}
    for key, found in blocks(rows).items():
        alike.setdefault(directions(found), {})[key] = found
    return "\n\n".join(_aligned(members) for members in alike.values())


def headline(rows: Sequence[Row]) -> list[Row]:
    """The rows of each protocol's first metric."""
    first: dict[tuple[str, ...], str] = {}
    return [
        row for row in rows if first.setdefault(tuple(row[key] for key in PROTOCOL[:3]), row["metric"]) == row["metric"]
    ]


def blocks(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Data set, split, inputs and metric → rows."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in PROTOCOL), []).append(row)
    return found


def directions(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(direction, rows)))


def cell(row: Row | None) -> str:
    """``0.571 ± 0.004``; without the deviation where there is one seed."""
    return "–" if row is None else mean_and_deviation(row["mean"], row["std"])


def labels(rows: Iterable[Row]) -> dict[str, str]:
    """Group of seeds → name to show: the entry's id, with the digest of its parameters where ids are shared."""
    rows = list(rows)
    groups = {row["group"]: row["id"] for row in rows}
    shared = {name for name in groups.values() if list(groups.values()).count(name) > 1}
    return {group: group.rsplit("/", 1)[1] if name in shared else name for group, name in groups.items()}


def _aligned(found: Mapping[tuple[str, ...], list[Row]]) -> str:
    """Blocks below one heading."""
    cells = {key: block_rows(rows, "{}*".format) for key, rows in found.items()}
    everything = [line for lines in cells.values() for line in lines]
    widths = [max(len(one_line(cell)) for cell in column) for column in zip(*everything, strict=True)]
    text: list[str] = []
    for key, (head, *lines) in cells.items():
        title = one_line(" · ".join(key))
        text += [*([] if text else [_line(head, widths)]), title, *(_line(line, widths) for line in lines)]
        text += map(one_line, [*_at_edge(found[key]), *(f"note: {note}" for note in notes_of(found[key]))])
    return "\n".join(text)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(one_line(value).ljust(width) for value, width in zip(cells, widths, strict=True)).rstrip()


def _at_edge(rows: list[Row]) -> Iterable[str]:
    """A line a method whose choices lie at the end of what was tried."""
    name_of = labels(rows)
    return {
        row["group"]: f"at edge: {name_of[row['group']]}: {row['at_edge']}" for row in rows if row["at_edge"]
    }.values()


def block_rows(
    rows: list[Row], best: Callable[[str], str], column: Callable[[Row], str] = direction
) -> list[list[str]]:
    """The cells of a block: heading, a line a method, and chance. ``best`` marks the best of a column.

    Each is marked where several are equal. ``column``: names the column of a row. Methods are sorted by the average, or
    else by the last column.
    """
    columns = tuple(dict.fromkeys(map(column, rows)))
    cells = {(row["group"], column(row)): row for row in rows}
    marked = {id(row) for name in columns for row in best_of([row for row in rows if column(row) == name])}
    cost = {row["group"]: [f"{row['seconds']:.1f} s", f"{row['peak_memory_mb']:.0f} MB"] for row in rows}
    name_of = labels(rows)
    lines = [["method", *columns, "fit", "memory"]]
    for group in sorted(name_of, key=lambda group: _rank(cells.get((group, columns[-1])))):
        found = [cells.get((group, name)) for name in columns]
        shown = [best(cell(row)) if id(row) in marked else cell(row) for row in found]
        lines += [[name_of[group], *shown, *cost[group]]]
    return [*lines, ["chance", *(_chance(row for row in rows if column(row) == name) for name in columns), "", ""]]


def _rank(row: Row | None) -> tuple[bool, float]:
    """Sorts by value, best first, and what has none last."""
    return (True, 0.0) if row is None else (False, -row["mean"] if higher_is_better(row) else row["mean"])


def _chance(rows: Iterable[Row]) -> str:
    known = sorted(row["chance"] for row in rows if row["chance"] is not None)
    return " to ".join(dict.fromkeys(f"{chance:.3f}" for chance in known)) or "–"
