"""Features that a user already has, in files of their own: straight to a method, without extraction.

A reference is FILE or FILE:KEY, relative to the configuration file. A file that holds one array needs no key. In files
of MATLAB's ``name/i`` is the i-th cell, from 0, and ``data.Y`` a field; in HDF5 a key may be a path, or a group that
holds one array. Where HDF5 files have ``ids`` beside their arrays, rows are matched by them. Labels are integers,
names, a matrix of 0 and 1, or cells that hold several. What has two meanings stops with a line that names the parameter
which decides.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import PARTS, TEST, TRAIN, Items
from cmr.datasets.base import Dataset
from cmr.datasets.files import user_file
from cmr.datasets.grouping import first_equal, with_labels_of_groups
from cmr.datasets.keyed import file_and_key
from cmr.datasets.labels import LabelReader, single_names
from cmr.datasets.matrices import (
    Block,
    Reference,
    check_one_order,
    not_finite,
    ready_items,
    ready_rows,
    row_numbers,
    unlabelled,
)
from cmr.datasets.rows import seeded_parts, untrained, usable, without_place
from cmr.datasets.splitting import vector_keys
from cmr.errors import UserError, nearest
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
    files=("features", "labels", "index", "group"),
)


class Params(BaseParams):
    features: dict[Modality, str | dict[str, str]] = Field(
        {}, description="modality → reference, or modality → part → reference (parts: train, validation, test)"
    )
    labels: str | dict[str, str | dict[str, str]] = Field(
        "",
        description="reference, or part → reference: integers, names or one-hot, a row an item; for modalities "
        "without pairs, modality → such a reference; empty: no labels",
    )
    group: dict[Modality, str | dict[str, str]] = Field(
        {},
        description="which rows belong together, as the captions of a picture do: modality → reference (or part → "
        "reference) of the row of the first modality without one that each of its rows belongs to, or of names for all "
        "modalities; further modalities without one are paired with the first by row, or are alone where they have "
        "labels of their own",
    )
    repeated: str = Field(
        "",
        description="the modality whose equal rows are one item beside several of the others, as pictures whose "
        "captions have a row each; empty: each row is an item of its own",
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
    shares: dict[Literal["train", "validation", "test"], Annotated[float, Field(ge=0, le=1)]] = Field(
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
        blocks, strict = self._blocks(), self.params.strict
        items = ready_items(
            blocks, list(self.params.features), LabelReader(self.params.separator, self.params.no_label)
        )
        if not self.params.labels:
            log.warning("params.labels: no labels: there will be figures by instance alone")
        items = self._grouped(blocks, items)
        table = items.table.set_index("id", drop=False)
        problems = dict(not_finite(blocks)) | dict(unlabelled(blocks, items))
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
        if self.params.index or rows["part"].all():
            return dict(untrained(rows, self.parts(Items(rows, kinds), "")))
        return without_place(rows, lambda some: self.groups(Items(some, kinds)), self._shares())

    def features(self, modality: str, name: str) -> Rows:
        if name or modality not in self.params.features:
            known = ", ".join(self.params.features)
            raise UserError(f"precomputed: no features {name!r} of {modality!r}; there are unnamed ones of {known}")
        return ready_rows(self._blocks(), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        """The part of each item, by what the parameters say of it."""
        if items.table["part"].all():
            return items.table["part"].to_numpy(str)
        if self.params.index:
            return self._indexed(items)
        return seeded_parts("params.labels", items, self._shares(), self.groups(items))

    def _shares(self) -> dict[str, float]:
        """Raises `UserError` for shares that are none."""
        shares: dict[str, float] = {part: share for part, share in self.params.shares.items() if share}
        if not {TRAIN, TEST} <= shares.keys() or abs(sum(shares.values()) - 1) > 1e-6:
            raise UserError("params.shares: expected shares of train and test, and of validation if any, that sum to 1")
        return shares

    def content_keys(self, items: Items, modality: str) -> pd.Series:
        """Equal rows of features are one content, such as a picture that stands beside each of its captions."""
        keys = vector_keys(self.features(modality, ""), len(items.classes), modality)
        return items.table["id"].where(items.table[modality].notna()).map(keys)

    def _indexed(self, items: Items) -> np.ndarray:
        if self._own_labels() and len(self._owners()) != 1:
            raise UserError("params.index: row numbers need pairs; give parts for modalities with labels of their own")
        block = next(b for b in self._blocks() if not self._own_labels() or self._owners()[0] in b.matrices)
        check_one_order(block, "params.index")
        named = items.ids if not self._own_labels() else items.groups
        row_of = defaultdict(list)
        for row, item in enumerate(named):
            row_of[int(item.rpartition("-")[2])].append(row)
        n = block.size
        parts = np.full(len(items.table), "", dtype="U10")
        taken: dict[int, str] = {}
        for part, reference in self.params.index.items():
            if part not in PARTS:
                raise UserError(f"params.index.{part}: expected {', '.join(PARTS)}")
            for row in row_numbers(self._reference(reference, f"index.{part}"), n, self.params.index_base):
                if taken.setdefault(row, part) != part:
                    number = row + self.params.index_base
                    raise UserError(f"params.index: row {number} is in both {taken[row]} and {part}")
                parts[row_of[row]] = part  # of no item where it was left out as bad
        return parts

    def _tell_unused(self, items: Items) -> None:
        parts = self._indexed(items)
        unused = int((parts == "").sum())
        if unused:
            log.warning("params.index: %d of %d rows are in no part", unused, len(parts))
        if not self.params.index_base and items.ids[0].endswith("-00000") and not parts[0]:
            log.warning("params.index: row 0 is in no part; if the numbers start at 1, say index_base: 1")

    def _blocks(self) -> list[Block]:
        """One block a part, or a part and modality where modalities have labels of their own."""
        features, labels = self.params.features, self.params.labels
        if not features:
            raise UserError("params: features are required; see `python -m cmr list datasets`")
        for name in set(self.params.transposed) - {*features, "labels"}:
            raise UserError(f"params.transposed: {name!r} is neither a modality nor labels")
        for name in self.params.group:
            if name not in features:
                raise UserError(f"params.group: no modality {name!r}{nearest(name, features)}")
        own, named = self._own_labels(), self._named_labels()
        for name in features if named and not self.params.group else ():
            if name not in named:
                raise UserError(
                    f"params.labels.{name}: missing; where modalities have labels of their own, each has some"
                )
        if not own:
            return self._by_part(features, labels, "")
        return [block for m in features for block in self._by_part({m: features[m]}, own.get(m, ""), m)]

    def _owners(self) -> list[str]:
        """The modalities whose rows are what others belong to."""
        return [modality for modality in self.params.features if modality not in self.params.group]

    def _grouped(self, blocks: list[Block], items: Items) -> Items:
        """The items with their groups, where the parameters name any; a group has the labels of all its items."""
        repeated, table = self.params.repeated, items.table
        if self.params.group and repeated:
            raise UserError("params.repeated: group says already which rows belong together; keep one of the two")
        if self.params.group:
            names = [name for block in blocks for name in self._group_names(block, blocks)]
            table = table.assign(group=names)
            _check_groups(table, list(items.kinds))
            return Items(with_labels_of_groups(table), items.kinds)
        if not repeated:
            self._tell_repeated(blocks)
            return items
        if repeated not in self.params.features:
            raise UserError(f"params.repeated: no modality {repeated!r}{nearest(repeated, self.params.features)}")
        table = table.assign(group=first_equal(ready_rows(blocks, repeated)))
        table.loc[table["group"] != table["id"], repeated] = None
        return Items(with_labels_of_groups(table), items.kinds)

    def _group_names(self, block: Block, blocks: list[Block]) -> list[str]:
        """The group of each row of a block of one modality."""
        (modality,) = block.matrices
        reference = self.params.group.get(modality)
        if reference is None:
            return self._own_names(block, blocks)
        source = self._of_part(reference, f"group.{modality}", block.part)
        names = source.read().ravel()
        if len(names) != block.size:
            raise UserError(f"{source} has {len(names)} values, {block.first} has {block.size} rows")
        if not self._owners():
            return _named_groups(names, source)
        size = self._owner(block, blocks).size
        rows = row_numbers(source, size, self.params.index_base, repeated=True)
        if not self.params.index_base and rows and 0 not in rows:
            log.warning(
                "%s: no row belongs to row 0 of %s; if the numbers start at 1, say index_base: 1",
                source,
                self._owners()[0],
            )
        return [f"{block.part}-{row}".lstrip("-") for row in rows]

    def _owner(self, block: Block, blocks: list[Block]) -> Block:
        """The block of the same part whose rows others belong to."""
        first = self._owners()[0]
        for other in blocks:
            if other.part == block.part and first in other.matrices:
                return other
        raise UserError(f"params.features.{first}: no part {block.part!r}, whose rows those of {block.first} belong to")

    def _own_names(self, block: Block, blocks: list[Block]) -> list[str]:
        """The group of each row of a block that names none: itself, or the owner's row of the same number."""
        (modality,) = block.matrices
        if modality != self._owners()[0] and modality in self._named_labels():
            return block.ids(block.size)
        owner = self._owner(block, blocks)
        if block.size != owner.size:
            raise UserError(
                f"{block.first} has {block.size} rows, {owner.first} has {owner.size}, and rows of one item must "
                f"match; give {modality} a group, or labels of its own where it has no pairs"
            )
        return [f"{block.part}-{row}".lstrip("-") for row in range(block.size)]

    def _tell_repeated(self, blocks: list[Block]) -> None:
        """Warns of a modality whose rows repeat, as pictures beside several captions do."""
        for modality in self.params.features if len(self.params.features) > 1 and not self._own_labels() else ():
            first = first_equal(ready_rows(blocks, modality))
            if len(set(first)) <= len(first) / 2:
                log.warning(
                    "%s: %d rows hold %d different ones; if these are items beside several of the others, say "
                    "repeated: %s, or figures by instance count only the row of the same number",
                    modality, len(first), len(set(first)), modality,
                )  # fmt: skip

    def _own_labels(self) -> Mapping[str, References]:
        """The labels of each modality where its rows are items of their own, else nothing."""
        own = self._named_labels()
        if self.params.group and not own:
            own = dict.fromkeys(self._owners(), self.params.labels)
        return dict.fromkeys(self.params.group, "") | own

    def _named_labels(self) -> dict[str, Any]:
        """The labels of each modality that the parameters give labels of its own."""
        labels = self.params.labels
        return dict(labels) if isinstance(labels, Mapping) and set(labels) <= set(self.params.features) else {}

    def _by_part(
        self, features: Mapping[str, References], labels: str | Mapping[str, References], modality: str
    ) -> list[Block]:
        labels_key = ".".join(filter(None, ["labels", modality]))
        named: dict[str, str | Mapping[str, Any]] = {labels_key: labels} if labels else {}
        named |= {f"features.{name}": value for name, value in features.items()}
        named |= {f"group.{modality}": self.params.group[modality]} if modality in self.params.group else {}
        parts = _parts_of(named)
        blocks = []
        for part in parts:
            matrices = {}
            for name, value in features.items():
                matrices[name] = self._of_part(value, f"features.{name}", part)
            own = self._of_part(labels, labels_key, part) if labels else None
            blocks.append(Block("-".join(filter(None, [part or "item", modality])), part, own, matrices))
        return blocks

    def _of_part(self, value: str | Mapping[str, References], key: str, part: str) -> Reference:
        """The reference of one part, or the only one, of what the parameter ``key`` gives."""
        if isinstance(value, Mapping):
            return self._reference(value[part], f"{key}.{part}")
        return self._reference(value, key)

    def _reference(self, text: References, key: str) -> Reference:
        if not isinstance(text, str):
            raise UserError(f"params.{key}: expected a reference, FILE or FILE:KEY")
        path, name = file_and_key(text)
        sha256 = self.params.sha256.get(path, "")
        if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
            raise UserError(f"params.sha256.{path}: expected 64 hex digits")
        what, _, modality = key.partition(".")
        transposed = (modality.partition(".")[0] if what == "features" else what) in self.params.transposed
        return Reference(user_file(self, path, key), name, sha256 if self.params.trust else "", transposed)


