"""Figures that papers print, beside what was measured on the same data set and split by the same method.

``resources/published`` has a file a paper, named after its method, with a row a printed number: paper, table, dataset,
split, features, method, params, query, gallery, metric, value, note. ``method`` is a plug-in, with what the paper
changed in words; ``params`` says the same in the plug-in's parameters (and ``dictionary``), with ``|`` between the
values that a paper may mean. ``features`` joins plug-ins, ready features and the names in `FEATURES` by ``+``. A note
that begins with ``misprint`` marks a number that contradicts another of its paper. No printed number enters a choice or
a measurement.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from cmr import project, registry
from cmr.errors import UserError
from cmr.recorded import features_of
from cmr.reporting import costs
from cmr.reporting.collect import Row, direction
from cmr.reporting.figures import title_of
from cmr.reporting.headline import Cell
from cmr.reporting.protocols import Group, Protocol, parameters
from cmr.reporting.runs import Run

FOLDER = project.path("resources/published")
COLUMNS = [
    "paper",
    "table",
    "dataset",
    "split",
    "features",
    "method",
    "params",
    "query",
    "gallery",
    "metric",
    "value",
    "note",
]

MISPRINT, QUOTED = "misprint", "quoted"

FEATURES: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "bert_large": (
        "bert",
        {"model": tuple(f"{owner}bert-large-{c}cased" for owner in ("", "google-bert/") for c in ("", "un"))},
    ),
    "bow_3000": ("bow", {"vocabulary": (3000,)}),
    "bow_5000": ("bow", {"vocabulary": (5000,)}),
    "bow_6500": ("bow", {"vocabulary": (6500,)}),
    "doc2vec": ("doc2vec", {"dimensions": (300,)}),
    "lda": ("lda", {"topics": (10,)}),
    "lda_100": ("lda", {"topics": (100,)}),
    "lda_1000": ("lda", {"topics": (1000,)}),
    "vgg_4096": ("vgg", {}),
}
"""Printed features that a plug-in's name does not say all of → the extractor, or the ready features' name, and what
an extractor's parameters may be. SMCR says neither which VGG its 4,096 numbers are of nor which layer, so no extractor
is the same."""

Quote = dict[str, str]


def read(folder: Path = FOLDER) -> list[Quote]:
    """The rows of every paper, in the order of the files' names. Raises `UserError` where there are none."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UserError(f"{folder}: no printed figures, expected CSV files; {project.REMEDY}")
    return [quote for file in files for quote in project.rows(file, COLUMNS)]


def readings_of(quote: Quote) -> list[dict[str, Any]]:
    """``alpha: 1 | alpha: 0.1`` as dictionaries, one for each of the values that may be meant."""
    return [yaml.safe_load(f"{{{reading}}}") for reading in quote["params"].split("|")]


def plugin_of(quote: Quote) -> str:
    """``dla_cmr without triplet ranking`` → ``dla_cmr``."""
    return quote["method"].partition(" ")[0]


def is_cost(quote: Quote) -> bool:
    """Whether a printed number is a time or memory, of no direction."""
    return not quote["gallery"]


@dataclass(frozen=True)
class Line:
    """A printed number beside a measured one, ``row`` of ``group``, or the ``reason`` why there is none."""

    quote: Quote
    row: Row | None = None
    group: Group | None = None
    reason: str = ""

    @property
    def method(self) -> str:
        plugin, _, variant = self.quote["method"].partition(" ")
        return f"{title_of('methods', plugin)} {variant}".strip()

    @property
    def direction(self) -> str:
        return direction(self.quote) if self.quote["gallery"] else self.quote["query"]

    @property
    def measured(self) -> str:
        return "" if self.row is None else Cell(self.row["mean"], self.row["std"]).text

    @property
    def difference(self) -> str:
        """Empty of times and memory, which are those of another machine."""
        if self.row is None or is_cost(self.quote):
            return ""
        return f"{self.row['mean'] - float(self.quote['value']):+.3f}"

    @property
    def features(self) -> str:
        """Of the measured run; beside times and memory, the processor too, or the GPU."""
        if self.group is None:
            return ""
        run = self.group.shown
        return f"{inputs_of(run)}, {costs.processor_of(run.fits[0])}" if is_cost(self.quote) else inputs_of(run)

    @property
    def same_features(self) -> bool:
        return self.group is not None and same_features(self.group.shown, self.quote["features"])

    @property
    def misprint(self) -> bool:
        return self.quote["note"].startswith(MISPRINT)

    @property
    def quoted(self) -> bool:
        """Whether the method cannot be run here."""
        return self.reason.startswith(QUOTED)


