"""The one exception whose message is written for the person who typed the command."""

import difflib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

LONGEST = 5000  # letters of an error's message; what a damaged file holds may be of any length
ORDER = (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters of Unicode that say in which order others stand, or end a line, and have no form of their own."""
FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
"""Where a cell of a spreadsheet begins that would be computed, in wide letters of East Asia too."""
CONTROLS = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160), *ORDER) if chr(code) not in "\n\t"}


def shortened(text: str) -> str:
    """A message without its middle where it is longer than can be read."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


class UserError(Exception):
    """Something the user can mend: the message names the file, row or key, and the remedy."""

    def __str__(self) -> str:
        return shortened(super().__str__())


class Damaged(UserError):
    """A file of the results that does not hold what is written there."""


class BadContent(UserError):
    """Content that cannot be decoded; the runner adds the item's id to the message."""

    def __init__(self, content: object, reason: str):
        super().__init__(f"{content}: {reason}")
        self.content, self.reason = content, reason

    def __reduce__(self) -> tuple[type, tuple[object, str]]:
        return type(self), (self.content, self.reason)


@contextmanager
def texts_told(source: object) -> Iterator[None]:
    """Makes a text that cannot be written a `UserError` that shows it: the name of a file in another encoding than
    UTF-8, or half of a surrogate pair of JSON.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise UserError(
            f"{source}: {error.object[:200]!r} is no text in UTF-8; rename the file of that name, or save the text so"
        ) from None


def printable(text: str) -> str:
    """A text of somebody's for a terminal: control characters are shown, as in \\u001b, and not obeyed.

    A carriage return, too, would let one line stand in the place of another, and marks of direction a figure in the
    place of another. In JSON the same letters mean the same.
    """
    return text.translate(CONTROLS)


def quantity(n: int, noun: str) -> str:
    """``1 row``, ``2 rows``: a number of what has a plural in -s."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def one_line(text: str) -> str:
    """A name of somebody's, whose second line would be a row of the table, or LaTeX behind a comment.

    `printable` shows the other characters that end lines.
    """
    return text.replace("\n", " ")


def inert(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: a text that starts like one gets an apostrophe, and so does one
    behind a semicolon, at which spreadsheets of half of the languages part a line.
    """
    return cell if not isinstance(cell, str) or _is_number(cell) else FORMULA.sub(r"\1'", cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Printable(logging.Formatter):
    """Messages of the log for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as "; did you mean 'cca'?", or a list of what there is when nothing is near."""
    known = sorted(names)
    folded = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
