"""Pictures from files to batches of pixels on the device that a network is on.

Beside a CPU's network threads decode, which cost nothing to start. A GPU is faster than they are: they take turns at
Python's lock, and so does whoever asks the GPU for the network's operations. There processes decode, torch's, which
stay for all that an extractor is given.
"""

import ctypes
import signal
import sys
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

PIECE = 8  # pictures that a process decodes at a time; two pieces a process wait in shared memory, which may be small
FEW = 64  # pictures that are not worth starting processes


class Feed:
    """``threads``: cores to decode with. Batches of one call at a time."""

    def __init__(self, preprocessing: Preprocessing, device: str, threads: int):
        self.preprocessing, self.device, self.threads = preprocessing, device, threads
        self._wanted: list[list[Path]] = []
        self._processes: DataLoader[Any] | None = None

    def __call__(self, paths: Sequence[Path], size: int) -> Iterator[Tensor]:
        """Batches (at most ``size``, crop, crop, 3) uint8 in order, while the next ones are being decoded."""
        if self.device == "cpu" or len(paths) <= FEW:
            for pixels in batches(paths, self.preprocessing, size, self.threads):
                yield torch.from_numpy(pixels).to(self.device)
            return
        for pieces in self._pieces(paths, size):
            yield torch.cat([piece.to(self.device, non_blocking=True) for piece in pieces])

    def _pieces(self, paths: Sequence[Path], size: int) -> Iterator[list[Tensor]]:
        """Those of each batch."""
        parts = [_parts(batch, PIECE) for batch in _parts(paths, size)]
        wanted = [list(piece) for pieces in parts for piece in pieces]
        self._wanted[:] = wanted  # the list that the processes' batches are drawn from
        self._processes = self._processes or self._started()
        found = map(_checked, self._processes)
        for pieces in parts:
            if self._wanted != wanted:
                raise RuntimeError("a feed was asked for other pictures before all of these were taken")
            yield list(islice(found, len(pieces)))

    def _started(self) -> DataLoader[Any]:
        return DataLoader(
            _Pictures(self.preprocessing),
            batch_sampler=self._wanted,
            num_workers=self.threads,
            collate_fn=_together,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=True,
            multiprocessing_context="fork",  # they never ask for the GPU
            worker_init_fn=_end_with_parent,
            generator=torch.Generator(),  # it draws a number, which a fit would miss
        )


def _end_with_parent(_: int) -> None:
    """A process that is killed leaves none behind, whose locks the next one would wait for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


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