def _parts_of(named: Mapping[str, str | Mapping[str, Any]]) -> list[str]:
    """The parts that all these parameters give references for, as the first names them; [""] of one reference each.

    Raises `UserError` for a part that one of them lacks: its items would be nowhere, or without a partner.
    """
    given = {key: list(value) if isinstance(value, Mapping) else [""] for key, value in named.items()}
    for key, part in [(key, part) for key, parts in given.items() for part in parts if part]:
        if part not in PARTS:
            modality = " or a modality" if key == "labels" else ""
            raise UserError(f"params.{key}.{part}: expected a part ({', '.join(PARTS)}){modality}")
    (first, parts), *others = given.items()
    for other, own in others:
        if set(own) != set(parts):
            what = _differing(given, first, other)
            raise UserError(f"params.{what}; features, labels and group must be given for the same parts")
    return parts


def _differing(given: Mapping[str, Sequence[str]], first: str, second: str) -> str:
    """In what the parts of two parameters differ."""
    for one, several in ((first, second), (second, first)):
        if given[one] == [""]:
            return f"{one}: one file, params.{several} has parts"
    lacks, has = (second, first) if set(given[first]) - set(given[second]) else (first, second)
    part = next(part for part in given[has] if part not in given[lacks])
    return f"{lacks}.{part}: missing, params.{has} has it"


def _named_groups(cells: np.ndarray, source: Reference) -> list[str]:
    """Names of groups in the form of class names, so that 0 and 0.0 are the same."""
    names = single_names(cells, lambda row: f"{source}: row {row}")
    if "" in names:
        raise UserError(f"{source}: row {names.index('')} names no group")
    return names


def _check_groups(table: pd.DataFrame, modalities: Sequence[str]) -> None:
    """Raises `UserError` where no group holds two of the modalities, as where their names are written differently."""
    if len(modalities) < 2:
        return
    held = table[modalities].notna().groupby(table["group"]).any().sum(axis=1)
    if (held > 1).any():
        if lonely := int((held == 1).sum()):
            log.info("params.group: %d of %d groups hold one modality alone", lonely, len(held))
        return
    examples = (f"{table['group'][table[m].notna()].iloc[0]!r} of {m}" for m in modalities)
    raise UserError(f"params.group: no group holds two modalities; names must be the same: {', '.join(examples)}")
