"""Builds a report over a synthetic tree; wall and CPU seconds, the sizes of the page and of what stands beside it.

The target is a build of 100 methods × 5 data sets × 5 seeds in less than three minutes on two cores.

    python tests/benchmarks/report.py [--datasets 3] [--methods 10] [--seeds 5] [--items 800] [--keep FOLDER]

A folder that is kept is written once, and its report is built again each time.
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


def write(results: Path, options: argparse.Namespace) -> None:
    runs = []
    for data in (f"data{number}" for number in range(options.datasets)):
        table = write_items(results, data, options.items, picture=224)
        for method in (f"method{number}" for number in range(options.methods)):
            runs += [write_run(results, table, data, "lite0+bert", method, seed) for seed in range(options.seeds)]
    write_experiment(results, "main-aaaaaa", runs)


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=3)
    parser.add_argument("--methods", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--items", type=int, default=800, help="items a data set; half of them are test rows")
    parser.add_argument("--keep", type=Path, help="folder to leave results and report in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if not (folder / "results" / "experiments").exists():
            write(folder / "results", options)
        wall, cpu = time.perf_counter(), cpu_seconds()
        page = build(folder / "results", folder / "report")
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        print(f"{options.datasets} data sets × {options.methods} methods × {options.seeds} seeds", end=": ")
        print(f"{wall:.1f} s ({cpu:.1f} s of CPU), page {page.stat().st_size / 1e6:.2f} MB")
        for beside in sorted(path for path in page.parent.iterdir() if path.is_dir()):
            sizes = [file.stat().st_size for file in beside.iterdir()]
            print(f"{beside.name}: {len(sizes)} files, {sum(sizes) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
