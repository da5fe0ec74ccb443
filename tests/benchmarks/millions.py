"""Processor seconds, seconds and peak memory of stages as the items grow: ``tests/benchmarks/millions.py``.

    python tests/benchmarks/millions.py [--pairs 10000 100000] [--stages cca ridge_label …] [--root FOLDER]

Made-up features of 1280 and 384 dimensions in which twenty classes show; a tenth of the pairs are test rows, of which
10,000 are asked at most, and a hundredth are validation rows. A line is a stage, in a process of its own and without its
start: processor seconds, which other work on the machine changes little, seconds, and the most memory that was
resident. The last lines are exponents: b of processor seconds ~ nᵇ, by least squares in logarithms.

``prepare`` and ``split`` are those of a table in parquet of as many short texts, ``extract`` takes ready features of
1280 dimensions, ``rows`` reads items and split and checks all features, as every fit does, and ``ids`` the same of features
of four dimensions: what is left is what an item costs. ``sdml`` has two epochs, and with ``--small`` layers of 128 and 64
neurons. ``evaluate`` and the rest are of CCA: ``report`` makes the page, whose figures other processes draw, which are not
counted; ``index`` is exact, of the test items, and ``search`` asks it for one embedded text, after its imports. Without
``--root`` a folder is made and removed.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers

import as_job  # noqa: F401  # before numpy
import numpy as np
import pandas as pd

from cmr import paths, registry
from cmr.plan import Result
from toy_plan import Project, experiment

DIMENSIONS = {"image": ("lite0", 1280), "text": ("bert", 384)}
CLASSES, ROWS = 20, 20_000
LAYERS = {"hidden": 128, "dimensions": 64}
STAGES = [
    "prepare",
    "split",
    "extract",
    "ids",
    "rows",
    "ridge_label",
    "cca",
    "sdml",
    "evaluate",
    "report",
    "index",
    "search",
]
SOURCES = {"prepare": "texts", "split": "texts", "extract": "ready", "ids": "narrow"}
"""Stage → the data set that it is measured on; the others on `MADE`."""
MADE, NARROW = "made", "narrow"


def configured(small: bool) -> dict[str, Any]:
    columns = {"file": "data.csv", "image": "picture", "text": "caption"}
    texts = {"file": "texts.parquet", "id": "id", "text": "caption", "label": "class"}
    ready = {
        "features": {"image": "image.npy"},
        "labels": "labels.npy",
        "index": {"train": "train.npy", "test": "test.npy"},
    }
    sdml = {"id": "sdml", "params": {"epochs": 2} | (LAYERS if small else {})}
    main = experiment(dict(DIMENSIONS.values()), "cca")["experiments"][0]
    return {
        "datasets": [
            {"id": MADE, "dataset": "table", "params": columns},
            {"id": NARROW, "dataset": "table", "params": columns | {"file": "narrow.csv"}},
            {"id": "texts", "dataset": "table", "params": texts},
            {"id": "ready", "dataset": "precomputed", "params": ready},
        ],
        "features": [
            {"id": "lite0", "extractor": "efficientnet_lite0"},
            {"id": "vectors", "extractor": "ready", "modality": "image"},
        ],
        "metrics": [{"id": "map@all", "metric": "mean_average_precision"}, "recall_at_k"],
        "queries": 10_000,
        "experiments": [
            main,
            {**main, "id": "others", "methods": ["ridge_label", sdml]},
            {**main, "id": NARROW, "data": [NARROW], "methods": ["cca"]},
            {**main, "id": "texts", "data": ["texts"], "inputs": [["bow"]], "methods": ["random"]},
            {**main, "id": "ready", "data": ["ready"], "inputs": [["vectors"]], "methods": ["random"]},
        ],
    }


def results(project: Project, stage: str, data: str) -> list[Result]:
    """What a stage makes of a data set."""
    return [made for made in project.results(stage) if made.settings["data"]["id"] == data]


def write_texts(project: Project, pairs: int) -> None:
    """A table of texts of ordinary length, with a column that nobody asks for."""
    rows = range(pairs)
    columns = {
        "id": [f"item{row}" for row in rows],
        "caption": [f"a caption of ordinary length about the picture number {row}" for row in rows],
        "class": [f"class {row % CLASSES}" for row in rows],
        "source": [f"from a page of some site or other, the one of number {row}" for row in rows],
    }
    pd.DataFrame(columns).to_parquet("texts.parquet", index=False)


def write_ready(project: Project, pairs: int) -> None:
    """Ready features as their authors give them, and their items."""
    noise = np.random.default_rng(0).standard_normal((ROWS, DIMENSIONS["image"][1]), dtype=np.float32)
    values = np.lib.format.open_memmap("image.npy", "w+", np.float32, (pairs, noise.shape[1]))
    for start in range(0, pairs, ROWS):
        values[start : start + ROWS] = noise[: pairs - start]
    values.flush()
    np.save("labels.npy", np.arange(pairs) % CLASSES)
    np.save("train.npy", np.arange(pairs // 10, pairs))
    np.save("test.npy", np.arange(pairs // 10))
    (prepared,) = results(project, "prepare", "ready")
    project.make(prepared)


def write_made(project: Project, pairs: int, data: str = MADE, dimensions: int | None = None) -> None:
    """Items, a split and features, as the stages before a fit would leave them."""
    from cmr import store
    from cmr.data import TEST, TRAIN, VALIDATION, Items, Split

    Path("data.csv" if data == MADE else f"{data}.csv").write_text("picture,caption,label\n")
    generator = np.random.default_rng(0)
    kinds, ids = generator.integers(CLASSES, size=pairs), np.array([f"item{row}" for row in range(pairs)], object)
    names = [[f"class {kind}"] for kind in range(CLASSES)]
    table = pd.DataFrame({"id": ids, "image": ids + ".jpg", "text": ids, "labels": [names[kind] for kind in kinds]})
    with project.by_hand(made := results(project, "prepare", data)[0]):
        Items(table, {"image": "image", "text": "text"}).write(made.files[0])
        Path(made.files[1]).write_text("")
    parts = np.where(generator.random(pairs) < 0.1, TEST, np.where(generator.random(pairs) < 0.01, VALIDATION, TRAIN))
    with project.by_hand(made := results(project, "split", data)[0]) as recording:
        Split(pd.DataFrame({"id": ids, "part": parts, "held_out": parts == VALIDATION})).write(made.files[0])
        recording.facts = {"separated": {}}
    for made in results(project, "extract", data):
        feature = made.settings["feature"]
        width = dimensions or DIMENSIONS[feature["modality"]][1]
        centres = generator.standard_normal((CLASSES, width), dtype=np.float32) / 4
        noise = generator.standard_normal((ROWS, width), dtype=np.float32)  # comes again every so many rows
        with project.by_hand(made), store.new_hdf5(made.files[0]) as file:
            rows = file.create_dataset("features", (pairs, width), np.float32)
            for start in range(0, pairs, ROWS):
                own = kinds[start : start + ROWS]
                rows[start : start + ROWS] = centres[own] + noise[: len(own)]
            file.create_dataset("ids", data=ids, dtype=store.TEXT)
            store.set_attributes(file, {"extractor": feature["extractor"]})


def write_narrow(project: Project, pairs: int) -> None:
    write_made(project, pairs, NARROW, 4)


def of_stage(project: Project, stage: str) -> Iterator[Result]:
    if stage == "evaluate":
        yield from (made for made in project.results(stage) if f"/{MADE}-" in made.record and "/cca" in made.record)
    elif stage in ("ids", "rows"):
        data = SOURCES.get(stage, MADE)
        yield from (made for made in results(project, "fit", data) if made.settings["method"]["id"] == "cca")
    elif stage in SOURCES:
        yield from results(project, stage, SOURCES[stage])
    else:
        yield from (made for made in results(project, "fit", MADE) if made.settings["method"]["id"] == stage)


def work(project: Project, stage: str) -> str:
    """Does a stage; returns what else there is to say."""
    from cmr import search, search_index

    if stage in ("ids", "rows"):
        from cmr.row_source import RowSource

        RowSource.of(next(of_stage(project, stage))).training_data(with_labels=True)
        return "reading items and split, and the check of all features"
    if stage == "report":
        from cmr.reporting.page import build

        (index,) = (made for made in project.results("collect") if made.settings["id"] == "main")
        project.make(index)
        page = build(Path(paths.RESULTS), Path("report"), [Path(index.record)], "A large data set")
        return f"{sum(file.stat().st_size for file in page.parent.rglob('*') if file.is_file()) / 1e6:.1f} MB"
    if stage in ("index", "search"):
        run = search.find(Path(next(of_stage(project, "evaluate")).record).parent)
        if stage == "index":
            return ", ".join(
                f"{len(made)} {made.record['modality']} items"
                for made in search_index.make(run, Path("index"), "exact", [], 1)
            )
        from cmr import store

        query = np.asarray(store.read_rows(run.file("embeddings") / "text.h5", "embeddings").values[:1])
        started = time.perf_counter()
        index = search_index.Index.open(Path("index/image"), run)
        rows, _ = index.nearest(query, 10)
        index.entries(rows[0])
        return f"first answer of {len(index)} items {time.perf_counter() - started:.2f} s"
    for made in of_stage(project, stage):
        project.make(made, again=True)
    return ""


def imported(project: Project, stage: str) -> None:
    """Imports what a stage's job would, which takes no longer for more items."""
    import pyarrow.parquet  # noqa: F401

    for made in of_stage(project, stage):
        importlib.import_module(f"cmr.stages.{made.stage}")
        for kind, name in made.plugins:
            registry.module(kind, name)


