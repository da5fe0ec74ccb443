"""The table of files as people bring them: what was seen once, and what is seen now.

``python tests/benchmarks/inputs.py [PAGE]`` prints it, or writes it into PAGE (docs/inputs.md) between two comments.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers
os.environ["TQDM_DISABLE"] = "1"

from robustness.inputs import CASES

START, END = "<!-- cases: written by tests/benchmarks/inputs.py -->", "<!-- end of the cases -->"
LONG = 200


def lines() -> Iterator[str]:
    for section, cases in groupby(CASES, attrgetter("section")):
        yield from ("", f"## {section}", "", "| what | before | now | |", "| --- | --- | --- | --- |")
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                kind, found = case.outcome(Path(folder))
            yield f"| {_cell(case.tried)} | {_cell(case.before)} | {kind} | {_cell(found)} |"


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
    return text if len(text) <= LONG else f"{text[: LONG - 2]} …"


def main() -> None:
    found = "\n".join(lines())
    if not sys.argv[1:]:
        print(found)
        return
    page = Path(sys.argv[1])
    before, _, rest = page.read_text("utf-8").partition(START)
    page.write_text(f"{before}{START}\n{found}\n\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
