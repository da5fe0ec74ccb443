"""Do text extractors make sense? Class accuracy on the captions of the Pascal Sentence data set.

``CMR_PASCAL=FOLDER python tests/benchmarks/text_sense.py``, the folder with ``pascal_sentences.json``: 1,000 items of
20 classes, about five sentences each, joined. Five stratified folds; every extractor is fitted on the training folds
alone, and so is the classifier, a logistic regression whose strength and whose scaling of the features are chosen by
three folds inside them. Figures published with the file, of extractors fitted on all texts, stand beside.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from cmr import registry

FOLDS = 5
ROWS: dict[str, tuple[str, Mapping[str, object], str]] = {
    "bow, counts": ("bow", {}, ""),
    "bow, binary": ("bow", {"weighting": "binary"}, ""),
    "bow, tf-idf": ("bow", {"weighting": "tfidf"}, "0.75"),
    "lda, 100 topics": ("lda", {}, "0.58"),
    "doc2vec": ("doc2vec", {}, "0.76"),
    "word2vec_cnn (sees labels)": ("word2vec_cnn", {}, ""),
    "bert (MiniLM)": ("bert", {}, ""),
}


def read(folder: str) -> tuple[list[str], np.ndarray]:
    """Texts, and the class of each."""
    items = json.loads((Path(folder) / "pascal_sentences.json").read_text("utf-8"))
    texts = [" ".join(item["captions"]) for item in items.values()]
    return texts, np.array([item["category"] for item in items.values()])


def classifier() -> GridSearchCV:
    steps = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression(max_iter=500))])
    grid = {"scale": [StandardScaler(), "passthrough"], "classify__C": [0.01, 1, 100]}
    return GridSearchCV(steps, grid, cv=StratifiedKFold(3), n_jobs=-1)


def accuracies(
    name: str, params: Mapping[str, object], texts: list[str], classes: np.ndarray
) -> tuple[list[float], float]:
    """The accuracy in each fold, and the seconds that fitting and transforming took on average."""
    found, seconds = [], 0.0
    labels = (classes[:, None] == np.unique(classes)).astype(np.uint8)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(texts, classes):
        start = time.perf_counter()
        model = registry.params_model("extractors", name)(**params)
        extractor = registry.load("extractors", name)(model, Path(tempfile.gettempdir()), "cpu", 1)
        info = registry.info("extractors", name)
        if info.kind == "fitted":
            extractor.fit([texts[row] for row in train], labels[train] if info.uses_labels else None)
        features = extractor.transform(texts)
        seconds += time.perf_counter() - start
        found.append(classifier().fit(features[train], classes[train]).score(features[test], classes[test]))
    return found, seconds / FOLDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"default: all of {', '.join(ROWS)}")
    rows = parser.parse_args().rows or ROWS
    if "CMR_PASCAL" not in os.environ:
        sys.exit("set CMR_PASCAL to the folder with pascal_sentences.json")
    torch.set_num_threads(1)
    texts, classes = read(os.environ["CMR_PASCAL"])
    print(f"{len(texts)} texts, {len(np.unique(classes))} classes, {FOLDS} folds")
    print(f"{'extractor':<28}{'accuracy':>9}{'std':>7}{'published':>11}{'seconds':>9}")
    for row in rows:
        name, params, published = ROWS[row]
        found, seconds = accuracies(name, params, texts, classes)
        print(f"{row:<28}{np.mean(found):>9.3f}{np.std(found):>7.3f}{published:>11}{seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
