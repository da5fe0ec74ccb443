"""The user's own pairs: a table with one row an item, one column of paths or texts a modality, and labels.

What has one meaning is read, and the log of the job says so where it is unusual: columns separated by ';', '|' or tabs,
UTF-16, lists that were written as text (``['cat', 'dog']``), quotation marks that close no cell, backslashes in paths,
accents in the other Unicode form, val and dev for validation. What has two meanings stops with a line that names the
parameter which decides.
"""

import logging
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from cmr.data import PARTS, TEST, TRAIN, VALIDATION, Items, Split
from cmr.datasets.base import Dataset
from cmr.datasets.files import as_text, column, located, read_rows, user_file
from cmr.datasets.labels import LabelReader, as_list
from cmr.datasets.rows import seeded_parts, untrained, usable, without_place
from cmr.errors import BadContent, UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.pictures import read_rgb

log = logging.getLogger(__name__)

INFO = DatasetInfo(
    title="A table of one's own",
    modalities=("image", "text", "audio"),
    splits={
        "default": "the split column where there is one, else 60/20/20 % train/validation/test, stratified by "
        "(first) label, seeded, items that share a text or a file in one part"
    },
    items="the rows",
    classes="the values of the label column",
    licence="the user's",
    source="a CSV, TSV, JSON lines or parquet file",
    files=("file",),
)

PART_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "development", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
EXACT_FLOATS = 2.0**53
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


class Params(BaseParams):
    file: str = Field("", description="the table: .csv, .tsv, .jsonl or .parquet, relative to the configuration file")
    id: str = Field("", description="column of unique ids; empty: the row numbers")
    image: str = Field("", description="column of picture files, relative to the table's folder")
    text: str = Field("", description="column of texts; a list of sentences is joined into one text")
    audio: str = Field("", description="column of sound files, relative to the table's folder")
    label: str = Field("label", description="column of class names, one or several a row")
    separator: str | None = Field(
        None,
        description="what separates several labels in one cell; '': each cell is one label; null: one label, and a "
        "question where many cells look like several",
    )
    no_label: list[str | int] | None = Field(
        None,
        description="labels that stand for none, besides empty cells; null: nan, None and NaT, and a question where "
        "-1, NA or none may be such",
    )
    split: str = Field(
        "", description="column that holds train, validation (or val, dev) or test; empty: a seeded split"
    )
    encoding: str = Field("", description="of a CSV or TSV that is neither UTF-8 nor UTF-16, such as cp1252 or gb18030")
    quotes: bool | None = Field(
        None,
        description="whether quotation marks enclose cells of a CSV or TSV; null: as its rows say, and a question "
        "where they allow both",
    )
    unpaired: bool = Field(False, description="an empty cell means that the item lacks the modality, not a mistake")
    strict: bool = Field(
        True,
        description="stop at the first bad row; false: leave out bad rows, and those of classes too rare for the "
        "split, list them in skipped.csv, and decode every picture now, as a bad one would stop the extraction later",
    )


