"""Processor time of `cmr embed` against that of the extraction stage, for the same texts.

    python tests/benchmarks/embed.py RUN COUNT

RUN is the folder of a run with texts; COUNT how many texts are made up. Prints a JSON line: processor seconds of the
extractor alone, chunk by chunk as the stage takes them, and of the whole command after its imports.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cmr import embedding, new_items, search, settings
from cmr.features.extraction import Task, extract

WORDS = [
    "red",
    "green",
    "blue",
    "apple",
    "leaf",
    "sea",
    "bird",
    "house",
    "old",
    "new",
    "small",
    "large",
    "runs",
    "sleeps",
    "under",
    "over",
    "with",
    "near",
]


def main() -> None:
    run, count = search.find(Path(sys.argv[1])), int(sys.argv[2])
    machine, rng = settings.machine([]), np.random.default_rng(0)
    texts = tuple(f"{' '.join(rng.choice(WORDS, rng.integers(4, 12)))} {row}" for row in range(count))
    items = embedding.NewItems(embedding.TEXT, tuple(map(str, range(count))), texts)
    extractor, _ = new_items.extractor(run, embedding.TEXT, machine)
    extractor.transform(texts[:2])  # imports
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        extract(Task(extractor, texts, np.array(items.ids)), Path(folder, "f.h5"), {}, Path(folder, "p"), "key")
        seconds["extract"] = time.process_time() - start
        start = time.process_time()
        embedding.embed(run, items, Path(folder, "e.h5"), machine)
        seconds["embed"] = time.process_time() - start
    print(json.dumps({name: round(value, 2) for name, value in seconds.items()} | {"texts": count}))


if __name__ == "__main__":
    main()
