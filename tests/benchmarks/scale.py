"""What one more item costs at each stage, and what that makes of a large data set: ``python tests/benchmarks/scale.py``.

Measures processor seconds, which other work on the machine changes little, and sizes, on made-up items; prints them an
item, then what they make of data sets of other sizes if nothing but the number of items changes. docs/scale.md says
what follows. ``--quick`` measures fewer items.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from baselines_scale import rows
from PIL import Image

from cmr import evaluation, registry

DIMENSIONS = {"image": 1280, "text": 384}
SIZES = {"MS-COCO": 123_000, "10 M": 10_000_000, "1 B": 1_000_000_000}
DAY = 86_400


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def extraction(extractor: str, contents: list) -> float:
    """Processor seconds an item, after the first few, which load the network."""
    create = registry.load("extractors", extractor)
    made = create(registry.params_model("extractors", extractor)(), Path("."), "cpu", 1)
    made.transform(contents[:8])
    return seconds(lambda: made.transform(contents[8:])) / len(contents[8:])


def pictures(folder: Path, count: int) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [folder / f"{i}.jpg" for i in range(count)]
    for path in paths:
        small = generator.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480)).save(path)
    return paths


def fit(method: str, n: int, **params: object) -> float:
    part = rows(n, DIMENSIONS)
    made = registry.load("methods", method)(registry.params_model("methods", method)(**params), tuple(part))
    return seconds(lambda: made.fit(part))


def ranking(n: int) -> float:
    """Processor seconds of one direction's mAP, n queries in a gallery of n, 100 dimensions, twenty classes."""
    part = rows(n, {"image": 100, "text": 100})
    views = [part[m] for m in ("image", "text")]
    labels = [view.labels.argmax(axis=1) for view in views]
    score = evaluation.scorer(*(view.features for view in views))
    return seconds(lambda: evaluation.mean_average_precisions(score, *labels, threads=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    few = 4 if parser.parse_args().quick else 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder), 200 // few)
        captions = ["a man rides a brown horse along the beach at sunset"] * (400 // few)
        linear = {
            "lite0, a picture": extraction("efficientnet_lite0", paths),
            "bert (MiniLM), a caption": extraction("bert", captions),
        }
    n = 20_000 // few
    linear["cca, a pair"] = fit("cca", n) / n
    epochs = fit("dla_cmr", n, epochs=3) - fit("dla_cmr", n, epochs=1)
    linear["dla_cmr, a pair and epoch"] = epochs / 2 / n
    square = {f"mAP of one direction, a pair of items (n = {m})": ranking(m) / m**2 for m in (n // 4, n // 2, 2 * n)}

    print(f"{'processor seconds':<55} {'each':>10}  " + "  ".join(f"{name:>12}" for name in SIZES))
    for name, each in linear.items():
        print(f"{name:<55} {each:>10.2g}  " + "  ".join(f"{days(each * size):>12}" for size in SIZES.values()))
    for name, each in square.items():
        print(f"{name:<55} {each:>10.2g}  " + "  ".join(f"{days(each * size**2):>12}" for size in SIZES.values()))
    print("\nbytes an item")
    sizes = {"features, lite0 and bert": 4 * sum(DIMENSIONS.values()), "embeddings, both, 100-d": 800}
    for name, each in sizes.items():
        print(f"{name:<55} {each:>10}  " + "  ".join(f"{each * size / 1e9:>9.1f} GB" for size in SIZES.values()))


def days(amount: float) -> str:
    return f"{amount:.0f} s" if amount < 600 else f"{amount / 3600:.1f} h" if amount < DAY else f"{amount / DAY:.0f} d"


if __name__ == "__main__":
    main()
