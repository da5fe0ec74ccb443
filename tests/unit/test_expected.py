"""What is there, but would be another result now: by data, code and parameters, whatever the times of files say."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmr import code
from cmr.errors import UserError
from cmr.expected import Expected, described
from cmr.features.efficientnet_lite0 import EfficientNetLite0
from toy_plan import Project, experiment

TABLE = {"file": "my.csv", "id": "key", "image": "picture", "text": "caption", "label": "class"}
CONFIG = {
    "datasets": [{"id": "made", "dataset": "table", "params": TABLE}],
    "metrics": ["mean_average_precision"],
    **experiment(["bow"], "random", seeds=2),
}
FOLLOWING = {"prepare": 1, "split": 1, "extract": 1, "fit": 2, "evaluate": 2, "collect": 1}
"""Number of results of each stage."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of pictures and texts, in the working directory, all of whose runs are made."""
    monkeypatch.chdir(tmp_path)
    for row in range(12):
        Image.fromarray(np.full((2, 2, 3), 20 * row, np.uint8)).save(f"{row}.png")
    rows = [[f"k{r}", f"{r}.png", f"a text of {'ab'[r % 2]} {r}", "ab"[r % 2]] for r in range(12)]
    pd.DataFrame(rows, columns=["key", "picture", "caption", "class"]).to_csv("my.csv", index=False)
    made = Project(tmp_path, CONFIG)
    made.make(made.only("collect"))
    return made


def stale(project):
    """Stage and causes of each stale result."""
    found = list(Expected(project.machine).stale(project.plan.results()))
    return [(stale.result.stage, *stale.causes) for stale in found], described(found)


def replaced(file, old, new):
    """An edit that leaves size and time of the content as they were."""
    assert len(old) == len(new)
    before, content = os.stat(file), Path(file).read_bytes()
    assert old in content
    Path(file).write_bytes(content.replace(old, new, 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def after(*stages):
    """These stages and all that follow them, without causes of their own."""
    return [(stage,) for stage in stages for _ in range(FOLLOWING[stage])]


def test_what_was_made_is_what_would_be_made_also_after_a_copy_elsewhere(project, tmp_path_factory, monkeypatch):
    assert stale(project) == ([], "")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    os.rename(project.root, elsewhere)
    monkeypatch.chdir(elsewhere)
    assert stale(Project(elsewhere, CONFIG)) == ([], "")
    for file in elsewhere.rglob("*"):
        os.utime(file)
    assert stale(Project(elsewhere, CONFIG)) == ([], "")


def test_an_edited_file_of_the_users_own_makes_all_of_it_stale(project):
    replaced("my.csv", b"a text of a 0", b"a word of a 0")
    found, line = stale(project)
    of_files = [(stage, "other data") for stage in ("prepare", "split", "extract")]
    assert sorted(found) == sorted(of_files + after("fit", "evaluate", "collect"))
    assert "1 data sets (other data), 1 splits (other data), 1 features (other data), 5 made from them" in line


def test_an_edited_picture_makes_its_data_set_stale_and_one_that_is_gone_does_not(project):
    content = Path("3.png").read_bytes()
    Path("3.png").unlink()
    assert stale(project) == ([], "")
    Path("3.png").write_bytes(Path("4.png").read_bytes())
    found, _ = stale(project)
    assert sorted(found) == sorted(
        [("prepare", "other data"), *after("split", "extract", "fit", "evaluate", "collect")]
    )
    Path("3.png").write_bytes(content)
    assert stale(project) == ([], "")


def test_other_code_makes_its_stage_stale(project, monkeypatch):
    genuine = code.of_stage
    monkeypatch.setattr(code, "of_stage", lambda stage, plugins: "other" if stage == "fit" else genuine(stage, plugins))
    found, line = stale(project)
    assert sorted(found) == sorted([("fit", "other code")] * 2 + after("evaluate", "collect"))
    assert line.endswith(": 2 fits (other code), 3 made from them")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda text: re.sub('"identity": "....', '"identity": "0000', text, count=1), "other parameters"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 1'), "an older form"),
        (lambda text: text[:100], "an older form"),
        (lambda text: "[]", "an older form"),
    ],
)
def test_a_record_of_another_identity_or_form(project, change, cause):
    record = Path(project.results("fit")[0].record)
    record.write_text(change(record.read_text()))
    found, line = stale(project)
    assert found == [("fit", cause)]  # what is made from it was made from what would be made again
    assert f"1 fits ({cause})" in line


@pytest.mark.parametrize("file", ["record", "metrics", "curves", "embeddings"])
def test_a_run_that_has_lost_a_file_is_told_and_features_and_models_may_be_deleted(project, file):
    run, fit = project.results("evaluate")[0], project.results("fit")[0]
    lost = dict(zip(("record", "metrics", "curves", "embeddings"), (run.record, *run.files), strict=True))[file]
    shutil.rmtree(lost) if Path(lost).is_dir() else Path(lost).unlink()
    for freed in (*fit.files, *project.results("extract")[0].files):
        Path(freed).unlink()
    assert stale(project) == (
        [("evaluate", "gone")],
        "without all of their files, and made again where asked for: 1 runs",
    )


def test_what_is_not_there_is_not_stale(project):
    for result in [*project.results("fit"), *project.results("evaluate"), *project.results("collect")]:
        Path(result.record).unlink()
    replaced("my.csv", b"a text of a 0", b"a word of a 0")
    found, _ = stale(project)
    assert {stage for stage, *_ in found} == {"prepare", "split", "extract"}


def test_other_weights_under_the_same_parameters_are_other_weights(tmp_path, monkeypatch):
    """A model of a hub at `main` may be another one tomorrow; where a file came from is nothing."""
    monkeypatch.chdir(tmp_path)
    config = CONFIG | {
        "features": [{"id": "lite0", "extractor": "efficientnet_lite0"}],
        **experiment(["lite0"], "random"),
    }
    made = Project(tmp_path, config)
    identities = []
    for sha256, source in (("a" * 64, "a hub"), ("b" * 64, "a hub"), ("b" * 64, "a mirror")):
        found = {"name": "w.pt", "sha256": sha256, "source": source}
        monkeypatch.setattr(EfficientNetLite0, "fetch", lambda self, found=found: found)
        result = made.make(made.only("weights"), again=True)
        assert Expected(made.machine).of(result).identity == made.record(result)["identity"]
        identities.append(made.record(result)["identity"])
    assert identities[0] != identities[1] == identities[2]


def test_weights_that_were_replaced_since_they_were_recorded_make_no_features(project, monkeypatch):
    """The weights' record is not looked at anew: they lie in a cache, where another program may have changed them."""
    features = [{"id": "lite0", "extractor": "efficientnet_lite0"}]
    made = Project(project.root, CONFIG | {"features": features, **experiment(["lite0"], "random")})
    for sha256 in ("a" * 64, "b" * 64):
        found = {"name": "w.pt", "sha256": sha256, "source": "a hub"}
        monkeypatch.setattr(EfficientNetLite0, "fetch", lambda self, found=found: found)
        if sha256.startswith("a"):
            made.make(made.only("weights"))
    with pytest.raises(UserError, match=r"lite0\S*: made with weights of sha256 a+, here are others: b+; delete"):
        made.make(made.only("extract"))
    assert not Path(made.only("extract").record).exists()
