"""Stratified splits that keep items of one group together."""

import logging
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cmr.data import HELD_OUT_SHARE, TABLE_ROWS, TEST, TRAIN, VALIDATION, Items, Split
from cmr.errors import UserError
from cmr.store import Rows

log = logging.getLogger(__name__)

HELD_OUT_SEED = 0
SHARES = {TRAIN: 0.6, VALIDATION: 0.2, TEST: 0.2}
"""Of the parts where nothing else is said."""
Texts = Sequence[str] | np.ndarray
Grouping = Sequence[str] | Sequence[int] | np.ndarray
"""(n,): rows of one group are equal in it."""


def stratified(strata: Texts, shares: Mapping[str, float], seed: int, groups: Grouping | None = None) -> np.ndarray:
    """Assigns each row a part by drawing, within each stratum, whole groups at random.

    Parameters: ``strata`` (n,) class names; ``shares`` part → share, summing to 1; ``groups`` (n,) rows that
    must stay together (default: each row alone). A group lies in the stratum of its first row.
    Returns (n,) part names. Within a stratum each group goes to the part that lacks most rows, and the last
    groups to parts that are still empty, so every part gets at least one and counts are within one group of
    the shares.
    Raises `UserError` where a stratum has fewer groups than parts.
    """
    numbered = Groups.of(np.arange(len(strata)) if groups is None else groups)
    of_group, names = numbered.strata(strata)
    part_of = np.zeros(len(numbered.sizes), np.int8)
    for stratum, here in zip(names, np.split(np.argsort(of_group, kind="stable"), _ends(of_group)[:-1]), strict=True):
        if len(here) < len(shares):
            count = f"{len(here)} distinct item{'s' if len(here) > 1 else ''}"
            raise UserError(
                f"class {stratum!r} has only {count}: cannot put at least one into each of "
                f"{', '.join(shares)}; remove the class or merge it into another"
            )
        # The seed is mixed with the stratum's name, so that adding a class leaves the others' parts alone.
        drawn = here[np.random.default_rng([seed, zlib.crc32(stratum.encode())]).permutation(len(here))]
        part_of[drawn] = _dealt(numbered.sizes[drawn].tolist(), list(shares.values()))
    return np.array(list(shares))[part_of[numbered.of_row]]


def _dealt(sizes: list[int], shares: list[float]) -> list[int]:
    """The part (g,) that each group of so many rows goes to, in their order: that which lacks most rows."""
    rows = sum(sizes)
    lacking = [share * rows for share in shares]
    empty = list(range(len(shares)))  # not a set: ties are broken by the order of the shares, in every process
    dealt = []
    for left, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
        part = max(empty if left <= len(empty) else range(len(shares)), key=lacking.__getitem__)
        lacking[part] -= size
        if part in empty:
            empty.remove(part)
        dealt.append(part)
    return dealt


def _ends(numbers: np.ndarray) -> np.ndarray:
    """Where each of the ``numbers`` (n,) ends once they are sorted; all from 0 on occur."""
    return np.cumsum(np.bincount(numbers))


@dataclass(frozen=True)
class Groups:
    """Groups of rows, numbered in the order of their first rows.

    ``of_row`` (n,): the number of each row's group. Of each group: ``sizes``, ``first`` and ``last`` (g,) rows.
    """

    of_row: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, groups: Grouping) -> "Groups":
        of_row, _ = pd.factorize(np.asarray(groups))
        rows, ends, sizes = np.argsort(of_row, kind="stable"), _ends(of_row), np.bincount(of_row)
        return cls(of_row, sizes, rows[ends - sizes], rows[ends - 1])

    def strata(self, strata: Texts) -> tuple[np.ndarray, list[str]]:
        """The number (g,) of each group's stratum, that of its first row, and the strata's names, sorted."""
        numbers, names = pd.factorize(pd.Series([strata[row] for row in self.first], dtype=object), sort=True)
        return numbers, list(names)


def joined_strata(strata: Texts, groups: Grouping, least: int) -> Texts:
    """The strata (n,), of which those of fewer than ``least`` groups are one, with the next larger where need be.

    A class that seldom stands first among several labels has too few groups, whatever its number of items.
    """
    of_group, names = Groups.of(groups).strata(strata)
    sizes = np.bincount(of_group)
    order = np.argsort(sizes, kind="stable")
    few = int((sizes < least).sum())
    if sizes[order[:few]].sum() < least * bool(few):
        few += 1
    joined = {names[stratum]: names[order[:few][-1]] for stratum in order[:few]}
    return [joined.get(stratum, stratum) for stratum in strata] if joined else strata


