"""Speed, accuracy and memory of feature extraction, side by side in one run: ``python tests/benchmarks/features.py``.

Prints a table a section; ``--help`` lists the sections. Contenders take turns on the same inputs, batch size and
threads, and the best of their rounds counts, so that a busy machine slows all of them alike. Where the real weights are
not in a package, random ones serve, which cost the same time.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from cmr import registry
from cmr.device import cores
from cmr.features.base import Extractor
from cmr.features.extraction import Task, extract
from cmr.features.images import Preprocessing, batches
from cmr.features.networks import ImageNetwork
from cmr.features.text_networks import CPU_BATCH
from cmr.provenance import peak_memory_mb

CORES = cores()
VGG19_MACS = 19.6e9  # multiplications an image at 224 × 224, up to fc7
BERT_LARGE_MACS = 24 * (4 * 1024**2 + 2 * 1024 * 4096)  # a token, of the linear layers
ROUNDS = 3


def create(name: str, threads: int = CORES, **params: object) -> Extractor:
    model = registry.params_model("extractors", name)(**params)
    return registry.load("extractors", name)(model, Path(tempfile.gettempdir()), "cpu", threads)


def best_of(contenders: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of each contender's best round, after one round to warm up."""
    seconds = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: min(found) for name, found in seconds.items()}


