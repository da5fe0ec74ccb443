"""The benchmark of how stages grow runs: each stage in a process of its own, on few items."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "millions.py"


@pytest.mark.slow
def test_every_stage_prints_what_it_took(tmp_path):
    command = [sys.executable, str(SCRIPT), "--pairs", "300", "--small", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|")[1:-1] for line in done.stdout.splitlines()]
    assert [stage.strip() for _, stage, *_ in lines] == [
        "`prepare`", "`split`", "`extract`", "`ids`", "`rows`", "`ridge_label`", "`cca`", "`sdml`", "`evaluate`", "`report`",
        "`index`", "`search`",
    ]  # fmt: skip
    assert all(float(cells[2].removesuffix(" s ")) > 0 for cells in lines)
