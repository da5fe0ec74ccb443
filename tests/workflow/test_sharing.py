"""Results that travel: verified, merged, pruned, and read by somebody else."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from cmr.params import digest
from toy_clones import CONFIG

OTHER = {
    "experiments": [
        {**CONFIG["experiments"][0], "methods": [{"id": "cca", "params": {"components": 1}}, "ridge_label"]}
    ]
}
RUNS = "results/runs/toy/default/image+text"


def cmr(clone, *arguments, status=0):
    environment = os.environ | {"PYTHONPATH": str(clone.root / "workflow")}
    done = subprocess.run(
        [sys.executable, "-m", "cmr", *arguments], cwd=clone.root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def findings(clone, results="results"):
    found = subprocess.run(
        [sys.executable, "-m", "cmr", "verify", results, "--json"],
        cwd=clone.root,
        env=os.environ | {"PYTHONPATH": str(clone.root / "workflow")},
        capture_output=True,
        text=True,
    )
    return [
        (finding["kind"], finding["path"].rpartition("/")[2], finding["reason"]) for finding in json.loads(found.stdout)
    ]


def test_a_copy_elsewhere_verifies(finished, tmp_path):
    assert "2 runs checked: all are as their records say" in cmr(finished, "verify")
    shutil.copytree(finished.root / "results", tmp_path / "elsewhere")
    assert "all are as their records say" in cmr(finished, "verify", str(tmp_path / "elsewhere"))


@pytest.mark.slow
def test_what_is_stale_damaged_missing_or_foreign_is_said(finished):
    ridge = finished.root / RUNS / "ridge_label" / "0"
    features = finished.root / "results/features/toy/all/image.h5"
    kept = features.read_bytes()

    with features.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    (run,) = ridge.glob("run*")
    assert {(kind, name) for kind, name, _ in findings(finished)} == {
        ("damaged", "image.h5"),
        ("stale", "fit.json"),
        ("stale", run.name),
    }
    features.unlink()
    assert {(kind, name) for kind, name, _ in findings(finished)} == {("missing", "image.h5")}
    features.write_bytes(kept)

    (metrics,) = ridge.glob("metrics*.json")
    text = metrics.read_text()
    metrics.write_text(text.replace("0.", "0.9", 1))
    assert [(kind, name) for kind, name, _ in findings(finished)] == [("damaged", metrics.name)]
    metrics.write_text(text)

    shutil.copytree(ridge, ridge.with_name("7"))
    ((kind, _, reason),) = findings(finished)
    assert kind == "foreign"
    assert "ridge_label/0/run" in reason
    shutil.rmtree(ridge.with_name("7"))

    (record,) = ridge.glob("run*.json")
    text = record.read_text()
    value = json.loads(text)
    value["versions"]["numpy"] = f"0.{value['versions']['numpy']}"
    record.write_text(json.dumps(value))
    assert {(kind, reason.partition(" (")[0].rpartition(".")[0][:17]) for kind, _, reason in findings(finished)} == {
        ("foreign", "made with numpy 0")
    }
    record.write_text(text.replace('"schema_version": 2', '"schema_version": 3', 1))
    ((kind, _, reason),) = findings(finished)
    assert kind == "foreign"
    assert reason.startswith("schema 3, this version reads 2: made by another version of this project")
    record.write_text(text[:100])
    assert [kind for kind, _, _ in findings(finished)] == ["damaged"]
    record.unlink()
    assert [kind for kind, _, _ in findings(finished)] == ["missing"]
    record.write_text(text)

    finished.edit("workflow/cmr/methods/cca.py", "class CCA", "NEW = 1\n\n\nclass CCA")
    assert [(kind, name, reason.partition("; made by version ")[0]) for kind, name, reason in findings(finished)] == [
        ("stale", "fit.json", "the code that fit runs with cca is another now"),
        ("stale", run.name, "the code that evaluate runs with cca, mean_average_precision is another now"),
    ]
    (finished.root / "workflow/cmr/methods/ridge_label.py").unlink()
    assert any(kind == "foreign" and "unknown method 'ridge_label'" in reason for kind, _, reason in findings(finished))
    finished.configure(experiments=[{**CONFIG["experiments"][0], "methods": ["cca"]}])
    (line,) = cmr(finished, "prune", status=1).splitlines()
    assert "unknown method 'ridge_label'" in line
    assert "; bring the plug-in back, or delete results/experiments/main-" in line


def test_verify_of_no_results_is_one_line(finished, tmp_path):
    assert cmr(finished, "verify", str(tmp_path), status=1).startswith("error: ")


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.slow
def test_two_trees_merge_by_rsync(finished, tmp_path):
    other = finished.copy(tmp_path / "other")
    other.configure(**OTHER)
    other.snakemake("metrics")
    before = {p: p.read_bytes() for p in (finished.root / "results").rglob("metrics*.json")}
    subprocess.run(
        ["rsync", "-a", "--safe-links", "--ignore-existing", f"{other.root}/results/", f"{finished.root}/results/"],
        check=True,
    )
    assert {p: p.read_bytes() for p in before} == before
    assert "3 runs checked: all are as their records say" in cmr(finished, "verify")
    assert finished.planned("metrics") == {}
    finished.configure(**OTHER)
    assert finished.planned("metrics") == {}


@pytest.mark.slow
def test_prune_lists_and_removes_what_no_experiment_refers_to(finished):
    assert "nothing to remove" in cmr(finished, "prune")
    before = sorted((finished.root / "results/runs").rglob("*"))
    finished.configure(**OTHER)
    finished.snakemake("metrics")
    assert "nothing to remove" in cmr(finished, "prune")  # both experiments have an index
    newest = max((finished.root / "results/experiments").glob("*.json"), key=lambda path: path.stat().st_mtime)
    newest.unlink()
    finished.configure()
    partial = finished.root / "results/.partial/fits/toy/default/image+text/gone/0/0123456789abcdef/final.pt"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 10)
    listed = json.loads(cmr(finished, "prune", "--json"))
    gone = f"cca-{digest({'components': 1})}"
    assert {item["path"]: item["bytes"] > 0 for item in listed} == {
        f"results/fits/toy/default/image+text/{gone}": True,
        f"{RUNS}/{gone}": True,
        "results/.partial/fits/toy/default/image+text/gone": True,
    }
    assert next(item["bytes"] for item in listed if ".partial" in item["path"]) == 10
    cmr(finished, "prune", "--yes")
    assert sorted((finished.root / "results/runs").rglob("*")) == before
    assert finished.planned("metrics") == {}
    assert "all are as their records say" in cmr(finished, "verify")


def test_prune_keeps_what_a_configuration_asks_for_and_stops_while_a_run_goes_on(finished):
    (index,) = (finished.root / "results/experiments").glob("*.json")
    index.unlink()
    assert "nothing to remove" in cmr(finished, "prune")
    (finished.root / ".snakemake/locks").mkdir(exist_ok=True)
    (finished.root / ".snakemake/locks/0.output.lock").touch()
    assert "a run is going on" in cmr(finished, "prune", "--yes", status=1)


def test_no_result_holds_this_machines_path(finished):
    for path in (finished.root / "results").rglob("*"):
        if path.is_file() and ".logs" not in path.parts:
            assert str(finished.root).encode() not in path.read_bytes(), path


def test_the_second_of_two_people_is_refused_in_words(finished):
    locks = finished.root / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("results/fits/toy/default/image/ridge_label/0/fit.json")
    output = finished.snakemake("metrics", "--forcerun", "fit", check=False)
    assert "Directory cannot be locked" in output
    assert "unlock" in output
