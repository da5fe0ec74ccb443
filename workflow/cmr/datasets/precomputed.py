"""Features that a user already has, in files of their own: straight to a method, without extraction.

A reference is FILE or FILE:KEY, relative to the configuration file. A file that holds one array needs no key. In files
of MATLAB's ``name/i`` is the i-th cell, from 0, and ``data.Y`` a field; in HDF5 a key may be a path, or a group that
holds one array. Where HDF5 files have ``ids`` beside their arrays, rows are matched by them. Labels are integers,
names, a matrix of 0 and 1, or cells that hold several. What has two meanings stops with a line that names the parameter
which decides.
"""

import logging
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import PARTS, Items
from cmr.datasets.base import Dataset
from cmr.datasets.files import user_file
from cmr.datasets.labels import LabelReader
from cmr.datasets.matrices import (
    Group,
    Reference,
    check_one_order,
    label_cells,
    not_finite,
    ready_items,
    ready_rows,
    row_numbers,
    unlabelled,
)
from cmr.datasets.rows import refuse_rare, untrained, usable, without_place
from cmr.datasets.splitting import stratified, vector_keys
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Modality
from cmr.params import Params as BaseParams
from cmr.store import Rows

log = logging.getLogger(__name__)

INFO = DatasetInfo(
    title="Ready features of one's own",
    modalities=("any",),
    splits={
        "default": "the parts that features and labels are given for, else the index files, else the shares, "
        "stratified by (first) label and seeded"
    },
    items="the rows",
    classes="the labels",
    licence="the user's",
    source=".npy, .npz (SciPy's too), .mat (5 and 7.3), HDF5, .pt, .csv or .txt files",
    files=("features", "labels", "index"),
)

SEED = 0


class Params(BaseParams):
    features: dict[Modality, str | dict[str, str]] = Field(
        {}, description="modality → reference, or modality → part → reference (parts: train, validation, test)"
    )
    labels: str | dict[str, str | dict[str, str]] = Field(
        "",
        description="reference, or part → reference: integers, names or one-hot, a row an item; for modalities "
        "without pairs, modality → such a reference",
    )
    separator: str | None = Field(
        None,
        description="what separates several labels in one text; '': each text is one label; null: one label, and a "
        "question where many texts look like several",
    )
    no_label: list[str | int] | None = Field(
        None,
        description="labels that stand for none, besides empty and NaN; null: nan, None and NaT, and a question where "
        "-1, NA or none may be such",
    )
    transposed: list[str] = Field([], description="modalities, or labels, whose matrices hold items as columns")
    index: dict[str, str] = Field(
        {}, description="part → reference of row numbers, or of a mask: true, or 1, for the rows of the part"
    )
    index_base: int = Field(0, ge=0, le=1, description="number of the first row in index files: 0, or 1 as in MATLAB")
    shares: dict[str, float] = Field(
        {"train": 0.6, "validation": 0.2, "test": 0.2}, description="part → share, where nothing else gives the split"
    )
    strict: bool = Field(
        True,
        description="stop at NaN or infinite values, rows without a label and classes too rare for the split; false: "
        "leave such rows out, list them in skipped.csv",
    )
    trust: bool = Field(False, description="load Python objects, which can execute code; needs their files' sha256")
    sha256: dict[str, str] = Field({}, description="file → sha256 of the files that are trusted")


References = str | Mapping[str, str]
"""A reference, or part → reference."""


