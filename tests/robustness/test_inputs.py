"""Files as people bring them are read where they have one meaning, and told in a line where they have two or none."""

from dataclasses import replace

import numpy as np
import pytest

import synthetic
from cmr import registry
from cmr.errors import UserError
from robustness.inputs import CASES
from toy_clones import ROOT

METHODS = [name for name in registry.names("methods") if registry.info("methods", name).implementation != "quoted"]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.section}: {case.tried}".encode("ascii", "replace").decode()
)
def test_it_is_read_or_told(tmp_path, case):
    kind, found = case.outcome(tmp_path)
    assert case.shows in found, (kind, found)
    assert kind == case.right, found
    assert "\n" not in found


def test_the_page_has_every_case():
    page = (ROOT / "docs/inputs.md").read_text("utf-8").replace("\\", "")
    assert [case.tried for case in CASES if f"| {case.tried} | {case.before} |" not in page] == []


@pytest.mark.mended("features that are the same in all rows ended seven methods in stack traces")
@pytest.mark.parametrize("constant", [["image"], ["image", "text"]], ids="+".join)
@pytest.mark.parametrize("name", METHODS)
def test_features_that_are_the_same_in_all_rows_are_told(name, constant):
    part = synthetic.for_method(name, synthetic.separable(aligned=name == "zero_shot"))
    part |= {m: replace(part[m], features=synthetic.mapped(np.ones_like, part[m].features)) for m in constant}
    info = registry.info("methods", name)
    fitted = ["image"] if info.modalities == 1 else list(part)
    unlabelled = part if info.transductive else None
    with pytest.raises(UserError, match="features of all 60 training rows are the same, so nothing can be learned"):
        synthetic.fitted(name, {m: part[m] for m in fitted}, 0, unlabelled, **synthetic.small(name))
