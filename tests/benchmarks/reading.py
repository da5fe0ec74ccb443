"""Time to read batches of random rows from a file of features, by each way that there is: ``tests/benchmarks/reading.py``.

    python tests/benchmarks/reading.py [--rows 200000] [--columns 1280] [--batch 100] [--folder FOLDER]

Prints microseconds of a processor a row, and by how much the memory that is resident has grown: by `cmr.vectors`, by a
mapping, and by h5py, of which a twentieth of the batches is read. The file has just been written, so the system holds
it in memory.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from cmr import vectors


def resident() -> float:
    """MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measured(read: Callable[[np.ndarray], object], batches: list[np.ndarray]) -> str:
    before, started = resident(), time.process_time()
    for batch in batches:
        read(batch)
    spent = (time.process_time() - started) / sum(map(len, batches))
    return f"{spent * 1e6:8.2f} µs a row {resident() - before:8.0f} MB more"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    order = generator.permutation(options.rows)
    batches = [order[start : start + options.batch] for start in range(0, options.rows, options.batch)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "features.h5"
        with h5py.File(path, "w") as file:
            rows = file.create_dataset("features", (options.rows, options.columns), np.float32)
            noise = generator.standard_normal((10_000, options.columns), dtype=np.float32)
            for start in range(0, options.rows, len(noise)):
                rows[start : start + len(noise)] = noise[: options.rows - start]
            place = rows.id.get_offset()
        stayed = vectors.Vectors(vectors.Matrix(path, place, options.columns), np.arange(options.rows))
        mapped = np.memmap(path, np.float32, "r", place, (options.rows, options.columns))
        print("cmr.vectors", measured(lambda batch: np.asarray(stayed[batch]), batches))
        print("a mapping  ", measured(lambda batch: mapped[batch], batches))
        with h5py.File(path) as file:
            rows = file["features"]
            print("h5py       ", measured(lambda batch: rows[np.sort(batch)], batches[::20]))


if __name__ == "__main__":
    main()
