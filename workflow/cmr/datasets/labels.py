"""Class labels as people write them, read in the same way wherever they come from.

Numbers are names: 1, 1.0 and '1.0' are the class '1'. Names are stripped of blanks and invisible characters, put into
Unicode's composed form (NFC), and have one blank where several stood. Bytes written as text, ``b'cat'``, are texts. A
cell may hold several labels: a list, a list written as text, or a text with a separator.
"""

import ast
import datetime
import decimal
import logging
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cmr.data import MAX_LETTERS
from cmr.errors import UserError

log = logging.getLogger(__name__)

NO_LABEL = frozenset({"nan", "NaN", "None", "<NA>", "NaT"})
PERHAPS_NO_LABEL = ("NA", "N/A", "n/a", "#N/A", "NULL", "Null", "null", "NONE", "none")
CLEAR_SEPARATORS, PERHAPS_SEPARATORS = (";", "|"), (",",)
SHARE = 0.1  # a character in fewer of the labels is a part of their names
WHOLE = re.compile(r"(-?\d+)(?:\.0*)?")
SCALARS = (str, bool, int, float, np.generic, decimal.Decimal, datetime.date)

BYTES = re.compile(r"b'(?:[ -&(-\[\]-~]|\\(?:x[0-9a-f]{2}|[nrt'\\]))*'")  # as Python and NumPy write them
BLANKS = re.compile(r"[ \u00a0\u2007\u202f\u3000]+")
INVISIBLE = "\0 \t\r\n\ufeff\u200b\u2060"  # at either end

BRACKETS = {"[": "]", "(": ")", "{": "}"}
ITEM = re.compile(
    r"""\s*(?:np\.str_\()?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d*)?|nan|None)\)?(?:\s*,\s*|\s+|$)""",
    re.DOTALL,
)


class LabelQuestion(UserError):
    """Labels that have two meanings. ``remedy`` names the parameter that decides, ``option`` that of a command."""

    def __init__(self, seen: str, remedy: str, option: str):
        super().__init__(f"{seen}; {remedy}")
        self.at_command = f"{seen}; {option}"


def as_list(text: str) -> list[Any] | None:
    """The values of a list that Python or NumPy wrote as text: ``['cat', 'dog']``, ``['cat' 'dog']``; else None."""
    if len(text) < 2 or BRACKETS.get(text[0]) != text[-1] or (text[0] != "[" and not set(text) & {"'", '"'}):
        return None
    inside, values, position = text[1:-1].strip(), [], 0
    while position < len(inside):
        item = ITEM.match(inside, position)
        if not item:
            return None
        try:
            values.append(None if item[1] in ("nan", "None") else ast.literal_eval(item[1]))
        except (ValueError, SyntaxError):  # digits without end, or an escape that is none
            return None
        position = item.end()
    return values


@dataclass(frozen=True)
class LabelReader:
    """How labels are read where there are two ways; None asks where it matters.

    ``separator``: what separates several labels in a text; '' where each text is one label, whatever it looks like.
    ``no_label``: the texts that stand for no label, besides empty and missing cells.
    """

    separator: str | None = None
    no_label: Sequence[str | int] | None = None

    def read(self, cells: Iterable[Any], source: str, where: Callable[[int], str]) -> list[list[str]]:
        """The class names of each cell, each once; none where it is missing: None, NaN, NaT, infinite or empty. Cells
        with the same names share one list.

        ``where``: the number of a cell → its place for messages, such as "my.csv: row 3". Raises `UserError` for what
        is no label, and `LabelQuestion` for what has two meanings. Names that look odd are told to the log.
        """
        missing = NO_LABEL if self.no_label is None else frozenset(map(str, self.no_label))
        labels, texts = _as_they_stand(cells, missing, where)
        self._split(labels, texts, source, where)
        labels = _tidied(labels, missing)
        counts = Counter(name for names in labels for name in names)
        if long := next((name for name in counts if len(name) > MAX_LETTERS), ""):
            raise UserError(
                f"{source}: {long[:40]!r} … has {len(long):,} letters, and the name of a class has {MAX_LETTERS:,} at "
                "most; are these texts?"
            )
        if self.no_label is None:
            _ask_whether_missing(counts, source)
        _tell_odd_names(counts, source)
        return labels

    def _split(self, labels: list[list[str]], texts: Sequence[int], source: str, where: Callable[[int], str]) -> None:
        """Replaces each text's one label by the several that are written in it."""
        if self.separator == "":
            return
        lists = {row: found for row in texts if (found := as_list(labels[row][0])) is not None}
        if lists and len(lists) == len(texts):
            log.info("%s: all labels are written as lists, such as %r", source, labels[texts[0]][0])
            for row, values in lists.items():
                labels[row] = _names(values, row, where)
        elif self.separator:
            if texts and not any(self.separator in labels[row][0] for row in texts):
                _ask_for_separator([labels[row][0] for row in texts], source)
                log.warning("%s: no label holds the separator %r: each is taken for one label", source, self.separator)
            pieces = {}
            for row in texts:
                text = labels[row][0]
                if text not in pieces:
                    pieces[text] = _names(text.split(self.separator), row, where)
                labels[row] = pieces[text]
        else:
            found = [labels[row][0] for row in texts]
            _ask_whether_lists(texts, found, bool(lists), where)
            _ask_for_separator(found, source)


