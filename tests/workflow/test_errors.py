"""Mistakes on purpose: a clear line, a status that is not zero, nothing half-written."""

import pytest

from toy_clones import CONFIG


def leftovers(root):
    """Temporary files and folders anywhere under results."""
    return [p for p in (root / "results").rglob("*") if p.name.endswith(".tmp") or ".tmp" in p.suffixes]


def experiment(**changes):
    return [{**CONFIG["experiments"][0], **changes}]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"titel": "x"}, "config.yaml: titel: unknown key; did you mean 'title'?"),
        (
            {"experiments": experiment(methods=["ccaa"])},
            "config.yaml: experiments[0].methods[0].method: unknown method 'ccaa'; did you mean 'cca'?",
        ),
        ({"experiments": experiment(seeds="many")}, "config.yaml: experiments[0].seeds: expected a valid integer"),
    ],
)
def test_a_mistake_in_the_configuration_stops_before_any_job(fresh, changes, expected):
    fresh.configure(**changes)
    output = fresh.snakemake("metrics", check=False)
    assert expected in output
    assert not (fresh.root / "results").exists()


@pytest.mark.slow
def test_a_class_with_a_single_item(fresh):
    fresh.configure(datasets=[{"id": "toy", "params": {"smallest": 1}}])
    output = fresh.snakemake("metrics", check=False)
    assert "error: class 'c' has only 1" in output
    assert "Traceback" not in output
    assert not list((fresh.root / "results/data").rglob("*.csv"))
    assert leftovers(fresh.root) == []


@pytest.mark.slow
def test_a_truncated_features_file(finished):
    path = finished.root / "results/features/toy/all/image.h5"
    path.write_bytes(path.read_bytes()[:1000])
    output = finished.snakemake("metrics", "--forcerun", "fit", check=False)
    record = "results/features/toy/all/image.json"
    assert f"error: results/features/toy/all/image.h5: other bytes than {record} says; delete both" in output
    assert leftovers(finished.root) == []
    path.unlink()
    (finished.root / record).unlink()
    finished.snakemake("metrics")


@pytest.mark.slow
def test_content_that_cannot_be_read_names_the_item(fresh):
    fresh.edit(
        "workflow/cmr/datasets/toy.py",
        "return Items(table",
        'table.loc[7, "image"] = "1 2 three"\n        return Items(table',
    )
    output = fresh.snakemake("features", check=False)
    assert "i07" in output
    assert "three" in output
    assert not (fresh.root / "results/features/toy/all/image.h5").exists()
    assert leftovers(fresh.root) == []


def test_a_missing_configuration_is_said(fresh):
    (fresh.root / "config.yaml").unlink()
    assert "config.yaml" in fresh.snakemake("metrics", check=False)
    fresh.configure("my.yaml", features=[])
    output = fresh.snakemake("metrics", "--configfile", "my.yaml", check=False)
    assert "no config.yaml is here for --configfile to extend; copy the project's" in output
