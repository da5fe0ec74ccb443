"""The user's own pairs: a table with one row an item, one column of paths or texts a modality, and labels.

What has one meaning is read, and the log of the job says so where it is unusual: columns separated by ';', '|' or tabs,
UTF-16, lists that were written as text (``['cat', 'dog']``), quotation marks that close no cell, backslashes in paths,
accents in the other Unicode form, val and dev for validation. What has two meanings stops with a line that names the
parameter which decides.

A picture with several captions is a row a caption with ``group``, or a row a picture with ``texts: each`` or several
text columns. The rows of a group belong together, and each content stands in one of them. Figures by instance take any
of a query's group as its pair. Without labels there are figures by instance alone.
"""

import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from cmr.data import CONTROL, PARTS, TEST, TRAIN, Items, Split
from cmr.datasets.base import Dataset
from cmr.datasets.files import (
    as_text,
    blocks_of,
    cells_of,
    column,
    compact,
    located,
    read_rows,
    texts_of,
    user_file,
)
from cmr.datasets.grouping import each_content_once
from cmr.datasets.labels import NO_LABEL, LabelReader, as_list
from cmr.datasets.rows import PART_NAMES, seeded_parts, untrained, usable, without_place
from cmr.datasets.splitting import SHARES
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

EXACT_FLOATS = 2.0**53
SAMPLED = 5  # texts that are looked at, whether they name files
LABEL = "label"


