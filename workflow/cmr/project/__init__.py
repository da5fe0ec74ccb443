"""What the package reads of the project when it runs: printed figures, addresses of downloads, the rules.

This folder mirrors the project's by links. A built package has the files in the links' place, so that they are found in
the same way in a clone and where the package is installed.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from cmr.errors import UserError

REMEDY = "restore it, or install cmr again"


def path(name: str) -> Path:
    """Where a file or folder of the project is, such as ``resources/sources.csv``; in a clone, the one at its top."""
    return (Path(__file__).parent / name).resolve()


def rows(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, each column → value. Raises `UserError` unless there are these columns and a row."""
    try:
        with open(file, newline="", encoding="utf-8") as lines:
            header, *found = [*csv.reader(lines, strict=True)] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read: {error}; {REMEDY}") from None
    if not found:
        raise UserError(f"{file}: has no rows; {REMEDY}")
    if header != list(columns):
        raise UserError(f"{file}: columns {', '.join(header)}; expected {', '.join(columns)}")
    for number, row in enumerate(found, start=2):
        if len(row) != len(header):
            raise UserError(f"{file}: row {number}: {len(row)} values for {len(header)} columns")
    return [dict(zip(header, row, strict=True)) for row in found]
