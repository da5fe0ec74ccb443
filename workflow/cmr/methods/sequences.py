"""Layers on sequences, from a `SetBatch` to a `SetBatch`: convolutions and recurrent layers.

What lies behind an item's own elements counts nowhere, so that an item is embedded alike whatever is beside it.
"""

from functools import cache

import torch
from torch import nn
from torch.nn import functional

from cmr.methods.batches import SetBatch


class Convolution(nn.Module):
    """A convolution, ReLU, and the maximum of ``pooled`` elements from each ``stride``-th on.

    ``normalised``: with batch normalisation before the ReLU. Zeros lie on both sides of an item; each window of the
    pooling starts at an element of the item's own, so that k of them become ⌈k / stride⌉.
    """

    def __init__(self, elements: int, units: int, width: int, pooled: int, stride: int, normalised: bool):
        super().__init__()
        self.convolution = nn.Conv1d(elements, units, width, padding="same", bias=not normalised)
        self.norm = nn.BatchNorm1d(units) if normalised else None
        self.pooled, self.stride = pooled, stride

    def forward(self, sets: SetBatch) -> SetBatch:
        mask = sets.mask[:, :, None]
        x = self.convolution(sets.elements.mT).mT
        if self.norm is not None:
            x = torch.zeros_like(x).masked_scatter(mask, self.norm(x[sets.mask]))
        x = torch.relu(x).masked_fill(~mask, 0)
        x = functional.max_pool1d(functional.pad(x.mT, (0, self.pooled - 1)), self.pooled, self.stride).mT
        return SetBatch(x, sets.mask[:, :: self.stride])


class Recurrent(nn.Module):
    """Two layers of LSTM, and what ``dropout`` leaves of each layer's outputs (b, k, units)."""

    def __init__(self, elements: int, units: int, dropout: float):
        super().__init__()
        self.lstm = nn.LSTM(elements, units, num_layers=2, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sets: SetBatch) -> SetBatch:
        device = sets.elements.device.type
        if torch.is_autocast_enabled(device) and not bfloat16_recurrence(device):
            with torch.autocast(device, enabled=False):
                outputs, _ = self.lstm(sets.elements.to(next(self.lstm.parameters()).dtype))
        else:
            outputs, _ = self.lstm(sets.elements)
        return SetBatch(self.dropout(outputs), sets.mask)


@cache
def bfloat16_recurrence(device: str) -> bool:
    """Whether an LSTM can learn in bfloat16 there, tried on the smallest one.

    PyTorch asks oneDNN for it on any processor, and oneDNN raises on those that it has none for, as without AVX-512.
    """
    try:
        with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
            layer = nn.LSTM(1, 1).to(device)
            with torch.autocast(device, torch.bfloat16):
                outputs, _ = layer(torch.zeros(1, 1, 1, device=device))
            outputs.sum().backward()
    except RuntimeError:
        return False
    return True
