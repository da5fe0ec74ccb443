"""What the shards of a data set hold, joined: the same rows as of one job, block after block, never all in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmr import store
from cmr.features.base import Gap
from cmr.sets import Sets


class Stacked:
    """The rows (n, d) of the datasets ``name`` in several files, one file after the other, read as they are needed.

    As of a dataset, there are ``shape``, ``dtype`` and slices.
    """

    def __init__(self, files: Sequence[Path], name: str):
        self.files, self.name = files, name
        of_files = list(_datasets(files, name))
        (columns,) = {columns for _, columns, _ in of_files}
        (self.dtype,) = {dtype for _, _, dtype in of_files}
        self.starts = np.cumsum([0, *(rows for rows, _, _ in of_files)])
        self.shape = int(self.starts[-1]), columns

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        parts = [np.empty((0, self.shape[1]), self.dtype)]
        for file, begin, end in zip(self.files, self.starts, self.starts[1:], strict=False):
            if start < end and begin < stop:
                with store.open_hdf5(file) as opened:
                    parts.append(opened[self.name][max(start - begin, 0) : stop - begin])
        return np.concatenate(parts)


def _datasets(files: Sequence[Path], name: str) -> Iterator[tuple[int, int, np.dtype]]:
    """Rows, columns and type of a dataset of each file."""
    for file in files:
        with store.open_hdf5(file) as opened:
            yield *opened[name].shape, opened[name].dtype


def features(files: Sequence[Path], group: str) -> Stacked | Sets:
    """The features of a group of the files that `cmr.features.extraction.extract_shard` made: (n, d), or sets."""
    elements = Stacked(files, f"{group}/features")
    starts, lengths = [], []
    for file, begin in zip(files, elements.starts, strict=False):
        with store.open_hdf5(file) as opened:
            if "lengths" not in opened[group]:
                return elements
            starts.append(begin + opened[group]["starts"][()])
            lengths.append(opened[group]["lengths"][()])
    return Sets(elements, np.concatenate(starts), np.concatenate(lengths))


def gaps(shards: Sequence[Mapping[str, Gap]], n: int) -> dict[str, Gap]:
    """What the features of ``n`` contents leave out, from what those of each shard do."""
    found: dict[str, Gap] = {}
    for name, gap in (pair for of_shard in shards for pair in of_shard.items()):
        before = found[name].count if name in found else 0
        found[name] = replace(gap, count=before + gap.count, of=n)
    return found
