"""Pairs of rows of modalities that have no items in common, drawn within a class."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from zlib import crc32

import numpy as np

from cmr.data import Part, View, paired

Labels = Callable[[np.ndarray], np.ndarray]
"""Ids (n,) → multi-hot labels (n, c)."""


def paired_by_class(part: Part, labels: Labels, seed: int) -> Part:
    """``part`` with the same number of rows in every modality, row i of each a pair; as it is where ids make pairs.

    Modalities that share items go together, with the items that all of them have. Of the others, rows with the same
    labels are paired at random: where one has more of a class, each of its rows has a partner, and the rows of the rest
    come again as often as it takes, within one. Rows whose labels no other modality has are left out. The order in
    which rows come does not matter, nor do other classes.
    """
    blocks = _blocks(part)
    if len(blocks) == 1:
        return part
    members = [_by_labels(next(iter(block.values())).ids, labels) for block in blocks]
    common = sorted(set.intersection(*map(set, members)))
    drawn: list[list[np.ndarray]] = [[] for _ in blocks]
    for key in common:
        generator = np.random.default_rng([seed, crc32(key)])
        size = max(len(rows[key]) for rows in members)
        for rows, chosen in zip(members, drawn, strict=True):
            chosen.append(_repeated(rows[key], size, generator))
    views: dict[str, View] = {}
    for block, chosen in zip(blocks, drawn, strict=True):
        index = np.concatenate(chosen) if chosen else np.empty(0, int)
        ids = np.array([f"pair {number}" for number in range(len(index))])
        views |= {m: replace(view.rows(index), ids=ids, groups=ids) for m, view in block.items()}
    return {m: views[m] for m in part}


def _blocks(part: Part) -> list[dict[str, View]]:
    """The modalities that share items, with the rows of these items in one order."""
    blocks: list[dict[str, View]] = []
    for modality, view in part.items():
        for block in blocks:
            if set(view.groups).intersection(next(iter(block.values())).groups):
                rows = paired({**block, modality: view}, [*block, modality])
                block.update(zip([*block, modality], rows, strict=True))
                break
        else:
            blocks.append({modality: view})
    return blocks


def _by_labels(ids: np.ndarray, labels: Labels) -> Mapping[bytes, np.ndarray]:
    """What labels → the rows that have exactly these, in the order of their ids."""
    found: dict[bytes, list[int]] = {}
    multi_hot = labels(ids)
    for row in np.argsort(ids, kind="stable"):
        found.setdefault(multi_hot[row].tobytes(), []).append(int(row))
    return {key: np.array(rows) for key, rows in found.items()}


def _repeated(rows: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """``size`` of the rows in random order, each as often as the others, within one."""
    rounds = -(-size // len(rows))
    return np.concatenate([generator.permutation(rows) for _ in range(rounds)])[:size]
