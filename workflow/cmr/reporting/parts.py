"""What the page's script reads, in parts: one a protocol, one a data set. They stand in the page, or beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2.utils import htmlsafe_json_dumps

from cmr.reporting import drawing, gallery, versus
from cmr.reporting.figures import Figure
from cmr.reporting.gallery import Catalogue
from cmr.reporting.protocols import Protocol

JSON = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}


@dataclass(frozen=True)
class Part:
    """``name``: the stem of its file beside the page. ``key``: what the script asks for, a protocol or a data set."""

    name: str
    key: str
    value: Any

    @cached_property
    def text(self) -> str:
        """JSON that can stand in a script element."""
        return str(htmlsafe_json_dumps(self.value, json.dumps, **JSON))

    @property
    def file(self) -> str:
        return f"{self.name}.js"

    @property
    def script(self) -> str:
        """What its file beside the page holds. A page that is read from disk may run a file, and not fetch it."""
        return f"receive({json.dumps(self.key)},{self.text});\n"


def parts(
    compared: Sequence[Protocol],
    figures: Mapping[str, Sequence[Figure]],
    catalogues: Mapping[str, Catalogue],
    room: int,
) -> list[Part]:
    """Plots, galleries and comparisons of each protocol; then the items that they name by number, with thumbnails of at
    most ``room`` bytes a data set.
    """
    found = [_of_protocol(p, figures[p.key], catalogues[p.first.data]) for p in compared]
    return found + [_of_data(name, catalogue, room) for name, catalogue in catalogues.items()]


def _of_protocol(protocol: Protocol, figures: Sequence[Figure], catalogue: Catalogue) -> Part:
    shown = gallery.of_protocol(protocol, catalogue)
    value = {
        "data": protocol.first.data,
        "plots": {figure.name: _plot(figure, catalogue) for figure in figures},
        "gallery": shown,
        "versus": versus.of_protocol(protocol, [[*d["queries"]] for d in shown["directions"]], catalogue),
    }
    return Part(f"protocol--{protocol.slug}", protocol.key, value)


def _of_data(name: str, catalogue: Catalogue, room: int) -> Part:
    return Part(f"items--{name}", name, catalogue.columns() | {"thumbnails": catalogue.thumbnails(room)})


def _plot(figure: Figure, catalogue: Catalogue) -> dict[str, Any]:
    plot = drawing.plotly(figure)
    for trace in plot["data"]:
        if "customdata" in trace:
            trace["customdata"] = [catalogue.number(item) for item in trace["customdata"]]
    return plot
