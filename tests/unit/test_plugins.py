"""Plug-ins of a folder of the user's own: found, hashed, refused where they cannot be, and never taken from a record."""

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import cmr
from cmr import cli, code, config, job, registry, rerun, sharing
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.recorded import plan_of
from cmr.reporting.collect import load
from own_plugins import forget, write_folder
from reporting_tree import write_tree
from synthetic import create, separable

EXPERIMENT = {"id": "x", "data": ["openmoji"], "inputs": [["efficientnet_lite0", "bert"]], "methods": ["shifted"]}


@pytest.fixture(autouse=True)
def _as_a_new_process():
    forget()
    yield
    forget()


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "my")


def identity(folder, name="shifted"):
    forget()
    registry.use(folder)
    return code.of_stage("fit", (("methods", name),))


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_code_of_another_folder_is_not_taken_for_that_of_the_one_in_use(folder, tmp_path):
    registry.use(folder)
    registry.load("methods", "shifted")
    registry.use(write_folder(tmp_path / "other"))
    with pytest.raises(UserError, match=r"other: this process runs .*my/.*\.py; start another one for this folder"):
        registry.load("methods", "shifted")


def test_they_are_found_beside_the_packages_own_and_work(folder):
    package = registry.names("methods")
    registry.use(folder)
    assert set(registry.names("methods")) == {*package, "shifted", "cut"}
    assert registry.info("methods", "shifted").title == "Shifted"
    train = separable()
    method = create("shifted", tuple(train), 0)
    method.fit(train)
    features = train["text"].features
    np.testing.assert_allclose(method.embed("text", features), (features - features.mean(0))[:, :4], atol=1e-6)
    registry.use(None)
    assert registry.names("methods") == package


def test_the_identity_covers_the_file_and_what_it_imports_from_the_folder(folder):
    before = {name: identity(folder, name) for name in ("shifted", "cut", "cca")}
    edit(folder / "helpers.py", "rows - mean", "rows - 2 * mean")
    helper = {name: identity(folder, name) for name in before}
    assert helper["cca"] == before["cca"]
    assert helper["shifted"] != before["shifted"]
    assert helper["cut"] != before["cut"]
    edit(folder / "methods" / "cut.py", "[:, :2]", "[:, :3]")
    own = {name: identity(folder, name) for name in before}
    assert own["shifted"] == helper["shifted"]
    assert own["cut"] != helper["cut"]


def test_the_identity_covers_packages_of_the_folder_that_hold_code(folder):
    before = identity(folder)
    (folder / "methods" / "__init__.py").write_text("import numpy\nnumpy.seterr(all='raise')\n")
    assert identity(folder) != before


def test_comments_and_the_folders_place_are_no_part_of_the_identity(folder):
    before = identity(folder)
    edit(folder / "helpers.py", "  # a row each", "  # another comment")
    assert identity(folder) == before
    folder.rename(folder.with_name("elsewhere"))
    assert identity(folder.with_name("elsewhere")) == before


def test_a_folder_changes_no_identity_of_the_packages_plug_ins(folder):
    stages = ("extract", "fit", "evaluate")
    without = [code.of_stage(stage, (("methods", "cca"),)) for stage in stages]
    forget()
    registry.use(folder)
    assert [code.of_stage(stage, (("methods", "cca"),)) for stage in stages] == without