class Precomputed(Dataset):
    params: Params

    def prepare(self) -> Items:
        """Items named after part and row. Raises `UserError` where rows and labels do not match, or for NaN."""
        groups, strict = self._groups(), self.params.strict
        items = ready_items(
            groups, list(self.params.features), LabelReader(self.params.separator, self.params.no_label)
        )
        table = items.table.set_index("id", drop=False)
        problems = dict(not_finite(groups)) | dict(unlabelled(groups, items))
        if not strict:
            problems |= self._without_place(table.drop(index=list(problems)), items.kinds)
        skipped = self.folder / "skipped.csv"
        kept = usable(table, problems, list(table["id"]), "params.features", strict, skipped)
        items = Items(kept.reset_index(drop=True), items.kinds)
        if self.params.index:
            self._tell_unused(items)
        return items

    def _without_place(self, rows: pd.DataFrame, kinds: dict[str, str]) -> dict[str, str]:
        """Item → why the split has no place for it."""

        def parts(some: pd.DataFrame) -> np.ndarray:
            return self.parts(Items(some, kinds), "")

        if self.params.index or rows["part"].all():
            return dict(untrained(rows, parts(rows)))
        return without_place(rows, lambda some: list(self.groups(Items(some, kinds))), parts, self.params.shares)

    def features(self, modality: str, name: str) -> Rows:
        if name or modality not in self.params.features:
            known = ", ".join(self.params.features)
            raise UserError(f"precomputed: no features {name!r} of {modality!r}; there are unnamed ones of {known}")
        return ready_rows(self._groups(), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        """The part of each item, by what the parameters say of it."""
        if items.table["part"].all():
            return items.table["part"].to_numpy(str)
        if self.params.index:
            return self._indexed(items)
        total = sum(self.params.shares.values())
        if not set(self.params.shares) <= set(PARTS) or abs(total - 1) > 1e-6:
            raise UserError("params.shares: expected shares of train, validation and test that sum to 1")
        strata, groups = [labels[0] for labels in items.table["labels"]], list(self.groups(items))
        refuse_rare("params.labels", strata, groups, self.params.shares)
        return stratified(strata, self.params.shares, SEED, groups)

    def content_keys(self, items: Items, modality: str) -> pd.Series:
        """Equal rows of features are one content, such as a picture that stands beside each of its captions."""
        keys = vector_keys(self.features(modality, ""), len(items.classes), modality)
        return items.table["id"].where(items.table[modality].notna()).map(keys)

    def _indexed(self, items: Items) -> np.ndarray:
        if self._own_labels():
            raise UserError("params.index: row numbers need pairs; give parts for modalities with labels of their own")
        (group,) = self._groups()
        check_one_order(group, "params.index")
        row_of = {int(item.rpartition("-")[2]): row for row, item in enumerate(items.ids)}
        n = len(label_cells(group.labels))
        parts = np.full(len(items.table), "", dtype="U10")
        taken: dict[int, str] = {}
        for part, reference in self.params.index.items():
            if part not in PARTS:
                raise UserError(f"params.index.{part}: expected {', '.join(PARTS)}")
            for row in row_numbers(self._reference(reference, f"index.{part}"), n, self.params.index_base):
                if taken.setdefault(row, part) != part:
                    number = row + self.params.index_base
                    raise UserError(f"params.index: row {number} is in both {taken[row]} and {part}")
                if row in row_of:  # else it was left out as bad
                    parts[row_of[row]] = part
        return parts

    def _tell_unused(self, items: Items) -> None:
        parts = self._indexed(items)
        unused = int((parts == "").sum())
        if unused:
            log.warning("params.index: %d of %d rows are in no part", unused, len(parts))
        if not self.params.index_base and items.ids[0].endswith("-00000") and not parts[0]:
            log.warning("params.index: row 0 is in no part; if the numbers start at 1, say index_base: 1")

    def _groups(self) -> list[Group]:
        """One group a part, or a part and modality where modalities have labels of their own."""
        features, labels = self.params.features, self.params.labels
        if not features or not labels:
            raise UserError("params: features and labels are required; see `python -m cmr list datasets`")
        for name in set(self.params.transposed) - {*features, "labels"}:
            raise UserError(f"params.transposed: {name!r} is neither a modality nor labels")
        own = self._own_labels()
        if not own:
            return self._by_part(features, labels, "")
        return [group for m in features for group in self._by_part({m: features[m]}, own[m], m)]

    def _own_labels(self) -> Mapping[str, References]:
        """The labels of each modality where they have labels of their own, else nothing."""
        labels = self.params.labels
        return labels if isinstance(labels, Mapping) and set(labels) <= set(self.params.features) else {}

    def _by_part(
        self, features: Mapping[str, References], labels: str | Mapping[str, References], modality: str
    ) -> list[Group]:
        split = isinstance(labels, Mapping)
        parts = list(labels) if split else [""]
        groups = []
        for part in parts:
            if part and part not in PARTS:
                raise UserError(f"params.labels.{part}: expected a part ({', '.join(PARTS)}) or a modality")
            matrices = {}
            for name, value in features.items():
                key = ".".join(filter(None, ["features", name, part]))
                if isinstance(value, Mapping) != split or (split and part not in value):
                    raise UserError(f"params.{key}: features and labels must be given for the same parts")
                matrices[name] = self._reference(value[part] if isinstance(value, Mapping) else value, key)
            label_key = ".".join(filter(None, ["labels", modality, part]))
            own = self._reference(labels[part] if isinstance(labels, Mapping) else labels, label_key)
            groups.append(Group("-".join(filter(None, [part or "item", modality])), part, own, matrices))
        return groups

    def _reference(self, text: References, key: str) -> Reference:
        if not isinstance(text, str):
            raise UserError(f"params.{key}: expected a reference, FILE or FILE:KEY")
        path, _, name = text.partition(":")
        sha256 = self.params.sha256.get(path, "")
        if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
            raise UserError(f"params.sha256.{path}: expected 64 hex digits")
        what, _, modality = key.partition(".")
        transposed = (modality.partition(".")[0] if what == "features" else what) in self.params.transposed
        return Reference(user_file(self, path, key), name, sha256 if self.params.trust else "", transposed)
