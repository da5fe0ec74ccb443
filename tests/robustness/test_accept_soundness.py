"""`cmr accept`: an edit that changes no figure costs a sample; one that does, or data that have changed, is refused."""

import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from cmr import accept
from cmr.errors import UserError
from cmr.methods.cca import CCA
from cmr.publish import read_json
from cmr.reporting.collect import load
from robustness.chains import accepted, findings, make, stale
from robustness.test_comparable import MAP, numbers

OF_CCA = {"fit": 1, "evaluate": 1, "collect": 1}
COMPONENTS = {"id": "cca", "params": {"components": 2}}


def configured(folder, *methods, data=("mine",), metrics=MAP):
    configuration = {
        "datasets": [
            {
                "id": name,
                "dataset": "precomputed",
                "params": {
                    "features": {"image": f"{name}/x.npy", "text": f"{name}/y.npy"},
                    "labels": f"{name}/labels.npy",
                },
            }
            for name in data
        ],
        "features": [{"id": m, "extractor": "ready", "modality": m} for m in ("image", "text")],
        "metrics": metrics,
        "experiments": [{"id": "main", "data": [*data], "inputs": [["image", "text"]], "methods": [*methods]}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("mine", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        numbers(tmp_path / name, seed)
    return tmp_path


def test_an_edit_of_what_all_stages_share_is_accepted_from_the_data_on(project, edited):
    configured(project, COMPONENTS, "ridge_label")
    make()
    edited("prepare", "split", "extract", "fit", "evaluate")
    before = stale()
    assert before == {"prepare": 1, "split": 1, "extract": 2, "fit": 3, "evaluate": 2, "collect": 1}
    compared, count, kept = accepted()
    assert all(compared.values())
    assert (count, kept) == (9, 0)
    assert stale() == {"collect": 1}
    make()
    assert stale() == {}
    assert findings() == []


def test_nothing_to_accept_is_said(project):
    configured(project, COMPONENTS)
    make()
    with pytest.raises(UserError, match="no result differs from what would be made now in nothing but code"):
        accepted()


def test_of_two_edited_methods_the_one_that_changed_stays(project, edited, monkeypatch):
    configured(project, COMPONENTS, "ridge_label")
    make()
    genuine = CCA.embed
    monkeypatch.setattr(CCA, "embed", lambda method, modality, rows: -genuine(method, modality, rows))
    edited("fit", "evaluate")
    compared, count, kept = accepted()
    assert sorted(compared.values()) == [False, True]
    assert (count, kept) == (3, 2)  # two fits and the run of ridge_label; a fit and the run of cca
    assert stale() == OF_CCA


def test_equal_metrics_of_other_embeddings_are_not_the_same(project, edited, monkeypatch):
    configured(project, COMPONENTS)
    make()
    genuine = CCA.embed
    monkeypatch.setattr(
        CCA, "embed", lambda method, modality, rows: 2 * genuine(method, modality, rows)
    )  # cosines stay
    edited("fit", "evaluate")
    compared, count, kept = accepted()
    assert list(compared.values()) == [False]
    assert (count, kept) == (0, 2)


def test_changed_data_are_never_accepted(project, edited):
    configured(project, COMPONENTS)
    make()
    edited("fit", "evaluate")
    numbers(project / "mine", seed=3)
    before = {str(file): file.read_bytes() for file in Path("results").rglob("*.json")}
    with pytest.raises(UserError, match="no result differs"):
        accepted()
    assert {str(file): file.read_bytes() for file in Path("results").rglob("*.json")} == before


@pytest.mark.mended(
    "`cmr accept` took runs on a data set's old content for runs on the new, once the items were made anew"
)
def test_runs_of_data_that_changed_before_are_not_accepted_on_the_evidence_of_others(project, edited):
    """One data set is as it was, the other's items were made again after a change, its runs not yet."""
    configured(project, COMPONENTS, data=("mine", "other"))
    make()
    numbers(project / "other", seed=3)
    make(until="extract")
    edited("fit", "evaluate")
    compared, count, kept = accepted()
    assert list(compared.values()) == [True]
    assert (count, kept) == (2, 0)
    assert stale() == OF_CCA
    (run,) = Path("results").glob("runs/other-*/**/run*.json")
    assert read_json(run)["accepted"] == []


def test_another_default_of_a_parameter_is_not_accepted(project, edited, monkeypatch):
    """What the user wrote is the same, what is computed is not."""
    from cmr import registry

    configured(project, "ridge_label")
    make()
    edited("fit", "evaluate")
    genuine = registry.params_model

    class Params(genuine("methods", "ridge_label")):
        alpha: float = 2.0

    @cache
    def edited_model(kind, name):
        return Params if name == "ridge_label" else genuine(kind, name)

    monkeypatch.setattr(registry, "params_model", edited_model)
    with pytest.raises(UserError, match="no result differs"):
        accepted()


@pytest.mark.mended(
    "after an edit of the evaluation was accepted, the next run left all accepted ones out of the summary"
)
@pytest.mark.parametrize("stages", [("evaluate",), ("fit", "evaluate")])
def test_accepted_runs_stand_beside_new_ones(project, edited, stages):
    configured(project, COMPONENTS)
    make()
    edited(*stages)
    assert accepted()[0]
    configured(project, COMPONENTS, "ridge_label")
    assert "prepare" not in make()
    found = load("results")
    assert {row["method"] for row in found.rows()} == {"cca", "ridge_label"}
    assert found.notes == ()


@pytest.mark.mended("`cmr accept` ended where a run was measured by two sets of metrics")
def test_a_run_with_two_sets_of_metrics_is_made_again_for_each(project, edited):
    configured(project, COMPONENTS)
    make()
    configured(project, COMPONENTS, metrics=["precision_recall"])
    assert make() == {"evaluate": 1, "collect": 1}
    edited("evaluate")
    compared, count, kept = accepted()
    assert list(compared.values()) == [True, True]
    assert (count, kept) == (2, 0)


def test_a_second_edit_is_accepted_from_the_first(project, edited):
    configured(project, COMPONENTS)
    make()
    edited("fit", "evaluate", mark="x")
    accepted(folder="one")
    edited("fit", "evaluate", mark="y")
    _, count, _ = accepted(folder="two")
    assert count == 2
    (fit,) = Path("results/fits").rglob("fit.json")
    assert len(read_json(fit)["accepted"]) == 2
    assert findings() == []


def test_results_of_two_former_codes_are_made_again_apart(project, edited, monkeypatch):
    configured(project, COMPONENTS)
    make()
    edited("fit", "evaluate", mark="x")
    genuine = CCA.embed
    with monkeypatch.context() as other:
        other.setattr(CCA, "embed", lambda method, modality, rows: -genuine(method, modality, rows))
        configured(project, COMPONENTS, data=("other",))
        make()
    edited("fit", "evaluate", mark="y")
    compared, count, kept = accepted()
    assert sorted(compared.values()) == [False, True]
    assert (count, kept) == (2, 2)


def test_runs_that_are_put_beside_accepted_features_are_accepted_too(project, edited):
    """As `rsync` puts those of another tree, which were made from the features before they were accepted."""
    configured(project, COMPONENTS, "ridge_label")
    make()
    folders = [folder for stage in ("fits", "runs") for folder in Path("results", stage).rglob("cca-*")]
    for number, folder in enumerate(folders):
        shutil.move(folder, project / f"elsewhere{number}")
    edited("extract", "fit", "evaluate")
    assert accepted(folder="one")[1:] == (5, 0)  # two features, two fits and a run
    for number, folder in enumerate(folders):
        shutil.move(project / f"elsewhere{number}", folder)
    assert accepted(folder="two")[1:] == (2, 0)
    assert stale() == {"collect": 1}
    assert findings() == []


def test_what_is_made_from_a_result_that_stays_stale_stays_too(monkeypatch):
    """Fits are proven by those on other features; these features were made again, and differ."""
    items, same, differing = (SimpleNamespace(record=name, made_from=[]) for name in ("items", "same", "differing"))
    fits = [SimpleNamespace(record=f"fit on {x.record}", made_from=[items, x]) for x in (same, differing)]
    evaluated = [SimpleNamespace(record=f"run of {fit.record}", made_from=[fit]) for fit in fits]
    monkeypatch.setattr(accept, "kind_of", lambda result: result.record.split(" ")[0])
    monkeypatch.setattr(accept, "_differs_in_code", lambda result, expected: result is not items)
    found = accept._accepted([same, differing, *fits, *evaluated], {"same", "fit", "run"}, None)
    assert [result.record for result in found] == ["same", "fit on same", "run of fit on same"]
