"""What a method reaches on the real Wikipedia features (SIFT bag of words 128-d, LDA 10-d), over several seeds.

    python tests/benchmarks/wikipedia_methods.py METHOD [--split 231/462] [--seeds 0 1 2 3 4] [--params {}] [--tune {}]

Splits: ``693``, 2173 training and 693 test rows, choices on a stratified tenth of the training rows and then a fit on
all; ``231/462``, the first 231 of the 693 are validation rows. ``--params`` and ``--tune`` are what a configuration
writes there: ``--tune '{"scale": ["standardise", "none"]}'``. No test row takes part in a choice.

Prints a JSON line a seed (mAP@all image→text and text→image, what was chosen and its validation score, seconds of
processor time) and one with their mean and standard deviation. The folder with ``raw_features.mat`` is
``$CMR_WIKIPEDIA``. On a busy machine, OMP_NUM_THREADS=1 is quickest.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.io import loadmat

from cmr import registry
from cmr.data import TEST, TRAIN, VALIDATION, Items, Part, Split, View, rows_of
from cmr.datasets.splitting import with_held_out
from cmr.evaluation import mean_average_precisions
from cmr.inputs import Embedded, tasks
from cmr.methods.base import Method
from cmr.selection import TrainingData, select_and_fit
from cmr.store import Matrix

VALIDATION_ROWS = {"693": 0, "231/462": 231}
MODALITIES = {"image": "I", "text": "T"}


def load(folder: Path, split: str) -> tuple[dict[str, Matrix], Items, Split]:
    """The features by modality, and which items are for what, in the order of the matrices' rows."""
    lists = [
        pd.read_csv(folder / f"{part}set_txt_img_cat.list", sep="\t", header=None, names=["id", "image", "label"])
        for part in ("train", "test")
    ]
    table = pd.concat(lists, ignore_index=True)
    classes = (folder / "categories.list").read_text().split()
    table["labels"] = [[classes[label - 1]] for label in table["label"]]
    table["text"] = table["id"]
    items = Items(table[["id", "image", "text", "labels"]], dict.fromkeys(MODALITIES, "ready"))
    train, validation = len(lists[0]), VALIDATION_ROWS[split]
    parts = np.array([TRAIN] * train + [VALIDATION] * validation + [TEST] * (len(lists[1]) - validation), dtype=object)
    arrays = loadmat(folder / "raw_features.mat")
    matrices = {
        m: Matrix(items.ids, np.concatenate([arrays[f"{letter}_tr"], arrays[f"{letter}_te"]]).astype(np.float32), {})
        for m, letter in MODALITIES.items()
    }
    return matrices, items, with_held_out(items, parts)


def part(matrices: dict[str, Matrix], ids: set[str], items: Items, labels: bool) -> Part:
    return {m: rows_of(matrix, ids, items, labels) for m, matrix in matrices.items()}


def fits(
    name: str, data: TrainingData, test: Part, seed: int, params: dict, tune: dict
) -> Iterator[tuple[Method, dict]]:
    """The chosen method and the record of its choice, for each fit: a modality's own, or one for both."""
    info, model = registry.info("methods", name), registry.params_model("methods", name)
    for group in [(m,) for m in MODALITIES] if info.modalities == 1 else [tuple(MODALITIES)]:
        rows = [{m: views[m] for m in group} for views in (data.train, data.selection_train, data.held_out)]
        unlabelled = {m: test[m].without_labels() for m in group} if info.transductive else None

        def create(parameters: dict[str, Any], _: str, group: tuple[str, ...] = group) -> Method:
            return registry.load("methods", name)(model(**params | parameters), group, seed)

        own = TrainingData(*rows, data.has_validation)
        method, _, selection = select_and_fit(create, tune, info.chooses, own, unlabelled)
        yield method, selection


def embed(method: Method, test: Part) -> Embedded:
    def view(m: str) -> View:
        return View(test[m].ids, method.embed(m, test[m].features), test[m].labels)

    return Embedded(method, method.modalities, {m: view(m) for m in method.modalities})


def measure(name: str, folder: Path, split: str, seed: int, params: dict, tune: dict) -> dict[str, Any]:
    matrices, items, parts = load(folder, split)
    labels = registry.info("methods", name).labels
    training = [part(matrices, ids, items, labels) for ids in (parts.ids(TRAIN), parts.selection_train, parts.held_out)]
    test = part(matrices, parts.ids(TEST), items, labels=True)
    start = time.process_time()
    found = list(fits(name, TrainingData(*training, parts.has_validation), test, seed, params, tune))
    seconds = time.process_time() - start
    scores = {
        f"{names[0]}→{names[1]}": round(mean_average_precisions(score, query.labels, gallery.labels)[0], 4)
        for names, query, gallery, score in tasks([embed(method, test) for method, _ in found])
    }
    best = [max((c["validation_score"] for c in s["candidates"]), default=None) for _, s in found]
    chosen = [s["chosen"] | {"validation": score} for (_, s), score in zip(found, best, strict=True)]
    return {"seed": seed, **scores, "chosen": chosen, "cpu_seconds": round(seconds, 1)}


def summary(lines: list[dict[str, Any]]) -> dict[str, str]:
    """Mean ± standard deviation over the seeds of each direction."""
    values = {direction: [line[direction] for line in lines] for direction in lines[0] if "→" in direction}
    deviation = {d: np.std(v, ddof=1) if len(v) > 1 else float("nan") for d, v in values.items()}
    return {d: f"{np.mean(v):.4f} ± {deviation[d]:.4f}" for d, v in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=registry.names("methods"))
    parser.add_argument("--split", choices=VALIDATION_ROWS, default="231/462")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--params", type=json.loads, default={})
    parser.add_argument("--tune", type=json.loads, default={})
    parser.add_argument("--folder", type=Path, default=os.environ.get("CMR_WIKIPEDIA"))
    a = parser.parse_args()
    if a.folder is None:
        parser.error("name the folder with raw_features.mat: --folder, or the environment variable CMR_WIKIPEDIA")
    lines = []
    for seed in a.seeds:
        lines.append(measure(a.method, Path(a.folder), a.split, seed, a.params, a.tune))
        print(json.dumps(lines[-1], ensure_ascii=False), flush=True)
    print(json.dumps({"method": a.method, "split": a.split, "params": a.params, **summary(lines)}, ensure_ascii=False))


if __name__ == "__main__":
    main()
