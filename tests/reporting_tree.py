"""A small synthetic results tree in the schema of results/README.md, for tests of the report.

Nothing in it is measured: embeddings are class centres plus noise, histories and times are formulas.
"""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from cmr.data import Items, Split
from cmr.params import canonical_hash, component
from cmr.publish import write_json
from cmr.records import SCHEMA_VERSION, Project, Record, Usage
from cmr.store import TEXT, write_matrix

CLASSES = ("circles", "lines", "<b>bold</b> & co", "waves")
COLOURS = ((200, 60, 60), (60, 160, 60), (60, 60, 200), (190, 170, 40))
MODALITIES = ("image", "text")
PLUGIN = {"cca": "cca", "ridge": "ridge_label", "dla": "dla_cmr"}
NOISE = {"cca": 1.5, "ridge": 0.6, "dla": 0.8}
STOCHASTIC = {"dla"}
EXTRACTOR = {"lite0": "efficientnet_lite0"}
HEADLINE = {"map@all": {"at": None, "normalise": "retrieved"}, "map@5": {"at": 5, "normalise": "retrieved"}}


def write_tree(
    results: Path,
    datasets: Sequence[str] = ("shapes",),
    methods: Sequence[str] = tuple(PLUGIN),
    seeds: int = 2,
    n: int = 48,
    picture: int = 32,
) -> Path:
    """Writes data sets of ``n`` items (half of them test rows), runs of all ``methods``, one experiment ``main``.

    A method name not among the three above stands for ``cca`` with more noise. Returns ``results``.
    """
    runs = []
    for data in datasets:
        items = write_items(results, data, n, picture)
        for method in methods:
            for seed in range(seeds if method in STOCHASTIC else 1):
                runs.append(write_run(results, items, data, "lite0+bert", method, seed))
    write_experiment(results, "main-aaaaaa", runs)
    return results


def write_experiment(results: Path, name: str, runs: Sequence[str], digest: str = "") -> Path:
    suffix = f"-{digest}" if digest else ""
    path = results / "experiments" / f"{name}.json"
    identity = name.partition("-")[0]
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "id": identity,
            "configuration": _configuration(identity, runs),
            "runs": [f"results/{run}" for run in runs],
            "metrics": f"metrics{suffix}.json",
            "run": f"run{suffix}.json",
        },
    )
    return path


def _configuration(identity: str, runs: Sequence[str]) -> dict:
    """An experiment that asks for runs like ``runs``, where none has parameters of its own."""
    parts = [run.split("/")[1:] for run in runs]
    methods = list(dict.fromkeys(part[3] for part in parts))
    entry = {"params": {}, "dictionary": None, "tune": {}, "sweep": {}}
    return {
        "id": identity,
        "data": list(dict.fromkeys(part[0] for part in parts)),
        "inputs": [inputs.split("+") for inputs in dict.fromkeys(part[2] for part in parts)],
        "methods": [{"id": m, "method": PLUGIN.get(m, "cca"), **entry} for m in methods],
        "seeds": max(int(part[4]) for part in parts) + 1,
    }


