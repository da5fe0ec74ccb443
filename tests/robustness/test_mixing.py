"""Runs of other code or other data enter no figure: the summary and the page show those of what is here, and name the rest."""

import json

import numpy as np
import pytest

from robustness.toys import cmr

pytestmark = pytest.mark.slow
METHODS = ["cca", "ridge_label"]


def data(root, seed, rows=90):
    """Features and labels of three classes under ``root``/data, from ``seed``."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    centres = generator.normal(size=(2, 3, 4))
    arrays = {m: centres[i][labels] + generator.normal(size=(rows, 4)) for i, m in enumerate(("image", "text"))}
    np.savez(root / "data/x.npz", **arrays, y=labels)


def configure(clone, name="config.yaml", methods=METHODS, seeds=1):
    params = {"features": {"image": "data/x.npz:image", "text": "data/x.npz:text"}, "labels": "data/x.npz:y"}
    (clone.root / name).parent.mkdir(exist_ok=True)
    clone.configure(
        name,
        datasets=[{"id": "mine", "dataset": "precomputed", "params": params}],
        features=[{"id": f"f{m}", "modality": m, "extractor": "ready"} for m in ("image", "text")],
        experiments=[
            {"id": "main", "data": ["mine"], "inputs": [["fimage", "ftext"]], "methods": methods, "seeds": seeds}
        ],
    )
    return name


def summary(clone, results="results"):
    """Method → its rows' means and numbers of seeds; and what is said beside the table."""
    done = cmr(clone, "summary", results, "--json")
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout) if row["query"] == "average"]
    return {row["id"]: (row["mean"], row["seeds"]) for row in rows}, done.stderr


def averages(clone, method):
    """Seed → average mAP, as the runs' own files say."""
    files = (clone.root / "results/runs").rglob(f"{method}*/*/metrics*.json")
    return {int(file.parent.name): json.loads(file.read_text())["average"]["map@all"] for file in files}


def page(clone):
    done = cmr(clone, "report", "results", "--out", "page")
    assert done.returncode == 0, done.stderr
    return (clone.root / "page/index.html").read_text()


@pytest.fixture
def made(fresh):
    data(fresh.root, 1)
    configure(fresh)
    fresh.snakemake("metrics")
    return fresh


@pytest.mark.mended("the summary averaged seeds of an edited method with those from before the edit")
def test_seeds_of_other_code_are_left_out_of_the_mean(fresh):
    data(fresh.root, 1)
    configure(fresh, methods=["random"], seeds=4)
    fresh.snakemake("metrics")
    fresh.edit("workflow/cmr/methods/random.py", "self.seed", "(self.seed + 17)")
    configure(fresh, methods=["random"], seeds=2)
    fresh.snakemake("metrics")
    means, said = summary(fresh)
    of_seed = averages(fresh, "random")
    assert set(of_seed) == {0, 1, 2, 3}
    assert means["random"] == (pytest.approx((of_seed[0] + of_seed[1]) / 2), 2)
    assert "left out, made with other code" in said
    assert "random/2, runs/" in said
    assert "left out, made with other code" in page(fresh)


@pytest.mark.mended("methods on old and on new data stood in one column")
def test_runs_of_other_data_are_left_out_of_the_table(made):
    assert set(summary(made)[0]) == set(METHODS)
    data(made.root, 2)
    configure(made, methods=["cca"])
    made.snakemake("metrics")
    means, said = summary(made)
    assert set(means) == {"cca"}
    assert "left out, made with other data than are here" in said
    assert "ridge_label" in said
    assert "left out, made with other data" in page(made)


@pytest.mark.mended("a data set that shrank was a stack trace in the report")
def test_a_data_set_that_shrank(made):
    data(made.root, 1, rows=60)
    configure(made, methods=["cca"])
    made.snakemake("metrics")
    assert "ridge_label" in page(made)
    assert set(summary(made)[0]) == {"cca"}


@pytest.mark.mended("two projects' data of one name and one file name stood in one block")
def test_two_data_sets_of_one_name_in_one_tree(fresh):
    for folder, seed, method in (("A", 1, "cca"), ("B", 2, "ridge_label")):
        data(fresh.root / folder, seed)
        fresh.snakemake("metrics", "--configfile", configure(fresh, f"{folder}/own.yaml", methods=[method]))
    means, said = summary(fresh)
    assert set(means) == {"ridge_label"}
    assert "cca" in said


@pytest.mark.mended("a merge put two people's data of one name into one block")
def test_two_peoples_data_of_one_name_after_a_merge(made, tmp_path):
    theirs = made.copy(tmp_path / "theirs")
    data(theirs.root, 2)
    configure(theirs, methods=["pls"])
    theirs.snakemake("metrics")
    for file in sorted((theirs.root / "results").rglob("*")):  # as rsync --ignore-existing
        here = made.root / file.relative_to(theirs.root)
        if file.is_file() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_bytes(file.read_bytes())
    means, said = summary(made)
    assert set(means) == set(METHODS)
    assert "pls" in said


@pytest.mark.mended("runs with other versions of packages entered one mean")
def test_seeds_of_other_versions_are_left_out_of_the_mean(fresh):
    data(fresh.root, 1)
    configure(fresh, methods=["random"], seeds=3)
    fresh.snakemake("metrics")
    (record,) = (fresh.root / "results/runs").rglob("random/2/run*.json")
    record.write_text(record.read_text().replace('"numpy": "', '"numpy": "0.'))
    means, said = summary(fresh)
    assert means["random"][1] == 2
    assert "left out, made with other versions" in said
