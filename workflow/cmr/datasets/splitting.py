"""Stratified splits that keep items of one group together."""

import logging
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cmr.data import HELD_OUT_SHARE, TEST, TRAIN, VALIDATION, Items, Split
from cmr.errors import UserError
from cmr.store import Rows

log = logging.getLogger(__name__)

HELD_OUT_SEED = 0


def stratified(
    strata: Sequence[str], shares: Mapping[str, float], seed: int, groups: Sequence[Hashable] | None = None
) -> np.ndarray:
    """Assigns each row a part by drawing, within each stratum, whole groups at random.

    Parameters: ``strata`` (n,) class names; ``shares`` part → share, summing to 1; ``groups`` (n,) rows that
    must stay together (default: each row alone). A group lies in the stratum of its first row.
    Returns (n,) part names. Within a stratum each group goes to the part that lacks most rows, and the last
    groups to parts that are still empty, so every part gets at least one and counts are within one group of
    the shares.
    Raises `UserError` where a stratum has fewer groups than parts.
    """
    group_of: Sequence[Hashable] = range(len(strata)) if groups is None else groups
    members: dict = defaultdict(list)
    for row, group in enumerate(group_of):
        members[group].append(row)
    by_stratum: dict[str, list] = defaultdict(list)
    for group, rows in members.items():
        by_stratum[strata[rows[0]]].append(group)
    parts = np.empty(len(strata), dtype=object)
    for stratum in sorted(by_stratum):
        here = by_stratum[stratum]
        if len(here) < len(shares):
            count = f"{len(here)} distinct item{'s' if len(here) > 1 else ''}"
            raise UserError(
                f"class {stratum!r} has only {count}: cannot put at least one into each of "
                f"{', '.join(shares)}; remove the class or merge it into another"
            )
        # The seed is mixed with the stratum's name, so that adding a class leaves the others' parts alone.
        generator = np.random.default_rng([seed, zlib.crc32(stratum.encode())])
        lacking = {part: share * sum(len(members[g]) for g in here) for part, share in shares.items()}
        empty = list(shares)  # not a set: ties are broken by the order of the shares, in every process
        for left, position in zip(range(len(here), 0, -1), generator.permutation(len(here)), strict=True):
            rows = members[here[position]]
            part = max(empty if left <= len(empty) else shares, key=lacking.__getitem__)
            lacking[part] -= len(rows)
            if part in empty:
                empty.remove(part)
            parts[rows] = part
    return parts.astype(str)


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
    """Parts (n,) of exactly the given sizes, each stratum within one row of its share in every part but the last.

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


def vector_keys(rows: Rows, classes: int, modality: str) -> dict[str, bytes]:
    """Id → what tells its vector from others.

    None where there are hardly more different vectors than classes: they name the class, then, and no item.
    """
    keys = {item: blake2b(row.tobytes()).digest() for item, row in zip(rows.ids, rows.values, strict=True)}
    if len(set(keys.values())) <= 2 * classes:
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
        edges.append((np.flatnonzero(codes >= 0), codes[codes >= 0]))
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
    table = pd.DataFrame({"id": items.ids, "part": parts, "held_out": parts == VALIDATION})
    training = np.flatnonzero(parts == TRAIN)
    if not (parts == VALIDATION).any():
        groups = np.arange(len(parts)) if groups is None else groups
        drawn = training[_tenth(np.asarray(_strata(items), object)[training], groups[training])]
        table.loc[drawn, "held_out"] = True
    return Split(table[table["part"] != ""].reset_index(drop=True))


def _tenth(strata: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """A mask (n,) of the rows that are held out."""
    stratum_of = dict(zip(groups[::-1], strata[::-1], strict=True))  # of a group's first row
    sizes = Counter(stratum_of.values())
    own = np.array([stratum_of[group] for group in groups], object)
    large = np.array([sizes[stratum] >= 1 / HELD_OUT_SHARE for stratum in own], bool)
    stay = {stratum: group for group, stratum in reversed(stratum_of.items())}  # a group of each stratum
    small = ~large & (groups != [stay[stratum] for stratum in own])
    held_out = np.zeros(len(groups), bool)
    held_out[large] = _drawn(own[large], groups[large], HELD_OUT_SHARE)
    held_out[small] = _drawn(
        np.full(small.sum(), ""), groups[small], HELD_OUT_SHARE * (~large).sum() / max(small.sum(), 1)
    )
    return held_out


def _drawn(strata: np.ndarray, groups: np.ndarray, share: float) -> np.ndarray:
    """A mask (n,) of ``share`` of the rows of each stratum."""
    if len(set(groups)) < 2:
        return np.zeros(len(groups), bool)
    parts = stratified(list(strata), {"kept": 1 - share, "held_out": share}, HELD_OUT_SEED, list(groups))
    return parts == "held_out"


def _check_trained(items: Items, parts: np.ndarray) -> None:
    known = {label for labels in items.table["labels"][parts == TRAIN] for label in labels}
    for item, labels in zip(items.ids[parts != ""], items.table["labels"][parts != ""], strict=True):
        for label in labels:
            if label not in known:
                raise UserError(f"class {label!r} of item {str(item)!r} has no training row; remove it or its items")


def _strata(items: Items) -> list[str]:
    """First class and modalities of each item."""
    has = items.table[list(items.kinds)].notna().to_numpy()
    return [f"{stratum} {row.astype(int)}" for stratum, row in zip(items.strata, has, strict=True)]