def class_ranks(strata: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank (n,) of each row in a random order of its stratum, from 0, and the size (n,) of its stratum."""
    names, codes = np.unique(np.asarray(strata, str), return_inverse=True)
    ranks, sizes = np.empty(len(codes), int), np.empty(len(codes), int)
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        ranks[rows] = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(rows))
        sizes[rows] = len(rows)
    return ranks, sizes


def sized(strata: Sequence[str], sizes: dict[str, int], seed: int) -> np.ndarray:
    """Parts (n,) of exactly the given sizes, each stratum within two rows of its share in every part but the last.

    Rows are sorted by their relative rank in their stratum, and the sorted list is cut. Raises `UserError` where
    the sizes do not sum to n.
    """
    if sum(sizes.values()) != len(strata):
        raise UserError(f"expected {sum(sizes.values()):,} items to split into {sizes}, found {len(strata):,}")
    ranks, counts = class_ranks(strata, seed)
    parts = np.empty(len(strata), dtype="U10")
    parts[np.argsort((ranks + 0.5) / counts, kind="stable")] = np.repeat(list(sizes), list(sizes.values()))
    return parts


def expect_sizes(parts: np.ndarray, sizes: dict[str, int], why: str) -> np.ndarray:
    """``parts``, if they have the sizes that a protocol prints. Raises `UserError` with ``why`` otherwise."""
    found = {part: int((parts == part).sum()) for part in sizes}
    if found != sizes:
        raise UserError(f"the protocol has {sizes} items, these are {found}: {why}")
    return parts


def same_text(text: str) -> str:
    """Texts that differ in case, blanks or closing punctuation alone are one."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).rstrip(".!?…。！？ ")


def text_keys(cells: pd.Series, form: Callable[[str], str] = str) -> pd.Series:
    """Eight bytes (n,) of a hash of each text, in the ``form`` in which equal ones are one; null where there is none.

    Some texts at a time are Python's. Of ten million, two have one hash by chance once in 400,000 times; then they are
    kept in one part, which does no harm.
    """
    there, keys = cells.notna().to_numpy(bool), np.zeros(len(cells), np.uint64)
    rows = np.flatnonzero(there)
    for start in range(0, len(rows), TABLE_ROWS):
        block = rows[start : start + TABLE_ROWS]
        texts = np.array([form(text) for text in cells.iloc[block]], object)
        keys[block] = pd.util.hash_array(texts, categorize=False)
    return pd.Series(pd.arrays.IntegerArray(keys, ~there), cells.index)


def file_keys(names: pd.Series, listed: Iterable[tuple[str, str]]) -> pd.Series:
    """As `text_keys`, of files: by their sha256 as far as they are ``listed`` with it, else by their names."""
    pairs = iter(listed)
    blocks = [_keys_of_pairs(block) for block in iter(lambda: list(islice(pairs, TABLE_ROWS)), [])]
    known, found = np.concatenate([np.empty((2, 0), np.uint64), *blocks], axis=1)
    order, own = np.argsort(known), text_keys(names)
    values = own.to_numpy(np.uint64, na_value=0)
    place = np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)
    if len(known):
        values = np.where(known[order][place] == values, found[order][place], values)
    return pd.Series(pd.arrays.IntegerArray(values, own.isna().to_numpy(bool)), names.index)


def _keys_of_pairs(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """(2, n) keys of the first and of the second texts."""
    return np.stack(
        [text_keys(pd.Series(texts, dtype=object)).to_numpy(np.uint64) for texts in zip(*pairs, strict=True)]
    )


def vector_keys(rows: Rows, classes: int, modality: str) -> dict[str, int]:
    """Id → what tells its vector from others, by a hash of eight bytes.

    None where rows repeat, and there are hardly more different ones than classes: they name the class, then, and no
    item.
    """
    hashes = (int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest(), "little") for row in rows.values)
    keys = dict(zip(rows.ids, hashes, strict=True))
    if len(set(keys.values())) < len(keys) and len(set(keys.values())) <= 2 * classes:
        log.warning("%s: its rows name classes rather than items; equal ones may lie in several parts", modality)
        return {}
    return keys


