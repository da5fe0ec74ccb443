"""Pictures from files to batches of pixels on the device that a network is on.

Beside a CPU's network threads decode, which cost nothing to start. A GPU is faster than they are: they take turns at
Python's lock, and so does whoever asks the GPU for the network's operations. There processes decode, torch's, which
stay for all that an extractor is given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cmr.errors import UserError
from cmr.features.images import Preprocessing, batches, cropped

PIECE = 32  # pictures that a process decodes at a time


class Feed:
    """``threads``: cores to decode with."""

    def __init__(self, preprocessing: Preprocessing, device: str, threads: int):
        self.preprocessing, self.device, self.threads = preprocessing, device, threads
        self._wanted: list[list[Path]] = []
        self._processes: DataLoader[Any] | None = None

    def __call__(self, paths: Sequence[Path], size: int) -> Iterator[Tensor]:
        """Batches (at most ``size``, crop, crop, 3) uint8 in order, while the next ones are being decoded."""
        if self.device == "cpu":
            yield from map(torch.from_numpy, batches(paths, self.preprocessing, size, self.threads))
            return
        for pieces in self._pieces(paths, size):
            yield torch.cat([piece.to(self.device, non_blocking=True) for piece in pieces])

    def _pieces(self, paths: Sequence[Path], size: int) -> Iterator[list[Tensor]]:
        """Those of each batch."""
        parts = [_parts(batch, PIECE) for batch in _parts(paths, size)]
        self._wanted[:] = [list(piece) for pieces in parts for piece in pieces]
        if self._processes is None:
            self._processes = DataLoader(
                _Pictures(self.preprocessing),
                batch_sampler=self._wanted,
                num_workers=self.threads,
                collate_fn=_together,
                pin_memory=torch.cuda.is_available(),
                persistent_workers=True,
                multiprocessing_context="fork",  # they never ask for the GPU
            )
        found = map(_checked, self._processes)
        for pieces in parts:
            yield list(islice(found, len(pieces)))


def _parts(paths: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [paths[start : start + size] for start in range(0, len(paths), size)]


@dataclass(frozen=True)
class _Pictures(Dataset[Tensor | UserError]):
    """By path, so that the processes are asked for any pictures."""

    preprocessing: Preprocessing

    def __getitem__(self, path: Path) -> Tensor | UserError:
        try:
            return torch.tensor(cropped(path, self.preprocessing))
        except UserError as error:  # raised here it would lose its form on the way
            return error


def _together(pictures: list[Tensor | UserError]) -> Tensor | UserError:
    wrong = [picture for picture in pictures if isinstance(picture, UserError)]
    return wrong[0] if wrong else torch.stack([picture for picture in pictures if isinstance(picture, Tensor)])


def _checked(piece: Tensor | UserError) -> Tensor:
    if isinstance(piece, UserError):
        raise piece
    return piece
