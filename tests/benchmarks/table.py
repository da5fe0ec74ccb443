"""Time and memory of preparing a large table: 100,000 rows, paths checked, pictures not decoded.

    python tests/benchmarks/table.py [ROWS]

Prints a JSON line for a tenth of the rows and one for all, so that growth shows: rows, seconds to prepare (wall and
processor time, which differ on a busy machine), rows a second, seconds with the split, peak memory in MiB. The pictures are hard links to one file.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from PIL import Image

from cmr.datasets.table import Params, Table
from cmr.provenance import used

MEASURE_ONE = "--one"
LINKS_A_FILE = 10_000  # file systems limit the number of hard links


def make(folder: Path, rows: int) -> None:
    (folder / "pictures").mkdir()
    for row in range(rows):
        original = folder / f"pictures/{row - row % LINKS_A_FILE}.png"
        path = folder / f"pictures/{row}.png"
        if path == original:
            Image.new("RGB", (2, 2)).save(path)
        else:
            os.link(original, path)
    frame = pd.DataFrame({"id": range(rows), "picture": [f"pictures/{row}.png" for row in range(rows)]})
    frame["caption"] = [f"a caption of ordinary length about the picture number {row}" for row in range(rows)]
    frame["class"] = [f"class {row % 50}" for row in range(rows)]
    frame.to_csv(folder / "my.csv", index=False)


def measure(rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, rows)
        params = Params(file="my.csv", id="id", image="picture", text="caption", label="class")
        table = Table(params, folder / "out", folder / "cache", folder)
        with used() as usage:
            start, cpu_start = time.perf_counter(), time.process_time()
            items = table.prepare()
            items.write(folder / "out/items.parquet")
            prepared, cpu = time.perf_counter() - start, time.process_time() - cpu_start
            table.split(items, "default").write(folder / "out/default.csv")
    seconds = {"prepare_seconds": round(prepared, 2), "prepare_cpu_seconds": round(cpu, 2)}
    return {"rows": rows, **seconds, "rows_a_second": round(rows / prepared), **usage}


def main() -> None:
    if sys.argv[1:2] == [MEASURE_ONE]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return
    rows = int(sys.argv[1]) if sys.argv[1:] else 100_000
    for n in (rows // 10, rows):  # a process each, as peak memory never falls
        subprocess.run([sys.executable, __file__, MEASURE_ONE, str(n)], check=True)


if __name__ == "__main__":
    main()
