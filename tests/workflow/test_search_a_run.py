"""A new query in a run that Snakemake made: fixed and fitted features, dictionary coefficients, methods of both kinds."""

import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from toy_clones import CONFIG, clone

pytestmark = pytest.mark.slow
DLA = {
    "id": "dla",
    "method": "dla_cmr",
    "dictionary": "small",
    "params": {"first_layers": [8, 4], "second_layers": [4], "epochs": 2, "batch_size": 16},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = clone(tmp_path_factory.mktemp("search") / "clone")
    dictionaries = [{"id": "small", "dictionary": "coupled", "params": {"atoms": [6, 7], "iterations": 2}}]
    methods = [*CONFIG["experiments"][0]["methods"], DLA]
    made.configure(dictionaries=dictionaries, experiments=[{**CONFIG["experiments"][0], "methods": methods}])
    made.snakemake("metrics")
    return made


def search(clone, *arguments):
    environment = os.environ | {"PYTHONPATH": str(clone.root / "workflow")}
    command = [sys.executable, "-m", "cmr", "search", *map(str, arguments)]
    return subprocess.run(command, cwd=clone.root, env=environment, capture_output=True, text=True)


def embeddings(folder, modality):
    with h5py.File(folder / f"embeddings-{digest(folder)}" / f"{modality}.h5") as file:
        return file["ids"].asstr()[()], file["embeddings"][()]


def digest(folder):
    return next(folder.glob("run-*.json")).stem.partition("-")[2]


@pytest.mark.parametrize("method", ["cca", "ridge_label", "dla"])
def test_a_test_items_own_text_ranks_as_its_stored_embedding(made, method):
    (folder,) = made.root.glob(f"results/runs/toy/default/image+text/{method}*/0")
    ids, texts = embeddings(folder, "text")
    others, images = embeddings(folder, "image")
    items = pd.read_parquet(made.root / "results/data/toy/items.parquet").set_index("id")
    cosines = images @ texts[2] / np.linalg.norm(images, axis=1) / np.linalg.norm(texts[2])
    expected = dict(zip(others, cosines, strict=True))
    done = search(made, folder, "--text", items.at[ids[2], "text"], "-k", len(others))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\d+ +-?\d+\.\d", line)]
    assert {row[2] for row in rows} == set(others)
    found = [(float(row[1]), expected[row[2]]) for row in rows]
    assert all(abs(score - stored) < 1e-4 for score, stored in found)
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)


def test_a_run_that_is_not_there_is_one_line(made):
    done = search(made, "results/runs/toy/default/image+text/cca/7", "--text", "1 2 3 4 5")
    assert done.returncode == 1
    assert done.stderr == "error: results/runs/toy/default/image+text/cca/7: no such run\n"
