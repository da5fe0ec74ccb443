"""The page `From Python` and its notebook run as they are typed, and print what the page shows."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+")
CLOSE = 0.02  # figures of a network, on another processor


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_page_prints_what_it_shows():
    names = {}
    blocks = BLOCK.findall((DOCS / "from_python.md").read_text("utf-8"))
    assert len(blocks) > 7
    for source, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(source, names)
        found = printed.getvalue()
        assert NUMBER.sub("#", found).split() == NUMBER.sub("#", shown).split()
        numbers = [list(map(float, NUMBER.findall(text))) for text in (found, shown)]
        assert numbers[0] == pytest.approx(numbers[1], abs=CLOSE)


def test_from_two_arrays_to_a_table_in_fifteen_lines():
    (source, _) = BLOCK.findall((DOCS / "from_python.md").read_text("utf-8"))[1]
    assert "cmr.fit" in source
    assert "print" in source
    assert len([line for line in source.splitlines() if line.strip()]) <= 15


def test_the_notebook_runs():
    cells = json.loads((DOCS / "from_python.ipynb").read_text("utf-8"))["cells"]
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    assert len(names["table"]) == 3
