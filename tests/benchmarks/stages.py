"""Seconds and peak memory of every stage with once, twice, four and eight times the data: ``tests/benchmarks/stages.py``.

    python tests/benchmarks/stages.py [--items 400] [--times 1 2 4 8]
    python tests/benchmarks/stages.py --items 4000 --without-networks    # made-up features for Lite0's and MiniLM's

Made-up pictures, captions and classes as a table of one's own, through the stages that the rules' jobs make, each in a
process of its own, without its start. The exponent b of seconds ~ nᵇ is fitted to all sizes by least squares in
logarithms: 1 is linear, 2 quadratic. One thread, one run a size; OMP_NUM_THREADS=1 is set for it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers

from cmr.plan import Result
from toy_plan import Project, experiment

CLASSES = 10
WORDS = 2_000
NETWORKS = {"lite0": 1280, "bert": 384}  # and the dimensions of their features
TEXTS = ["bow", "lda", "doc2vec"]
STAGES = ["prepare", "split", *NETWORKS, *TEXTS, "encode", "cca", "ridge_label", "dla_cmr", "evaluate", "report"]
PARAMS = {"epochs": 3, "patience": 0}


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


def configured() -> dict[str, Any]:
    """Every stage that is measured; the report is that of the first experiment."""
    columns = {"file": "data.csv", "image": "picture", "text": "caption"}
    coded = {"id": "coded", "method": "cca", "dictionary": "coupled"}
    fitted = ["ridge_label", {"id": "dla_cmr", "params": PARAMS}, coded]
    main = experiment(NETWORKS, "cca")["experiments"]
    fits = [{**main[0], "id": "fits", "methods": fitted}]
    texts = [{**main[0], "id": "texts", "inputs": [[name] for name in TEXTS], "methods": ["random"]}]
    return {
        "datasets": [{"id": "made", "dataset": "table", "params": columns}],
        "features": [{"id": "lite0", "extractor": "efficientnet_lite0"}],
        "dictionaries": [{"id": "coupled", "params": {"atoms": [256, 256], "iterations": 5}}],
        "metrics": [{"id": "map@all", "metric": "mean_average_precision"}, "precision_recall"],
        "experiments": main + fits + texts,
    }


def result(project: Project, stage: str) -> Result:
    """What a stage of `STAGES` makes; of the fits of a method, the first."""
    if stage in (*NETWORKS, *TEXTS):
        found = [made for made in project.results("extract") if made.settings["feature"]["id"] == stage]
    elif stage == "evaluate":
        found = [made for made in project.results("evaluate") if "/cca/" in made.record]
    elif stage in ("prepare", "split", "encode"):
        found = project.results(stage)
    else:
        found = [made for made in project.results("fit") if made.settings["method"]["id"] == stage]
    return found[0]


def work(project: Project, stage: str) -> None:
    if stage == "features":
        write_features(project)
    elif stage == "report":
        from cmr.reporting import page

        index = project.make(project.results("collect")[0])
        page.build(Path("results"), Path("report"), [Path(index.record)])
    else:
        project.make(result(project, stage))


def write_features(project: Project) -> None:
    """Features of the networks' sizes in which the classes show, in place of theirs."""
    from cmr import store
    from cmr.data import Items

    items, generator = Items.read(result(project, "prepare").files[0]), np.random.default_rng(0)
    ids = items.table["id"].to_numpy(str)
    for name, width in NETWORKS.items():
        values = items.labels(ids) @ generator.normal(size=(CLASSES, width)) + generator.normal(size=(len(ids), width))
        with project.by_hand(features := result(project, name)):
            attributes = {"extractor": features.settings["feature"]["extractor"]}
            store.write_matrix(features.files[0], "features", ids, values.astype(np.float32), attributes)


def one(root: Path, stage: str) -> None:
    """Runs a stage here and prints what it took."""
    from cmr import provenance

    os.chdir(root)
    project = Project(root, configured())
    with provenance.used() as usage:
        work(project, stage)
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
