"""The contract of a feature extractor.

An extractor is one file in this folder with ``INFO`` (see `cmr.info.ExtractorInfo`), ``Params`` and one
subclass of `Extractor`. It turns the content of items (paths of pictures or sounds, or texts) into vectors, or into
sets of vectors: ``Extractor[Path]`` or ``Extractor[str]``.

*fixed* extractors depend on the item alone: they are computed once a data set and override `transform` only.
*fitted* ones see the training rows of a split first: they override `fit`, `state` and `load_state` too.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from cmr.data import Items
from cmr.params import Params
from cmr.sets import Sets
from cmr.store import Rows


class Source(Protocol):
    """What an extractor needs of a data set (`cmr.datasets.base.Dataset`)."""

    def contents(self, items: Items, modality: str) -> list[Any]: ...

    def features(self, modality: str, name: str) -> Rows: ...


Content = TypeVar("Content")
"""What one item is to an extractor: the `Path` of a file, a text (`str`), or a vector that is ready."""


@dataclass(frozen=True)
class Gap:
    """Something that features leave out: of ``count`` of ``of`` contents it is true that ``what``.

    ``remedy`` is for who chooses the extractor: a finished run, with its own, is past it.
    """

    count: int
    of: int
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.count:,} of {self.of:,} {self.what}"

    def with_remedy(self) -> str:
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class Extractor(ABC, Generic[Content]):
    """``cache`` keeps weights; ``device`` is a resolved torch device name; ``threads`` the job's cores."""

    def __init__(self, params: Params, cache: Path, device: str = "cpu", threads: int = 1):
        self.params = params
        self.cache = Path(cache)
        self.device = device
        self.threads = threads

    def fetch(self) -> dict[str, Any]:
        """Brings the weights into the cache (a local rule runs it) and says what they are: name, sha256, source.

        Idempotent and quick when they are there. Raises `UserError` that says how to place the file where it
        cannot be downloaded. Extractors without weights return {}.
        """
        return {}

    def contents(self, dataset: Source, items: Items, modality: str) -> Sequence[Content]:
        """What the other methods take, for each item that has ``modality``, in the items' order."""
        return dataset.contents(items, modality)

    def fit(self, contents: Sequence[Content], labels: np.ndarray | None = None) -> None:
        """Fits on the training rows of a split. ``labels`` (n, c) is given only where INFO says ``uses_labels``."""

    @abstractmethod
    def transform(self, contents: Sequence[Content]) -> np.ndarray | Sets:
        """The features (n, d) float32 of ``contents``, each row a function of that row's content alone.

        `Sets`, float32 or float16, where INFO says that it gives a set or a sequence: none of them is empty.
        Raises `BadContent`, which names the file, for content that cannot be decoded.
        """

    def query(self, content: Content) -> np.ndarray:
        """The features of one content, as `transform` gives them but for rounding: (d,), of a set (k, d) float32.

        An extractor overrides it that can answer once with less than `transform` needs to begin.
        """
        return np.asarray(self.transform([content])[0], np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """What `fit` learned, as arrays of numbers or of strings: stored beside the features."""
        return {}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Makes `transform` work as after the `fit` that ``state`` comes from, to embed a new query later."""

    def gaps(self, contents: Sequence[Content]) -> dict[str, Gap]:
        """What the features of ``contents`` leave out, by a short name: texts that are cut, for example.

        The log says it, and so do the file's attributes. {} where nothing is left out. Of contents that are given in
        several parts, the counts add up.
        """
        return {}

    def resolved(self) -> dict[str, Any]:
        """Facts for the file's attributes that parameters alone do not tell: resolved precision, layer."""
        return {}


BASE = Extractor
