"""The contract of a data set: raw files → items → named splits.

A data set is one file in this folder with ``INFO`` (see `cmr.info.DatasetInfo`), ``Params`` and one
subclass of `Dataset`.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr import registry
from cmr.content import read_list
from cmr.data import PARTS, Items, Split
from cmr.datasets.splitting import file_keys, same_content, same_text, text_keys, with_held_out
from cmr.errors import UserError
from cmr.params import Params
from cmr.store import Rows


class Dataset(ABC):
    """``folder`` is the data set's place under ``results/data``; ``cache`` keeps downloads between projects.

    ``base`` is the folder that relative paths in ``params`` resolve against: the configuration file's.
    ``data_root`` is the one folder that absolute paths may lie in; without it they are refused.
    """

    def __init__(
        self, params: Params, folder: Path, cache: Path, base: Path = Path("."), data_root: Path | None = None
    ):
        self.params = params
        self.folder = Path(folder)
        self.cache = Path(cache)
        self.base = Path(base)
        self.data_root = None if data_root is None else Path(data_root)
        self._last_groups: tuple[Items, np.ndarray] | None = None

    @property
    def raw(self) -> Path:
        """The folder of the raw files, kept between projects; INFO's ``raw`` names it."""
        return self.cache / "datasets" / registry.info("datasets", self._plugin).raw

    @property
    def named(self) -> str:
        """The plug-in, for messages."""
        return f"data set plug-in {self._plugin!r}"

    @property
    def _plugin(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def download(self) -> dict[str, str]:
        """Brings the raw files into ``self.raw``: a local rule's work, as compute nodes often lack internet.

        Returns file name → sha256, '' for a folder. Idempotent. Where the source is behind a form or gone, raises
        `UserError` with the address, the file names and the folder to put them in.
        """
        return {}

    @abstractmethod
    def prepare(self) -> Items:
        """The items table, from the raw files; writes what it renders or unpacks under ``self.folder``."""

    @abstractmethod
    def parts(self, items: Items, name: str) -> np.ndarray:
        """The part (train, validation, test, or '' for unused) of each item under the split ``name``."""

    def root(self) -> Path:
        """The folder that the paths of the items table are relative to."""
        return self.folder

    def also_read(self, items: Items) -> list[str]:
        """Files that texts and labels of the table come from, though it does not name them; relative to `root`.

        Those of the configuration and the raw files that are no folder need not be told.
        """
        return []

    def contents(self, items: Items, modality: str) -> list[Any]:
        """What an extractor takes: the text or the file of each item that has ``modality``, in the items' order."""
        column = list(items.having(modality)[modality])
        kind = items.kinds[modality]
        if kind == "ready":
            raise UserError(
                f"{type(self).__name__} has no raw {modality}, only ready features; take the extractor 'ready'"
            )
        return column if kind == "text" else [self.root() / path for path in column]

    def features(self, modality: str, name: str) -> Rows:
        """Ready features that come with the data set: ids (n,) and values (n, d), in any order.

        ``name`` '' stands for the only ones that the modality has. Raises `UserError` for an unknown name.
        """
        raise UserError(f"{type(self).__name__} comes without ready features of the modality {modality!r}")

    def split(self, items: Items, name: str) -> Split:
        """The named split, with held-out rows for choosing."""
        parts = self.parts(items, name)
        self._check_parts(parts, len(items.table))
        return with_held_out(items, parts, self.groups(items))

    def _check_parts(self, parts: Any, n: int) -> None:
        """Raises `UserError` for what is no part of each of the ``n`` items."""
        if not isinstance(parts, np.ndarray) or parts.shape != (n,):
            found = f"an array of shape {parts.shape}" if isinstance(parts, np.ndarray) else type(parts).__name__
            raise UserError(f"{self.named}: parts gave {found}, expected an array of {n} names, one an item")
        unknown = sorted(set(map(str, parts)) - {*PARTS, ""})
        if unknown:
            raise UserError(f"{self.named}: parts gave {unknown[0]!r}, expected {', '.join(PARTS)}, or '' for unused")

    def groups(self, items: Items) -> np.ndarray:
        """Numbers (n,) of what a split that is drawn here keeps together: items that share a content or a group.

        Those of the items that were last asked for are kept: drawing parts, holding rows out and counting what a
        given split separates need the same ones.
        """
        if self._last_groups is None or self._last_groups[0] is not items:
            keys = [self.content_keys(items, modality) for modality in items.kinds]
            self._last_groups = items, same_content([items.table["group"], *keys] if "group" in items.table else keys)
        return self._last_groups[1]

    def content_keys(self, items: Items, modality: str) -> pd.Series:
        """What tells the contents of a modality apart, (n,): equal texts, equal files by their bytes.

        Null where an item lacks the modality, and for ready features, whose rows are not read here.
        """
        column, kind = items.table[modality], items.kinds[modality]
        if kind == "ready":
            return pd.Series(None, column.index, object)
        if kind == "text":
            return text_keys(column, same_text)
        listed = self.folder / "contents.sha256"
        return file_keys(column, read_list(listed) if listed.exists() else ())


BASE = Dataset
