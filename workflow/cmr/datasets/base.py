"""The contract of a data set: raw files → items → named splits.

A data set is one file in this folder with ``INFO`` (see `cmr.registry.DatasetInfo`), ``Params`` and one
subclass of `Dataset`.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from cmr.data import Items, Split
from cmr.datasets.splitting import with_held_out
from cmr.params import Params


class Dataset(ABC):
    """``folder`` is the data set's place under ``results/data``; ``cache`` keeps downloads between projects.

    ``base`` is the folder that relative paths in ``params`` resolve against: the configuration file's.
    """

    def __init__(self, params: Params, folder: Path, cache: Path, base: Path = Path(".")):
        self.params = params
        self.folder = Path(folder)
        self.cache = Path(cache)
        self.base = Path(base)

    def download(self) -> None:  # noqa: B027  (a data set without downloads has nothing to override)
        """Brings the raw files into ``self.cache``: a local rule's work, as compute nodes often lack internet.

        Idempotent. Where the source is behind a form or gone, raises `UserError` with the address, the file
        names and the folder to put them in.
        """

    @abstractmethod
    def prepare(self) -> Items:
        """The items table, from the raw files; writes what it renders or unpacks under ``self.folder``."""

    @abstractmethod
    def parts(self, items: Items, name: str) -> np.ndarray:
        """The part (train, validation, test, or '' for unused) of each item under the split ``name``."""

    def root(self) -> Path:
        """The folder that the paths of the items table are relative to."""
        return self.folder

    def split(self, items: Items, name: str) -> Split:
        """The named split, with held-out rows for choosing."""
        return with_held_out(items, self.parts(items, name))


BASE = Dataset
