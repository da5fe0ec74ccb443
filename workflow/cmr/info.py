"""What a plug-in says of itself, in the constant ``INFO`` of its file."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from cmr.params import Modality

VECTOR, SET, BOTH = "vector", "set", "both"
IN_WORDS = {VECTOR: "a vector", SET: "a set", BOTH: "a vector and a set"}
"""What a feature may give of an item, and what a method may take."""


class Info(BaseModel):
    """What every plug-in says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    paper: str = ""
    bibtex: str = ""


class DatasetInfo(Info):
    """``splits``: name → what it is; the first is the default. ``files``: parameters that name files of the user's.

    ``raw``: the folder of its raw files in the cache's ``datasets``, '' where it needs none. ``items`` and ``classes``
    are for the reader, not for code.
    """

    modalities: tuple[Modality, ...]
    splits: dict[str, str]
    items: str
    classes: str
    licence: str
    source: str
    files: tuple[str, ...] = ()
    raw: str = ""


class ExtractorInfo(Info):
    """``fixed``: depends on the item alone. ``fitted``: fitted on the training rows of a split.

    ``gives``: of each item a vector, a set of vectors, or a sequence, a set whose order counts; ``any``: what its
    parameter ``gives`` says. ``weights``: `fetch` has something to bring. ``files``: parameters that name files of the
    user's.
    """

    modality: Modality
    kind: Literal["fixed", "fitted"]
    gives: Literal["vector", "set", "sequence", "any"] = "vector"
    weights: bool = False
    files: tuple[str, ...] = ()
    uses_labels: bool = False
    gpu: bool = False


class DictionaryInfo(Info):
    modalities: Literal[1, 2, "any"]
    stochastic: bool
    gpu: bool = False


class MethodInfo(Info):
    """``implementation``: where the code is from; a quoted method cannot be run, for the ``reason``.

    ``takes``: what it may be given of a modality: a vector of each item, a set (or sequence) of vectors, or both.
    ``pairs``: whether row i of each modality has to be one item; else each modality has rows of its own.
    ``chooses``: parameters that ``fit`` itself chooses on validation rows, such as the epoch.
    ``memory``: what of the training rows ``fit`` holds: a block or a batch at a time, so that it gets
    `cmr.vectors.Vectors` where they are many; all rows; or numbers of pairs of rows, n².
    """

    implementation: Literal["library", "own", "quoted"]
    reason: str = ""
    modalities: Literal[1, 2, "any"]
    takes: tuple[Literal["vector", "set", "both"], ...] = ("vector",)
    labels: bool
    pairs: bool = True
    stochastic: bool
    transductive: bool = False
    gpu: bool = False
    chooses: tuple[str, ...] = ()
    memory: Literal["block of rows", "all rows", "pairs of rows"] = "all rows"


class MetricInfo(Info):
    """``gives``: one number a query, a curve over ``x``, or one number of the whole gallery.

    ``paired``: about the query's own pair in the gallery, not about labels.
    """

    gives: Literal["number", "curve", "gallery"]
    paired: bool = False
    range: str
    higher_is_better: bool = True
    x: str = ""
    y: str = ""