def one(root: Path, stage: str, pairs: int, small: bool) -> None:
    """Runs a stage here, or writes a data set, and prints what it took."""
    from cmr import provenance

    with chdir(root):
        project = Project(root, configured(small))
        imported(project, stage)
        started = time.process_time()
        with provenance.used() as usage:
            told = WRITE[stage](project, pairs) if stage in WRITE else work(project, stage)
    print(json.dumps(usage | {"processor": time.process_time() - started, "told": told}))


WRITE = {"texts": write_texts, "ready": write_ready, MADE: write_made, NARROW: write_narrow}


def measure(root: Path, stage: str, pairs: int, small: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", stage, "--root", str(root), "--pairs", str(pairs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command += ["--small"] if small else []
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{stage}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_stages(root: Path, pairs: int, stages: Sequence[str], small: bool) -> Iterator[tuple[str, float]]:
    """Prints a line for each stage; yields it with its processor seconds."""
    for stage in stages:
        written = root / SOURCES.get(stage, MADE)
        if not written.exists():
            measure(root, written.name, pairs, small)
            written.touch()
        found = measure(root, stage, pairs, small)
        size = f"{found['processor']:.1f} s | {found['seconds']:.1f} s | {found['peak_memory_mb']:.0f} MB"
        print(f"| {pairs} | `{stage}` | {size} | {found['told']} |", flush=True)
        yield stage, found["processor"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--small", action="store_true", help="SDML with narrow layers")
    parser.add_argument("--root", type=Path, help="a folder on a large disk; kept")
    parser.add_argument("--one", choices=[*STAGES, *WRITE], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.root, options.one, options.pairs[0], options.small)
        return
    processor: dict[str, list[float]] = {stage: [] for stage in options.stages}
    for pairs in options.pairs:
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary) if options.root is None else options.root / str(pairs)
            root.mkdir(parents=True, exist_ok=True)
            for stage, seconds in measure_stages(root, pairs, options.stages, options.small):
                processor[stage].append(seconds)
    if len(options.pairs) > 1:
        for stage, seconds in processor.items():
            print(f"| `{stage}` | exponent {np.polyfit(np.log(options.pairs), np.log(seconds), 1)[0]:.2f} |")


if __name__ == "__main__":
    main()
