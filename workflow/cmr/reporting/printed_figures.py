"""Which figures of the page are those that a paper prints, by their numbers, with what the paper says of its curves.

The papers print curves without their values, so what stands beside a figure is the paper's own sentence on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cmr.reporting.figures import VALIDATION, Figure, title_of
from cmr.reporting.protocols import Protocol

WIKIPEDIA, PASCAL = ("wikipedia", "2173_693"), ("pascal_sentence", "600_400")
WITH_VALIDATION = ("wikipedia", "2173_231_462")
PASCAL_WITH_VALIDATION = ("pascal_sentence", "800_100_100")
XMEDIANET = ("xmedianet", "32000_4000_4000")


AVERAGE_GRID = "average grid"


@dataclass(frozen=True)
class Printed:
    """A figure of a paper on one data set and split.

    ``of``: how the names of the page's figures begin (`cmr.reporting.figures.name_of`); ``ending``: how they end, ''
    for any. ``own``: whether it is the paper's method's alone. ``says``: in the paper's words, or what they come to.
    ``on``: the paper's features, where it has several on the data set.
    """

    paper: str
    number: str
    place: tuple[str, str]
    of: str
    says: str
    ending: str = ""
    own: bool = False
    on: str = ""

    @property
    def note(self) -> str:
        on = f", on {self.on}" if self.on else ""
        says = f": {self.says}" if self.says else ""
        return f"{self.number} in print{on}{says}." if on or says else ""


CNN = "Wikipedia-CNN"  # of DLA-CMR's two pairs of features of Wikipedia, the other is SIFT and LDA
CLASSES = (
    "“all the methods achieve well performance on ‘biology’, ‘sport&recreation’ and ‘warfare’ class”, the worst on "
    "‘art&architecture’"
)
PASCAL_CLASSES = "‘plane’, ‘cat’ and ‘train’ have “more discriminative characteristics”"
CURVES = ("precision_recall", "precision_scope")
GRID_2 = "“when the value of α is 0.1, 1, 10, and the value of β is 0.1, 1, 10, 100, SMCR performs better”"

FIGURES = [
    Printed("dla_cmr", "Fig. 3", WIKIPEDIA, "grid", "", own=True, on=CNN),
    *(
        Printed("dla_cmr", f"Fig. 4{letter}", place, "per_class", says, ending, on=on)
        for place, letters, says, on in ((WIKIPEDIA, "ace", CLASSES, CNN), (PASCAL, "bdf", PASCAL_CLASSES, ""))
        for letter, ending in zip(letters, ("image-to-text", "text-to-image", "average"), strict=True)
    ),
    Printed(
        "dla_cmr",
        "Fig. 5",
        WIKIPEDIA,
        "precision_scope",
        "DLA-CMR “outperforms its compared methods”",
        on="SIFT and LDA",
    ),
    Printed(
        "dla_cmr", "Fig. 7a", WIKIPEDIA, "convergence", "the loss “converges within about 120 epoch”", own=True, on=CNN
    ),
    Printed("dla_cmr", "Fig. 7b", PASCAL, "convergence", "the loss converges within about 40 epochs", own=True),
    Printed(
        "gpldan",
        "Fig. 2",
        WITH_VALIDATION,
        "grid",
        "“both higher or lower values of α result in poor performance”; β “contributes slightly”",
        own=True,
    ),
    Printed("gpldan", "Fig. 2", PASCAL_WITH_VALIDATION, "grid", "as on Wikipedia", own=True),
    *(
        Printed("drsl", "Fig. 3", place, kind, "")
        for place in (WITH_VALIDATION, PASCAL_WITH_VALIDATION, ("nus_wide_10k", "8000_1000_1000"), XMEDIANET)
        for kind in CURVES
    ),
    Printed(
        "drsl",
        "Fig. 4a",
        XMEDIANET,
        "convergence",
        "the objective “becomes convergent after about 150 epochs”",
        own=True,
    ),
    Printed(
        "drsl",
        "Fig. 4b",
        WITH_VALIDATION,
        "convergence",
        "the objective “becomes convergent after about” 100 epochs",
        own=True,
    ),
    *(
        Printed("smcr", f"Fig. 2{letter}", ("wikipedia", "2292_574"), "grid", f"{GRID_2}; {best}", ending, own=True)
        for letter, ending, best in (
            ("a", "text-to-image", "best at α = 0.1, β = 0.1"),
            ("b", "image-to-text", "best at “α = 1 and β = −1”, as it is printed"),
            ("c", AVERAGE_GRID, "best at “α = −1 and β = −1”, as it is printed"),
        )
    ),
    *(
        Printed("sdml", number, place, kind, "SDML “outperforms all the compared methods”")
        for number, place in (
            ("Fig. 2", WITH_VALIDATION),
            ("Fig. 3", ("nus_wide", "42941_5000_23661")),
            ("Fig. 4", ("ms_coco", "82081_10000_30137")),
        )
        for kind in CURVES
    ),
    *(
        Printed("sdml", "Fig. 5", place, "grid", "“the best result when λ = 0.5”, low at λ = 1", own=True)
        for place in (("wikipedia", "2173_231"), WITH_VALIDATION)
    ),
    Printed("sdml", "Fig. 6", WITH_VALIDATION, "convergence", "“converges in 100 ∼ 200 epochs”, of 500", own=True),
]


def labelled(protocol: Protocol, figures: Iterable[Figure]) -> Iterator[Figure]:
    """The figures, with the numbers that they have in print in their titles and the papers' words in their notes.

    A figure is a paper's where the protocol has its data set and split, and a run of its method.
    """
    place = (protocol.first.fits[0]["data"]["dataset"], protocol.first.split)
    methods = {group.name: group.shown.method["method"] for group in protocol.groups}
    here = [printed for printed in FIGURES if printed.place == place and printed.paper in methods.values()]
    of_grid = {group.shown.method["id"]: group.shown.method["method"] for group in protocol.groups}
    for figure in figures:
        kind, *rest = figure.name.split("--")
        owner = methods.get(figure.method) if figure.method else next((of_grid[p] for p in rest if p in of_grid), "")
        found = [p for p in here if p.of == kind and _ends(figure, p) and (not p.own or owner == p.paper)]
        yield _with_numbers(figure, found)


def _ends(figure: Figure, printed: Printed) -> bool:
    """No grid of the scores on held-out rows is in print; one of the average ends with its entry's id."""
    last = figure.name.rpartition("--")[2]
    if printed.of == "grid" and last == VALIDATION:
        return False
    if printed.ending == AVERAGE_GRID:
        return "-to-" not in last
    return not printed.ending or last == printed.ending


def _with_numbers(figure: Figure, found: Sequence[Printed]) -> Figure:
    if not found:
        return figure
    numbers = ", ".join(f"{title_of('methods', printed.paper)} {printed.number}" for printed in found)
    says = [printed.note for printed in found if printed.note]
    notes = [f"{figure.note.rstrip('.')}."] if figure.note else []
    return replace(figure, title=f"{figure.title} ({numbers})", note=" ".join([*notes, *says]) if says else figure.note)
