"""How near extraction comes to a card's rate of matrix products, on the GPU or on the CPU; for training see epochs.py.

    python tests/benchmarks/gpu.py [--device cuda] [--rounds 3] [--batch 64] [--files 64]

The rate is that of the largest product that is tried, in float32 (without TF32) and in bfloat16. Floating-point
operations are those that torch counts; the best of the rounds counts, after one that warms up.

Pictures go through the network alone, and as the workflow extracts them: from JPEG files of 500 × 375, decoded by all
cores; how fast these decode is beside it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from features import photographs
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vgg19
from transformers import BertConfig, BertModel

from cmr import registry
from cmr.device import cores, resolve
from cmr.features.networks import GPU_BATCH, computing, prepare

TOKENS = 128
BERT_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
Work = Callable[[], object]


def best(work: Work, device: str, rounds: int) -> float:
    """Seconds on the clock."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def operations(work: Work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def products(precision: str, device: str, rounds: int) -> float:
    """Operations a second of the best square product; larger ones on a GPU, which small ones leave idle."""
    rates = []
    for n in (2048, 8192) if device == "cuda" else (1024, 2048):
        a, b = (torch.randn(n, n, device=device, dtype=PRECISIONS[precision]) for _ in range(2))
        rates.append(2 * n**3 / best(lambda a=a, b=b: a @ b, device, rounds))
    return max(rates)


def pictures(device: str, precision: str, batch: int) -> Work:
    network = prepare(vgg19(), device, precision)
    x = torch.rand(batch, 3, 224, 224, device=device).to(memory_format=torch.channels_last)

    def work() -> None:
        with torch.inference_mode(), computing(device, precision):
            network(x)

    return work


def texts(device: str, precision: str, batch: int) -> Work:
    network = prepare(BertModel(BertConfig(**BERT_LARGE)), device, precision)
    tokens = torch.randint(1000, 2000, (batch, TOKENS), device=device)

    def work() -> None:
        with torch.inference_mode(), computing(device, precision):
            network(input_ids=tokens)

    return work


def from_files(paths: list[Path], device: str, precision: str, rounds: int) -> None:
    """Prints how fast the workflow's extractor is, and the decoding alone."""
    weights = paths[0].with_name("vgg19.pth")
    if not weights.exists():
        torch.save(vgg19().half().state_dict(), weights)
    params = registry.params("extractors", "vgg19_fc7", {"weights": str(weights), "precision": precision})
    extractor = registry.load("extractors", "vgg19_fc7")(params, weights.parent, device, cores())
    extracted = best(lambda: extractor.transform(paths), device, rounds)
    decoded = best(lambda: list(extractor.feed(paths, GPU_BATCH)), device, rounds)
    rates = f"{len(paths) / extracted:8.0f} a second, decoding alone {len(paths) / decoded:.0f} on {cores()} cores"
    print(f"  {f'VGG-19 fc7, {len(paths)} JPEG files':40} {rates}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64, help="pictures and texts of a batch")
    parser.add_argument("--files", type=int, default=64, help="JPEG files")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    options = parser.parse_args()
    device = resolve(options.device)
    card = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{device}: {card}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        measure(options, device, photographs(Path(folder), options.files, (500, 375)))


def measure(options: argparse.Namespace, device: str, files: list[Path]) -> None:
    for precision in options.precisions:
        rate = products(precision, device, options.rounds)
        print(f"{precision}: products at {rate / 1e12:.3g} TFLOP/s")
        works = {
            f"VGG-19, {options.batch} pictures": pictures(device, precision, options.batch),
            f"BERT-large, {options.batch} texts of {TOKENS} tokens": texts(device, precision, options.batch),
        }
        for name, work in works.items():
            counted, seconds = operations(work), best(work, device, options.rounds)
            print(f"  {name:40} {seconds:8.3f} s  {counted / seconds / rate:5.0%} of the products' rate")
        from_files(files, device, precision, options.rounds)


if __name__ == "__main__":
    main()
