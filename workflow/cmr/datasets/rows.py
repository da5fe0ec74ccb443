"""Which rows of a user's data can be used, and what is said of the others."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets.splitting import Grouping, Groups, joined_strata, stratified
from cmr.errors import UserError, inert
from cmr.publish import atomic

log = logging.getLogger(__name__)

PART_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "development", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""Names of parts as people write them, in lower case."""
MERGE = "remove or merge such classes"
MERGE_OR_LEAVE_OUT = f"{MERGE}, or leave their rows out with strict: false"
NAMED = 10  # of many classes in one message
SEED = 0
UNEVEN = 0.1  # of all rows; rounding within classes explains less


def usable(
    table: pd.DataFrame, problems: dict, ids: Iterable[str], file: Path | str, strict: bool, skipped: Path
) -> pd.DataFrame:
    """The rows without problems (row → what is wrong).

    Strict: any problem raises `UserError`. Else the bad rows are left out and listed in ``skipped`` (CSV).
    """
    if strict and problems:
        row = min(problems)
        more = f" ({len(problems) - 1} more rows have problems)" if len(problems) > 1 else ""
        raise UserError(f"{file}: row {row}: {problems[row]}{more}; mend it, or leave such rows out with strict: false")
    if not strict:
        name = {row: item for row, item in zip(table.index, ids, strict=True) if row in problems}
        rows = [(row, name[row], problems[row]) for row in sorted(problems)]
        with atomic(skipped) as temporary:
            pd.DataFrame(rows, columns=["row", "id", "problem"]).map(inert).to_csv(temporary, index=False)
        if rows:
            log.warning("%s: %d of %d rows left out, listed in %s", file, len(rows), len(table), skipped.name)
    if len(problems) == len(table):
        raise UserError(f"{file}: no usable row" + (f"; the first: {problems[min(problems)]}" if problems else ""))
    return table.drop(index=list(problems)) if problems else table


Labels = Sequence[Sequence[str]]
"""(n,): the labels of each row, none where there are no classes."""


def rare_classes(labels: Labels, groups: Grouping, parts: Collection[str]) -> dict[str, int]:
    """Class → its number of distinct items, where they are fewer than the parts of a seeded split, which need one each.

    Only classes that stand first somewhere, as strata do; an item counts for each label of it, in whatever place. As
    `cmr.datasets.splitting.stratified` counts: by groups, each with the labels of its first item.
    """
    firsts = [labels[row] or [""] for row in Groups.of(groups).first]
    counts = Counter(name for own in firsts for name in own)
    return {name: counts[name] for name in {own[0] for own in firsts} if counts[name] < len(parts)}


def refuse_rare(source: str, labels: Labels, groups: Grouping, parts: Collection[str], remedy: str) -> None:
    """Raises `UserError` that names all classes which are too rare for a seeded split, and what to do."""
    rare = sorted(rare_classes(labels, groups, parts).items())
    if rare:
        named = ", ".join(f"class {name!r} has only {_distinct(count)}" for name, count in rare[:NAMED])
        more = f" and {len(rare) - NAMED} more classes are as rare" if len(rare) > NAMED else ""
        raise UserError(f"{source}: {named}{more}: cannot put at least one into each of {', '.join(parts)}; {remedy}")


def seeded_parts(
    source: str, items: Items, shares: Mapping[str, float], groups: Grouping, remedy: str = MERGE_OR_LEAVE_OUT
) -> np.ndarray:
    """The parts (n,) of a seeded split; odd sizes are warned of.

    Raises `UserError` for rare classes, which says the ``remedy``.
    """
    refuse_rare(source, list(items.table["labels"]), groups, shares, remedy)
    parts = _drawn(items.strata, shares, groups)
    sizes = Counter(parts.tolist())
    if any(abs(sizes[part] / len(parts) - share) > UNEVEN for part, share in shares.items()):
        found = ", ".join(f"{part} {sizes[part]}" for part in shares)
        log.warning(
            "%s: the parts have sizes far from their shares: %s; %s", source, found, _dealt(items.strata, groups)
        )
    return parts


def _drawn(strata: Sequence[str], shares: Mapping[str, float], groups: Grouping) -> np.ndarray:
    return stratified(joined_strata(strata, groups, len(shares)), shares, SEED, groups)


def _dealt(strata: Sequence[str], groups: Grouping) -> str:
    """What lets a split miss its shares: few items a class, of which each part gets one at least, and large groups."""
    sizes, classes = Groups.of(groups).sizes, len(set(strata))
    told = _distinct(len(sizes)) + (f" in {classes} classes, each of which is dealt alone" if classes > 1 else "")
    return told + (f"; {sizes.max()} items share a content" if sizes.max() > 1 else "")


def _distinct(count: int) -> str:
    return f"{count} distinct item{'s' if count > 1 else ''}"


def _too_rare(name: str, count: int, parts: Iterable[str]) -> str:
    return f"class {name!r} has only {_distinct(count)}, and each of {', '.join(parts)} needs one; {MERGE}"


def without_place(
    rows: pd.DataFrame,
    groups: Callable[[pd.DataFrame], Grouping],
    shares: Mapping[str, float],
) -> dict[Any, str]:
    """Row → why a seeded split has no place for it: its class is rare, or a label of it has no training row.

    Leaving rows out changes the split, so this goes on until all of the rest have a place. ``groups`` of some rows:
    numbers (n,) of those that stay together.
    """
    problems: dict[Any, str] = {}
    while True:
        left = rows.drop(index=list(problems))
        if left.empty:
            return problems
        together = groups(left)
        rare = rare_classes(list(left["labels"]), together, shares)
        first = left["labels"].map(lambda labels: labels[0] if labels else "")
        found = {row: _too_rare(name, rare[name], shares) for row, name in first.items() if name in rare}
        found = found or dict(untrained(left, _drawn(list(first), shares, together)))
        if not found:
            return problems
        problems |= found


def untrained(rows: pd.DataFrame, parts: Iterable[str]) -> Iterator[tuple[Any, str]]:
    """Row → a label of it that no training row has."""
    used = [(row, labels, part) for (row, labels), part in zip(rows["labels"].items(), parts, strict=True) if part]
    known = {label for _, labels, part in used if part == TRAIN for label in labels}
    for row, labels, _ in used:
        unknown = [label for label in labels if label not in known]
        if unknown:
            yield row, f"label {unknown[0]!r} has no training row"
