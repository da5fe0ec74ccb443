"""Builds a report over 3 data sets × 10 methods × 5 seeds of a synthetic tree; wall and CPU seconds, and the page's size.

The target is a build in less than 60 s on two cores, and a page of at most 15 MB.

    python tests/benchmarks/report.py [--items 800] [--keep FOLDER]
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cmr.reporting.page import build
from reporting_tree import write_experiment, write_items, write_run

DATASETS, METHODS, SEEDS = 3, 10, 5


def write(results: Path, items: int) -> None:
    runs = []
    for data in (f"data{number}" for number in range(DATASETS)):
        table = write_items(results, data, items, picture=224)
        for method in (f"method{number}" for number in range(METHODS)):
            runs += [write_run(results, table, data, "lite0+bert", method, seed) for seed in range(SEEDS)]
    write_experiment(results, "main-aaaaaa", runs)


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=800, help="items a data set; half of them are test rows")
    parser.add_argument("--keep", type=Path, help="folder to leave results and report in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        write(folder / "results", options.items)
        wall, cpu = time.perf_counter(), cpu_seconds()
        page = build(folder / "results", folder / "report")
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        drawn = len(list((page.parent / "figures").glob("*.svg")))
        print(f"{DATASETS} data sets × {METHODS} methods × {SEEDS} seeds: {wall:.1f} s ({cpu:.1f} s of CPU)")
        print(f"page {page.stat().st_size / 1e6:.2f} MB, {drawn} figures")


if __name__ == "__main__":
    main()
