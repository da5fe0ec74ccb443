"""Is it worth training five seeds as one batch of networks?

    python tests/benchmarks/seeds_at_once.py [--seeds 5] [--steps 40] [--rounds 3]

The networks are of the shapes that methods here have: two layers, on Wikipedia's 128 SIFT words and on 4096 features of
a VGG-19. One side takes a step of each network after the other. The other has all weights in one tensor, so that a layer
of all networks is one batched product (`torch.baddbmm`) and one optimiser steps them all; losses are added up, so each
network gets the gradient that it gets alone. Both draw the same batches, a seed its own, and must end with the same
weights, within rounding. They take turns; the best of the rounds counts, in processor time on a CPU (OMP_NUM_THREADS=1
on a busy machine), on the clock on a GPU.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

SHAPES = {
    "128, 512, 10": (128, 512, 10),
    "128, 1024, 1024, 10": (128, 1024, 1024, 10),
    "4096, 1024, 1024, 10": (4096, 1024, 1024, 10),
}
BATCH = 64
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def weights(shape: Sequence[int], seed: int) -> list[Tensor]:
    """A (rows + 1) × columns matrix a layer, its bias last."""
    generator = torch.Generator().manual_seed(seed)
    pairs = itertools.pairwise(shape)
    return [torch.randn(a + 1, b, generator=generator).div(a**0.5).to(DEVICE) for a, b in pairs]


def batches(shape: Sequence[int], seed: int, steps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 + seed)
    x = torch.randn(steps, BATCH, shape[0], generator=generator)
    return x.to(DEVICE), torch.randint(shape[-1], (steps, BATCH), generator=generator).to(DEVICE)


def adam(tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(tensors, 1e-3, fused=True)


def alone(shape: Sequence[int], seed: int, steps: int) -> list[Tensor]:
    layers, (x, labels) = [layer.requires_grad_() for layer in weights(shape, seed)], batches(shape, seed, steps)
    optimizer = adam(layers)
    for step in range(steps):
        h = x[step]
        for i, layer in enumerate(layers):
            h = torch.addmm(layer[-1], h if i == 0 else h.relu(), layer[:-1])
        optimizer.zero_grad()
        functional.cross_entropy(h, labels[step]).backward()
        optimizer.step()
    return layers


def together(shape: Sequence[int], seeds: int, steps: int) -> list[Tensor]:
    each = zip(*(weights(shape, seed) for seed in range(seeds)), strict=True)
    layers = [torch.stack(layer).requires_grad_() for layer in each]
    drawn = [batches(shape, seed, steps) for seed in range(seeds)]
    x, labels = torch.stack([x for x, _ in drawn], 1), torch.stack([labels for _, labels in drawn], 1)
    optimizer = adam(layers)
    for step in range(steps):
        h = x[step]
        for i, layer in enumerate(layers):
            h = torch.baddbmm(layer[:, -1:], h if i == 0 else h.relu(), layer[:, :-1])
        optimizer.zero_grad()
        (functional.cross_entropy(h.flatten(0, 1), labels[step].flatten(), reduction="sum") / BATCH).backward()
        optimizer.step()
    return layers


def seconds(work: Callable[[], object]) -> float:
    clock = time.perf_counter if CUDA else time.process_time
    if CUDA:
        torch.cuda.synchronize()
    begun = clock()
    work()
    if CUDA:
        torch.cuda.synchronize()
    return clock() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads")
    print("| layers | one after the other, ms a step | as one batch, ms a step | times as fast | largest difference |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, shape in SHAPES.items():
        ends: dict[str, list[list[Tensor]]] = {}

        def singles(shape: Sequence[int] = shape, ends: dict[str, list[list[Tensor]]] = ends) -> None:
            ends["alone"] = [alone(shape, seed, options.steps) for seed in range(options.seeds)]

        def batch(shape: Sequence[int] = shape, ends: dict[str, list[list[Tensor]]] = ends) -> None:
            ends["together"] = [together(shape, options.seeds, options.steps)]

        times = [(seconds(singles), seconds(batch)) for _ in range(options.rounds + 1)][1:]
        one, other = (1000 * min(side) / options.steps for side in zip(*times, strict=True))
        apart = max(
            (single - whole[seed]).detach().abs().max().item()
            for seed, layers in enumerate(ends["alone"])
            for single, whole in zip(layers, ends["together"][0], strict=True)
        )
        print(f"| {name} | {one:.2f} | {other:.2f} | {one / other:.2f} | {apart:.0e} |")


if __name__ == "__main__":
    main()