class Table(Dataset):
    params: Params

    def prepare(self) -> Items:
        """Checks every row; pictures are decoded only where bad rows are to be left out.

        Raises `UserError` that names file and row: missing column, missing or duplicate id, path that is missing
        or leaves the table's folder, empty text, no label, unknown part, label without a training row.
        """
        params, file, kinds = self.params, self._file(), self._kinds()
        wanted = [
            name for name in (params.id, *(getattr(params, m) for m in kinds), params.label, params.split) if name
        ]
        table = read_rows(file, wanted, params.encoding, params.quotes)
        rows = pd.DataFrame(index=table.index)
        ids = column(table, params.id, file) if params.id else list(table.index)
        rows["id"] = [as_text(cell) for cell in ids]
        rows["labels"] = pd.Series(self._labels(table, file), table.index, object)
        if params.split:
            rows["part"] = _parts([as_text(c) for c in column(table, params.split, file)], f"{file}: {params.split}")
        problems = dict(_inexact(table.index, ids))
        for modality in kinds:
            cells = self._cells(column(table, getattr(params, modality), file), modality, file)
            rows[modality], found = self._content(modality, cells, rows.index, file.parent)
            problems = found | problems
        problems = dict(_bad_rows(rows, list(kinds))) | problems
        problems = self._without_place(rows.drop(index=list(problems)), kinds) | problems
        rows = usable(rows, problems, list(rows["id"]), file, params.strict, self.folder / "skipped.csv")
        if params.split:
            _check_parts(rows["part"], file)
        if params.text:
            _tell_wordless(rows["text"].dropna(), f"{file}: {params.text}")
        extra = ["part"] if params.split else []
        return Items(rows[["id", *kinds, "labels", *extra]].reset_index(drop=True), kinds)

    def split(self, items: Items, name: str) -> Split:
        """Where items have ids, the order of the table's rows decides nothing."""
        by_id = items.table.sort_values("id", ignore_index=True) if self.params.id else items.table
        return super().split(Items(by_id, items.kinds), name)

    def parts(self, items: Items, name: str) -> np.ndarray:
        """What the split column says, or the seeded split."""
        if self.params.split:
            return items.table["part"].to_numpy(str)
        strata, groups = [labels[0] for labels in items.table["labels"]], list(self.groups(items))
        return seeded_parts(f"{self._file()}: {self.params.label}", strata, SHARES, groups)

    def root(self) -> Path:
        """The table's folder."""
        return self._file().parent

    def _file(self) -> Path:
        return user_file(self, self.params.file, "file")

    def _kinds(self) -> dict[str, str]:
        kinds = {modality: modality for modality in INFO.modalities if getattr(self.params, modality)}
        if not kinds:
            raise UserError("params: name the column of at least one modality: image, text or audio")
        return kinds

    def _without_place(self, rows: pd.DataFrame, kinds: dict[str, str]) -> dict[int, str]:
        """Row → why the split has no place for it; of a seeded split only where such rows are to be left out."""
        if self.params.split:
            return dict(untrained(rows, rows["part"]))
        if self.params.strict:
            return {}

        def items(some: pd.DataFrame) -> Items:
            return Items(some.reset_index(drop=True), kinds)

        return without_place(
            rows, lambda some: list(self.groups(items(some))), lambda some: self.parts(items(some), ""), SHARES
        )

    def _labels(self, table: pd.DataFrame, file: Path) -> list[list[str]]:
        name, reader = self.params.label, LabelReader(self.params.separator, self.params.no_label)
        cells = column(table, name, file)
        return reader.read(cells, f"{file}: {name}", lambda position: f"{file}: row {table.index[position]}: {name}")

    def _cells(self, cells: list[Any], modality: str, file: Path) -> list[str]:
        """The cells of a modality as text; lists of sentences that were written as text are lists again."""
        if modality != "text":
            return [as_text(cell) for cell in cells]
        texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
        lists = sum(as_list(text) is not None for text in texts)
        if lists and lists == len(texts):
            log.info("%s: %s: all texts are lists of sentences, which are joined", file, self.params.text)
            cells = [as_list(cell.strip()) or "" if isinstance(cell, str) else cell for cell in cells]
        elif lists:
            seen = f"{lists} of {len(texts)} texts look like lists"
            log.warning("%s: %s: %s, and are read as they stand", file, self.params.text, seen)
        return [as_text(cell) for cell in cells]

    def _content(
        self, modality: str, cells: list[str], index: pd.Index, folder: Path
    ) -> tuple[list[str | None], dict[int, str]]:
        """The column of one modality, and row → problem."""
        problems: dict[int, str] = {}
        contents: list[str | None] = []
        respelled: list[int] = []
        for row, cell in zip(tqdm(index, desc=f"check {modality}", unit=" rows", mininterval=1), cells, strict=True):
            content: str | None = cell
            problem = ""
            if not cell:
                content, problem = None, "" if self.params.unpaired else f"empty {modality}"
            elif modality != "text":
                content, problem = self._located(modality, cell, folder)
                if content and not os.path.isabs(cell) and content != os.path.normpath(cell):
                    respelled.append(row)
            contents.append(content)
            if problem:
                problems[row] = problem
        if respelled:
            log.info(
                "%s: %d files are found with '/' for '\\', or with accents in another Unicode form; the first: row %d",
                modality, len(respelled), respelled[0],
            )  # fmt: skip
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


def _inexact(index: pd.Index, ids: list[Any]) -> Iterator[tuple[int, str]]:
    """Row → an id that may have been another number before it became a float."""
    for row, item in zip(index, ids, strict=True):
        if isinstance(item, float) and abs(item) >= EXACT_FLOATS and math.isfinite(item):
            yield row, f"id {item:.0f} is a float beyond 2^53, where numbers run into one another; save ids as text"


def _bad_rows(rows: pd.DataFrame, modalities: list[str]) -> Iterator[tuple[int, str]]:
    """Row → what is wrong with its id, labels, part or modalities as a whole."""
    first_row: dict[str, int] = {}
    for row, item, labels in zip(rows.index, rows["id"], rows["labels"], strict=True):
        if not item:
            yield row, "empty id"
        elif CONTROL.search(item):
            yield row, f"id {item!r} holds a control character"
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


def _parts(cells: list[str], where: str) -> list[str]:
    """Names of parts in their own spelling: Train, val, dev; what is none of them stays as it is."""
    named = [PART_NAMES.get(cell.casefold(), cell) for cell in cells]
    for cell, part in sorted({(cell, part) for cell, part in zip(cells, named, strict=True) if cell != part}):
        log.info("%s: %r is read as %s", where, cell, part)
    return named


def _check_parts(parts: pd.Series, file: Path) -> None:
    for part in (TRAIN, TEST):
        if part not in set(parts):
            raise UserError(f"{file}: no row is in the part {part}; there are {', '.join(sorted(set(parts)))}")


def _tell_wordless(texts: pd.Series, where: str) -> None:
    wordless = texts.index[[not any(map(str.isalnum, text)) for text in texts]]
    if len(wordless):
        told = "%s: %d of %d texts hold no letter or digit, the first on row %d"
        log.warning(told, where, len(wordless), len(texts), wordless[0])
