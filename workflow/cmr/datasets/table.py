"""The user's own pairs: a table with one row an item, one column of paths or texts a modality, and labels."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from cmr.data import PARTS, TRAIN, Items
from cmr.datasets.base import Dataset
from cmr.datasets.files import as_text, column, located, read_rows, usable, user_file
from cmr.datasets.splitting import same_content, stratified
from cmr.errors import UserError
from cmr.features.base import BadContent
from cmr.features.images import read_rgb
from cmr.params import Params as BaseParams

INFO = {
    "title": "A table of one's own",
    "modalities": ("image", "text", "audio"),
    "splits": {
        "default": "the split column where there is one, else 60/20/20 % train/validation/test, stratified by "
        "(first) label, seeded, items that share a text or a file in one part"
    },
    "items": "the rows",
    "classes": "the values of the label column",
    "licence": "the user's",
    "source": "a CSV, TSV, JSON lines or parquet file",
    "files": ("file",),
}

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
SEED = 0


class Params(BaseParams):
    file: str = Field("", description="the table: .csv, .tsv, .jsonl or .parquet, relative to the configuration file")
    id: str = Field("", description="column of unique ids; empty: the row numbers")
    image: str = Field("", description="column of picture files, relative to the table's folder")
    text: str = Field("", description="column of texts; a list of sentences is joined into one text")
    audio: str = Field("", description="column of sound files, relative to the table's folder")
    label: str = Field("label", description="column of class names, one or several a row")
    separator: str = Field("", description="what separates several labels in one cell; empty: one label a cell")
    split: str = Field("", description="column that holds train, validation or test; empty: a seeded split")
    unpaired: bool = Field(False, description="an empty cell means that the item lacks the modality, not a mistake")
    strict: bool = Field(
        True,
        description="stop at the first bad row; false: leave bad rows out, list them in skipped.csv, and decode "
        "every picture now, as a bad one would stop the extraction later",
    )


class Table(Dataset):
    params: Params

    def prepare(self) -> Items:
        """Checks every row; pictures are decoded only where bad rows are to be left out.

        Raises `UserError` that names file and row: missing column, missing or duplicate id, path that is missing
        or leaves the table's folder, empty text, no label, unknown part, label without a training row.
        """
        params, file, kinds = self.params, self._file(), self._kinds()
        table = read_rows(file)
        rows = pd.DataFrame(index=table.index)
        rows["id"] = [as_text(c) for c in column(table, params.id, file)] if params.id else table.index.astype(str)
        contents = {m: [as_text(c) for c in column(table, getattr(params, m), file)] for m in kinds}
        rows["labels"] = pd.Series([self._labels(c) for c in column(table, params.label, file)], table.index)
        if params.split:
            rows["part"] = [as_text(c) for c in column(table, params.split, file)]
        problems: dict[int, str] = {}
        for modality, cells in contents.items():
            rows[modality], found = self._content(modality, cells, rows.index, file.parent)
            problems = found | problems
        problems = dict(_bad_rows(rows, list(kinds))) | problems
        problems = dict(_untrained(rows.drop(index=list(problems)))) | problems
        rows = usable(rows, problems, list(rows["id"]), file, params.strict, self.folder / "skipped.csv")
        extra = ["part"] if params.split else []
        return Items(rows[["id", *kinds, "labels", *extra]].reset_index(drop=True), kinds)

    def parts(self, items: Items, name: str) -> np.ndarray:
        """What the split column says, or the seeded split."""
        if self.params.split:
            return items.table["part"].to_numpy(str)
        strata = [labels[0] for labels in items.table["labels"]]
        return stratified(strata, SHARES, SEED, groups=list(same_content(items)))

    def root(self) -> Path:
        """The table's folder."""
        return self._file().parent

    def _file(self) -> Path:
        return user_file(self, self.params.file, "file")

    def _kinds(self) -> dict[str, str]:
        kinds = {modality: modality for modality in INFO["modalities"] if getattr(self.params, modality)}
        if not kinds:
            raise UserError("params: name the column of at least one modality: image, text or audio")
        return kinds

    def _labels(self, cell: Any) -> list[str]:
        if isinstance(cell, Iterable) and not isinstance(cell, str):
            parts = [as_text(part) for part in cell]
        else:
            parts = as_text(cell).split(self.params.separator) if self.params.separator else [as_text(cell)]
        return list(dict.fromkeys(part.strip() for part in parts if part.strip()))

    def _content(
        self, modality: str, cells: list[str], index: pd.Index, folder: Path
    ) -> tuple[list[str | None], dict[int, str]]:
        """The column of one modality, and row → problem."""
        problems: dict[int, str] = {}
        contents: list[str | None] = []
        for row, cell in zip(tqdm(index, desc=f"check {modality}", unit=" rows", mininterval=1), cells, strict=True):
            content: str | None = cell
            problem = ""
            if not cell:
                content, problem = None, "" if self.params.unpaired else f"empty {modality}"
            elif modality != "text":
                content, problem = self._located(modality, cell, folder)
            contents.append(content)
            if problem:
                problems[row] = problem
        return contents, problems

    def _located(self, modality: str, path: str, folder: Path) -> tuple[str, str]:
        content, problem = located(path, folder, self.data_root)
        if not problem and modality == "image" and not self.params.strict:
            problem = undecodable(folder / content)
        return content, problem


def undecodable(picture: Path) -> str:
    """Why a picture cannot be decoded, by the extractors' own decoder; '' where it can."""
    try:
        read_rgb(picture)
    except BadContent as error:
        return f"{picture.name} does not decode: {error.reason}"
    return ""


def _bad_rows(rows: pd.DataFrame, modalities: list[str]) -> Iterator[tuple[int, str]]:
    """Row → what is wrong with its id, labels, part or modalities as a whole."""
    first_row: dict[str, int] = {}
    for row, item, labels in zip(rows.index, rows["id"], rows["labels"], strict=True):
        if not item:
            yield row, "empty id"
        elif first_row.setdefault(item, row) != row:
            yield row, f"id {item!r} stands on row {first_row[item]} too"
        elif not labels:
            yield row, "no label"
    for row in rows.index[rows[modalities].isna().all(axis=1)]:
        yield row, f"nothing in any of the columns of {', '.join(modalities)}"
    if "part" in rows:
        for row, part in zip(rows.index, rows["part"], strict=True):
            if part not in PARTS:
                yield row, f"part {part!r}, expected train, validation or test"


def _untrained(rows: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Row → a label that no training row has, where the table says which rows those are."""
    if "part" not in rows:
        return
    known = {label for labels in rows["labels"][rows["part"] == TRAIN] for label in labels}
    for row, labels in zip(rows.index, rows["labels"], strict=True):
        unknown = [label for label in labels if label not in known]
        if unknown:
            yield row, f"label {unknown[0]!r} has no training row"
