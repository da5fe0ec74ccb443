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
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from matplotlib.typing import RcKeyType

from cmr.reporting.figures import Figure, Series

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
    "font.size": 9,
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
"""The longest name in a drawing, which takes seconds for thousands of letters; the page's own figures show all."""
HEAT = "Blues"


def colour(figure: Figure, series: Series) -> str:
    palette = CLASS_COLOURS if figure.kind == "map" else METHOD_COLOURS
    return palette[series.style % len(palette)]


def dash(series: Series) -> str:
    """Beyond the palette's length the colours come again, in another dash."""
    return DASHES[series.style // len(METHOD_COLOURS) % len(DASHES)]


def pattern(series: Series) -> str:
    """The same for bars."""
    return PATTERNS[series.style // len(METHOD_COLOURS) % len(PATTERNS)]


def marker(series: Series) -> str:
    """Beyond the list's length the markers come again, one place on, so that no colour meets its marker again."""
    return MARKERS[(series.marker + series.marker // len(MARKERS)) % len(MARKERS)]


# Interactive -------------------------------------------------------------------------------------------------------


def plotly(figure: Figure) -> dict[str, Any]:
    """``data`` and ``layout`` for plotly.js. Names are escaped, since plotly reads markup in texts."""
    layout: dict[str, Any] = {
        axis: {"title": {"text": escape(name), "standoff": 8}}
        for axis, name in (("xaxis", figure.x), ("yaxis", figure.y))
    }
    if figure.kind == "heat":
        layout["yaxis"] |= {"autorange": "reversed", "type": "category", "dtick": 1}
        layout["xaxis"] |= {"type": "category"}
        return {"data": [_heat_trace(figure)], "layout": layout}
    if figure.kind == "bars":
        layout["barmode"] = "group"
    if figure.kind == "map":
        layout["yaxis"] |= {"scaleanchor": "x"}
        layout["legend"] = {"itemsizing": "constant"}
    for axis, logarithmic in (("xaxis", figure.log_x), ("yaxis", figure.log_y)):
        if logarithmic:
            ticks = round_numbers(value for series in figure.series for value in getattr(series, axis[0]))
            layout[axis] |= {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return {"data": [_trace(figure, series) for series in figure.series], "layout": layout}


def round_numbers(values: Iterable[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten, from just below the smallest value to just above the largest."""
    found = [value for value in values if value > 0]
    low, high = floor(log10(min(found))), ceil(log10(max(found)))
    return [float(f"{digit}e{power}") for power in range(low, high + 1) for digit in (1, 2, 5)]


def _trace(figure: Figure, series: Series) -> dict[str, Any]:
    shade = colour(figure, series)
    trace: dict[str, Any] = {
        "name": escape(series.name),
        "x": [escape(x) if isinstance(x, str) else x for x in series.x],
        "y": _nullable(series.y),
    }
    if figure.kind == "bars":
        return trace | {"type": "bar", "marker": {"color": shade, "pattern": {"shape": pattern(series)}}}
    trace |= {"type": "scatter", "mode": "lines+markers" if figure.kind == "lines" else "markers"}
    if figure.kind == "lines":
        many = len(series.x) > SHOWN_IN_CELLS
        return trace | {"mode": "lines" if many else "lines+markers", "line": {"color": shade, "dash": dash(series)}}
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


def _heat_trace(figure: Figure) -> dict[str, Any]:
    trace = {
        "type": "heatmap",
        "x": [escape(name) for name in figure.columns],
        "y": [escape(name) for name in figure.rows],
        "z": [_nullable(row) for row in figure.heat],
        "colorscale": [[place / 4, to_hex(colormaps[HEAT](place / 4))] for place in range(5)],
        "xgap": 1,
        "ygap": 1,
    }
    if figure.section == "confusion":  # shares start at 0; the values of a grid lie close together
        trace |= {"zmin": 0, "zmax": max(map(max, figure.heat))}
    if len(figure.rows) <= SHOWN_IN_CELLS:
        trace["texttemplate"] = "%{z:.2f}"
    return trace


def _nullable(values: Iterable[float]) -> list[float | None]:
    """JSON has no NaN."""
    return [value if value == value else None for value in values]


# Static ------------------------------------------------------------------------------------------------------------


def static(figure: Figure) -> dict[str, bytes]:
    """The figure's ``svg`` and ``pdf``; the same bytes for the same figure."""
    with matplotlib.rc_context(STYLE):
        canvas = _canvas(_with_short_names(figure))
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # the layout is found once, not again for each file
        files = {}
        for ending, dates in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=ending, metadata=dates, dpi=150)
            files[ending] = buffer.getvalue()
    return files


def _cut(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def _with_short_names(figure: Figure) -> Figure:
    series = tuple(
        replace(one, name=_cut(one.name), x=[_cut(x) if isinstance(x, str) else x for x in one.x])
        for one in figure.series
    )
    rows, columns = ([*map(_cut, names)] for names in (figure.rows, figure.columns))
    title = figure.title[: 4 * LETTERS]
    return replace(figure, series=series, rows=rows, columns=columns, x=_cut(figure.x), y=_cut(figure.y), title=title)


def _canvas(figure: Figure) -> Canvas:
    canvas = Canvas(figsize=(6.4, 4.2), layout="constrained")
    axes = canvas.add_subplot()
    {"lines": _lines, "bars": _bars, "points": _points, "map": _map, "heat": _heat}[figure.kind](figure, axes)
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)
    axes.set_title(f"{figure.title}\n{figure.protocol}", fontsize=9, loc="left", wrap=True)
    if figure.log_x:
        axes.set_xscale("log")
    if figure.log_y:
        axes.set_yscale("log")
    for axis, logarithmic in ((axes.xaxis, figure.log_x), (axes.yaxis, figure.log_y)):
        if logarithmic:  # plain numbers: the default formatter's are set by the math parser, which names must not meet
            axis.set_major_formatter(LogFormatter())
            axis.set_minor_formatter(LogFormatter())
    handles, names = axes.get_legend_handles_labels()
    if handles:
        canvas.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), fontsize=8)
    return canvas


def _lines(figure: Figure, axes: Axes) -> None:
    for series in figure.series:
        symbol = "o" if len(series.x) <= SHOWN_IN_CELLS else ""
        shade, line = colour(figure, series), LINESTYLES[dash(series)]
        axes.plot(series.x, series.y, label=series.name, markersize=3, color=shade, linestyle=line, marker=symbol)


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
    for series in figure.series:
        error = [e or 0 for e in series.error] if series.error else None
        shade, symbol = colour(figure, series), SYMBOLS[marker(series)]
        axes.errorbar(series.x, series.y, error, label=series.name, linestyle="", capsize=3, color=shade, marker=symbol)


def _map(figure: Figure, axes: Axes) -> None:
    """Points are drawn as pixels: thousands of vector marks would make a heavy file."""
    seen: dict[str, Line2D] = {}
    for series in figure.series:
        shade, symbol = colour(figure, series), SYMBOLS[marker(series)]
        axes.scatter(series.x, series.y, s=12, c=shade, marker=symbol, alpha=0.8, linewidths=0.8, rasterized=True)
        seen.setdefault(series.name, Line2D([], [], color=shade, marker=symbol, linestyle="", markersize=4))
    axes.set_aspect("equal", "datalim")
    axes.figure.legend(seen.values(), seen.keys(), loc="outside right upper", fontsize=7)


def _heat(figure: Figure, axes: Axes) -> None:
    image = axes.imshow(figure.heat, cmap=HEAT, aspect="auto", vmin=0 if figure.section == "confusion" else None)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    _name_ticks(axes, figure.columns, figure.rows)
    axes.grid(False)
    if len(figure.rows) > SHOWN_IN_CELLS or len(figure.columns) > NAMES:
        return
    middle = sum(image.get_clim()) / 2
    for r, row in enumerate(figure.heat):
        for c, value in enumerate(row):
            if value == value:
                shade = "white" if value > middle else "black"
                axes.text(c, r, f"{value:.2f}", ha="center", va="center", fontsize=7, color=shade)


def _name_ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.set_xticks(*_shown(columns), rotation=30, ha="right", fontsize=7)
    axes.set_yticks(*_shown(rows), fontsize=7)


def _shown(names: Sequence[str]) -> tuple[Sequence[int], Sequence[str]]:
    """Places and names of as many as there is room for, at even distances."""
    step = -(-len(names) // NAMES) or 1
    return range(0, len(names), step), names[::step]
