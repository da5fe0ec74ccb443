"""Files as people bring them are read where they have one meaning, and told in a line where they have two or none."""

import pytest

from robustness.inputs import CASES
from robustness.toys import ROOT


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
