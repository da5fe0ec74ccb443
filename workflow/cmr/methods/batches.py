"""Sets on their way into a network: scaled and padded on the device, a batch at a time; the rest stays on disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cmr.methods.scaling import Scaling, of_sets
from cmr.methods.training import tensor
from cmr.sets import Features, Sets, VectorsAndSets
from cmr.vectors import Vectors


@dataclass(frozen=True)
class SetBatch:
    """Sets of b items: ``elements`` (b, k, d) float32, an item's own before zeros; ``mask`` (b, k), true for these."""

    elements: Tensor
    mask: Tensor


class ScaledSets:
    """The sets of n rows: ``rows[numbers]`` and ``rows[a:b]`` give a `SetBatch`."""

    def __init__(self, sets: Sets, scaling: Scaling, device: str):
        self.sets, self.device = sets, device
        self.mean, self.scale = tensor(scaling.mean, device), tensor(scaling.scale, device)

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, rows: Tensor | slice) -> SetBatch:
        padded, own = self.sets[rows if isinstance(rows, slice) else rows.cpu().numpy()].padded()
        mask = torch.from_numpy(own).to(self.device)
        elements = torch.from_numpy(padded).to(self.device).float().sub_(self.mean).div_(self.scale)
        return SetBatch(elements.masked_fill_(~mask[:, :, None], 0), mask)

    @property
    def row_bytes(self) -> int:
        """Of the largest set in float32."""
        return int(self.sets.lengths.max()) * self.sets.dimension * 4


class ScaledVectors:
    """The vectors of n rows that stay in a file: ``rows[numbers]`` and ``rows[a:b]`` give a tensor (b, d) float32, the
    same as if all rows were scaled at once.
    """

    def __init__(self, vectors: Vectors, scaling: Scaling, device: str):
        self.vectors, self.scaling, self.device = vectors, scaling, device

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        return tensor(self.scaling(np.asarray(self._chosen(rows)), np.float32), self.device)

    def announce(self, rows: Tensor) -> None:
        """Has the rows of the next batch read while this one is computed with."""
        self._chosen(rows).announce()

    def _chosen(self, rows: Tensor | slice) -> Vectors:
        return self.vectors[rows if isinstance(rows, slice) else rows.cpu().numpy()]

    @property
    def row_bytes(self) -> int:
        return self.vectors.row_bytes


class ScaledVectorsAndSets:
    """The vectors and sets of n rows: a tensor (b, d) and a `SetBatch` of some."""

    def __init__(self, vectors: Tensor, sets: ScaledSets):
        self.vectors, self.sets = vectors, sets

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, rows: Tensor | slice) -> tuple[Tensor, SetBatch]:
        return self.vectors[rows], self.sets[rows]

    @property
    def row_bytes(self) -> int:
        return self.sets.row_bytes + self.vectors.shape[1] * 4


def scaled(modality: str, features: Features, scaling: dict[str, Scaling], device: str) -> Any:
    """What batches of a modality are taken from, by row numbers on the device: a tensor (n, d) of vectors,
    `ScaledVectors`, `ScaledSets` or `ScaledVectorsAndSets`.
    """
    if isinstance(features, Vectors):
        return ScaledVectors(features, scaling[modality], device)
    if isinstance(features, VectorsAndSets):
        vectors = scaled(modality, features.vectors, scaling, device)
        return ScaledVectorsAndSets(vectors, scaled(modality, features.sets, scaling, device))
    if isinstance(features, Sets):
        return ScaledSets(features, scaling[of_sets(modality)], device)
    return tensor(scaling[modality](features, np.float32), device)