def table(title: str, rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


def ratios(title: str, plain: str, seconds: dict[str, float], n: int, wanted: dict[str, float]) -> None:
    rows = [("", "items/s", "ratio", "wanted")]
    for name, taken in seconds.items():
        goal = f"≥ {wanted[name]}" if name in wanted else ""
        rows.append((name, f"{n / taken:.2f}", f"{seconds[plain] / taken:.2f}", goal))
    table(f"{title}, {n} items, {CORES} threads", rows)


def photographs(folder: Path, n: int, size: tuple[int, int], seed: int = 0) -> list[Path]:
    """JPEGs of smooth random colours."""
    rng = np.random.default_rng(seed)
    paths = [folder / f"{size[0]}x{size[1]}-{i}.jpg" for i in range(n)]
    for path in paths:
        small = Image.fromarray(rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def plain_loop(network: nn.Module, transform: Callable, batch: int) -> Callable[[Sequence[Path]], np.ndarray]:
    """The loop of a tutorial: decode, transform and stack a batch, then run the network in eager float32."""

    def run(paths: Sequence[Path]) -> np.ndarray:
        found = []
        with torch.no_grad():
            for start in range(0, len(paths), batch):
                pictures = [transform(Image.open(path).convert("RGB")) for path in paths[start : start + batch]]
                found.append(network(torch.stack(pictures)))
        return torch.cat(found).numpy()

    return run


def gemm(dtype: torch.dtype, n: int = 4096) -> float:
    """Multiplications a second of a matrix product."""
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    return n**3 / best_of({"gemm": lambda: a @ b}, rounds=5)["gemm"]


def share_of_gemm(multiplications: float, seconds: float, wanted: str = "") -> None:
    """Prints what the matrix products themselves would allow here, now: machines differ in what bf16 gains."""
    fp32, bf16 = gemm(torch.float32), gemm(torch.bfloat16)
    share = multiplications / seconds / bf16
    print(f"  bf16 reaches {share:.0%} of the rate of a bf16 matrix product 4096³{wanted},")
    print(f"  which is {bf16 / fp32:.2f} times that of an fp32 one")


def vgg(folder: Path) -> None:
    """VGG-19 fc7 against torchvision's own network in a plain loop."""
    paths = photographs(folder, 64, (500, 375))
    network = torchvision.models.vgg19().eval()
    own = folder / "vgg19.pth"
    torch.save(network.state_dict(), own)
    network.classifier = network.classifier[:5]
    transform = torchvision.models.VGG19_Weights.IMAGENET1K_V1.transforms()
    plain = plain_loop(network, transform, ImageNetwork.cpu_batch)
    fp32, bf16 = (create("vgg19_fc7", weights=str(own), precision=p) for p in ("fp32", "bf16"))
    contenders = {
        "plain torchvision fp32": lambda: plain(paths),
        "ours fp32": lambda: fp32.transform(paths),
        "ours bf16": lambda: bf16.transform(paths),
    }
    seconds = best_of(contenders, rounds=2)
    ratios("VGG-19 fc7", "plain torchvision fp32", seconds, len(paths), {"ours fp32": 1.35, "ours bf16": 2.5})
    share_of_gemm(len(paths) * VGG19_MACS, seconds["ours bf16"], " (wanted: ≥ 90%)")


def bert_large(folder: Path) -> None:
    """BERT-large, texts of 10 to 128 tokens, against a plain loop that pads each batch to its longest text."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    model = BertModel(
        BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(create("bert").folder)
    for part in (model, tokenizer):
        part.save_pretrained(folder / "large")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["cat", "dog", "house", "tree"], n - 2)) for n in rng.integers(10, 129, 128)]
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert min(lengths) >= 10
    assert max(lengths) <= 128

    def plain() -> None:
        with torch.no_grad():
            for start in range(0, len(texts), CPU_BATCH):
                tokens = tokenizer(texts[start : start + CPU_BATCH], padding=True, return_tensors="pt")
                states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(2)
                (states * mask).sum(1) / mask.sum(1)

    fp32, bf16 = (create("bert", model=str(folder / "large"), precision=p) for p in ("fp32", "bf16"))
    contenders = {
        "plain transformers fp32": plain,
        "ours fp32": lambda: fp32.transform(texts),
        "ours bf16": lambda: bf16.transform(texts),
    }
    seconds = best_of(contenders, rounds=2)
    ratios("BERT-large", "plain transformers fp32", seconds, len(texts), {"ours fp32": 1.5, "ours bf16": 4})
    share_of_gemm(sum(lengths) * BERT_LARGE_MACS, seconds["ours bf16"])


def lite0(folder: Path) -> None:
    """EfficientNet-Lite0 against the package's network in a plain loop, at our batch size and a usual one."""
    from cmr.features.efficientnet_lite0 import EfficientNet, EfficientNetLite0, weights_file

    paths = photographs(folder, 96, (224, 224))
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(weights_file(), weights_only=True))
    network.forward = lambda x: network.extract_features(x).mean((2, 3))
    transform = v2.Compose(
        [
            v2.Resize(256, v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((127 / 255,) * 3, (128 / 255,) * 3),
        ]
    )
    fp32, bf16 = (create("efficientnet_lite0", precision=p) for p in ("fp32", "bf16"))
    ours = EfficientNetLite0.cpu_batch
    loops = {batch: plain_loop(network, transform, batch) for batch in (ours, 32)}
    contenders = {f"plain fp32, batch {batch}": lambda batch=batch: loops[batch](paths) for batch in loops}
    contenders |= {f"ours fp32, batch {ours}": lambda: fp32.transform(paths)}
    contenders |= {f"ours bf16, batch {ours}": lambda: bf16.transform(paths)}
    plain = f"plain fp32, batch {ours}"
    ratios("EfficientNet-Lite0", plain, best_of(contenders), len(paths), {f"ours fp32, batch {ours}": 2.5})


def decode(folder: Path) -> None:
    """Decoding and resizing 4-megapixel JPEGs with one thread and with all."""
    paths = photographs(folder, 32, (2464, 1632))

    def run(threads: int) -> None:
        for _ in batches(paths, Preprocessing(), 8, threads):
            pass

    seconds = best_of({f"{threads} threads": lambda threads=threads: run(threads) for threads in (1, CORES)})
    ratios("4-megapixel JPEGs", "1 threads", seconds, len(paths), {f"{CORES} threads": round(0.9 * CORES, 1)})


class Colours(ImageNetwork):
    """A network that costs nothing: 4096 mean colours, to see what the rest of the extraction takes."""

    def build(self) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(37), nn.Flatten(), nn.ConstantPad1d((0, -11), 0))


def peak_memory(n: int, folder: Path) -> None:
    """Extracts features of n pictures, the same ones over and over, and prints the process's peak in MiB."""
    paths = sorted(folder.glob("*.jpg"))
    contents = [paths[row % len(paths)] for row in range(n)]
    extractor = Colours(registry.params_model("extractors", "efficientnet_lite0")(), folder, "cpu", CORES)
    ids = np.char.add("item", np.arange(n).astype(str))
    extract(Task(extractor, contents, ids), folder / f"{n}.h5", {}, folder / f"{n}.partial.h5", "key")
    print(peak_memory_mb())


def memory(folder: Path) -> None:
    """Peak memory of 5,000 and 50,000 pictures through decoding, chunks and the writing of the features file."""
    photographs(folder, 16, (256, 256))
    peaks = {}
    for n in (5_000, 50_000):
        command = [sys.executable, __file__, "--peak", str(n), "--folder", str(folder)]
        peaks[n] = float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    rows = [
        ("images", "peak MiB", "ratio"),
        *((f"{n:,}", f"{m:.0f}", f"{m / peaks[5000]:.2f}") for n, m in peaks.items()),
    ]
    table("Memory, features of 4096 dimensions (wanted: ratio 1)", rows)


def precision(folder: Path) -> None:
    """bf16 against fp32 with real weights on OpenMoji: cosine after subtracting the mean, and mAP of two methods."""
    from cmr.data import TEST, TRAIN, View
    from cmr.metrics.ranking import average_precision

    dataset = registry.load("datasets", "openmoji")(registry.params_model("datasets", "openmoji")(), folder, folder)
    items = dataset.prepare()
    split = dataset.split(items, "default")
    rows = [("", "1% quantile of the cosine", "wanted")]
    features: dict[tuple[str, str], np.ndarray] = {}
    for name, modality in (("efficientnet_lite0", "image"), ("bert", "text")):
        contents = dataset.contents(items, modality)
        for p in ("fp32", "bf16"):
            features[modality, p] = create(name, precision=p).transform(contents)
        a, b = (features[modality, p] - features[modality, p].mean(0) for p in ("fp32", "bf16"))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        rows.append((name, f"{np.quantile(cosine, 0.01):.4f}", "≥ 0.995"))
    table(f"bf16 against fp32, {len(items.ids)} emoji", rows)

    def part(p: str, which: str) -> dict[str, View]:
        mask = np.isin(items.ids, list(split.ids(which)))
        ids = items.ids[mask]
        return {m: View(ids, features[m, p][mask], items.labels(ids)) for m in ("image", "text")}

    rows = [("", "fp32", "bf16", "difference", "wanted")]
    for name in ("cca", "ridge_label"):
        found = {}
        for p in ("fp32", "bf16"):
            train, test = part(p, TRAIN), part(p, TEST)
            groups = [("image", "text")] if registry.info("methods", name).modalities == 2 else [("image",), ("text",)]
            embedded = {}
            for group in groups:
                method = registry.load("methods", name)(registry.params_model("methods", name)(), group)
                method.fit({m: train[m] for m in group})
                embedded |= {m: method.embed(m, test[m].features) for m in group}
            same = test["image"].labels.astype(int) @ test["text"].labels.T > 0
            directions = (("image", "text"), ("text", "image"))
            scores = [average_precision(method.similarity(q, embedded[q], g, embedded[g]), same) for q, g in directions]
            found[p] = float(np.mean(scores))
        difference = found["bf16"] - found["fp32"]
        rows.append((name, *(f"{v:.4f}" for v in found.values()), f"{difference:+.4f}", "within 0.003"))
    table("mAP@all, test rows, mean of both directions", rows)


SECTIONS = {f.__name__: f for f in (vgg, bert_large, lite0, decode, memory, precision)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"default: all of {', '.join(SECTIONS)}")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak_memory(options.peak, options.folder)
        return
    torch.set_num_threads(CORES)
    for name in options.sections or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            SECTIONS[name](Path(folder))


if __name__ == "__main__":
    main()
