"""Is it worth training five seeds as one batch of networks?

    python tests/benchmarks/seeds_at_once.py [--seeds 5] [--steps 40] [--rounds 3]

The networks are of the shapes that methods here have: two layers, on Wikipedia's 128 SIFT words and on 4096 features of
a VGG-19. One side takes a step of each network after the other. The other has all weights in one tensor, so that a layer
of all networks is one batched product (`torch.baddbmm`) and one optimiser steps them all; losses are added up, so each
network gets the gradient that it gets alone. Both draw the same batches, a seed its own, and must end with the same
weights, within rounding. On a GPU, the first side also replays its steps, as the workflow does. They take turns; the
best of the rounds counts, in processor time on a CPU (OMP_NUM_THREADS=1 on a busy machine), on the clock on a GPU.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cmr.methods.steps import Steps, Update, own_stream
from cmr.methods.training import Adam

SHAPES = {
    "128, 512, 10": (128, 512, 10),
    "128, 1024, 1024, 10": (128, 1024, 1024, 10),
    "4096, 1024, 1024, 10": (4096, 1024, 1024, 10),
}
BATCH = 64
CUDA = torch.cuda.is_available()
Side = Callable[[argparse.Namespace, Sequence[int]], list[list[Tensor]]]
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
    return Adam(tensors, 1e-3)


def alone(shape: Sequence[int], seed: int, steps: int, replayed: bool = False) -> list[Tensor]:
    layers, (x, labels) = [layer.requires_grad_() for layer in weights(shape, seed)], batches(shape, seed, steps)
    x, labels = x.flatten(0, 1), labels.flatten()

    def terms(rows: Tensor) -> dict[str, Tensor]:
        h = x[rows]
        for i, layer in enumerate(layers):
            h = torch.addmm(layer[-1], h if i == 0 else h.relu(), layer[:-1])
        return {"label": functional.cross_entropy(h, labels[rows])}

    with own_stream() if replayed else nullcontext():
        taken = Steps([Update(adam(layers), terms)], DEVICE, replayed)
        taken.begin()
        for rows in torch.arange(len(x), device=DEVICE).split(BATCH):
            taken.take(rows)
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


def one_by_one(options: argparse.Namespace, shape: Sequence[int]) -> list[list[Tensor]]:
    return [alone(shape, seed, options.steps) for seed in range(options.seeds)]


def replayed(options: argparse.Namespace, shape: Sequence[int]) -> list[list[Tensor]]:
    return [alone(shape, seed, options.steps, CUDA) for seed in range(options.seeds)]


def as_one_batch(options: argparse.Namespace, shape: Sequence[int]) -> list[list[Tensor]]:
    layers = together(shape, options.seeds, options.steps)
    return [[layer[seed] for layer in layers] for seed in range(options.seeds)]


SIDES = (one_by_one, replayed, as_one_batch)


def weights_after(side: Side, options: argparse.Namespace, shape: Sequence[int]) -> Tensor:
    """All numbers of all networks."""
    return torch.cat([layer.detach().flatten() for network in side(options, shape) for layer in network])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads")
    print("| layers | one after the other | replayed | as one batch | differ from the first by at most |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, shape in SHAPES.items():
        ends = [weights_after(side, options, shape) for side in SIDES]
        times = [[seconds(partial(side, options, shape)) for side in SIDES] for _ in range(options.rounds)]
        cells = [f"{1000 * min(side) / options.steps:.2f} ms a step" for side in zip(*times, strict=True)]
        apart = [(found - ends[0]).abs().max().item() for found in ends[1:]]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{most:.0e}' for most in apart)} |")


if __name__ == "__main__":
    main()