def test_nothing_is_executed_before_a_plug_in_is_asked_for(folder, tmp_path):
    mark = tmp_path / "executed"
    with open(folder / "methods" / "cut.py", "a") as file:
        file.write(f"\nopen({str(mark)!r}, 'w')\n")
    registry.use(folder)
    registry.info("methods", "cut")
    registry.params_model("methods", "cut")
    code.of_stage("fit", (("methods", "cut"),))
    assert not mark.exists()
    registry.load("methods", "cut")
    assert mark.exists()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("methods/cca.py", r"my/methods/cca\.py: the package has a method 'cca' already; give yours another name"),
        (
            "datasets/my-data.py",
            r"my/datasets/my-data\.py: the name of a data set: letters, digits and '_', 40 at most",
        ),
        ("metrics/_own.py", r"my/metrics/_own\.py: the name of a metric"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_a_line(folder, written, said):
    (folder / written).parent.mkdir(exist_ok=True)
    (folder / written).write_text("INFO = None\n")
    with pytest.raises(UserError, match=said) as told:
        registry.use(folder)
    assert "\n" not in str(told.value)


def test_a_helper_may_have_any_name(folder):
    (folder / "methods" / "cca.py").write_text("half = 0.5\n")
    registry.use(folder)
    assert registry.path("methods", "cca") == registry.PACKAGE / "methods" / "cca.py"


def test_a_file_without_an_info_is_told_where_its_name_is_asked_for(folder):
    edit(folder / "methods" / "cut.py", "INFO = ", "INFO: MethodInfo = ")
    registry.use(folder)
    told = r"my/methods/cut\.py: no line starts with 'INFO =', so it is no method; cmr new writes an example"
    for method in ("cut", {"id": "mine", "method": "cut"}):
        with pytest.raises(UserError, match=told):
            config.validate({"experiments": [{**EXPERIMENT, "methods": [method]}]})


def test_a_folder_without_a_folder_of_a_kind_is_refused(tmp_path):
    (tmp_path / "method").mkdir()
    with pytest.raises(UserError, match=r"none of the folders datasets, extractors, dictionaries, methods, metrics"):
        registry.use(tmp_path)


def test_the_folder_is_relative_to_the_last_file_that_names_it(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("plugins: none_such\n")
    Path("my/my.yaml").write_text("plugins: .\n")
    Path("other.yaml").write_text("title: Other\n")
    assert config.plugin_folder({}) is None
    assert config.plugin_folder(config.read_all(["config.yaml", "my/my.yaml", "other.yaml"])) == "my"
    Path("off.yaml").write_text("plugins: null\n")
    assert config.plugin_folder(config.read_all(["my/my.yaml", "off.yaml"])) is None
    with pytest.raises(UserError, match=r"config\.yaml: plugins: no such folder: none_such; the path is relative"):
        config.plugin_folder(config.read_all(["config.yaml"]))


def test_commands_find_them_where_the_configuration_names_the_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my/my.yaml").write_text("plugins: .\n")
    cli.main(["list", "methods", "--config", "my/my.yaml"])
    assert re.search(r"^  shifted +Shifted \(own, unsupervised\)$", capsys.readouterr().out, re.MULTILINE)
    cli.main(["list", "methods"])
    assert "Shifted" not in capsys.readouterr().out


def test_a_job_finds_them_by_its_plan_and_a_plan_of_others_brings_none(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry.use("my")
    plan = job.write(config.validate({"experiments": [EXPERIMENT]}), Machine(plugins="my"), "results/report")
    assert job.plugin_folder(plan) == "my"
    forget()
    Path("results").mkdir()
    assert sharing.prune("results", []).kept_for == []
    assert registry.own_folder() is None


def test_a_record_names_no_folder_and_is_told_how_to_get_one(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = write_tree(tmp_path / "results", methods=["cca"], n=16)
    (run,) = load(tree).runs
    record = json.loads(json.dumps(run.record).replace('"method": "cca"', '"method": "shifted"'))
    record |= {"plugins": [["methods", "shifted"]], "machine": {"plugins": "my"}}
    with pytest.raises(UserError, match=r"unknown method 'shifted'.*--config names the configuration with its folder"):
        plan_of(record, "run.json")
    assert registry.own_folder() is None
    registry.use("my")
    assert plan_of(record, "run.json")[1].folder.endswith("/cca/0")


@pytest.mark.parametrize(
    ("file", "broken", "said"),
    [
        ("methods/shifted.py", "import numpyy", r"methods/shifted\.py: line 3: ModuleNotFoundError: .*'numpyy'"),
        ("helpers.py", "\nnone_such", r"helpers\.py: line 7: NameError: name 'none_such' is not defined"),
        ("helpers.py", "\na b", r"helpers\.py: line 7: SyntaxError: invalid syntax$"),
    ],
)
def test_what_keeps_a_plug_in_from_being_imported_is_told_by_check(folder, monkeypatch, capsys, file, broken, said):
    monkeypatch.chdir(folder.parent)
    Path("my/my.yaml").write_text(json.dumps({"plugins": ".", "experiments": [EXPERIMENT]}))
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace("import numpy", broken) if "numpyy" in broken else text + broken)
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "my/my.yaml"])
    found = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok")]
    assert (ended.value.code, len(found)) == (1, 1)
    assert re.search(f"^error    shifted: .*my/{said}", found[0])
    assert f"{registry.own.__name__}.methods.cut" not in sys.modules  # the configuration does not name it


def test_they_are_there_from_python(folder):
    registry.use(folder)
    train = separable()
    model = cmr.fit("shifted", {m: view.features for m, view in train.items()})
    features = train["text"].features
    np.testing.assert_allclose(model.embed("text", features), (features - features.mean(0))[:, :4], atol=1e-5)


def test_a_saved_model_of_ones_own_is_loaded_with_the_folder_in_use(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    views = {m: view.features for m, view in separable().items()}
    registry.use("my")
    model = cmr.fit("shifted", views)
    model.save("model")
    loaded = cmr.load("model")
    assert np.array_equal(loaded.embed("text", views["text"]), model.embed("text", views["text"]))
    write_folder(tmp_path / "other")
    (tmp_path / "other.yaml").write_text("plugins: other\n")
    forget()
    registry.use("my")
    cmr.load("model", ["other.yaml"])
    assert registry.own_folder() == tmp_path / "other"  # what a configuration names comes first


def test_a_model_of_an_unknown_plug_in_says_how_to_name_its_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry.use("my")
    cmr.fit("shifted", {m: view.features for m, view in separable().items()}).save("model")
    forget()
    with pytest.raises(UserError, match=r"unknown method 'shifted'.*--config names .*cmr\.registry\.use\(FOLDER\)"):
        cmr.load("model")
    registry.use("my")
    with pytest.raises(UserError, match=r"unknown method 'shiftd'; did you mean 'shifted'\?$"):
        registry.check("methods", "shiftd")


def test_a_rerun_gets_the_folder_of_the_users_configuration(tmp_path):
    settings = rerun._settings(Machine(plugins=str(tmp_path / "my")), tmp_path / "again" / "deep")
    assert settings["plugins"] == "../../my"
    assert "plugins" not in rerun._settings(Machine(), tmp_path / "again")


def test_nothing_is_imported_for_a_strangers_tree(tmp_path, monkeypatch, capsys):
    """Their folder has plug-ins, a configuration and a plan that name it, and records of runs that are made by one."""
    theirs, mark = tmp_path / "theirs", tmp_path / "executed"
    folder = write_folder(theirs / "my")
    for file in folder.rglob("*.py"):
        file.write_text(f"open({str(mark)!r}, 'w')\n{file.read_text()}\nclass Params:\n    open({str(mark)!r}, 'w')\n")
    write_tree(theirs / "results", methods=["cca"], n=16)
    for file in theirs.rglob("*.json"):
        file.write_text(file.read_text().replace('"method": "cca"', '"method": "shifted"').replace('"methods", "cca"', '"methods", "shifted"'))  # fmt: skip
    (theirs / "config.yaml").write_text("plugins: my\n")
    plan = {
        "config": {"experiments": [EXPERIMENT]},
        "machine": {"plugins": "../theirs/my", "project": {"version": "0"}},
        "report": "",
    }
    (theirs / ".snakemake" / "cmr").mkdir(parents=True)
    (theirs / ".snakemake" / "cmr" / "0.json").write_text(json.dumps(plan))
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    run = "../theirs/results/runs/shapes/default/lite0+bert/cca/0"
    for command in (
        ["verify", "../theirs/results"],
        ["prune", "../theirs/results"],
        ["summary", "../theirs/results"],
        ["search", run, "--text", "a red circle"],
        ["rerun", run, "--directory", "again"],
        ["compare", run, run],
    ):
        with suppress(SystemExit):
            cli.main(command)
        assert not mark.exists(), command
        assert registry.own_folder() is None
    assert "unknown method 'shifted'" in "".join(capsys.readouterr())


def zeros(file):
    file.write_bytes(b"INFO = 1\n\0")


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda file: file.symlink_to("/dev/zero"),
        lambda file: file.symlink_to("gone"),
        lambda file: file.mkdir(),
        lambda file: file.write_bytes(b"# caf\xe9\nINFO = 1\n"),
        zeros,
        lambda file: file.write_text("INFO = " + "(" * 5000 + ")" * 5000),
    ],
)
def test_a_file_of_the_folder_that_is_no_source_is_one_line(tmp_path, make):
    (tmp_path / "methods").mkdir()
    make(tmp_path / "methods" / "mine.py")

    def looked_at():
        registry.use(tmp_path)
        registry.info("methods", "mine")

    try:
        with pytest.raises(UserError, match=r"mine\.py: ") as told:
            looked_at()
    finally:
        registry.use(None)
    assert len(str(told.value)) < 500