def same_content(columns: Sequence[pd.Series]) -> np.ndarray:
    """Numbers (n,) of groups of items that share a content, directly or through other items.

    ``columns``: keys (n,) of the contents of each modality; null where there is none.
    """
    n, edges = len(columns[0]), []
    for column in columns:
        codes, _ = pd.factorize(column)
        shared = np.flatnonzero(codes >= 0)
        shared = shared[np.bincount(codes[shared])[codes[shared]] > 1]  # what stands once links nothing
        edges.append((shared, pd.factorize(codes[shared])[0]))
    offsets = n + np.cumsum([0, *(codes.max(initial=-1) + 1 for _, codes in edges)])
    rows = np.concatenate([rows for rows, _ in edges])
    nodes = np.concatenate([codes + offset for (_, codes), offset in zip(edges, offsets[:-1], strict=True)])
    graph = coo_array((np.ones(len(rows)), (rows, nodes)), shape=(offsets[-1], offsets[-1]))
    return connected_components(graph, directed=False)[1][:n]


def separated(groups: np.ndarray, parts: np.ndarray) -> dict[str, int]:
    """``train, test`` → number of items of the second part that share a content with one of the first."""
    found = {}
    for first, second in ((TRAIN, VALIDATION), (TRAIN, TEST), (VALIDATION, TEST)):
        count = int(np.isin(groups[parts == second], groups[parts == first]).sum())
        if count:
            found[f"{first}, {second}"] = count
    return found


def with_held_out(items: Items, parts: np.ndarray, groups: np.ndarray | None = None) -> Split:
    """Adds the rows that choices are made on: the validation part, or a seeded tenth of the training rows.

    The tenth is stratified by class and by which modalities an item has (unpaired data), and keeps ``groups`` (n,)
    together. Strata of fewer than ten groups are drawn from as one, so that a tenth is a tenth; one group of each
    stays in training. Raises `UserError` where a class has test or validation but no training rows.
    """
    _check_trained(items, parts)
    table = pd.DataFrame({"id": items.table["id"].array, "part": parts, "held_out": parts == VALIDATION})
    training = np.flatnonzero(parts == TRAIN)
    if not (parts == VALIDATION).any():
        groups = np.arange(len(parts)) if groups is None else groups
        drawn = training[_tenth(np.array(_strata(items), object)[training], groups[training])]
        table.loc[drawn, "held_out"] = True
    return Split(table[table["part"] != ""].reset_index(drop=True))


def _tenth(strata: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """A mask (n,) of the rows that are held out."""
    numbered = Groups.of(groups)
    of_group, _ = numbered.strata(strata)
    sizes = np.bincount(of_group)
    last = np.full(len(sizes), -1)
    np.maximum.at(last, of_group, numbered.last)
    stays = (numbered.last == last[of_group])[numbered.of_row]  # a group of each stratum
    large = (sizes >= 1 / HELD_OUT_SHARE)[of_group][numbered.of_row]
    small = ~large & ~stays
    held_out = np.zeros(len(groups), bool)
    held_out[large] = _drawn(strata[large], groups[large], HELD_OUT_SHARE)
    held_out[small] = _drawn(
        np.full(small.sum(), ""), groups[small], HELD_OUT_SHARE * (~large).sum() / max(small.sum(), 1)
    )
    return held_out


def _drawn(strata: np.ndarray, groups: np.ndarray, share: float) -> np.ndarray:
    """A mask (n,) of ``share`` of the rows of each stratum."""
    if len(groups) == 0 or (groups == groups[0]).all():
        return np.zeros(len(groups), bool)
    return stratified(strata, {"kept": 1 - share, "held_out": share}, HELD_OUT_SEED, groups) == "held_out"


def _check_trained(items: Items, parts: np.ndarray) -> None:
    numbers, different = items.distinct_labels
    known = {label for number in np.unique(numbers[parts == TRAIN]) for label in different[number]}
    unknown = [[label for label in labels if label not in known] for labels in different]
    rows = np.flatnonzero(np.array([bool(labels) for labels in unknown], bool)[numbers] & (parts != ""))
    if rows.size:
        label, item = unknown[numbers[rows[0]]][0], str(items.ids[rows[0]])
        raise UserError(f"class {label!r} of item {item!r} has no training row; remove it or its items")


def _strata(items: Items) -> list[str]:
    """First class and modalities of each item."""
    has = np.column_stack([items.has(modality) for modality in items.kinds])
    patterns, of_item = np.unique(has, axis=0, return_inverse=True)
    told = [str(pattern.astype(int)) for pattern in patterns]
    names: dict[tuple[str, int], str] = {}  # each once: there are fewer than items
    return [
        names.setdefault((stratum, number), f"{stratum} {told[number]}")
        for stratum, number in zip(items.strata, of_item, strict=True)
    ]
