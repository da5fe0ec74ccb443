"""Figures by instance and by class beside those of public libraries, on the same scores.

    python -m pip install --no-deps --target PEERS fico_itr clip_benchmark open_clip_torch ftfy wcwidth
    PYTHONPATH=workflow:PEERS python tests/benchmarks/peers.py

200 pictures with five captions each, random scores, without ties and with many. Prints the greatest difference of each
library; where scores tie, whose order is a library's own, whether its figures lie between the bounds that a run states.
Medians of ranks are whole there: half a rank is rounded down.
"""

import as_job  # isort: skip  # noqa: F401  before numpy
import numpy as np
import torch

from cmr.data import View
from cmr.evaluation import ConfiguredMetric, evaluate_task

PICTURES, CAPTIONS, CLASSES = 200, 5, 7
OWNER = np.repeat(np.arange(PICTURES), CAPTIONS)
CLASS = np.arange(PICTURES) % CLASSES
CUTS = (1, 5, 10)
METRICS = [
    *(ConfiguredMetric.from_entry({"id": f"R@{k}", "metric": "recall_at_k", "params": {"k": k}}) for k in CUTS),
    ConfiguredMetric.from_entry({"id": "median", "metric": "median_rank", "params": {}}),
    ConfiguredMetric.from_entry({"id": "mean", "metric": "mean_rank", "params": {}}),
    ConfiguredMetric.from_entry({"id": "map", "metric": "mean_average_precision", "params": {}}),
]
Figures = dict[str, float]


def ours(scores: np.ndarray, bound: str = "value") -> tuple[Figures, Figures]:
    """Image→text and text→image of scores (pictures, captions), each picture with as many captions."""
    owner = np.repeat(np.arange(PICTURES), scores.shape[1] // PICTURES)
    labels = np.eye(CLASSES, dtype=np.uint8)[CLASS]
    image = View(np.arange(PICTURES).astype(str), np.empty((PICTURES, 0)), labels)
    groups = owner.astype(str)
    ids = np.char.add("t", np.arange(len(owner)).astype(str))
    text = View(ids, np.empty((len(owner), 0)), labels[owner], groups)
    tasks = [(image, text, scores), (text, image, scores.T)]
    names = [str(number) for number in range(CLASSES)]
    found = [evaluate_task(lambda rows, s=s: s[rows], q, g, METRICS, names).task["metrics"] for q, g, s in tasks]
    first, second = ({key: entry[bound] for key, entry in metrics.items()} for metrics in found)
    return first, second


def fico(scores: np.ndarray) -> tuple[Figures, Figures]:
    from fico_itr import category_retrieval, instance_retrieval

    directions = instance_retrieval(scores, captions_per_image=CAPTIONS)
    maps = category_retrieval(scores, CLASS, captions_per_image=CAPTIONS)
    first, second = (
        {f"R@{k}": found[f"R@{k}"] / 100 for k in CUTS} | {"median": found["MedianR"], "mean": found["MeanR"], "map": m}
        for found, m in zip(directions, maps, strict=True)
    )
    return first, second


def clip_benchmark(scores: np.ndarray) -> tuple[Figures, Figures]:
    from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k

    positive = torch.as_tensor(OWNER[None] == np.arange(PICTURES)[:, None])
    given = torch.as_tensor(scores)
    first, second = (
        {f"R@{k}": (recall_at_k(s, p, k) > 0).double().mean().item() for k in CUTS}
        for s, p in ((given, positive), (given.T, positive.T))
    )
    return first, second


def open_clip(scores: np.ndarray) -> tuple[Figures, Figures]:
    """Of one caption a picture: it takes a square of scores, as the product of features with those of the identity."""
    from open_clip_train.train import get_clip_metrics

    found = get_clip_metrics(torch.as_tensor(scores), torch.eye(len(scores), dtype=torch.float64), 1.0)
    first, second = (
        {f"R@{k}": found[f"{way}_R@{k}"] for k in CUTS}
        | {"median": found[f"{way}_median_rank"], "mean": found[f"{way}_mean_rank"]}
        for way in ("image_to_text", "text_to_image")
    )
    return first, second


def whole(figures: Figures) -> Figures:
    return {key: float(np.floor(value)) if key == "median" else value for key, value in figures.items()}


def main() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((PICTURES, len(OWNER))) + 2 * (OWNER[None] == np.arange(PICTURES)[:, None])
    for what, given in (("no ties", scores), ("many ties", np.round(scores, 1))):
        print(f"{what}, fico_itr: {agreement(fico(given), given)}")
        print(f"{what}, CLIP_benchmark: {agreement(clip_benchmark(given), given)}")
        square = np.ascontiguousarray(given[:, ::CAPTIONS])
        print(f"{what}, open_clip: {agreement(open_clip(square), square)}")


def agreement(theirs: tuple[Figures, Figures], scores: np.ndarray) -> str:
    own, low, high = (ours(scores, bound) for bound in ("value", "pessimistic", "optimistic"))
    pairs = [(mine[key], found[key]) for mine, found in zip(map(whole, own), theirs, strict=True) for key in found]
    inside = all(
        min(a[key], b[key]) - 1e-9 <= found[key] <= max(a[key], b[key]) + 1e-9
        for a, b, found in zip(low, high, theirs, strict=True)
        for key in found
    )
    return f"greatest difference {max(abs(a - b) for a, b in pairs):.1e}, within the bounds of ties: {inside}"


if __name__ == "__main__":
    main()
