"""Memory of training a head on sets that are larger than it: ``python tests/benchmarks/sets.py``.

100,000 items by default, of 49 elements of 512 numbers in float16 each, as grids of pictures are, in a features file as
an extraction writes it: 5 GB in a temporary folder, gone at the end. Reads it as a fit does, trains one epoch of
`attention_pool` against made-up vectors, and embeds 10,000 items. Prints for each step processor seconds, and the most memory that
was the process's own (RssAnon, sampled every 10 ms): pages of the mapped file, which the system takes back where it
needs them, are none of it, and stand beside as RssFile.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cmr import registry, store
from cmr.data import View
from cmr.sets import Sets

PERIOD = 99_991  # rows after which made-up elements come again: a prime, so that no two items are equal
TEXT = 384


class MadeUp:
    """Elements (m, d) float16 that lie nowhere: the rows of a table, again and again."""

    dtype = np.dtype(np.float16)

    def __init__(self, rows: int, dimension: int):
        self.shape = rows, dimension
        self.table = np.random.default_rng(0).standard_normal((PERIOD, dimension), np.float32).astype(np.float16)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.table[np.arange(rows.start, min(rows.stop, self.shape[0])) % PERIOD]


def memory() -> dict[str, float]:
    """MB of the process's own pages and of mapped files, now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}


@contextmanager
def told(step: str) -> Iterator[None]:
    """Prints what the block took."""
    most, over, start = memory(), threading.Event(), time.process_time()

    def sample() -> None:
        while not over.wait(0.01):
            for key, value in memory().items():
                most[key] = max(most[key], value)

    thread = threading.Thread(target=sample)
    thread.start()
    yield
    over.set()
    thread.join()
    seconds = time.process_time() - start
    print(
        f"{step:<28} {seconds:6.1f} s   RssAnon {most['RssAnon']:6.0f} MB   RssFile {most['RssFile']:6.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--elements", type=int, default=49)
    parser.add_argument("--dimension", type=int, default=512)
    options = parser.parse_args()
    n, k = options.items, options.elements
    ids = np.array([f"item-{row}" for row in range(n)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grid.h5"
        with told("writing"):
            made_up = Sets.flat(MadeUp(n * k, options.dimension), np.arange(n + 1) * k)
            store.write_matrix(file, "features", ids, made_up, {})
            del made_up
        print(f"{n:,} items of {k} × {options.dimension} float16: {file.stat().st_size / 1e9:.2f} GB")
        with told("reading and checking"):
            sets = store.read_rows(file, "features").values
        vectors = np.random.default_rng(1).standard_normal((n, TEXT), np.float32)
        params = registry.params_model("methods", "attention_pool")(epochs=1, patience=0)
        method = registry.load("methods", "attention_pool")(params, ("image", "text"))
        with told("checks, scaling, one epoch"):
            method.fit({"image": View(ids, sets), "text": View(ids, vectors)})
        with told("embedding 10,000 items"):
            method.embed("image", sets[:10_000])


if __name__ == "__main__":
    main()
