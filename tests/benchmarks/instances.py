"""Time and memory of figures by instance and by class in one pass: ``python tests/benchmarks/instances.py``.

Pictures with five captions each, as MS-COCO's test part has them: 5,000 pictures and 25,000 captions by default, both
directions, scored by the cosine as a run's are. Prints processor seconds, peak memory and the figures.
"""

import argparse
import time

import as_job  # isort: skip  # noqa: F401  before numpy
import numpy as np

from cmr import device, registry
from cmr.data import View
from cmr.directions import Embedded, tasks
from cmr.evaluation import ConfiguredMetric, evaluate_task
from cmr.provenance import peak_memory_mb

CAPTIONS, CLASSES, DIMENSIONS = 5, 80, 512
BY_CLASS = {"map@all": ("mean_average_precision", {})}
BY_INSTANCE = {
    **{f"recall@{k}": ("recall_at_k", {"k": k}) for k in (1, 5, 10)},
    **{name: (name, {}) for name in ("recall_sum", "median_rank", "mean_rank", "map_at_r")},
}


def configured(metrics: dict[str, tuple[str, dict[str, int]]]) -> list[ConfiguredMetric]:
    return [
        ConfiguredMetric.from_entry({"id": key, "metric": name, "params": params})
        for key, (name, params) in metrics.items()
    ]


def made_up(pictures: int) -> tuple[View, View]:
    """Pictures (n, 512) and their captions (5n, 512), float32, with one to three of 80 classes a picture."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(pictures), CAPTIONS)
    labels = np.zeros((pictures, CLASSES), np.uint8)
    labels[np.arange(pictures)[:, None], rng.integers(0, CLASSES, (pictures, 3))] = 1
    images = rng.standard_normal((pictures, DIMENSIONS), np.float32)
    texts = images[owner] + 4 * rng.standard_normal((len(owner), DIMENSIONS), np.float32)
    groups = np.arange(pictures).astype(str)
    ids = np.array([f"t{row}" for row in range(len(owner))])
    return View(groups, images, labels), View(ids, texts, labels[owner], groups[owner])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--by", choices=("both", "instance", "class"), default="both")
    given = parser.parse_args()
    metrics = {"both": BY_CLASS | BY_INSTANCE, "instance": BY_INSTANCE, "class": BY_CLASS}[given.by]
    image, text = made_up(given.pictures)
    names = [str(number) for number in range(CLASSES)]
    before, cores = peak_memory_mb(), device.cores()
    method = registry.load("methods", "zero_shot")(registry.params("methods", "zero_shot", {}), ("image", "text"))
    for names_of, query, gallery, score in tasks([Embedded(method, ("a", "b"), {"image": image, "text": text})]):
        wall, processor = time.perf_counter(), time.process_time()
        task = evaluate_task(score, query, gallery, configured(metrics), names, names_of).task
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"{'→'.join(names_of)}, {len(query)} × {len(gallery)}, {cores} cores: ", end="")
        print(f"{processor:.1f} s of processors, {wall:.1f} s on the clock")
        print("  " + ", ".join(f"{key} {entry['value']:.4g}" for key, entry in task["metrics"].items()))
    print(f"peak memory {peak_memory_mb():.0f} MB, {before:.0f} MB of it before the start")


if __name__ == "__main__":
    main()
