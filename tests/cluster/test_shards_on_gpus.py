"""Shards of a large data set through SLURM: each asks for one GPU, both GPUs work, and the bytes are those of one job."""

import re
import shutil
from itertools import combinations

import pytest

from conftest import SITE, Cluster, toy

DATA = {"datasets": [{"id": "toy", "params": {"smallest": 9000}}]}
NOTED = """        import os, time
        time.sleep(0.5)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        with open(f"seen-{os.getpid()}.txt", "a") as noted:
            noted.write(f"{gpu} {time.time()}\\n")
        rows = []
"""


def features(made):
    return {path.name: path.read_bytes() for path in made.root.glob("results/features/toy-*/*/*.h5")}


@pytest.fixture
def large(tmp_path):
    """A clone whose images are features that a network on a GPU might give, of three chunks of a GPU and a bit."""
    made = Cluster(toy.clone(tmp_path / "clone").root)
    (made.root / "slurm" / "site.yaml").write_text(SITE)
    made.edit("workflow/cmr/features/numbers.py", '    kind="fixed",\n', '    kind="fixed",\n    gpu=True,\n')
    made.edit("workflow/cmr/features/numbers.py", "        rows = []\n", NOTED)
    return made


def test_shards_use_both_gpus_and_give_the_bytes_of_one_job(large, tmp_path):
    large.configure(**DATA, rows_per_job=4096)
    local = Cluster(shutil.copytree(large.root, tmp_path / "local"))
    output = large.slurm("features")
    assert large.leftovers() == []
    assert large.planned("features") == {}

    notes = [path.read_text().split("\n")[:-1] for path in large.root.glob("seen-*.txt")]
    jobs = [(rows[0].split()[0], [float(row.split()[1]) for row in rows]) for rows in notes]
    assert len(jobs) == 3
    assert {gpu for gpu, _ in jobs} == {"0", "1"}
    together = [(a, b) for a, b in combinations(jobs, 2) if a[1][0] < b[1][-1] and b[1][0] < a[1][-1]]
    assert together
    assert all(a[0] != b[0] for a, b in together)
    assert len(re.findall(r"^ *\d+ of \d+ +shard ", output, re.MULTILINE)) == 6  # three of a text's features, too

    local.configure(**DATA)
    local.run("features")
    assert features(large) == features(local)
    assert len(features(large)) == 2
