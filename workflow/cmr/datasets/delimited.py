"""Delimited text as people save it: encoding, separator and quotation marks are seen in the file, or asked for."""

import codecs
import csv
import io
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cmr.boundary import plain
from cmr.errors import UserError

log = logging.getLogger(__name__)

SEPARATORS = (",", ";", "\t", "|")
SHOWN = {"\t": "tabs"}
SAVE_AS_UTF8 = "save it as UTF-8"
SOME_BYTES = 20
COMPRESSED = "is compressed; unpack it"
NO_TEXT = {
    b"\x1f\x8b": COMPRESSED,
    b"BZh": COMPRESSED,
    b"\xfd7zXZ": COMPRESSED,
    b"PK\x03\x04": "is a workbook or a zip file, whatever its name; save the sheet as CSV, or unpack it",
}
"""How files start that are no text → what they are."""
DECLARED = re.compile(r"sep=(.)\r?\n")
"""The first line by which Excel is told the separator."""

csv.field_size_limit(2**31 - 1)  # a cell may be a whole article


def decoded(file: Path, encoding: str = "", remedy: str = SAVE_AS_UTF8) -> str:
    """The text of a file: in ``encoding`` where it is given, else UTF-16 by its mark or its zeros, or UTF-8.

    Raises `UserError` that names the line, what stands there, and the ``remedy``.
    """
    raw = plain(file).read_bytes()
    for start, what in NO_TEXT.items():
        if raw.startswith(start):
            raise UserError(f"{file}: {what}")
    if not encoding and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        log.info("%s: UTF-16, by its byte order mark", file)
        encoding = "utf-16"
    encoding = encoding or _unmarked_utf16(file, raw) or "utf-8"
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise UserError(f"{file}: no encoding is called {encoding!r}; some are utf-8, cp1252, gb18030") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        around = raw[max(0, error.start - SOME_BYTES) : error.start + 1].rpartition(b"\n")[2]
        shown = around.decode("ascii", "backslashreplace")
        raise UserError(f"{file}: line {line}: not {encoding.upper()} at {shown!r}; {remedy}") from None


def _unmarked_utf16(file: Path, raw: bytes) -> str:
    """The encoding of UTF-16 without a byte order mark, whose zeros are halves of ASCII characters and line feeds.

    '' for other files, such as UTF-8 in which zeros stand by mistake.
    """
    zeros = raw.count(0)
    for encoding in ("utf-16-le", "utf-16-be") if zeros else ():
        text = raw.decode(encoding, "replace")
        if "\n" in text and "\0" not in text and 2 * sum(map(str.isascii, text)) > zeros:
            log.info("%s: %s, by its zeros", file, encoding.upper())
            return encoding
    return ""


@dataclass(frozen=True)
class Cells:
    """A table of strings: ``header`` (c,) and for each row its number in the file and its cells (c,).

    Numbers count rows from 1, the header and blank lines too; a row of several lines counts once, as in a spreadsheet.
    """

    header: list[str]
    numbers: list[int]
    rows: list[list[str]]


def read_cells(
    file: Path, separator: str, wanted: Iterable[str] = (), encoding: str = "", quotes: bool | None = None
) -> Cells:
    """The rows of a table with a header, as they stand, blank lines left out.

    ``separator``: what is expected; another one is taken where only that gives the ``wanted`` columns. ``quotes``:
    whether quotation marks enclose cells; None: as the rows say. Raises `UserError` for a row of more cells than the
    header has, and where quotation marks could be read in two ways.
    """
    text = decoded(file, encoding, f"{SAVE_AS_UTF8}, or say which encoding it has, such as encoding: cp1252 or gb18030")
    declared = DECLARED.match(text)
    if declared:
        separator, text = declared[1], "\n" + text[declared.end() :]  # the line counts
    else:
        separator = _separator(file, text, separator, set(wanted))
    rows = _rows(file, text, separator, quotes)
    if not rows:
        raise UserError(f"{file}: cannot be read: no header")
    header = [name.strip() for name in rows[0][1]]
    numbers, cells = [], []
    for number, row in rows[1:]:
        cells.append(_fitted(row, len(header)))
        numbers.append(number)
        if len(cells[-1]) > len(header):
            raise UserError(f"{file}: cannot be read: row {number} has {len(row)} cells, the header {len(header)}")
    return Cells(header, numbers, cells)


def _separator(file: Path, text: str, expected: str, wanted: set[str]) -> str:
    """The expected separator, unless the header holds another one alone, or only another gives the wanted columns."""
    line = next((line for line in io.StringIO(text, newline="") if line.strip()), "").rstrip("\r\n")
    names = {s: {name.strip() for name in next(csv.reader([line], delimiter=s))} for s in SEPARATORS}
    fitting = [s for s in SEPARATORS if wanted and wanted <= names[s]] or [s for s in SEPARATORS if len(names[s]) > 1]
    if not fitting or expected in fitting:
        return expected
    found = fitting[0]
    log.warning("%s: columns are separated by %s", file, SHOWN.get(found, repr(found)))
    return found


Numbered = list[tuple[int, list[str]]]


def _rows(file: Path, text: str, separator: str, quotes: bool | None) -> Numbered:
    """The rows with their numbers, by the reading of quotation marks under which all rows are of one length."""
    plain = _parsed(text, separator, csv.QUOTE_NONE)
    if '"' not in text or quotes is False:
        return plain
    undecided = quotes is None and _is_even(plain)
    quoted, failure = _quoted(text, separator)
    if failure and undecided:
        log.warning("%s: %s, so quotation marks do not enclose cells: they are read as part of the text", file, failure)
        return plain
    if failure and not quoted:
        raise UserError(f"{file}: cannot be read: {failure}; close the quotation mark, or double it in a cell")
    if undecided and len(plain) != len(quoted):
        number = min((n for n, row in quoted if any("\n" in cell or "\r" in cell for cell in row)), default=1)
        raise UserError(
            f"{file}: row {number}: a quotation mark may enclose a cell of several lines ({len(quoted) - 1} rows in "
            f"all) or be a part of the text ({len(plain) - 1} rows); say which with quotes: true or quotes: false"
        )
    return quoted


def _quoted(text: str, separator: str) -> tuple[Numbered, str]:
    """The rows if quotation marks enclose cells, and what speaks against it."""
    try:
        rows = _parsed(text, separator, csv.QUOTE_MINIMAL)
    except csv.Error as error:
        return [], str(error)
    number = next((n for n, row in rows if len(row) != len(rows[0][1])), 0)
    return rows, f"row {number} would have another number of cells than the header" if number else ""


def _parsed(text: str, separator: str, quoting: Literal[0, 3]) -> Numbered:
    """Raises `csv.Error` that names the row for a quotation mark that is not closed where a cell ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True)
    rows: Numbered = []
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            if any(row):
                rows.append((number, row))
    except csv.Error:
        raise csv.Error(f"row {number + 1}: a quotation mark opens a cell and does not close it") from None
    return rows


def _is_even(rows: Numbered) -> bool:
    return len({len(row) for _, row in rows}) <= 1


def _fitted(row: list[str], width: int) -> list[str]:
    """Without the empty cells that separators at a row's end make, and with those that a short row lacks."""
    while len(row) > width and not row[-1]:
        row = row[:-1]
    return row + [""] * (width - len(row))
