"""What runs again and what does not: the promises of the README's tables."""

import os
import shutil

import pytest

from toy_clones import CONFIG

pytestmark = pytest.mark.slow
MAIN = CONFIG["experiments"][0]
OTHER = {"experiments": [{**MAIN, "methods": [{"id": "cca", "params": {"components": 1}}, "ridge_label"]}]}


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.snakemake("metrics")
    assert finished.planned("metrics") == {}


def test_stages_by_name(fresh):
    assert fresh.planned("features") == {"download": 1, "prepare": 1, "split": 1, "extract": 2}
    assert fresh.planned("fits") == {"download": 1, "prepare": 1, "split": 1, "extract": 2, "fit": 3}
    assert set(fresh.planned("metrics")) == {"download", "prepare", "split", "extract", "fit", "evaluate", "collect"}
    assert fresh.planned()["page"] == 1


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("extract", {"extract": 2, "fit": 3, "evaluate": 2, "collect": 1}),
        ("fit", {"fit": 3, "evaluate": 2, "collect": 1}),
        ("evaluate", {"evaluate": 2, "collect": 1}),
    ],
)
def test_a_forced_stage_takes_what_depends_on_it(finished, stage, expected):
    assert finished.planned("metrics", "--forcerun", stage) == expected


@pytest.mark.parametrize("lost", ["metrics*.json", "*"])
def test_a_run_that_lost_files_is_made_again(finished, lost):
    (run,) = finished.root.glob("results/runs/*/*/*/cca*/0")
    before = {file.name for file in run.iterdir()}
    for file in list(run.glob(lost)):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert finished.planned("metrics") == {"evaluate": 1, "collect": 1}
    assert "without all of their files, and made again where asked for: 1 runs" in finished.snakemake("metrics")
    assert {file.name for file in run.iterdir()} == before
    assert finished.planned("metrics") == {}


@pytest.mark.parametrize(("target", "stage"), [("fits", "fit"), ("features", "extract")])
def test_a_deleted_result_is_made_again_by_its_name_and_needs_not_be_there_for_what_was_made_of_it(
    finished, target, stage
):
    folder = {"fit": "fits/*/*/*/cca*/0/model.safetensors", "extract": "features/*/*/*.h5"}[stage]
    deleted = sorted(finished.root.glob(f"results/{folder}"))[0]
    deleted.unlink()
    assert finished.planned("metrics") == {}
    assert finished.planned(target) == {stage: 1}


def test_editing_a_method_reruns_its_runs_and_editing_a_comment_nothing(finished):
    finished.edit("workflow/cmr/methods/cca.py", "class CCA", "# A remark.\nclass CCA")
    finished.edit("workflow/cmr/methods/cca.py", '"""Canonical', '"""Well known: canonical')
    assert finished.planned("metrics") == {}
    finished.edit("workflow/cmr/methods/cca.py", "class CCA", "NEW = 1\n\n\nclass CCA")
    assert finished.planned("metrics") == {"fit": 1, "evaluate": 1, "collect": 1}


def test_a_new_plugin_file_or_an_edit_of_what_computes_nothing_reruns_nothing(finished):
    shutil.copy(finished.root / "workflow/cmr/methods/cca.py", finished.root / "workflow/cmr/methods/mine.py")
    finished.edit("workflow/cmr/publish.py", "MAKE_ROOM =", "NEW = 1\nMAKE_ROOM =")
    finished.edit("workflow/cmr/cli.py", "def main", "NEW = 1\n\n\ndef main")
    assert finished.planned("metrics") == {}


def test_an_edited_helper_reruns_what_reaches_it_by_imports(finished):
    finished.edit("workflow/cmr/methods/eigen.py", "import numpy as np", "import numpy as np\n\nNEW = 1")
    assert finished.planned("metrics") == {"fit": 1, "evaluate": 1, "collect": 1}
    finished.edit("workflow/cmr/selection.py", "log =", "NEW = 1\nlog =")
    assert finished.planned("metrics") == {"fit": 3, "evaluate": 2, "collect": 1}
    assert "3 fits (other code)" in finished.snakemake("-n", "metrics")


