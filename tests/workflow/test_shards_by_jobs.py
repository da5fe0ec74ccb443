"""Features of a data set that is cut into several jobs: the same bytes, and a kill or a failure repeats one shard."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from cmr import paths
from cmr.params import digest

DATA = {"datasets": [{"id": "toy", "params": {"smallest": 560}}], "device": "cpu"}
NAME = f"toy-{digest({'smallest': 560})}"
PREPARED = f"results/data/{NAME}/splits/default.csv"
IMAGES = f"results/features/{NAME}/all/image.h5"
SLOW = '        rows = []\n        import time; time.sleep(1.5)\n        open("seen.txt", "a").write(f"{len(contents)}\\n")\n'


@pytest.fixture
def slow(fresh):
    """A clone whose extractor of images takes its time, and notes the sizes of chunks that it has computed."""
    fresh.edit("workflow/cmr/features/numbers.py", "        rows = []\n", SLOW)
    fresh.configure(**DATA, rows_per_job=256)
    return fresh


def features(made):
    return {path.name: path.read_bytes() for path in made.root.glob("results/features/toy-*/*/*.h5")}


def seen(made):
    return [int(line) for line in (made.root / "seen.txt").read_text().split()]


def in_background(made, *arguments):
    command = [sys.executable, "-m", "snakemake", *arguments]
    environment = os.environ | {"PYTHONPATH": ""}
    with (made.root / "log.txt").open("w") as log:
        return subprocess.Popen(command, cwd=made.root, env=environment, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.slow
def test_a_large_data_set_is_several_jobs_that_give_the_bytes_of_one(slow, tmp_path):
    other = slow.copy(tmp_path / "other")
    output = slow.snakemake("features", "--cores", "2")
    assert sum("  shard  " in line for line in output.splitlines()) == 6
    assert "13 of 13  features" in output
    assert "heckpoint" not in output
    assert not list((slow.root / "results/.partial").rglob("*.*"))
    assert slow.planned("features") == {}
    assert sorted(seen(slow)) == [88, 256, 256]

    other.configure(**DATA)
    other.snakemake("features")
    assert features(slow) == features(other)
    assert len(features(slow)) == 2
    other.configure(**DATA, rows_per_job=256)
    assert other.planned("features") == {}  # how many jobs made it is no part of what it is
    assert other.planned("features", "--forcerun", "extract") == {"shard": 6, "learn": 1, "extract": 2}


@pytest.mark.slow
def test_once_data_are_prepared_a_plan_has_all_shards(slow):
    slow.snakemake(PREPARED)
    assert slow.planned("features") == {"shard": 6, "learn": 1, "extract": 2}


@pytest.mark.slow
def test_a_kill_repeats_the_shards_that_it_met_and_no_other(slow, tmp_path):
    slow.snakemake(PREPARED)
    reference = slow.copy(tmp_path / "reference")
    reference.snakemake("features")
    process = in_background(slow, "--cores", "1", IMAGES)
    shards = slow.root / paths.shards(IMAGES)
    end = time.monotonic() + 240
    while len(list(shards.glob("*.json"))) < 1 or len(list(shards.glob("*.h5"))) < 2:  # the second has begun
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    slow.snakemake("--unlock")
    done = len(list(shards.glob("*.json")))
    assert slow.planned(IMAGES) == {"shard": 3 - done, "extract": 1}
    before = len(seen(slow))
    slow.snakemake(IMAGES)
    assert len(seen(slow)) - before in (3 - done, 2 - done)  # a chunk that was whole when the kill came counts
    slow.snakemake("features")
    assert features(slow) == features(reference)


@pytest.mark.slow
def test_a_shard_that_fails_is_repeated_alone(slow):
    """The second chunk cannot be read, as an item is missing its numbers until it is mended."""
    slow.edit("workflow/cmr/datasets/toy.py", "        return Items(table, kinds)", BAD)
    (slow.root / "bad.txt").write_text("no numbers")
    slow.configure(**DATA, rows_per_job=256, base=".")
    output = slow.snakemake(IMAGES, check=False)
    assert re.search(r"item 'i300': .*no numbers", output)
    before = sorted(seen(slow))
    assert sum(before) == 600  # each chunk was begun, the broken one too
    (slow.root / "bad.txt").unlink()
    slow.snakemake(IMAGES, "--forcerun", "prepare")
    assert seen(slow)[3:] == [256]


BAD = """        from pathlib import Path

        if Path("bad.txt").exists():
            table.loc[300, "image"] = Path("bad.txt").read_text()
        return Items(table, kinds)"""