def single_names(cells: Iterable[Any], where: Callable[[int], str]) -> list[str]:
    """The one name in each cell, in the form of class names; '' where it is missing. Raises `UserError` for others."""
    names = []
    for row, cell in enumerate(map(_unwrapped, cells)):
        several = _names(cell, row, where)
        if len(several) > 1:
            raise UserError(f"{where(row)}: expected one name, found {len(several)}")
        names.append("".join(several))
    whole = _whole_numbers({*names} - {""})
    return [whole.get(name, name) for name in names]


def _as_they_stand(
    cells: Iterable[Any], missing: frozenset[str], where: Callable[[int], str]
) -> tuple[list[list[str]], Sequence[int]]:
    """The names in each cell, and the rows of the cells that are texts with a name. Equal texts are read once."""
    labels, texts = [], array("q")
    known: dict[str, list[str]] = {}
    for row, cell in enumerate(map(_unwrapped, cells)):
        names = known.get(cell) if isinstance(cell, str) else None
        if names is None:
            names = [name for name in _names(cell, row, where) if name not in missing]
            if isinstance(cell, str):
                known[cell] = names
        labels.append(names)
        if names and isinstance(cell, str | bytes):
            texts.append(row)
    return labels, texts


def _names(cell: Any, row: int, where: Callable[[int], str]) -> list[str]:
    """The names in one cell. Raises `UserError` for what is no label."""
    try:
        parts = [_unwrapped(part) for part in cell] if _is_several(cell) else [cell]
        return [name for part in parts if (name := _name(part))]
    except ValueError as error:
        raise UserError(f"{where(row)}: {error}") from None


def _unwrapped(value: Any) -> Any:
    """What an array of one value holds, as each cell of MATLAB's is one."""
    while isinstance(value, np.ndarray):
        if value.size != 1:
            return value.ravel()
        value = value.item()
    return value


def _is_several(cell: Any) -> bool:
    return isinstance(cell, list | tuple | set | frozenset | np.ndarray)


