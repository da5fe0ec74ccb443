"""Draws a `Figure` twice: for plotly in the page, and with matplotlib as SVG and PDF."""

import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from math import ceil, floor, log10
from typing import Any

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter
from matplotlib.typing import RcKeyType

from cmr.reporting.figures import NAMED, Figure, Series, nullable

logging.getLogger("fontTools").setLevel(logging.WARNING)  # else dozens of lines for each PDF

# Okabe & Ito, and Tol's muted scheme: both told apart by readers with any colour vision.
METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
CLASS_COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#777777",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot")
MARKERS = ("circle", "x", "square", "diamond", "triangle-up", "cross", "star", "triangle-down")
PATTERNS = ("", "/", "x", ".")
LINESTYLES = dict(zip(DASHES, ("-", "--", ":", "-."), strict=True))
SYMBOLS = dict(zip(MARKERS, ("o", "x", "s", "D", "^", "P", "*", "v"), strict=True))
STYLE: dict[RcKeyType, Any] = {
    "svg.hashsalt": "cmr",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e8ec",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
SHOWN_IN_CELLS = 12
NAMES = 100
"""The most names at an axis; beyond, every second, third … is shown."""
LETTERS = 60
"""The longest name in a drawing as wide as a page: thousands of letters take seconds. Interactive figures show all."""
HEAT = "Blues"
GREY = "#9aa5af"
COLUMN, PAGE = 3.4, 7.0
"""Widths in inches: of one column of a two-column paper, and of both."""

LETTERS_BESIDE = {COLUMN: 14, PAGE: 30}
"""The longest name beside an axis of ranks."""

BAR = 0.09  # inches between the bars of groups
MANY_POWERS = 2  # of ten, along an axis: beyond, 2 and 5 times them have no room
MOST_TICKS = {COLUMN: 5, PAGE: 10}
ROW = 0.16  # inches a name at a side needs at 8 pt
MARKS = 8  # marks along a curve
MAX_ROWS = 30  # of intervals in a file


def colour(figure: Figure, series: Series) -> str:
    palette = CLASS_COLOURS if figure.kind == "map" else METHOD_COLOURS
    return palette[series.style % len(palette)]


def dash(series: Series) -> str:
    """Neighbours differ in their dash; beyond the palette's length the colours come again, each in another dash."""
    return DASHES[(series.style + series.style // len(METHOD_COLOURS)) % len(DASHES)]


def pattern(series: Series) -> str:
    """The same for bars."""
    return PATTERNS[series.style // len(METHOD_COLOURS) % len(PATTERNS)]


def marker(series: Series) -> str:
    """Beyond the list's length the markers come again, one place on, so that no colour meets its marker again."""
    return MARKERS[(series.marker + series.marker // len(MARKERS)) % len(MARKERS)]


# Interactive -------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """As the page's script has it, which looks names up: plotly knows no other entities."""
    return escape(text, quote=False)


def plotly(figure: Figure) -> dict[str, Any]:
    """``data`` and ``layout`` for plotly.js. Names are escaped, since plotly reads markup in texts."""
    layout: dict[str, Any] = {
        axis: {"title": {"text": plain(name), "standoff": 8}}
        for axis, name in (("xaxis", figure.x), ("yaxis", figure.y))
    }
    if figure.kind == "heat":
        layout["yaxis"] |= {"range": [len(figure.rows) - 0.5, -0.5], "type": "category", "dtick": 1}
        layout["xaxis"] |= {"range": [-0.5, len(figure.columns) - 0.5], "type": "category"}
        numbers = [_numbers_in_cells(figure)] if len(figure.rows) <= SHOWN_IN_CELLS else []
        return {"data": [_heat_trace(figure), *numbers], "layout": layout}
    if figure.kind == "intervals":
        rows = [plain(name) for name in figure.rows]
        layout["yaxis"] |= {"tickvals": list(range(len(rows))), "ticktext": rows, "range": [len(rows) - 0.5, -0.5]}
        layout["xaxis"] |= {"range": _reach(figure)}
    if figure.chance is not None:
        layout |= _chance_line(figure)
    if figure.limits:
        layout["yaxis"] |= {"range": list(figure.limits)}
    if figure.kind == "bars":
        layout["barmode"] = "group"
        layout["xaxis"] |= {"type": "category"}  # classes may be called 1, or 2020-01-01
    if figure.kind == "map":
        layout["yaxis"] |= {"scaleanchor": "x"}
        layout["legend"] = {"itemsizing": "constant"}
    if _from_zero(figure):
        layout["xaxis"] |= {"rangemode": "tozero"}
    for axis, logarithmic in (("xaxis", figure.log_x), ("yaxis", figure.log_y)):
        if logarithmic:
            places, names = _ticks(figure, axis[0])
            layout[axis] |= {"type": "log", "tickvals": places, "ticktext": names}
    traces = [_trace(figure, series) for series in figure.series]
    if figure.kind == "lines":
        for trace in traces[NAMED:]:
            trace["visible"] = False  # the page's reader chooses others
    return {"data": traces, "layout": layout}


def _from_zero(figure: Figure) -> bool:
    """Whether what is spent starts at 0: else a few megabytes would look like much."""
    return figure.section == "cost" and not figure.log_x


def _reach(figure: Figure) -> list[float]:
    """From the lowest end of an interval, or chance, to the highest, and a little further: none is at an edge."""
    ends = [] if figure.chance is None else [figure.chance]
    for series in figure.series:
        for x, below, above in zip(series.x, *_errors(series), strict=True):
            ends += [x - below, x + above]
    margin = 0.04 * ((max(ends) - min(ends)) or 1.0)
    return [min(ends) - margin, max(ends) + margin]


def _chance_line(figure: Figure) -> dict[str, Any]:
    along, across = ("x", "y") if figure.kind == "intervals" else ("y", "x")
    line = {f"{along}0": figure.chance, f"{along}1": figure.chance, f"{across}0": 0, f"{across}1": 1}
    shape = {"type": "line", f"{across}ref": "paper", "line": {"color": GREY, "dash": "dash", "width": 1.5}}
    text = {"text": "chance", "showarrow": False, "font": {"color": "#5a6875"}, f"{across}ref": "paper"}
    end, anchor = (1, "right") if across == "x" else (0, "left")  # at the foot of an upright line, beside it
    place = {along: figure.chance, across: end, "xanchor": anchor, "yanchor": "bottom"}
    return {"shapes": [line | shape], "annotations": [text | place]}


def _ticks(figure: Figure, axis: str) -> tuple[list[float], list[str]]:
    """Places and names along an axis of logarithms, ``x`` or ``y``."""
    ticks = round_numbers(value for series in figure.series for value in getattr(series, axis))
    return ticks, [f"{tick:g}" for tick in ticks]


def round_numbers(values: Iterable[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten, from just below the smallest value to just above the largest; over many
    powers these alone, or every second, third …
    """
    found = [value for value in values if value > 0]
    low, high = floor(log10(min(found))), ceil(log10(max(found)))
    if high - low <= MANY_POWERS:
        return [float(f"{digit}e{power}") for power in range(low, high + 1) for digit in (1, 2, 5)]
    return [float(f"1e{power}") for power in range(low, high + 1, ceil((high - low) / (4 * MANY_POWERS)))]


def _trace(figure: Figure, series: Series) -> dict[str, Any]:
    shade = colour(figure, series)
    trace: dict[str, Any] = {
        "name": plain(series.name),
        "x": [plain(x) if isinstance(x, str) else x for x in series.x],
        "y": nullable(series.y),
    }
    if figure.kind == "bars":
        return trace | {"type": "bar", "marker": {"color": shade, "pattern": {"shape": pattern(series)}}}
    trace |= {"type": "scatter", "mode": "lines+markers" if figure.kind == "lines" else "markers"}
    if figure.kind == "lines":
        many = len(series.x) > SHOWN_IN_CELLS
        trace["marker"] = {"symbol": marker(series), "size": 6}
        return trace | {"mode": "lines" if many else "lines+markers", "line": {"color": shade, "dash": dash(series)}}
    if figure.kind == "intervals":
        return trace | _interval_marks(series, shade)
    trace["marker"] = {
        "color": shade,
        "symbol": marker(series),
        "size": 7 if figure.kind == "map" else 12,
        "opacity": 0.85,
    }
    if series.error:
        trace["error_y"] = {"type": "data", "array": [e or 0 for e in series.error], "visible": True}
    if series.items:
        trace |= {"customdata": list(series.items), "hoverinfo": "none"}
    return trace


def _errors(series: Series) -> tuple[list[float], list[float]]:
    """How far its intervals go below and above each value, 0 where there is none."""
    above = series.error or [None] * len(series.x)
    below = series.below or above
    return [error or 0 for error in below], [error or 0 for error in above]


def _interval_marks(series: Series, shade: str) -> dict[str, Any]:
    """Means with their intervals; or single values, small and open, where there is no error."""
    if series.error is None:
        return {"marker": {"color": shade, "symbol": "circle-open", "size": 6}}
    below, above = _errors(series)
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "visible": True}
    return {"marker": {"color": shade, "symbol": marker(series), "size": 9}, "error_x": error}


def _heat_trace(figure: Figure) -> dict[str, Any]:
    trace = {
        "type": "heatmap",
        "x": [plain(name) for name in figure.columns],
        "y": [plain(name) for name in figure.rows],
        "z": [nullable(row) for row in figure.heat],
        "colorscale": [[place / 4, to_hex(colormaps[HEAT](place / 4))] for place in range(5)],
        "xgap": 1,
        "ygap": 1,
    }
    if figure.section == "confusion":
        trace |= dict(zip(("zmin", "zmax"), _ends(figure), strict=True))
    return trace


def _ends(figure: Figure) -> tuple[float, float]:
    """The values of the first and the last shade: shares start at 0, and the values of a grid lie close together."""
    values = [value for row in figure.heat for value in row if value == value]
    return 0 if figure.section == "confusion" else min(values, default=0), max(values, default=0)


def _numbers_in_cells(figure: Figure) -> dict[str, Any]:
    """Plotly's own texts in cells are dark grey where black alone can be read."""
    cells = [(x, y, value) for y, row in enumerate(figure.heat) for x, value in enumerate(row) if value == value]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [plain(figure.columns[x]) for x, _, _ in cells],
        "y": [plain(figure.rows[y]) for _, y, _ in cells],
        "text": [_in_cell(figure, value) for _, _, value in cells],
        "textfont": {"color": [ink(figure, value) for _, _, value in cells]},
        "hoverinfo": "skip",
    }


def _in_cell(figure: Figure, value: float) -> str:
    """The values of a grid differ in their third digit."""
    return f"{value:.3f}" if figure.section == "grids" else f"{value:.2f}"


def ink(figure: Figure, value: float) -> str:
    """Black or white, whichever has more contrast to a value's shade: 4.5 at least (WCAG 2, relative luminance)."""
    low, high = _ends(figure)
    channels = colormaps[HEAT]((value - low) / (high - low) if high > low else 0.0)[:3]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


# Static ------------------------------------------------------------------------------------------------------------


def static(figure: Figure) -> dict[str, bytes]:
    """Ending → file, the same bytes for the same figure: ``pdf`` as wide as a column of a paper, ``wide.pdf`` as wide
    as its page, and ``svg``, which the report shows in print and without script, as wide as it stands there.
    They have no title, which a caption says.
    """
    wide = figure.kind in ("map", "ranks")
    files = {}
    with matplotlib.rc_context(STYLE):
        for width, endings in (
            (COLUMN, ("pdf",) if wide else ("pdf", "svg")),
            (PAGE, ("wide.pdf", "svg") if wide else ("wide.pdf",)),
        ):
            canvas = _canvas(_with_short_names(figure, round(LETTERS * width / PAGE)), width)
            canvas.draw_without_rendering()
            canvas.set_layout_engine("none")  # the layout is found once, not again for each file
            for ending in endings:
                form = ending.rpartition(".")[2]
                buffer = io.BytesIO()
                canvas.savefig(
                    buffer, format=form, metadata={"Date" if form == "svg" else "CreationDate": None}, dpi=150
                )
                files[ending] = buffer.getvalue()
    return files


def _cut(name: str, letters: int = LETTERS) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def _with_short_names(figure: Figure, letters: int) -> Figure:
    series = tuple(
        replace(
            one,
            name=_cut(one.name, LETTERS if figure.kind == "intervals" else letters),
            x=[_cut(x, letters) if isinstance(x, str) else x for x in one.x],
        )
        for one in figure.series
    )
    rows, columns = ([_cut(name, letters) for name in names] for names in (figure.rows, figure.columns))
    return replace(figure, series=series, rows=rows, columns=columns, x=_cut(figure.x), y=_cut(figure.y))


def _canvas(figure: Figure, width: float) -> Canvas:
    if figure.kind == "ranks":
        return _ranks(figure, width)
    canvas = Canvas(figsize=(width, _height(figure, width)), layout="constrained")
    axes = canvas.add_subplot()
    draw = {"lines": _lines, "bars": _bars, "points": _points, "map": _map, "heat": _heat, "intervals": _intervals}
    draw[figure.kind](figure, axes)
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)
    if figure.chance is not None:
        line = axes.axvline if figure.kind == "intervals" else axes.axhline
        line(figure.chance, color=GREY, linestyle=(0, (5, 3)), linewidth=1, zorder=1, label="chance")
    if figure.limits:
        axes.set_ylim(figure.limits)
    if _from_zero(figure):
        axes.set_xlim(0, 1.05 * axes.dataLim.xmax)
    if figure.log_x:
        axes.set_xscale("log")
    if figure.log_y:
        axes.set_yscale("log")
    for axis, logarithmic in ((axes.xaxis, figure.log_x), (axes.yaxis, figure.log_y)):
        if logarithmic:  # plain numbers: the default formatter's are set by the math parser, which names must not meet
            places, names = _ticks(figure, axis.axis_name)
            axis.set_major_locator(FixedLocator(places))
            axis.set_major_formatter(FixedFormatter(names))
            axis.set_minor_formatter(NullFormatter())
    _legend(figure, axes, width)
    return canvas


def _height(figure: Figure, width: float) -> float:
    """In inches: what the plot needs, and its legend below it."""
    if figure.kind in ("intervals", "heat"):
        rows = figure.rows[: MAX_ROWS if figure.kind == "intervals" else NAMES]
        plot = max(0.35 * width, ROW * len(rows)) + (0.6 if figure.kind == "intervals" else 1.2)
    else:
        plot = (0.9 if figure.kind == "map" else 0.75 if width == COLUMN else 0.5) * width
    names = dict.fromkeys(series.name for series in figure.series[: None if figure.kind == "map" else NAMED + 1])
    beside = figure.kind == "map" and width == PAGE
    return plot if beside else plot + ROW * ceil((len(names) + 1) / _legend_columns(names, width))


def _legend_columns(names: Iterable[str], width: float) -> int:
    """As many as letters of 8 pt allow, four at most."""
    longest = max((len(name) for name in names), default=0) + 6
    return max(1, min(4, int(width * 14 / longest)))


def _legend(figure: Figure, axes: Axes, width: float) -> None:
    """Below the figure; a map's at its side where the page is wide."""
    handles, names = axes.get_legend_handles_labels()
    first = {name: handle for handle, name in zip(handles, names, strict=True)}
    if not first:
        return
    if figure.kind == "map" and width == PAGE:
        axes.figure.legend(first.values(), first.keys(), loc="outside right upper")
    else:
        columns = _legend_columns(first, width)
        axes.figure.legend(first.values(), first.keys(), loc="outside lower center", ncols=columns)


def _lines(figure: Figure, axes: Axes) -> None:
    named, others = figure.series[:NAMED], figure.series[NAMED:]
    for number, series in enumerate(others):
        label = f"{len(others)} others" if number == 0 else None
        axes.plot(series.x, series.y, label=label, color="#cfd6dd", linewidth=0.6, zorder=1)
    for series in named:
        shade, line, symbol = colour(figure, series), LINESTYLES[dash(series)], SYMBOLS[marker(series)]
        every = max(1, len(series.x) // MARKS)
        axes.plot(series.x, series.y, label=series.name, color=shade, linestyle=line, marker=symbol, markevery=every)


def _bars(figure: Figure, axes: Axes) -> None:
    width = 0.8 / max(1, len(figure.series))
    for number, series in enumerate(figure.series):
        places = [place - 0.4 + width * (number + 0.5) for place in range(len(series.x))]
        shade, hatch = colour(figure, series), pattern(series) * 3
        axes.bar(places, series.y, width, label=series.name, color=shade, hatch=hatch, edgecolor="white", linewidth=0)
    names = figure.series[0].x if figure.series else []
    axes.set_xticks(*_shown(names), rotation=30, ha="right")
    axes.grid(False, axis="x")


def _points(figure: Figure, axes: Axes) -> None:
    named, others = figure.series[:NAMED], figure.series[NAMED:]
    if others:
        x, y = ([value for series in others for value in getattr(series, axis)] for axis in "xy")
        axes.plot(x, y, label=f"{len(others)} others", linestyle="", marker=".", color="#b9c3cc")
    for series in named:
        error = [e or 0 for e in series.error] if series.error else None
        shade, symbol = colour(figure, series), SYMBOLS[marker(series)]
        axes.errorbar(series.x, series.y, error, label=series.name, linestyle="", capsize=2, color=shade, marker=symbol)


def _intervals(figure: Figure, axes: Axes) -> None:
    rows = figure.rows[:MAX_ROWS]
    for series in figure.series:
        shade = colour(figure, series)
        kept = [place for place, row in enumerate(series.y) if row < len(rows)]
        x, y = ([values[place] for place in kept] for values in (series.x, series.y))
        if series.error is None:
            axes.plot(
                x, y, label=series.name, linestyle="", marker="o", markersize=2.5, mfc="none", mew=0.6, color=shade
            )
        elif kept:
            error = [[values[place] for place in kept] for values in _errors(series)]
            symbol = SYMBOLS[marker(series)]
            axes.errorbar(x, y, xerr=error, label=series.name, linestyle="", capsize=2, color=shade, marker=symbol)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _ranks(figure: Figure, width: float) -> Canvas:
    """A critical-difference diagram, in inches from the top: the axis, bars of groups, then names on both sides."""
    names, ranks = [_cut(name, LETTERS_BESIDE[width]) for name in figure.rows], figure.series[0].x
    left = -(-len(names) // 2)
    margin = 0.15 + max(_inches(f"{name} {rank:.2f}") for name, rank in zip(names, ranks, strict=True))
    low, high = 1.0, max(2.0, float(ceil(max(ranks))))
    lanes = [lane * BAR for lane in range(1, 1 + len(figure.groups))]
    top, first = (0.75 if figure.critical else 0.4), 0.15 + BAR * len(figure.groups)
    height = top + first + ROW * left
    canvas = Canvas(figsize=(width, height))
    axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height - top, -top))
    axes.axis("off")

    def at(rank: float) -> float:
        return margin + (rank - low) / (high - low) * (width - 2 * margin)

    def line(x: Sequence[float], y: Sequence[float], thick: float = 0.8, shade: str = "black") -> None:
        axes.plot(x, y, color=shade, linewidth=thick, solid_capstyle="butt")

    line([at(low), at(high)], [0, 0])
    step = ceil((high - low) / MOST_TICKS[width])
    for tick in range(int(low), int(high) + 1, step):
        line([at(tick)] * 2, [0, -0.06])
        axes.text(at(tick), -0.09, str(tick), ha="center", va="bottom")
    if figure.critical:
        if low + figure.critical <= high:
            line([at(low), at(low + figure.critical)], [-0.42, -0.42], 1.2)
            for end in (low, low + figure.critical):
                line([at(end)] * 2, [-0.39, -0.45])
        axes.text(at(low), -0.48, f"critical difference {figure.critical:.2f}", va="bottom")
    for lane, (start, end) in zip(lanes, figure.groups, strict=True):
        line([at(ranks[start]) - 0.03, at(ranks[end]) + 0.03], [lane, lane], 3, METHOD_COLOURS[0])
    for place, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        on_left = place < left
        y = first + ROW * (place if on_left else len(names) - 1 - place)
        edge = margin if on_left else width - margin
        line([at(rank), at(rank), edge], [0, y, y])
        text = f"{name} {rank:.2f}" if on_left else f"{rank:.2f} {name}"
        axes.text(edge + (-0.04 if on_left else 0.04), y, text, ha="right" if on_left else "left", va="center")
    return canvas


def _inches(text: str) -> float:
    """How wide a text is at 8 pt."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=8), ismath=False)
    return float(width) / 72


def _map(figure: Figure, axes: Axes) -> None:
    """Points are drawn as pixels: thousands of vector marks would make a heavy file."""
    for series in figure.series:
        shade, symbol = colour(figure, series), SYMBOLS[marker(series)]
        marks = axes.scatter(
            series.x, series.y, s=9, c=shade, marker=symbol, alpha=0.8, linewidths=0.8, rasterized=True
        )
        marks.set_label(series.name)
    axes.set_aspect("equal", "datalim")


def _heat(figure: Figure, axes: Axes) -> None:
    image = axes.imshow(figure.heat, cmap=HEAT, aspect="auto", vmin=0 if figure.section == "confusion" else None)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_xticks(*_shown(figure.columns), rotation=45, ha="right")
    axes.set_yticks(*_shown(figure.rows))
    axes.grid(False)
    if len(figure.columns) > SHOWN_IN_CELLS * axes.figure.bbox.width / axes.figure.dpi / PAGE:
        return
    for r, row in enumerate(figure.heat):
        for c, value in enumerate(row):
            if value == value:
                axes.text(c, r, _in_cell(figure, value), ha="center", va="center", fontsize=7, color=ink(figure, value))


def _shown(names: Sequence[str]) -> tuple[Sequence[int], Sequence[str]]:
    """Places and names of as many as there is room for, at even distances."""
    step = -(-len(names) // NAMES) or 1
    return range(0, len(names), step), names[::step]
