"""Thousands of results trees with something changed at random, through every command that reads somebody's tree.

PYTHONPATH=workflow:tests python tests/benchmarks/fuzz.py [CASES [SEED [FIRST]]]
"""

import sys
import tempfile
from pathlib import Path

from robustness.test_fuzz import fuzz, make_project

CASES = 5000


def main():
    cases, seed, first = [*map(int, sys.argv[1:]), *(CASES, 0, 0)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder:
        home = make_project(Path(folder) / "project")
        counts, wrong = fuzz(home, cases, seed, first, tell=lambda line: print(line, flush=True))
    for outcome, count in sorted(counts.items()):
        print(f"{count:8d}  {outcome}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