def _name(value: Any) -> str:
    """A class's name; '' for what is missing. Raises ValueError for what is no name."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return _tidy(value)
    if value is None or value is pd.NaT or value is pd.NA:
        return ""
    if not isinstance(value, SCALARS):
        raise ValueError(f"expected a label, or a list of labels, found {type(value).__name__} {str(value)[:40]!r}")
    if isinstance(value, float | np.floating):
        return _number(value)
    if isinstance(value, np.datetime64) and np.isnat(value):
        return ""
    if isinstance(value, datetime.datetime | np.datetime64):
        return pd.Timestamp(value).isoformat().removesuffix("T00:00:00")
    return str(value)


def _tidy(text: str) -> str:
    if BYTES.fullmatch(text):
        text = ast.literal_eval(text).decode("utf-8", "backslashreplace")
    visible = BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(INVISIBLE)
    return visible.strip()


def _number(value: float | np.floating) -> str:
    if not np.isfinite(value):
        return ""
    bits = int(np.finfo(type(value)).nmant) + 1
    if abs(float(value)) >= 2.0**bits:  # from here on, floats lack some of the whole numbers
        raise ValueError(
            f"the label {value:.0f} is a float beyond 2^{bits}, where numbers run into one another; "
            "save labels as integers or text"
        )
    return str(int(value)) if float(value).is_integer() else str(value)


def _tidied(labels: list[list[str]], missing: frozenset[str]) -> list[list[str]]:
    """Each name once and none that is missing, '1.0' as '1' where all are whole numbers; one list for equal ones."""
    whole = _whole_numbers({name for names in labels for name in names} - missing)
    tidied: dict[tuple[str, ...], list[str]] = {}
    for names in labels:
        if (key := tuple(names)) not in tidied:
            tidied[key] = [n for n in dict.fromkeys(whole.get(name, name) for name in names) if n not in missing]
    return [tidied[tuple(names)] for names in labels]


def _whole_numbers(names: set[str]) -> dict[str, str]:
    """'1.0' → '1', where all names are whole numbers; else nothing."""
    matches = {name: WHOLE.fullmatch(name) for name in names}
    return {name: match[1] for name, match in matches.items() if match} if all(matches.values()) else {}


def _ask_whether_lists(rows: Sequence[int], texts: Sequence[str], some: bool, where: Callable[[int], str]) -> None:
    """``texts``: the labels of the ``rows``; ``some``: whether some of them are lists for certain."""
    alike = [n for n, text in enumerate(texts) if (text.startswith("[") and text.endswith("]")) or as_list(text)]
    if some or len(alike) > SHARE * len(texts):
        raise LabelQuestion(
            f"{where(rows[alike[0]])}: the label {texts[alike[0]]!r} looks like a list, as {len(alike)} of "
            f"{len(texts)} do",
            "write all of them as ['cat', 'dog'], or say separator: '' if each is one label",
            "write all of them as ['cat', 'dog'], or give --separator '' if each is one label",
        )


def _ask_for_separator(texts: list[str], source: str) -> None:
    """Where many labels hold a character that usually stands between labels.

    A comma counts only if what stands beside it occurs in other labels too: it is a part of many a name.
    """
    for character in CLEAR_SEPARATORS + PERHAPS_SEPARATORS:
        pieces = {text: [p.strip() for p in text.split(character) if p.strip()] for text in set(texts)}
        several = [text for text in texts if len(pieces[text]) > 1]
        if not several:
            continue
        combined = max(Counter(piece for own in pieces.values() for piece in set(own)).values()) > 1
        found = f"{source}: {len(several)} of {len(texts)} labels hold {character!r}, such as {several[0]!r}"
        if len(several) > SHARE * len(texts) and (character in CLEAR_SEPARATORS or combined):
            raise LabelQuestion(
                found,
                f"say separator: '{character}' if they are several labels, separator: '' if each is one",
                f"give --separator '{character}' if they are several labels, --separator '' if each is one",
            )
        if character in CLEAR_SEPARATORS:
            log.warning("%s; each is taken for one label", found)


def perhaps_no_label(counts: Mapping[str, int]) -> str:
    """The name among those of classes that may stand for no label; '' for none."""
    others = set(counts) - {"-1"}
    numbered = "-1" in counts and others and others != {"1"} and all(name.isdigit() for name in others)
    suspects = [*PERHAPS_NO_LABEL, *(["-1"] if numbered else [])]  # -1 and 1 alone are two classes
    return next((name for name in suspects if name in counts), "")


def _ask_whether_missing(counts: Counter[str], source: str) -> None:
    if name := perhaps_no_label(counts):
        raise LabelQuestion(
            f"{source}: {counts[name]} labels are {name!r}, which may be a class or stand for no label",
            f"say no_label: ['{name}'] if it stands for no label, no_label: [] if it is a class",
            f"give --no-label {name} if it stands for no label, --no-label alone if it is a class",
        )


def _tell_odd_names(counts: Counter[str], source: str) -> None:
    by_letters: dict[str, list[str]] = {}
    for name in sorted(counts):
        by_letters.setdefault(name.casefold(), []).append(name)
    for names in by_letters.values():
        if len(names) > 1:
            log.warning(
                "%s: the classes %s differ in case alone", source, ", ".join(f"{n!r} ({counts[n]})" for n in names)
            )
    if len(counts) == 1:
        log.warning("%s: all labels are %r, so every item is relevant to every other", source, next(iter(counts)))
