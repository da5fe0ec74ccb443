"""Sorts packed keys with torch where the scores already lie: on a GPU."""

import numpy as np
import torch

from cmr.metrics.keys import GAIN_BITS, MAX_GAIN, MAX_GALLERY, SCORE_BITS


def sort_packed(
    scores: torch.Tensor, gains: np.ndarray, places: np.ndarray, top: int, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same keys and results as `cmr.metrics.ranking` packs with numpy, for float32 ``scores`` on any device."""
    bits = (scores + 0.0).view(torch.int32)
    bits = ~(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    keys = bits.long() << SCORE_BITS
    keys |= torch.tensor(places, device=scores.device).long() << GAIN_BITS
    keys |= torch.tensor(gains, device=scores.device).long()
    keys = keys.sort(dim=1).values
    ordered = (keys & MAX_GAIN).to(torch.uint8)
    same_score = keys[:, 1:] >> SCORE_BITS == keys[:, :-1] >> SCORE_BITS
    tied = (same_score & (ordered[:, 1:] != ordered[:, :-1])).any(dim=1)
    first = keys[:, :top] >> GAIN_BITS & (MAX_GALLERY - 1)
    return ordered[:, :depth].cpu().numpy(), tied.cpu().numpy(), first.cpu().numpy()
