"""SDML: how near an epoch comes to the limit of its matrix products, and what training strategies cost.

    python tests/benchmarks/sdml.py [--rounds 3] [--rows 2173]
    python tests/benchmarks/sdml.py --strategies [--epochs 3]

The limit is the time of the epoch's matrix products alone, of the same shapes, forward and backward, into memory that
is there already. Beside it a plain loop: DataLoader, one item after the other, Adam as it comes. All take turns, the
best of the rounds counts, in processor time and on the clock; OMP_NUM_THREADS=1 on a busy machine.

``--strategies`` measures what Table 6 compares, with 4096-d images and 300-d texts: both modalities in one network
and one step (joint, SDML-1), one process after the other (serial, SDML-2), two at a time (parallel, SDML-3). Memory is
the processes' peak; on a GPU, its peak too.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from cmr.data import Part, View
from cmr.methods import training
from cmr.methods.sdml import SDML, Params, mean_error
from cmr.methods.steps import Update
from cmr.provenance import peak_memory_mb

SIZES = {"image": 4096, "text": 300}
CLASSES = 10
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def data(modality: str, rows: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x, labels = torch.randn(rows, SIZES[modality]).relu(), torch.eye(CLASSES)[torch.randint(CLASSES, (rows,))]
    return x.to(DEVICE), labels.to(DEVICE)


def training_part(modality: str, rows: int) -> Part:
    x, labels = (array.cpu().numpy() for array in data(modality, rows))
    return {modality: View(np.arange(rows).astype(str), x, labels.astype(np.uint8))}


def untrained(modality: str) -> SDML:
    method = SDML(Params(), (modality,), device=DEVICE)
    torch.manual_seed(0)
    method.network = method.build({modality: SIZES[modality]}, CLASSES).to(DEVICE)
    return method


def ours(modality: str, rows: int) -> Callable[[], object]:
    method, part = SDML(Params(epochs=1), (modality,), device=DEVICE), training_part(modality, rows)
    return lambda: method.fit(part)


def plain(modality: str, rows: int) -> Callable[[], object]:
    network = untrained(modality).network
    loader = DataLoader(TensorDataset(*data(modality, rows)), batch_size=100, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, betas=(0.5, 0.999), foreach=False)

    def epoch() -> None:
        for x, labels in loader:
            optimizer.zero_grad()
            h = network.encode(x)
            loss = 0.5 * mean_error(network.decode(h), x, "unsquared")
            loss = loss + 0.5 * mean_error(h @ network.projection, labels, "unsquared")
            loss.backward()
            optimizer.step()

    return epoch


def products(modality: str, rows: int) -> Callable[[], object]:
    """Forward y = x Wᵀ, backward dW = gᵀ x and dx = g W (not needed of the first layer) of each batch."""
    weights = [w for name, w in untrained(modality).network.named_parameters() if name.endswith("weight")]
    weights = [w.detach() for w in weights]
    batches = [100] * (rows // 100) + [rows % 100] * (rows % 100 > 1)
    x, g = ([torch.randn(100, w.shape[side], device=DEVICE) for w in weights] for side in (1, 0))
    y, dx, dw = [g_.clone() for g_ in g], [x_.clone() for x_ in x], [w.clone() for w in weights]

    def epoch() -> None:
        for size in batches:
            for i, w in enumerate(weights):
                torch.mm(x[i][:size], w.T, out=y[i][:size])
                torch.mm(g[i][:size].T, x[i][:size], out=dw[i])
                if i:
                    torch.mm(g[i][:size], w, out=dx[i][:size])

    return epoch


def best(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of processor time and on the clock, the best of the rounds, taken in turns."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            start = time.process_time(), time.perf_counter()
            contender()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            seconds[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return {name: np.min(times, axis=0) for name, times in seconds.items()}


def limit(rows: int, rounds: int) -> None:
    total: dict[str, np.ndarray] = {}
    for modality in SIZES:
        contenders = {make.__name__: make(modality, rows) for make in (products, ours, plain)}
        for name, seconds in best(contenders, rounds).items():
            total[name] = total.get(name, 0) + seconds
            print(f"{modality:6} {name:9} {seconds[0]:6.2f} s of processor time, {seconds[1]:6.2f} s on the clock")
    for name in ("ours", "plain"):
        share = total["products"] / total[name]
        print(f"{name}: {share[0]:.0%} of the products' speed in processor time, {share[1]:.0%} on the clock")


def joint(epochs: int, rows: int) -> None:
    """SDML-1: a step takes the losses of all modalities together."""
    methods = {m: untrained(m) for m in SIZES}
    inputs = {m: data(m, rows) for m in SIZES}
    networks = torch.nn.ModuleDict({m: method.network for m, method in methods.items()})

    def terms(batch: Tensor) -> dict[str, Tensor]:
        found = {m: method.terms([inputs[m][0][batch]], inputs[m][1][batch]) for m, method in methods.items()}
        return {f"{m} {name}": term for m, of in found.items() for name, term in of.items()}

    optimizer = torch.optim.Adam(networks.parameters(), 1e-4, betas=(0.5, 0.999), fused=True)
    training.train(networks, [Update(optimizer, terms)], rows, epochs, 100, 0, DEVICE, replayed=True)


def one_process(what: str, epochs: int, rows: int) -> None:
    """Trains and prints seconds on the clock and peak memory as JSON."""
    start = time.perf_counter()
    if what == "joint":
        joint(epochs, rows)
    else:
        SDML(Params(epochs=epochs), (what,), device=DEVICE).fit(training_part(what, rows))
    found = {"seconds": time.perf_counter() - start}
    found["MB"] = peak_memory_mb()
    if DEVICE == "cuda":
        found["GPU MB"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(found))


def strategies(epochs: int, rows: int) -> None:
    def start(what: str) -> subprocess.Popen:
        command = [sys.executable, __file__, "--one", what, "--epochs", str(epochs), "--rows", str(rows)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ended(process: subprocess.Popen) -> dict[str, float]:
        printed = process.communicate()[0]
        if process.returncode:
            raise SystemExit(f"{process.args}: ended with {process.returncode}")
        return json.loads(printed)

    alone = ended(start("joint"))
    serial = [ended(start(m)) for m in SIZES]
    parallel = [ended(process) for process in [start(m) for m in SIZES]]
    rows_of_table = {"joint": [alone], "serial": serial, "parallel": parallel}
    for name, runs in rows_of_table.items():
        time_is, memory_is = (max, sum) if name == "parallel" else (sum, max)
        seconds = time_is(run["seconds"] for run in runs)
        memory = {key: memory_is(run[key] for run in runs) for key in runs[0] if key != "seconds"}
        print(f"{name:8} {seconds:7.1f} s  " + "  ".join(f"{value:.0f} {key}" for key, value in memory.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2173)
    parser.add_argument("--epochs", type=int, default=3, help="of the strategies (3; the paper's table has 200)")
    parser.add_argument("--strategies", action="store_true")
    parser.add_argument("--one", choices=("joint", *SIZES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_process(arguments.one, arguments.epochs, arguments.rows)
    elif arguments.strategies:
        strategies(arguments.epochs, arguments.rows)
    else:
        print(f"{torch.get_num_threads()} threads, {DEVICE}")
        limit(arguments.rows, arguments.rounds)


if __name__ == "__main__":
    main()
