"""How far each method's epoch is from its matrix products: ``python tests/benchmarks/epochs.py [METHOD ...]``.

Every method that chooses its epochs is fitted with its default parameters on made-up rows of ten classes, in batches
as the project runs them. The first epoch counts the products, forward and backward, of all layers and losses; of the
following the median counts. Then each product is computed alone, several times, with operands of the same shapes and
strides, and the medians are added up: that is the epoch's limit. Products that need not be computed are in it too.
Methods that learn in parts have an epoch of each.

On a CPU that is processor time of one thread, so that work beside it changes the ratios little. On a GPU (``--device
cuda``) it is time on the clock, until the GPU has done all; a product then runs many times in a row, as its start takes
longer than a small one.

Rows come in two sizes: that of Wikipedia's SIFT and LDA features, and that of networks'. Where a method takes vectors
and sets, an image has besides 16 regions and a text 20 words. So that this ends soon, epochs are of ``--steps`` batches
where ``--rows`` make more, and seconds are those of all rows in proportion. The table has what is farthest from its
products first.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import as_job  # noqa: F401
import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from cmr import registry
from cmr.data import View
from cmr.device import resolve
from cmr.methods import training
from cmr.sets import Sets, VectorsAndSets

CLASSES = 10
ELEMENTS = {"image": 16, "text": 20}
ALONE = 3  # times that a product is timed
AT_ONCE = {"cpu": 1, "cuda": 20}  # how often it is computed each time


@dataclass(frozen=True)
class Inputs:
    """Numbers of a vector and of an element of a set, by modality."""

    vectors: dict[str, int]
    elements: dict[str, int]


SIZES = (
    Inputs({"image": 128, "text": 10}, {"image": 128, "text": 10}),
    Inputs({"image": 4096, "text": 1024}, {"image": 1280, "text": 384}),
)


@dataclass(frozen=True)
class Operand:
    """What a tensor is remembered by."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> "Operand":
        return cls(tuple(tensor.shape), tensor.stride())

    def fresh(self, device: str) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, device=device).normal_()