def write_items(results: Path, data: str, n: int, picture: int = 32) -> Items:
    rng = np.random.default_rng(0)
    folder = results / "data" / data
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n):
        kind = i % len(CLASSES)
        noise = rng.integers(-50, 50, (picture, picture, 3))
        pixels = np.clip(np.array(COLOURS[kind]) + noise, 0, 255).astype(np.uint8)
        path = f"pictures/item {i} <&>.png"
        Image.fromarray(pixels).save(folder / path)
        text = f"synthetic item {i} of kind {kind} <script>alert({i})</script>"
        rows.append({"id": f"item{i}", "image": path, "text": text, "labels": [CLASSES[kind]]})
    items = Items(pd.DataFrame(rows), {"image": "image", "text": "text"})
    items.write(folder / "items.parquet")
    parts = ["test" if (i // len(CLASSES)) % 2 else "train" for i in range(n)]
    table = pd.DataFrame({"id": items.ids, "part": parts, "held_out": False})
    Split(table).write(folder / "splits" / "default.csv")
    return items


def write_run(
    results: Path,
    items: Items,
    data: str,
    inputs: str,
    method: str,
    seed: int,
    params: dict | None = None,
    digest: str = "",
    options: dict[str, dict] = HEADLINE,
) -> str:
    """One run and its fit. Returns the run's path under ``results``."""
    suffix = f"-{digest}" if digest else ""
    changed = params or {}
    tail = f"{data}/default/{inputs}/{component(method, changed)}/{seed}"
    run = results / "runs" / tail
    embedded, labels, ids = _embeddings(items, method, seed)
    for modality in MODALITIES:
        file = run / f"embeddings{suffix}" / f"{modality}.h5"
        write_matrix(file, "embeddings", ids, embedded[modality], {"modality": modality})
    tasks = []
    (run / f"curves{suffix}.h5").parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(run / f"curves{suffix}.h5", "w") as curves:
        for query, gallery in (MODALITIES, MODALITIES[::-1]):
            group = curves.create_group(f"{query}→{gallery}")
            tasks.append(_task(group, query, gallery, embedded, labels, ids, options))
    average = {m: float(np.mean([task["metrics"][m]["value"] for task in tasks])) for m in options}
    write_json(run / f"metrics{suffix}.json", {"schema_version": SCHEMA_VERSION, "tasks": tasks, "average": average})
    fit = _fit_record(data, inputs, method, seed, changed)
    made_from = {"made_from": {f"results/fits/{tail}/fit.json": fit["identity"]}}
    write_json(run / f"run{suffix}.json", _run_record(fit, options) | made_from)
    fits = results / "fits" / tail
    write_json(fits / "fit.json", fit)
    epochs = pd.DataFrame({"epoch": range(5), "loss": [5.0 / (e + 1) for e in range(5)]})
    epochs["validation"] = 0.1 * epochs["epoch"]
    epochs.to_csv(fits / "history.csv", index=False)
    return f"runs/{tail}"


def _embeddings(items: Items, method: str, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, len(method), *map(ord, method)])
    kinds = np.array([CLASSES.index(labels[0]) for labels in items.table["labels"]])
    test = (np.arange(len(kinds)) // len(CLASSES)) % 2 == 1
    labels, ids = kinds[test], items.ids[test]
    centres = np.random.default_rng(1).normal(size=(len(CLASSES), 8))
    noise = NOISE.get(method, 2.0)
    embedded = {m: (centres[labels] + noise * rng.normal(size=(len(labels), 8))).astype(np.float32) for m in MODALITIES}
    return embedded, labels, ids


def _task(
    group: h5py.Group, query: str, gallery: str, embedded: dict, labels: np.ndarray, ids: np.ndarray, options: dict
):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (embedded[query], embedded[gallery]))
    scores = a @ b.T
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = labels[order] == labels[:, None]
    group.create_dataset("ids", data=ids.astype(object), dtype=TEXT)
    group.create_dataset("top", data=order[:, :10])
    share = float((labels[:, None] == labels).mean())
    metrics = {}
    for name, params in options.items():
        values = _average_precision(hits, params["at"] or len(ids), params["normalise"])
        group.create_dataset(f"{name}/per_query", data=values)
        per_class = {CLASSES[c]: float(values[labels == c].mean()) for c in range(len(CLASSES))}
        metrics[name] = {
            "metric": "mean_average_precision",
            "params": params,
            "value": float(values.mean()),
            "chance": share,
            "pessimistic": float(values.mean()),
            "optimistic": float(values.mean()),
            "ci95": [float(values.mean()) - 0.02, float(values.mean()) + 0.02],
            "per_class": per_class,
        }
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = (hits.cumsum(axis=1) / ranks).mean(axis=0)
    recall = (hits.cumsum(axis=1) / hits.sum(axis=1, keepdims=True)).mean(axis=0)
    for name, x, y in (("precision_recall", recall, precision), ("precision_scope", ranks, precision)):
        group.create_dataset(f"{name}/x", data=x)
        group.create_dataset(f"{name}/y", data=y)
        metrics[name] = {"metric": name, "params": {}}
    return {
        "query": query,
        "gallery": gallery,
        "queries": len(ids),
        "gallery_size": len(ids),
        "queries_without_relevant": 0,
        "metrics": metrics,
    }


def _average_precision(hits: np.ndarray, at: int, normalise: str) -> np.ndarray:
    cut = hits[:, :at]
    precision = cut.cumsum(axis=1) / np.arange(1, cut.shape[1] + 1)
    relevant = cut.sum(axis=1) if normalise == "retrieved" else hits.sum(axis=1)
    return (precision * cut).sum(axis=1) / np.maximum(relevant, 1)


def _fit_record(data: str, inputs: str, method: str, seed: int, params: dict) -> dict:
    modalities = dict(zip(inputs.split("+"), MODALITIES, strict=True))
    extractors = {f: EXTRACTOR.get(f, f.partition("-")[0]) for f in modalities}
    features = [{"id": f, "extractor": extractors[f], "modality": m, "params": {}} for f, m in modalities.items()]
    plugin = PLUGIN.get(method, "cca")
    own = f"{data}/{inputs}/{component(method, params)}/{seed}"
    origin = _origin("fit", ("methods", plugin), {"results/features/shapes/all/lite0.h5": "0" * 64}, own)
    return origin | {
        "data": {"id": data, "dataset": "openmoji", "params": {}},
        "split": "default",
        "features": features,
        "dictionary": None,
        "method": {"id": method, "method": plugin, "params": params, "dictionary": None, "tune": {}},
        "seed": seed,
        "modalities": list(modalities.values()),
        "selection": {"candidates": [], "chosen": {}, "rows": "held_out"},
        "usage": {"seconds": 1.5 + len(method) + seed, "peak_memory_mb": 300.0 + 10 * len(method)},
    }


def _run_record(fit: dict, options: dict) -> dict:
    origin = _origin("evaluate", tuple(fit["plugins"][0]), {"results/fits/model.safetensors": "1" * 64})
    return origin | {
        "fits": [fit],
        "metrics": [{"id": name, "metric": "mean_average_precision", "params": p} for name, p in options.items()],
        "measured_by": "abcdefabcdef",
        "usage": {"seconds": 0.4, "peak_memory_mb": 200.0},
    }


def _origin(stage: str, plugin: tuple[str, str], input_hashes: dict[str, str], *of: str) -> dict:
    """What all records say, as if one clone had made them all."""
    record = Record(
        schema_version=SCHEMA_VERSION,
        stage=stage,
        identity=canonical_hash([stage, plugin, *of])[:16],
        code="abcdefabcdef",
        plugins=[plugin],
        made_from={},
        own_files={},
        contents="",
        input_hashes=input_hashes,
        output_hashes={},
        project=Project(version="0.1.0"),
        versions={"python": "3.11.7", "numpy": "2.4.6"},
        hardware={"processor": "synthetic", "machine": "x86_64"},
        usage=Usage(seconds=1.0, peak_memory_mb=100.0),
    )
    return record.model_dump(mode="json")
