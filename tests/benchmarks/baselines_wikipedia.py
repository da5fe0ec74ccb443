"""Every method that can be run on the Wikipedia features of Rasiwasia et al., under one protocol: a table.

    CMR_WIKIPEDIA=folder python tests/benchmarks/baselines_wikipedia.py [--split 2173_231_462] [--seeds 5] [METHOD …]

SIFT bags of visual words (128) against LDA topics (10). Each method has the same budget: the candidates of `TUNE`, at
most four; training of networks stops after ten epochs without a better one. Candidates are fitted with seed 0 and
chosen on the held-out rows (a stratified tenth of the training rows, or the validation rows of the split): by mean
mAP where the method takes labels, else by recall@10 of pairs. The chosen one, its number of epochs with it, is then
fitted on all training rows with each seed and evaluated once on the test rows. Each method runs in a process of its
own, one after the other, so that its seconds (one final fit) and peak memory are its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmr import provenance, registry
from cmr.data import TEST, TRAIN, Part, Split, View
from cmr.datasets.wikipedia import Params, Wikipedia
from cmr.methods.base import Method
from cmr.metrics.ranking import average_precision
from cmr.selection import TrainingData, select_and_fit

SOURCES = {"image": "sift", "text": "lda"}
NETWORKS = {"learning_rate": [1e-4, 1e-3], "scale": ["standardise", "none"]}
RIDGES = {"regularisation": [0.01, 0.1, 0.5, 2.0]}
TUNE: dict[str, dict[str, list[Any]]] = {
    "random": {},
    "ridge_label": {"alpha": [0.01, 0.1, 1.0, 10.0]},
    "semantic_matching": {"alpha": [0.001, 0.003, 0.01, 0.03]},
    "cca": RIDGES,
    "mcca": RIDGES,
    "cca_3v": RIDGES,
    "ml_cca": RIDGES,
    "mvda": RIDGES,
    "kcca": {"regularisation": [0.1, 1.0], "width": [1.0, 4.0]},
    "pls": {"components": [3, 5, 7, 10]},
    "gmlda": {"regularisation": [0.1, 1.0], "alpha": [1.0, 10.0]},
    "mvda_vc": {"regularisation": [0.1, 1.0], "consistency": [0.1, 1.0]},
    "jrl": {"graph": [10.0, 1000.0], "sparsity": [10.0, 1000.0]},
    "jfssl": {"graph": [1.0, 100.0], "sparsity": [2.0, 20.0]},
    "lcfs": {"low_rank": [1.0, 100.0], "sparsity": [1.0, 10.0]},
    "mdcr": {"correlation": [0.1, 0.5], "penalty": [0.01, 0.1]},
    "cmcp": {"neighbours": [30, 100], "alpha": [0.3, 0.6]},
}
FIXED = {"patience": 10}
PUBLISHED = {
    "2173_693": {  # Shang et al. 2019 (DLA-CMR), Table 2
        "cca_3v": "printed 0.228 / 0.205",
        "jfssl": "printed 0.306 / 0.228",
        "mdcr": "printed 0.287 / 0.225",
        "acmr": "printed 0.351 / 0.245",
        "dla_cmr": "printed 0.369 / 0.261",
    },
    "2173_231_462": {  # runs of the public codes, one seed
        "dscmr": "public code 0.271 / 0.250, best test epoch",
        "acmr": "public code 0.228 / 0.226 raw, 0.251 / 0.191 standardised",
        "sdml": "public code 0.309 / 0.249",
    },
}


def wikipedia(split: str) -> tuple[TrainingData, Part]:
    """Training data and test rows, with labels."""
    source = Path(os.environ["CMR_WIKIPEDIA"]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        dataset = Wikipedia(Params(), Path(folder) / "data", Path(folder) / "cache")
        dataset.raw.mkdir(parents=True)
        for name in dataset.files():
            (dataset.raw / name).symlink_to(source / name)
        items = dataset.prepare()
        rows = {m: dataset.features(m, name) for m, name in SOURCES.items()}
    parts = dataset.split(items, split)
    views = {m: View(r.ids, r.values.astype(np.float32), items.labels(r.ids)) for m, r in rows.items()}

    def of(ids: set[str]) -> Part:
        return {m: view.rows(np.isin(view.ids, list(ids))) for m, view in views.items()}

    return training_data(parts, of), of(parts.ids(TEST))


def training_data(parts: Split, of: Any) -> TrainingData:
    return TrainingData(of(parts.ids(TRAIN)), of(parts.selection_train), of(parts.held_out), parts.has_validation)


def without_labels(data: TrainingData) -> TrainingData:
    parts = (data.train, data.selection_train, data.held_out)
    return TrainingData(*({m: v.without_labels() for m, v in part.items()} for part in parts), data.has_validation)


def only(data: TrainingData, modalities: tuple[str, ...]) -> TrainingData:
    parts = (data.train, data.selection_train, data.held_out)
    return TrainingData(*({m: part[m] for m in modalities} for part in parts), data.has_validation)


def tuned(name: str) -> dict[str, list[Any]]:
    fields = registry.params_model("methods", name).model_fields
    return TUNE.get(name, {key: values for key, values in NETWORKS.items() if key in fields})


def run(name: str, split: str, seeds: int) -> dict[str, Any]:
    """Chooses, fits with every seed, evaluates: the row of one method."""
    info, model = registry.info("methods", name), registry.params_model("methods", name)
    fixed = {key: value for key, value in FIXED.items() if key in model.model_fields}
    data, test = wikipedia(split)
    data = data if info.labels else without_labels(data)
    unlabelled = {m: v.without_labels() for m, v in test.items()} if info.transductive else None
    groups = [(m,) for m in SOURCES] if info.modalities == 1 else [tuple(SOURCES)]

    def create(group: tuple[str, ...], seed: int, params: Mapping[str, Any]) -> Method:
        return registry.load("methods", name)(model(**fixed, **params), group, seed)

    chosen, seconds, choosing = {}, 0.0, provenance.measured()
    with choosing as selection:
        for group in groups:
            record = select_and_fit(
                lambda params, _, group=group: create(group, 0, params),
                tuned(name),
                info.chooses,
                only(data, group),
                unlabelled,
            )[2]
            chosen[group] = record["chosen"]
    maps = []
    for seed in range(seeds if info.stochastic else 1):
        fitted = {}
        with provenance.measured() as usage:
            for group in groups:
                method = create(group, seed, chosen[group])
                method.fit(only(data, group).train, None, unlabelled)
                fitted |= dict.fromkeys(group, method)
        seconds = usage["seconds"]
        maps.append([mean_ap(fitted, test, "image", "text"), mean_ap(fitted, test, "text", "image")])
    return {
        "method": name,
        "provenance": info.provenance,
        "marks": " ".join(["labels"] * info.labels + ["transductive"] * info.transductive),
        "maps": maps,
        "seconds": seconds,
        "selection_seconds": selection["seconds"],
        "peak_memory_mb": usage["peak_memory_mb"],
        "chosen": {"+".join(group): params for group, params in chosen.items()},
    }


def mean_ap(fitted: Mapping[str, Method], test: Part, query: str, gallery: str) -> float:
    embedded = {m: fitted[m].embed(m, test[m].features) for m in (query, gallery)}
    scores = fitted[query].similarity(query, embedded[query], gallery, embedded[gallery])
    relevance = test[query].labels.astype(int) @ test[gallery].labels.T.astype(int) > 0
    return float(average_precision(scores, relevance).mean())


def formatted(row: Mapping[str, Any]) -> str:
    maps = np.array(row["maps"])
    both = np.c_[maps, maps.mean(axis=1)]
    spread = both.std(axis=0) if len(both) > 1 else None
    cells = [f"{v:.3f}" + ("" if spread is None else f" ± {spread[i]:.3f}") for i, v in enumerate(both.mean(axis=0))]
    chosen = "; ".join(
        (f"{group}: " if len(row["chosen"]) > 1 else "") + ", ".join(f"{k} {v}" for k, v in params.items())
        for group, params in row["chosen"].items()
    )
    usage = [f"{row['seconds']:.1f}", f"{row['selection_seconds']:.0f}", f"{row['peak_memory_mb']:.0f}"]
    return " | ".join([row["method"], row["provenance"], row["marks"], *cells, *usage, chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help="all that can be run, where none is named")
    parser.add_argument("--split", default="2173_693", choices=["2173_693", "2173_231_462"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--one", action="store_true", help="run the one method here and print its row as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.methods[0], options.split, options.seeds)))
        return
    every = [n for n in registry.names("methods") if registry.info("methods", n).provenance != "quoted"]
    print("method | provenance | marks | image→text | text→image | average | fit s | selection s | peak MB | chosen")
    print("--- | --- | --- | --- | --- | --- | --- | --- | --- | ---")
    for name in options.methods or every:
        command = [sys.executable, __file__, name, "--one", "--split", options.split, "--seeds", str(options.seeds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        line = formatted(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else f"{name} | failed"
        published = PUBLISHED[options.split].get(name)
        print(line + (f" | {published}" if published else ""), flush=True)


if __name__ == "__main__":
    main()
