"""GPLDAN's scoring against plain implementations of its formula, same results: ``python tests/benchmarks/gpldan.py``.

700 × 700 pairs are XMedia's test set. ``pair_by_pair`` fuses and compares one pair after another, as the paper writes
it; ``all_fused`` fuses all pairs of a query at once and keeps the n² fused representations, both sides. The contenders
take turns and the best of their rounds counts, so that a busy machine slows all of them alike; memory is measured in a
process each.
"""

import argparse
import subprocess
import sys
import time

import numpy as np
import torch

from cmr.methods.gpldan import GPLDAN, Params
from cmr.provenance import peak_memory_mb

PARAMS = Params()
K, H = PARAMS.representations, PARAMS.dimension


def embeddings(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, kH + k) of two modalities as `GPLDAN.embed` packs them."""
    rng = np.random.default_rng(0)
    attention = [rng.dirichlet(np.ones(K), n) for _ in range(2)]
    return tuple(np.hstack([rng.standard_normal((n, K * H)), a]).astype(np.float32) for a in attention)


def unpacked(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.as_tensor(rows)
    return rows[:, :-K].reshape(-1, K, H), rows[:, -K:]


def blocks(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The project's."""
    return GPLDAN(PARAMS, ("image", "text")).similarity("image", query, "text", gallery)


def pair_by_pair(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    (x, a), (y, b) = unpacked(query), unpacked(gallery)
    scores = np.empty((len(x), len(y)), np.float32)
    for i in range(len(x)):
        for j in range(len(y)):
            attention = a[i] + b[j]
            scores[i, j] = torch.cosine_similarity(attention @ x[i], attention @ y[j], dim=0)
    return scores


def all_fused(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    (x, a), (y, b) = unpacked(query), unpacked(gallery)
    attention = a[:, None] + b
    of_query = attention @ x
    of_gallery = (attention.transpose(0, 1) @ y).transpose(0, 1)
    return torch.cosine_similarity(of_query, of_gallery, dim=2).numpy()


CONTENDERS = {f.__name__: f for f in (blocks, all_fused, pair_by_pair)}
ONCE = "pair_by_pair"  # half a million small steps


def speed(n: int, rounds: int) -> None:
    data = embeddings(n)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    scores = {}
    with torch.inference_mode():
        for number in range(rounds):
            for name, contender in CONTENDERS.items():
                if name != ONCE or number == 0:
                    start = time.perf_counter()
                    scores[name] = contender(*data)
                    seconds[name].append(time.perf_counter() - start)
    print(f"{n} x {n} pairs, k = {K}, H = {H}, {torch.get_num_threads()} threads", flush=True)
    ours = min(seconds["blocks"])
    for name, taken in seconds.items():
        gap = np.abs(scores[name] - scores["blocks"]).max()
        needs = "" if name == ONCE else f", {memory(name, n):.0f} MB beyond the embeddings"
        print(
            f"  {name:14s}{min(taken):9.3f} s, {min(taken) / ours:.1f} x blocks, difference {gap:.0e}{needs}",
            flush=True,
        )


def memory(name: str, n: int) -> float:
    """Peak memory of one call beyond what was held before it, in a process of its own."""
    command = [sys.executable, __file__, "--rows", str(n), "--memory-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_of(name: str, n: int) -> float:
    CONTENDERS[name](*embeddings(8))  # what the first call loads is not the scores'
    data = embeddings(n)
    before = peak_memory_mb()
    with torch.inference_mode():
        CONTENDERS[name](*data)
    return peak_memory_mb() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=700, help="queries and gallery items")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(peak_of(options.memory_of, options.rows))
    else:
        speed(options.rows, options.rounds)


if __name__ == "__main__":
    main()
