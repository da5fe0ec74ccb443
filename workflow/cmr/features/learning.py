"""What extractors that learn from labels share."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers start from ``seed`` in the block, and go on as if it had not been after it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def shares(labels: np.ndarray) -> torch.Tensor:
    """Multi-hot labels (n, c) as distributions: the targets of a cross-entropy, one or several labels a row."""
    targets = torch.tensor(labels, dtype=torch.float32)
    return targets / targets.sum(1, keepdim=True)