class Products(TorchDispatchMode):
    """Remembers the matrix products and convolutions that are computed within it, and how often each is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, tuple[Callable, Any]] = {}
        self.counts: dict[str, int] = {}
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count:
            operands = tree_map_only(Tensor, Operand.of, args)
            key = f"{func} {operands}"
            self.calls[key] = func, operands
            self.counts[key] = self.counts.get(key, 0) + 1
            self.operations += count(*args, **(kwargs or {}), out_val=out)
        return out

    def seconds(self, device: str) -> float:
        """Of all of them, each alone."""
        return sum(count * _alone(*self.calls[key], device) for key, count in self.counts.items())


def _alone(func: Callable, operands: Any, device: str) -> float:
    args = tree_map_only(Operand, lambda operand: operand.fresh(device), operands)
    func(*args)
    often = AT_ONCE[device]
    return median(seconds(lambda: [func(*args) for _ in range(often)], device) / often for _ in range(ALONE))


def seconds(work: Callable[[], object], device: str) -> float:
    """Processor time, or on a GPU time on the clock."""
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


@dataclass
class Learned:
    """A part of a method that is trained: its products in an epoch, and what each further epoch took."""

    products: Products = field(default_factory=Products)
    seconds: list[float] = field(default_factory=list)


@contextmanager
def watched(parts: list[Learned], options: argparse.Namespace) -> Iterator[None]:
    """Within it, what is trained is added to ``parts``, and each of its epochs is timed."""
    epoch_of = training._train_epoch

    def timed(*arguments: Any) -> dict[str, float]:
        found: dict[str, float] = {}
        steps = arguments[1]
        if arguments[5] == 1:  # the epoch's number
            replayed, steps.replayed = steps.replayed, False  # the products of a replayed step would not be seen
            parts.append(Learned())
            # Libraries, of which an LSTM is one operation, without products to be seen.
            torch.backends.mkldnn.enabled = torch.backends.cudnn.enabled = False
            with parts[-1].products:
                found.update(epoch_of(*arguments))
            torch.backends.mkldnn.enabled = torch.backends.cudnn.enabled = True
            steps.replayed = replayed and options.replay
            return found
        parts[-1].seconds.append(seconds(lambda: found.update(epoch_of(*arguments)), options.device))
        return found

    training._train_epoch = timed
    try:
        yield
    finally:
        training._train_epoch = epoch_of


def views(inputs: Inputs, rows: int, sets: bool) -> dict[str, View]:
    generator = np.random.default_rng(0)
    labels = np.eye(CLASSES, dtype=np.uint8)[np.arange(rows) % CLASSES]
    ids = np.array([f"item-{row}" for row in range(rows)])

    def features(modality: str) -> Any:
        vectors = generator.random((rows, inputs.vectors[modality]), np.float32)
        if not sets:
            return vectors
        k = ELEMENTS[modality]
        elements = generator.random((rows * k, inputs.elements[modality]), np.float32)
        return VectorsAndSets(vectors, Sets.flat(elements, np.arange(rows + 1) * k))

    return {m: View(ids, features(m), labels) for m in inputs.vectors}


@dataclass(frozen=True)
class Epoch:
    """Seconds of an epoch and of its products alone, and billions of their operations."""

    seconds: float
    products: float
    operations: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.products

    def cells(self) -> str:
        rate = self.operations / self.products
        return f"{self.seconds:.3g} s | {self.products:.2g} s | {rate:.0f} | {self.ratio:.2f}"


def measured(name: str, inputs: Inputs, options: argparse.Namespace) -> Epoch:
    info = registry.info("methods", name)
    values = {"epochs": options.epochs + 1, "pretraining_epochs": options.epochs + 1}
    model = registry.params_model("methods", name)
    params = registry.params("methods", name, {key: v for key, v in values.items() if key in model.model_fields})
    rows = min(options.rows, options.steps * params.batch_size)
    part = views(inputs, rows, "both" in info.takes)
    alone = info.modalities == 1
    parts: list[Learned] = []
    with watched(parts, options):
        for modalities in [(m,) for m in part] if alone else [tuple(part)]:
            method = registry.load("methods", name)(params, modalities, device=options.device)
            method.fit({m: part[m] for m in modalities})
    share = options.rows / rows
    return Epoch(
        share * sum(median(learned.seconds) for learned in parts),
        share * sum(learned.products.seconds(options.device) for learned in parts),
        share * sum(learned.products.operations for learned in parts) / 1e9,
    )


def trained_by_epochs() -> list[str]:
    return [name for name in registry.names("methods") if "epochs" in registry.info("methods", name).chooses]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=trained_by_epochs())
    parser.add_argument("--rows", type=int, default=2173, help="of an epoch")
    parser.add_argument("--steps", type=int, default=2, help="batches of an epoch that is timed, at most")
    parser.add_argument("--epochs", type=int, default=3, help="that are timed")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--replay", action=argparse.BooleanOptionalAction, default=True, help="steps that a GPU may replay (yes)"
    )
    options = parser.parse_args()
    resolve(options.device)  # settles how CUDA computes
    torch.set_num_threads(1)
    found = {}
    for name in options.methods:
        found[name] = [measured(name, inputs, options) for inputs in SIZES]
        print(f"{name}: {' | '.join(epoch.cells() for epoch in found[name])}", file=sys.stderr, flush=True)
    small, large = (" and ".join(map(str, inputs.vectors.values())) for inputs in SIZES)
    print(f"\n| method | epoch, {small} | products | GFLOP/s | ratio | epoch, {large} | products | GFLOP/s | ratio |")
    print("| --- |" + " ---: |" * 8)
    for name in sorted(found, key=lambda name: -found[name][1].ratio):
        print(f"| `{name}` | {' | '.join(epoch.cells() for epoch in found[name])} |")


if __name__ == "__main__":
    main()
