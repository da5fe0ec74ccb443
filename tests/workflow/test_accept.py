"""Results are kept after an edit that changes no figure, on the evidence of runs that are made again, and only then."""

import json

import pytest

from test_sharing import cmr

RECORDS = ("fits/*/*/*/*/*/fit.json", "runs/*/*/*/*/*/run*.json")


def records(clone):
    """Every record of a fit and a run, by path."""
    results = clone.root / "results"
    return {str(path.relative_to(results)): path.read_text() for form in RECORDS for path in sorted(results.glob(form))}


@pytest.mark.slow
def test_an_edit_that_changes_nothing_is_accepted(finished):
    before = records(finished)
    finished.edit("workflow/cmr/methods/cca.py", "class CCA", "ANOTHER_NAME = 1\n\n\nclass CCA")
    assert finished.planned("metrics") == {"fit": 1, "evaluate": 1, "collect": 1}
    said = cmr(finished, "accept", "--directory", "again")
    assert "the same  runs/toy/default/image+text/cca" in said
    assert "2 results accepted for the present code, 0 stay as they are" in said
    assert finished.planned("metrics") == {"collect": 1}  # which lists the runs' identities
    finished.snakemake("metrics")
    assert "all are as their records say" in cmr(finished, "verify")
    changed = {path for path, text in records(finished).items() if text != before[path]}
    assert len(changed) == 2
    for path in changed:
        then, now = json.loads(before[path]), json.loads(records(finished)[path])
        (note,) = now["accepted"]
        assert (note["identity"], note["code"]) == (then["identity"], then["code"])
        assert now["identity"] != then["identity"]
        assert note["compared"] == [run for run in note["compared"] if "/cca" in run] != []
        assert now["output_hashes"] == then["output_hashes"]


@pytest.mark.slow
def test_an_edit_that_changes_figures_is_refused_and_nothing_is_rewritten(finished):
    before = records(finished)
    finished.edit("workflow/cmr/methods/base.py", "return matrix / np.where", "return abs(matrix) / np.where")
    said = cmr(finished, "accept", "--directory", "again", status=1)
    assert "differs " in said
    assert "0 results accepted" in said
    assert records(finished) == before


@pytest.mark.slow
def test_other_parameters_or_data_are_not_accepted(finished):
    before = records(finished)
    finished.edit("workflow/cmr/datasets/toy.py", "default_rng(0)", "default_rng(1)")
    said = cmr(finished, "accept", "--directory", "again", status=1)  # code, but of the data: figures differ
    assert "0 results accepted" in said
    assert records(finished) == before


@pytest.mark.parametrize("edit", ["none", "comment"])
def test_where_there_is_nothing_to_accept_it_is_said(finished, edit):
    if edit == "comment":
        finished.edit("workflow/cmr/methods/cca.py", "class CCA", "# A remark.\nclass CCA")
    said = cmr(finished, "accept", "--directory", "again", status=1)
    assert "no result differs from what would be made now in nothing but code" in said
    assert not (finished.root / "again").exists()