class Params(BaseParams):
    file: str = Field("", description="the table: .csv, .tsv, .jsonl or .parquet, relative to the configuration file")
    id: str = Field("", description="column of unique ids; empty: the row numbers")
    image: str = Field("", description="column of picture files, relative to the table's folder")
    text: str | list[str] = Field(
        "", description="column of texts, or several columns whose texts are items of their own, of one group"
    )
    texts: Literal["joined", "each"] = Field(
        "joined", description="what a list of sentences in one cell is: joined into one text, or each a text of its own"
    )
    audio: str = Field("", description="column of sound files, relative to the table's folder")
    group: str = Field(
        "",
        description="column that tells which rows belong together, as the captions of one picture do (the column of "
        "pictures itself may be named); empty: each row alone",
    )
    label: str | None = Field(
        None,
        description="column of class names, one or several a row; null: the column label where there is one; '': no "
        "labels",
    )
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
        table = read_rows(file, self._wanted(kinds), params.encoding, params.quotes, welcome=[LABEL])
        ids = cells_of(table, params.id, file) if params.id else table.index.to_series()
        rows = pd.DataFrame({"id": texts_of(ids)})
        rows["labels"] = pd.Series(self._labels(table, file), table.index, object)
        problems = dict(_inexact(ids))
        if self._grouped:
            rows["group"] = texts_of(cells_of(table, params.group, file)) if params.group else rows["id"]
        if self._several_texts:
            rows = _a_row_a_text(rows, [column(table, name, file) for name in self._text_columns])
            table = table.loc[rows.index]
        if params.split:
            rows["part"] = _parts(texts_of(cells_of(table, params.split, file)), f"{file}: {params.split}")
        for modality in kinds:
            cells = self._cells(table, rows, modality, file)
            rows[modality], found = self._content(modality, cells, file.parent)
            problems = found | problems
        problems = dict(_bad_rows(rows, list(kinds), labelled=bool(self._label(table)))) | problems
        if self._grouped:
            rows = each_content_once(rows, list(kinds))
            problems = {row: problem for row, problem in problems.items() if row in rows.index}
        problems = self._without_place(rows.drop(index=list(problems)) if problems else rows, kinds) | problems
        kept = usable(rows, problems, rows["id"], file, params.strict, self.folder / "skipped.csv")
        if params.split:
            _check_parts(rows["part"], problems, file)
        if params.text:
            texts, where = kept["text"].dropna(), f"{file}: {', '.join(self._text_columns)}"
            _check_no_files(texts, file.parent, where)
            _tell_wordless(texts, where)
            _tell_missing(texts, where)
        if not self._grouped:
            self._tell_repeated(kept, list(kinds), file)
        extra = [name for name in ("part", "group") if name in kept]
        return Items(kept[["id", *kinds, "labels", *extra]].reset_index(drop=True), kinds)

    def split(self, items: Items, name: str) -> Split:
        return super().split(Items(self._sorted(items.table).reset_index(drop=True), items.kinds), name)

    def parts(self, items: Items, name: str) -> np.ndarray:
        """What the split column says, or the seeded split."""
        if self.params.split:
            return items.table["part"].to_numpy(str)
        where = f"{self._file()}: {self.params.label or LABEL}"
        return seeded_parts(where, items, SHARES, self.groups(items))

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

    def _sorted(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows as splits are drawn from them: where they have ids, their order in the table decides nothing."""
        return rows.sort_values("id") if self.params.id else rows

    def _without_place(self, rows: pd.DataFrame, kinds: dict[str, str]) -> dict[int, str]:
        """Row → why the split has no place for it; of a seeded split only where such rows are to be left out."""
        if self.params.split:
            return dict(untrained(rows, rows["part"])) if TRAIN in set(rows["part"]) else {}  # told by its part
        if self.params.strict:
            return {}

        def items(some: pd.DataFrame) -> Items:
            return Items(some.reset_index(drop=True), kinds)

        return without_place(self._sorted(rows), lambda some: self.groups(items(some)), SHARES)

    def _tell_repeated(self, rows: pd.DataFrame, modalities: list[str], file: Path) -> None:
        """Warns of a modality whose contents repeat, as pictures beside several captions do."""
        for modality in modalities if len(modalities) > 1 else ():
            held, different = rows[modality].count(), rows[modality].nunique()
            if different <= held / 2:
                log.warning(
                    "%s: %d rows hold %d different contents of %s; if rows of the same one belong together, say "
                    "group: %s, or figures by instance count only the same row",
                    file, held, different, modality, getattr(self.params, modality),
                )  # fmt: skip

    @property
    def _several_texts(self) -> bool:
        """Whether a row may hold several texts that are items of their own."""
        return self.params.texts == "each" or isinstance(self.params.text, list)

    @property
    def _grouped(self) -> bool:
        """Whether several items belong together, as the captions of a picture do."""
        return bool(self.params.group) or self._several_texts

    @property
    def _text_columns(self) -> list[str]:
        text = self.params.text
        return text if isinstance(text, list) else [text] if text else []

    def _wanted(self, kinds: dict[str, str]) -> list[str]:
        """The columns that the parameters name."""
        params = self.params
        named = [params.id, params.group, params.label, params.split, *self._text_columns]
        return [name for name in (*named, *(getattr(params, m) for m in kinds if m != "text")) if name]

    def _label(self, table: pd.DataFrame) -> str:
        """The column of labels; '' where there is none."""
        label = self.params.label
        return (LABEL if LABEL in table else "") if label is None else label

    def _labels(self, table: pd.DataFrame, file: Path) -> list[list[str]]:
        name, reader = self._label(table), LabelReader(self.params.separator, self.params.no_label)
        if not name:
            log.warning("%s: no labels: there will be figures by instance alone; label names their column", file)
            return [[] for _ in range(len(table))]
        cells = chain.from_iterable(blocks_of(cells_of(table, name, file)))
        return reader.read(cells, f"{file}: {name}", lambda position: f"{file}: row {table.index[position]}: {name}")

    def _cells(self, table: pd.DataFrame, rows: pd.DataFrame, modality: str, file: Path) -> pd.Series:
        """The cells of a modality as text; lists of sentences that were written as text are lists again."""
        if modality != "text":
            return texts_of(cells_of(table, getattr(self.params, modality), file))
        if self._several_texts:
            return texts_of(rows["text"])
        cells = cells_of(table, self._text_columns[0], file)
        found = Counter(map(_is_list, chain.from_iterable(blocks_of(cells))))
        if found[True] and not found[False]:
            log.info("%s: %s: all texts are lists of sentences, which are joined", file, self.params.text)
            return texts_of(cells, _joined)
        if found[True]:
            seen = f"{found[True]} of {found[True] + found[False]} texts look like lists"
            log.warning("%s: %s: %s, and are read as they stand", file, self.params.text, seen)
        return texts_of(cells)

    def _content(self, modality: str, cells: pd.Series, folder: Path) -> tuple[pd.Series, dict[int, str]]:
        """The column of one modality, null where there is nothing, and row → problem."""
        empty = (cells == "").to_numpy(bool)
        problems = {} if self.params.unpaired else dict.fromkeys(cells.index[empty], f"empty {modality}")
        contents = cells.mask(empty)
        if modality != "text":
            contents, found = self._files(modality, contents, folder)
            problems |= found
        return contents, problems

    def _files(self, modality: str, cells: pd.Series, folder: Path) -> tuple[pd.Series, dict[int, str]]:
        """Where the files lie that a column names, and row → problem."""
        problems: dict[int, str] = {}
        respelled: list[int] = []
        bar = tqdm(total=len(cells), desc=f"check {modality}", unit=" rows", mininterval=1)

        def place(row: int, cell: str) -> str:
            content, problem = self._located(modality, cell, folder)
            if problem:
                problems[row] = problem
            if content and not os.path.isabs(cell) and content != os.path.normpath(cell):
                respelled.append(row)
            return content

        def places(block: pd.Series) -> list[str | None]:
            bar.update(len(block))
            return [
                place(row, cell) if isinstance(cell, str) else None
                for row, cell in zip(block.index, block, strict=True)
            ]

        with bar:
            found = compact(map(places, blocks_of(cells)), cells.index)
        if respelled:
            log.info(
                "%s: %d files are found with '/' for '\\', or with accents in another Unicode form; the first: row %d",
                modality, len(respelled), respelled[0],
            )  # fmt: skip
        return found, problems

    def _located(self, modality: str, path: str, folder: Path) -> tuple[str, str]:
        content, problem = located(path, folder, self.data_root)
        if not problem and modality == "image" and not self.params.strict:
            problem = undecodable(folder / content)
        return content, problem


def _a_row_a_text(rows: pd.DataFrame, columns: list[list[Any]]) -> pd.DataFrame:
    """A row for each text of a row, with the text; the ids of a row's second and further texts have a number."""
    texts = [_texts(cells) for cells in zip(*columns, strict=True)]
    found = rows.assign(text=pd.Series(texts, rows.index, object)).explode("text")
    nth = found.groupby(level=0, sort=False).cumcount()
    return found.assign(id=[f"{item}-{n + 1}" if n else item for item, n in zip(found["id"], nth, strict=True)])


def _texts(cells: tuple[Any, ...]) -> list[Any]:
    """The texts of a row, of cells that hold a text or a list of texts each; [''] for none."""
    found: list[Any] = []
    for cell in cells:
        written = as_list(cell.strip()) if isinstance(cell, str) else None
        several = written if written is not None else cell
        found += list(several) if isinstance(several, list | tuple | np.ndarray) else [several]
    return [text for text in found if as_text(text)] or [""]


def _is_list(cell: Any) -> bool | None:
    """Whether a text is a list of sentences that was written as text; None where there is no text."""
    text = cell.strip() if isinstance(cell, str) else ""
    return as_list(text) is not None if text else None


def _joined(cell: Any) -> str:
    """The sentences of such a list as one text."""
    return as_text((as_list(cell.strip()) or "") if isinstance(cell, str) else cell)


def undecodable(picture: Path) -> str:
    """Why a picture cannot be decoded, by the extractors' own decoder; '' where it can."""
    try:
        read_rgb(picture)
    except BadContent as error:
        return f"{picture.name} does not decode: {error.reason.replace(str(picture), picture.name)}"
    return ""


def _inexact(ids: pd.Series) -> Iterator[tuple[int, str]]:
    """Row → an id that may have been another number before it became a float."""
    if isinstance(ids.dtype, pd.StringDtype):
        return
    for row, item in zip(ids.index, ids.astype(object), strict=True):
        if isinstance(item, float) and abs(item) >= EXACT_FLOATS and math.isfinite(item):
            yield row, f"id {item:.0f} is a float beyond 2^53, where numbers run into one another; save ids as text"


def _bad_rows(rows: pd.DataFrame, modalities: list[str], labelled: bool) -> Iterator[tuple[int, str]]:
    """Row → what is wrong with its id, labels, part or modalities as a whole."""
    ids, groups = rows["id"], rows.get("group", rows["id"])
    without_label = (rows["labels"].map(len) == 0) & labelled
    odd = ids.str.contains(CONTROL) | ids.duplicated() | without_label | (ids == "") | (groups == "")
    twice = ids[ids.duplicated(keep=False)]
    first_row = dict(zip(twice[::-1], twice.index[::-1], strict=True))
    told = pd.DataFrame({"id": ids, "without_label": without_label, "group": groups})[odd]
    for row, item, lacks_label, group in told.itertuples(name=None):
        if not item:
            yield row, "empty id"
        elif re.search(CONTROL, item):
            yield row, f"id {item!r} holds a control character"
        elif first_row.get(item, row) != row:
            yield row, f"id {item!r} stands on row {first_row[item]} too"
        elif lacks_label:
            yield row, "no label"
        elif not group:
            yield row, "empty group"
    for row in rows.index[rows[modalities].isna().all(axis=1)]:
        yield row, f"nothing in any of the columns of {', '.join(modalities)}"
    if "part" in rows:
        for row, part in zip(rows.index, rows["part"], strict=True):
            if part not in PARTS:
                yield row, f"part {part!r}, expected train, validation or test"


def _parts(cells: pd.Series, where: str) -> list[str]:
    """Names of parts in their own spelling: Train, val, dev; what is none of them stays as it is."""
    named = [PART_NAMES.get(cell.casefold(), cell) for cell in cells]
    for cell, part in sorted({(cell, part) for cell, part in zip(cells, named, strict=True) if cell != part}):
        log.info("%s: %r is read as %s", where, cell, part)
    return named


def _check_parts(parts: pd.Series, problems: Mapping[int, str], file: Path) -> None:
    """``parts``: of all rows, those left out for their problems too."""
    kept = set(parts.drop(index=list(problems)))
    for part in (TRAIN, TEST):
        if part not in kept:
            others = {*PARTS} - {part}
            lost = next((f"; row {row}: {problems[row]}" for row in sorted(problems) if parts[row] not in others), "")
            raise UserError(f"{file}: no row is in the part {part}; there are {', '.join(sorted(kept))}{lost}")


def _check_no_files(texts: pd.Series, folder: Path, where: str) -> None:
    """Raises `UserError` where the texts are names of files."""
    first = list(texts.head(SAMPLED))
    if first and all(os.path.isfile(folder / text) for text in first):
        raise UserError(f"{where}: the cells name files, such as {first[0]!r}; write the texts themselves into them")


def _tell_missing(texts: pd.Series, where: str) -> None:
    written = texts[texts.isin(NO_LABEL)]
    if len(written):
        told = "%s: %d texts are %r, as missing values are written, and count as texts; empty cells do not"
        log.warning(told, where, len(written), written.iloc[0])


def _tell_wordless(texts: pd.Series, where: str) -> None:
    wordless = [row for block in blocks_of(texts) for row, text in block.items() if not any(map(str.isalnum, text))]
    if wordless:
        told = "%s: %d of %d texts hold no letter or digit, the first on row %d"
        log.warning(told, where, len(wordless), len(texts), wordless[0])
