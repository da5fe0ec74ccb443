"""Time to make an index, its recall, and the time of a first answer: ``tests/benchmarks/index.py``.

    python tests/benchmarks/index.py [--items 1000000] [--dimensions 100] [--kinds exact hnsw ivfpq] [--folder FOLDER]

Made-up embeddings around a thousand centres, of which 1,000 are the queries. A line is a kind: processor seconds and
seconds to make the index, recall@10 against the exact ranking, seconds of the first answer of another process after its
imports, what is read of the items told, and the MB that were resident in it. One thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import as_job  # noqa: F401  # before numpy
import numpy as np

from cmr import provenance, search_index, store


@dataclass
class StandIn:
    """What an index reads of a run: the embeddings of its texts, which are the queries."""

    folder: Path
    path: str = "runs/made"
    record: dict = field(default_factory=lambda: {"identity": "made"})

    def file(self, name: str) -> Path:
        return self.folder / name

    def files_of(self, space: Path) -> dict[str, Path]:
        return {file.stem: file for file in space.glob("*.h5")}


def around_centres(n: int, dimensions: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((1000, dimensions), dtype=np.float32)
    rows = generator.standard_normal((n, dimensions), dtype=np.float32)
    rows += centres[generator.integers(len(centres), size=n)]
    return rows


def make(run: StandIn, kind: str, items: int, dimensions: int) -> str:
    ids = np.array([f"item{row}" for row in range(items)], object)
    labels, contents = np.full(items, '["a class"]', object), ids + ".jpg"
    entries = search_index.Entries(ids, around_centres(items, dimensions, 1), labels, contents)
    started, processor = time.perf_counter(), time.process_time()
    search_index._write(run.folder / kind, run, kind, Path("image"), entries, None, 1)
    spent, processor = time.perf_counter() - started, time.process_time() - processor
    recall = search_index.Index.open(run.folder / kind, run).record["recall"]
    told = f"{recall['text']['recall_at_10']:.4f}" if recall else "1"
    return f"{processor:.1f} s | {spent:.1f} s | {told}"


def first_answer(run: StandIn, kind: str) -> str:
    query = store.read_matrix(run.folder / "embeddings/text.h5", "embeddings").values[:1]
    if kind != search_index.EXACT:
        import faiss  # noqa: F401
    started = time.perf_counter()
    with provenance.used() as usage:
        index = search_index.Index.open(run.folder / kind, run)
        rows, _ = index.nearest(query, 10)
        index.entries(rows[0])
    return f"{time.perf_counter() - started:.2f} s | {usage['peak_memory_mb']:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=search_index.KINDS, default=search_index.KINDS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(first_answer(StandIn(options.ask), options.kinds[0])))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run = StandIn(Path(folder))
        texts = around_centres(1000, options.dimensions, 2)
        ids = np.array([f"text{row}" for row in range(len(texts))], object)
        store.write_matrix(run.folder / "embeddings/text.h5", "embeddings", ids, texts, {})
        for kind in options.kinds:
            told = make(run, kind, options.items, options.dimensions)
            command = [sys.executable, __file__, "--ask", folder, "--kinds", kind]
            answer = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
            print(f"| {options.items} | `{kind}` | {told} | {json.loads(answer.stdout)} |", flush=True)


if __name__ == "__main__":
    main()
