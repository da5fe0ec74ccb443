"""Seconds and peak memory of every stage with once, twice, four and eight times the data: ``tests/benchmarks/stages.py``.

    python tests/benchmarks/stages.py [--items 400] [--times 1 2 4 8]
    python tests/benchmarks/stages.py --items 4000 --without-networks    # made-up features for Lite0's and MiniLM's

Made-up pictures, captions and classes as a table of one's own, through the functions that the rules call, each in a
process of its own, without its start. The exponent b of seconds ~ nᵇ is fitted to all sizes by least squares in
logarithms: 1 is linear, 2 quadratic. One thread, one run a size; OMP_NUM_THREADS=1 is set for it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

CLASSES = 10
WORDS = 2_000
STAGES = ["prepare", "split", "lite0", "bert", "bow", "lda", "doc2vec", "encode", "cca", "ridge_label", "dla_cmr"]
STAGES += ["evaluate", "report"]
NETWORKS = {"lite0": 1280, "bert": 384}  # and the dimensions of their features
MODALITY = {"lite0": "image"} | dict.fromkeys(["bert", "bow", "lda", "doc2vec"], "text")
PLUGIN = {"lite0": "efficientnet_lite0"}
PARAMS = {"dla_cmr": {"epochs": 3, "patience": 0}}


def write_table(folder: Path, items: int) -> None:
    """Pictures of 320 × 240, captions of 40 words, ten classes that show in both."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(CLASSES, size=items)
    colours = generator.integers(0, 255, (CLASSES, 1, 1, 3))
    rows = []
    for i, kind in enumerate(kinds):
        noise = generator.integers(-40, 40, (12, 16, 3))
        Image.fromarray(np.clip(colours[kind] + noise, 0, 255).astype(np.uint8)[0]).resize((320, 240)).save(
            folder / f"{i}.jpg"
        )
        words = (generator.zipf(1.3, 40) * (1 + kind)) % WORDS
        rows.append({"picture": f"{i}.jpg", "caption": " ".join(f"w{w}" for w in words), "label": f"class {kind}"})
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)