@dataclass(frozen=True)
class Table:
    """What one printed table says of one data set with one set of features."""

    lines: tuple[Line, ...]

    @property
    def first(self) -> Quote:
        return self.lines[0].quote

    @property
    def title(self) -> str:
        """``DLA-CMR, Table 2: Wikipedia, 2173_693``."""
        paper, data = title_of("methods", self.first["paper"]), title_of("datasets", self.first["dataset"])
        return f"{paper}, {self.first['table']}: {data}, {self.first['split']}"

    @property
    def slug(self) -> str:
        parts = (self.first[key] for key in ("paper", "table", "dataset", "features"))
        return "--".join(["published", *parts]).replace(" ", "-").lower()

    @property
    def numbers(self) -> int:
        return len({id(line.quote) for line in self.lines})

    @property
    def measured_numbers(self) -> int:
        """How many of the printed numbers have a measured one beside them."""
        return len({id(line.quote) for line in self.lines if line.row is not None})

    @property
    def notes(self) -> dict[tuple[str, str], list[str]]:
        """Method and note, or why it is quoted → the directions that it is about."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for line in self.lines:
            for note in (line.quote["note"], line.reason if line.quoted else ""):
                if note:
                    found.setdefault((line.method, note), {})[line.direction] = None
        every = len(self.directions)
        return {key: list(directions) if len(directions) < every else [] for key, directions in found.items()}

    @cached_property
    def reason(self) -> str:
        """The one reason why nothing was measured, where there is one for all methods that are not quoted."""
        reasons = {line.reason for line in self.lines if not line.quoted}
        return reasons.pop() if len(reasons) == 1 else ""

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(line.quote["metric"] for line in self.lines))

    @property
    def directions(self) -> list[str]:
        return list(dict.fromkeys(line.direction for line in self.lines))

    @property
    def rows(self) -> list[dict[str, Line]]:
        """Direction → line, a row for each method, metric and group of runs."""
        found: dict[tuple, dict[str, Line]] = {}
        for line in self.lines:
            key = (line.method, line.quote["metric"], line.group and line.group.key)
            found.setdefault(key, {})[line.direction] = line
        return list(found.values())


def compare(quotes: Sequence[Quote], protocols: Iterable[Protocol], rows: Iterable[Row]) -> list[Table]:
    """The tables on data sets of the report, and those of papers whose method it has; measured ones first.

    A measured value stands beside a printed one where data set, split, method, metric and direction agree. Of the
    parameters, those count that tell the paper's variants apart (see `_agrees`). Features may differ: both are named.
    """
    groups = [(protocol, group) for protocol in protocols for group in protocol.groups]
    datasets = {protocol.first.fits[0]["data"]["dataset"] for protocol, _ in groups}
    methods = {group.shown.method["method"] for _, group in groups}
    telling = _telling_keys(quotes)
    by_group: dict[str, list[Row]] = {}
    for row in rows:
        by_group.setdefault(row["group"], []).append(row)
    tables: dict[tuple, list[Line]] = {}
    for quote in quotes:
        if quote["dataset"] in datasets or quote["paper"] in methods:
            key = tuple(quote[k] for k in ("paper", "table", "dataset", "split", "features"))
            tables.setdefault(key, []).extend(_lines(quote, groups, by_group, telling[plugin_of(quote)]))
    return sorted((Table(tuple(lines)) for lines in tables.values()), key=lambda table: not table.measured_numbers)


def _telling_keys(quotes: Iterable[Quote]) -> dict[str, set[str]]:
    """Plug-in → the parameters that any printed number of it names."""
    keys: dict[str, set[str]] = {}
    for quote in quotes:
        keys.setdefault(plugin_of(quote), set()).update(*([] if is_cost(quote) else readings_of(quote)))
    return keys


def _lines(
    quote: Quote, groups: Iterable[tuple[Protocol, Group]], rows: Mapping[str, list[Row]], telling: set[str]
) -> list[Line]:
    """One line a group of runs that agrees with the printed number, or one with the reason why there is none."""
    plugin = plugin_of(quote)
    if plugin in registry.names("methods") and registry.info("methods", plugin).implementation == "quoted":
        return [Line(quote, reason=f"{QUOTED}: {registry.info('methods', plugin).reason}")]
    on_data = [g for p, g in groups if _place(p.first) == (quote["dataset"], quote["split"])]
    if not on_data:
        return [Line(quote, reason=_absence(quote, {_place(p.first)[0] for p, _ in groups}))]
    if quote["method"].endswith(f" {costs.JOINT}"):
        return [Line(quote, reason="one fit of all modalities together, which no fit here is")]
    if is_cost(quote):
        on_data = [g for g in on_data if not g.shown.method["tune"]]
        telling = telling.union(*readings_of(quote))
    agreeing = [g for g in on_data if g.shown.method["method"] == plugin and _agrees(g.shown, quote, telling)]
    if not agreeing:
        return [Line(quote, reason=f"not run with {quote['params']}" if quote["params"] else "not run")]
    if is_cost(quote):
        spent = [Line(quote, row, g) for g in agreeing if (row := _cost_row(g, quote))]
        return spent or [Line(quote, reason="not recorded: no GPU was used")]
    lines = [Line(quote, row, g) for g in agreeing for row in rows[g.key] if _same_number(row, quote)]
    return lines or [Line(quote, reason=f"{quote['metric']} was not computed")]


def _cost_row(group: Group, quote: Quote) -> Row | None:
    """Mean and deviation over seeds of a time or of memory; None where a run has none."""
    strategy = quote["method"].partition(" ")[2]
    found = [costs.cost(run, quote["metric"], quote["query"], strategy) for run in group.runs]
    if not found or None in found:
        return None
    values = [value for value in found if value is not None]
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None, "seeds": len(values)}


def _place(run: Run) -> tuple[str, str]:
    return run.fits[0]["data"]["dataset"], run.split


def _absence(quote: Quote, datasets: Container[str]) -> str:
    if quote["dataset"] in datasets:
        return f"no run on the split {quote['split']}"
    info = registry.info("datasets", quote["dataset"])
    return f"no run on {info.title}; source: {info.source}; {info.licence}"


def _agrees(run: Run, quote: Quote, telling: Iterable[str]) -> bool:
    """Whether a run is of the printed variant.

    Each of the ``telling`` parameters has the printed value, or the plug-in's default where the row does not name it.
    For a parameter that is tuned, that value is among those chosen from. One of the row's readings is enough.
    """
    method, dictionary = run.method, run.fits[0]["dictionary"]
    values = parameters("methods", method) | {"dictionary": dictionary and dictionary["dictionary"]}
    defaults = parameters("methods", method | {"params": {}}) | {"dictionary": None}
    readings = [defaults | reading for reading in readings_of(quote)]
    return any(all(r[key] in method["tune"].get(key, [values[key]]) for key in telling) for r in readings)


def _same_number(row: Row, quote: Quote) -> bool:
    """The printed metrics are mAP at a cut, divided by the relevant items inside the cut, of all test queries."""
    cut = quote["metric"].removeprefix("map@")
    options = {"at": None if cut == "all" else int(cut), "normalise": "retrieved"}
    same_direction = (row["query"], row["gallery"]) == (quote["query"], quote["gallery"])
    same_metric = (row["plugin"], row["params"]) == ("mean_average_precision", options)
    return same_direction and same_metric and not row["sample"]


def inputs_of(run: Run) -> str:
    """``sift+lda``: ready features by their names, others by their extractors' titles."""
    return "+".join(
        _ready_name(f) if f["extractor"] == "ready" else title_of("extractors", f["extractor"])
        for f in features_of(run.fits)
    )


def same_features(run: Run, printed: str) -> bool:
    """Whether a run has taken the ``printed`` features, in whatever order: one of its own is each of them."""
    features, names = features_of(run.fits), printed.split("+")
    orders = permutations(features) if len(features) == len(names) else ()
    return any(all(map(_is_printed, order, names)) for order in orders)


def _is_printed(feature: Mapping[str, Any], name: str) -> bool:
    """Ready features are what their name says; those of an extractor what plug-in and parameters say."""
    plugin, wanted = FEATURES.get(name, (name, {}))
    if feature["extractor"] == "ready":
        return _ready_name(feature) in (name, plugin)
    values = parameters("extractors", feature)
    return feature["extractor"] == plugin and all(values[key] in allowed for key, allowed in wanted.items())


def _ready_name(feature: Mapping[str, Any]) -> str:
    return feature["params"].get("name") or feature["id"]
