"""The user's own table, from its configuration to the items: where files may lie, and what is said of one that is gone."""

import pandas as pd
import pytest
from PIL import Image

from toy_clones import CONFIG


@pytest.fixture
def own(fresh, tmp_path):
    """A clone with ``own/my.csv`` and ``own.yaml`` beside it, and pictures outside of it in ``tmp_path / "disk"``."""
    (tmp_path / "disk").mkdir()
    (fresh.root / "own").mkdir()
    rows = []
    for number in range(12):
        picture = tmp_path / f"disk/{number}.png"
        Image.new("RGB", (4, 4)).save(picture)
        rows.append({"picture": str(picture), "caption": f"text {number}", "class": "ab"[number % 2]})
    pd.DataFrame(rows).to_csv(fresh.root / "own/my.csv", index=False)
    configure(fresh)
    return fresh


def configure(clone, **changes):
    params = {"file": "my.csv", "image": "picture", "text": "caption", "label": "class"}
    datasets = [{"id": "mine", "dataset": "table", "params": params}]
    experiments = [{**CONFIG["experiments"][0], "data": ["mine"]}]
    clone.configure("own/own.yaml", datasets=datasets, experiments=experiments, **changes)


def prepare(clone, **options):
    return clone.snakemake("metrics", "--until", "prepare", "--configfile", "own/own.yaml", **options)


def items(clone):
    return list(clone.root.glob("results/data/mine*/items.parquet"))


@pytest.mark.slow
def test_absolute_paths_are_taken_under_data_root_and_nowhere_else(own, tmp_path):
    refused = f"error: own/my.csv: row 2: {tmp_path}/disk/0.png is absolute and not in data_root; set data_root to a folder above the files (11 more rows"
    assert refused in prepare(own, check=False)
    configure(own, data_root=str(tmp_path / "elsewhere"))
    assert refused in prepare(own, check=False)
    assert items(own) == []
    configure(own, data_root=str(tmp_path / "disk"))
    prepare(own)
    (file,) = items(own)
    assert pd.read_parquet(file)["image"][0] == "../../disk/0.png"
    assert own.planned("metrics", "--until", "prepare", "--configfile", "own/own.yaml") == {}


def test_a_table_that_is_not_there_is_said_before_any_job(own):
    (own.root / "own/my.csv").unlink()
    output = prepare(own, check=False)
    assert "data set 'mine': no such file: own/my.csv; paths are relative to the configuration file" in output
    assert not (own.root / "results").exists()