class Tree:
    """A results tree, and each stage on it."""

    def __init__(self, root: Path):
        os.chdir(root)
        from cmr import paths

        self.paths = paths
        columns = {"file": "data.csv", "image": "picture", "text": "caption"}
        self.dataset = {"id": "made", "dataset": "table", "params": columns}
        self.machine = {"cache": "cache", "device": "cpu", "base": ".", "data_root": None}
        self.at = {"data": "made", "split": "default", "inputs": "lite0+bert", "seed": "0"}
        self.items, self.split = paths.ITEMS.format(**self.at), paths.SPLIT.format(**self.at)
        self.features = [self.file("lite0"), self.file("bert")]

    def file(self, feature: str) -> str:
        return self.paths.FEATURES.format(**self.at | {"split": "all"}, feature=feature)

    def entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "extractor": PLUGIN.get(name, name), "modality": MODALITY[name], "params": {}}

    def stage(self, name: str) -> Callable[[], object]:
        from cmr import stages

        folder = self.paths.DATA.format(**self.at)
        entries = [self.entry("lite0"), self.entry("bert")]
        dictionary = {"id": "coupled", "dictionary": "coupled", "params": {"atoms": [256, 256], "iterations": 5}}
        codes = self.paths.CODES.format(**self.at, dictionary="coupled")
        if name == "prepare":
            return lambda: stages.prepare(self.dataset, folder, self.machine, self.items)
        if name == "features":
            return self.write_features
        if name == "split":
            return lambda: stages.split(self.dataset, folder, self.machine, self.items, "default", self.split)
        if name in MODALITY:
            split = self.split if name in ("bow", "lda", "doc2vec") else None
            arguments = (self.entry(name), self.dataset, folder, self.machine, self.items, split, None)
            return lambda: stages.extract(*arguments, self.file(name), "partial", 1, "")
        if name == "encode":
            return lambda: stages.encode(dictionary, entries, self.items, self.split, self.features, codes, 0, "")
        if name == "evaluate":
            return lambda: self.evaluate(stages)
        if name == "report":
            from cmr.reporting import page

            return lambda: page.build(Path("results"), Path("report"))
        fit = self.paths.FIT.format(**self.at, method=name)
        method = {"id": name, "method": name, "params": PARAMS.get(name, {}), "tune": {}}
        configuration = {"data": self.dataset, "split": "default", "features": entries, "dictionary": None, "seed": 0}
        configuration["method"] = method
        if name == "ridge_label":
            configuration["features"], files = entries[:1], self.features[:1]
        else:
            files = self.features
        return lambda: stages.fit(configuration, self.items, self.split, files, fit, "partial", "cpu", "")

    def write_features(self) -> None:
        """Features of the networks' sizes in which the classes show, in place of theirs."""
        from cmr import store
        from cmr.data import Items

        items = Items.read(self.items)
        ids, generator = items.table["id"].to_numpy(str), np.random.default_rng(0)
        for name, width in NETWORKS.items():
            values = items.labels(ids) @ generator.normal(size=(CLASSES, width)) + generator.normal(
                size=(len(ids), width)
            )
            store.write_matrix(
                self.file(name), "features", ids, values.astype(np.float32), {"extractor": PLUGIN.get(name, name)}
            )

    def evaluate(self, stages: Any) -> None:
        run = self.paths.RUN.format(**self.at, method="cca")
        outputs = {n: f"{run}/{f}" for n, f in {"metrics": "metrics.json", "curves": "curves.h5"}.items()}
        outputs |= {"run": f"{run}/run.json", "embeddings": f"{run}/embeddings"}
        fits = [
            {
                "folder": self.paths.FIT.format(**self.at, method="cca"),
                "inputs": ["lite0", "bert"],
                "files": self.features,
            }
        ]
        metrics = [
            {"id": "map@all", "metric": "mean_average_precision", "params": {}},
            {"id": "precision_recall", "metric": "precision_recall", "params": {}},
        ]
        stages.evaluate(fits, metrics, self.items, self.split, outputs, "cpu", 1, "")
        experiment = self.paths.EXPERIMENT.format(experiment="made")
        stages.collect({"id": "made"}, [run], "metrics.json", "run.json", experiment)


def one(root: Path, stage: str) -> None:
    """Runs a stage here and prints what it took."""
    from cmr import provenance

    work = Tree(root).stage(stage)
    with provenance.measured() as usage:
        work()
    print(json.dumps(usage))


def measure(root: Path, stage: str) -> tuple[float, float]:
    """Seconds and MB."""
    command = [sys.executable, __file__, "--one", stage, "--root", str(root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{stage}: {done.stderr}")
    usage = json.loads(done.stdout.splitlines()[-1])
    return usage["seconds"], usage["peak_memory_mb"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument(
        "--without-networks", action="store_true", help="made-up features instead of Lite0's and MiniLM's"
    )
    parser.add_argument("--one", choices=[*STAGES, "features"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.root, options.one)
    sizes = [options.items * times for times in options.times]
    stages = [stage for stage in STAGES if stage not in NETWORKS or not options.without_networks]
    found: dict[str, list[tuple[float, float]]] = {stage: [] for stage in stages}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            root = Path(folder) / str(size)
            root.mkdir()
            write_table(root, size)
            for stage in stages:
                found[stage].append(measure(root, stage))
                if stage == "split" and options.without_networks:
                    measure(root, "features")
    print(f"| stage | {' | '.join(f'{size:,} items' for size in sizes)} | exponent |\n|{' --- |' * (len(sizes) + 2)}")
    for stage, measured in found.items():
        exponent = np.polyfit(np.log(sizes), np.log([seconds for seconds, _ in measured]), 1)[0]
        cells = [f"{seconds:.2f} s, {memory:.0f} MB" for seconds, memory in measured]
        print(f"| `{stage}` | {' | '.join(cells)} | {exponent:.2f} |")
    return None


if __name__ == "__main__":
    main()