def test_an_identity_decides_whatever_the_times_of_files_say(finished):
    (record,) = finished.root.glob("results/fits/toy/default/image+text/cca-*/0/fit.json")
    times = record.stat().st_atime_ns, record.stat().st_mtime_ns
    text = record.read_text()
    record.write_text(text.replace('"identity": "', '"identity": "0', 1))
    os.utime(record, ns=times)
    assert finished.planned("metrics") == {"fit": 1, "evaluate": 1, "collect": 1}
    record.write_text(text)
    os.utime(record, ns=times)
    assert finished.planned("metrics") == {}


def test_another_configuration_and_back(finished):
    (metrics,) = (finished.root / "results/runs/toy/default/image+text/ridge_label/0").glob("metrics*.json")
    before = metrics.read_bytes()
    finished.configure("other.yaml", **OTHER)
    assert finished.planned("metrics", "--configfile", "other.yaml") == {"fit": 1, "evaluate": 1, "collect": 1}
    finished.snakemake("metrics", "--configfile", "other.yaml")
    assert finished.planned("metrics", "--configfile", "other.yaml") == {}
    assert finished.planned("metrics") == {}
    finished.configure(**OTHER)
    assert finished.planned("metrics") == {}
    assert metrics.read_bytes() == before


def test_other_metrics_lie_beside_and_back_again(finished):
    finished.configure("other.yaml", metrics=["precision_recall"])
    assert finished.planned("metrics", "--configfile", "other.yaml") == {"evaluate": 2, "collect": 1}
    finished.snakemake("metrics", "--configfile", "other.yaml")
    assert finished.planned("metrics") == {}
    names = sorted(p.name for p in (finished.root / "results/runs/toy/default/image+text/ridge_label/0").iterdir())
    assert len(names) == 8


def test_a_changed_parameter_makes_new_paths_for_exactly_its_runs(finished):
    inputs = [["image", "text"], ["squared", "text"]]
    features = [*CONFIG["features"], {"id": "squared", "extractor": "numbers", "params": {"power": 2}}]
    finished.configure(features=features, experiments=[{**CONFIG["experiments"][0], "inputs": inputs}])
    # ridge_label is fitted a modality at a time: the text's fit is there already.
    assert finished.planned("metrics") == {"extract": 1, "fit": 2, "evaluate": 2, "collect": 1}


def test_a_copy_without_snakemakes_records_is_complete(finished_once, tmp_path):
    copied = finished_once.copy(tmp_path / "copied", everything=False)
    assert copied.planned("metrics") == {}


def test_two_trees_merge_as_a_union(finished, tmp_path):
    other = finished.copy(tmp_path / "other")
    other.configure(**OTHER)
    other.snakemake("metrics")
    shutil.copytree(other.root / "results", finished.root / "results", dirs_exist_ok=True)
    assert finished.planned("metrics") == {}
    finished.configure(**OTHER)
    assert finished.planned("metrics") == {}


def test_another_split_extracts_fitted_features_anew_and_fixed_ones_not(finished):
    finished.configure(experiments=[{**CONFIG["experiments"][0], "data": ["toy/no_validation"]}])
    assert finished.planned("features") == {"split": 1, "extract": 1}


def test_results_from_another_folder(finished, tmp_path):
    """One lab folder, an own clone each."""
    lab = tmp_path / "lab"
    lab.mkdir()
    shutil.copy(finished.root / "config.yaml", lab)
    arguments = ("--snakefile", str(finished.root / "Snakefile"), "--directory", str(lab), "metrics")
    finished.snakemake(*arguments)
    assert (lab / "results/runs/toy/default/image+text/cca").parent.exists()
    assert finished.planned(*arguments) == {}


def test_the_slurm_profile_plans_as_typed(fresh):
    assert fresh.planned("--profile", "slurm", "metrics") == fresh.planned("metrics")


def test_one_modality_more_is_one_fit_more(fresh):
    def with_inputs(*inputs):
        methods = [{"id": "sdml", "params": {"epochs": 2}}]
        features = [*CONFIG["features"], {"id": "audio", "modality": "audio", "extractor": "numbers"}]
        fresh.configure(features=features, experiments=[{**MAIN, "inputs": [list(inputs)], "methods": methods}])

    with_inputs("image", "text")
    fresh.snakemake("metrics")
    with_inputs("image", "text", "audio")
    assert fresh.planned("metrics") == {"extract": 1, "fit": 1, "evaluate": 1, "collect": 1}
