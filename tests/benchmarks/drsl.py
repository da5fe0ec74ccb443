"""DRSL against a plain literal implementation: time of a training step and of scoring, memory, equality of results.

    python tests/benchmarks/drsl.py [--rounds 5] [--items 4000]

The literal relation network concatenates every pair and sends it through 600-1024-1, the public code's way. Both do
the same steps from the same weights: image 4096-1024-300, text 300-1024-300, a batch of 200, all 40,000 pairs, Adam.
The two take turns, the best of the rounds counts, in seconds on the clock and of processor time; on a busy machine
OMP_NUM_THREADS=1 and processor time tell most. On a GPU, where there is one. Memory is that of a process of its own.
"""

import argparse
import copy
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from cmr.methods.drsl import DRSL, Network, Params, relation_loss
from cmr.methods.relation import Relation
from cmr.provenance import peak_memory_mb

BATCH, IMAGE, TEXT, SIZE, CLASSES = 200, 4096, 300, 300, 10
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Literal(nn.Module):
    """The relation network by what eqs. 4 and 5 say: each pair fused, each fused row through the network."""

    def __init__(self, relation: Relation):
        super().__init__()
        self.network = nn.Sequential(relation.first, nn.ReLU(), *relation.rest)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        left = u[:, None].expand(len(u), len(v), -1).reshape(-1, u.shape[1])
        right = v[None].expand(len(u), len(v), -1).reshape(-1, v.shape[1])
        return self.network(torch.cat([left, right], 1)).view(len(u), len(v))

    def stream(self, u: Tensor, v: Tensor) -> Tensor:
        """Batches of 200 × 200 pairs."""
        return torch.cat([torch.cat([self(a, b) for b in v.split(BATCH)], 1) for a in u.split(BATCH)])


class Model:
    """The two networks and a relation network with one optimiser."""

    def __init__(self, network: Network):
        self.network = copy.deepcopy(network)
        self.relation: nn.Module = self.network.relation
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), 1e-4, betas=(0.5, 0.99), weight_decay=1e-4, fused=True
        )

    def step(self, image: Tensor, text: Tensor, similar: Tensor) -> None:
        scores = self.relation(self.network.embed["image"](image), self.network.embed["text"](text))
        self.optimizer.zero_grad()
        relation_loss(scores, similar).backward()
        self.optimizer.step()

    def gradient(self) -> Tensor:
        """Of the last step."""
        return torch.cat([p.grad.flatten() for p in self.network.parameters()])


def models() -> tuple[Model, Model]:
    """Ours and the literal one, from the same weights."""
    torch.manual_seed(0)
    network = Network({"image": IMAGE, "text": TEXT}, Params()).to(DEVICE)
    ours, literal = Model(network), Model(network)
    literal.relation = Literal(literal.network.relation)
    return ours, literal


def batch() -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.randint(CLASSES, (BATCH,), device=DEVICE)
    rows = (torch.randn(BATCH, size, device=DEVICE) for size in (IMAGE, TEXT))
    return *rows, labels[:, None] == labels


def best(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds on the clock and of processor time, the best of the rounds, taken in turns."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            start = time.perf_counter(), time.process_time()
            contender()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: tuple(np.min(times, axis=0)) for name, times in seconds.items()}


def table(title: str, seconds: dict[str, tuple[float, float]]) -> None:
    clock, processor = (seconds["literal"][i] / seconds["ours"][i] for i in (0, 1))
    taken = ", ".join(f"{name} {c:.3f} s (processor {p:.3f} s)" for name, (c, p) in seconds.items())
    print(f"{title}: {taken}: {clock:.1f} × on the clock, {processor:.1f} × in processor time", flush=True)


def training(rounds: int) -> None:
    ours, literal = models()
    rows = batch()
    for model in (ours, literal):
        model.step(*rows)
    gap = (ours.gradient() - literal.gradient()).norm() / literal.gradient().norm()
    print(f"gradient of the first step: relative difference {gap:.1e}", flush=True)
    table("training step", best({"ours": lambda: ours.step(*rows), "literal": lambda: literal.step(*rows)}, rounds))
    u, v = (torch.randn(BATCH, SIZE, device=DEVICE).relu().requires_grad_() for _ in range(2))

    def relation(model: Model) -> Callable[[], None]:
        return lambda: relation_loss(model.relation(u, v), rows[2]).backward()

    table("  the relation alone", best({"ours": relation(ours), "literal": relation(literal)}, rounds))


def scoring(items: int) -> None:
    ours, literal = models()
    u, v = (torch.randn(items, SIZE, device=DEVICE).relu() for _ in range(2))
    found: dict[str, Tensor] = {}

    def score(name: str, relation: nn.Module) -> Callable[[], None]:
        return lambda: found.update({name: relation.stream(u, v)})

    with torch.inference_mode():
        contenders = {"ours": score("ours", ours.relation), "literal": score("literal", literal.relation)}
        table(f"scoring {items} × {items}", best(contenders, 1))
    difference = (found["ours"] - found["literal"]).abs().max()
    print(
        f"  largest difference {difference:.1e}, of scores between {found['ours'].min():.2f} and {found['ours'].max():.2f}"
    )


def memory(items: int) -> None:
    method = DRSL(Params(), ("image", "text"), device=DEVICE)
    method.network = Network({"image": IMAGE, "text": TEXT}, method.params).to(DEVICE).eval()
    z = np.random.default_rng(0).random((2, items, SIZE), np.float32)
    before = peak_memory_mb()
    method.similarity("image", z[0], "text", z[1])
    print(
        f"peak memory of scoring {items} × {items}: {peak_memory_mb():.0f} MB, {before:.0f} MB of it before the start"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=4000, help="of each modality, for scoring (4000)")
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_only:
        memory(arguments.items)
        return
    print(f"{torch.get_num_threads()} threads", flush=True)
    # First of all, since a process's peak starts from the memory of the one that started it.
    subprocess.run([sys.executable, __file__, "--memory-only", "--items", str(arguments.items)], check=True)
    training(arguments.rounds)
    scoring(arguments.items)


if __name__ == "__main__":
    main()
