"""Random weights of torchvision's networks in files of a megabyte."""

from pathlib import Path

import torch

from cmr.features.classic_networks import empty


def write_random(architecture: str, file: Path) -> Path:
    """The state of VGG-19 or AlexNet. Each matrix is a window over a row of random numbers, a step further a row."""
    generator, state = torch.Generator().manual_seed(0), {}
    for name, weight in empty(architecture).state_dict().items():
        width = weight.shape[1:].numel()
        if weight.ndim == 1:
            state[name] = torch.zeros(weight.shape)
            continue
        numbers = torch.randn(len(weight) + width, generator=generator) * (2 / width) ** 0.5
        state[name] = numbers.half().as_strided(
            weight.shape, (1, *torch.empty(weight.shape[1:], device="meta").stride())
        )
    torch.save(state, file)
    return file
