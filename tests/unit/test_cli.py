"""The command line: listings for people and for programs, what is missing, and one line for a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmr import cli, publish, registry


def run(capsys, *arguments):
    cli.main(arguments)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _no_change_of_the_environment(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # `doctor` sets it


def test_every_plugin_is_listed(capsys):
    text = run(capsys, "list")
    listed = json.loads(run(capsys, "list", "--json"))
    for kind in registry.FOLDERS:
        assert {plugin["name"] for plugin in listed[kind]} == set(registry.names(kind))
        assert all(name in text for name in registry.names(kind))


def test_one_kind_for_other_programs(capsys):
    methods = {plugin["name"]: plugin for plugin in json.loads(run(capsys, "list", "methods", "--json"))}
    assert methods["dla_cmr"]["implementation"] == "own"
    assert methods["dla_cmr"]["params"]["margin"]["default"] == 1e-4
    quoted = [plugin for plugin in methods.values() if plugin["implementation"] == "quoted"]
    assert quoted
    assert all(plugin["reason"] for plugin in quoted)


def test_doctor_says_how_to_place_weights_and_downloads_nothing(capsys, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        f"cache: {tmp_path}/cache\nfeatures: [{{id: vgg, extractor: vgg19_fc7}}, {{id: lite0, extractor: efficientnet_lite0}}]\n"
        "experiments: [{id: a, data: [openmoji], inputs: [[vgg, bow]], methods: [cca]}]\n"
    )
    findings = {f["what"]: f for f in json.loads(run(capsys, "doctor", "--config", str(config), "--json"))}
    assert findings["weights of lite0"]["there"]
    assert not findings["weights of vgg"]["there"]
    assert f"place it as {tmp_path}/cache/weights/vgg19-dcbb9e9d.pth" in findings["weights of vgg"]["text"]
    assert not list((tmp_path / "cache").rglob("*.pth"))
    assert {"GPU", "sbatch"} <= set(findings)


def test_metrics_of_two_files(capsys, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 10)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.eye(3)[labels] + 0.1 * rng.normal(size=(30, 3)))
    np.save(tmp_path / "l.npy", labels)
    files = [str(tmp_path / name) for name in ("a.npy", "b.npy")]
    found = json.loads(run(capsys, "metrics", *files, "--labels", str(tmp_path / "l.npy"), "--at", "5"))
    assert set(found) == {"map@all", "map@5", "rows", "rows_without_label", "queries_without_relevant"}
    assert set(found["map@all"]) == {"a_to_b", "b_to_a", "average"}
    assert found["map@all"]["average"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("summary", "nowhere"),
        ("doctor", "--config", "nowhere.yaml"),
        ("metrics", "a.npy", "b.npy", "--labels", "l.npy"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


def test_an_interrupt_is_one_line_and_leaves_nothing_half_written(capsys, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.templates, "new", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main(["new", "method", "mine", "--to", "my"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nerror: interrupted\n"

    def half(temporary):
        with publish.atomic(temporary) as file:
            Path(file).write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half(tmp_path / "whole.txt")
    assert not list(tmp_path.iterdir())


def test_listing_does_not_import_torch():
    code = "import sys; from cmr import cli; cli.main(['list']); assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "least"),
    [
        (["compare", "a", "b", "-k", "-3"], 0),
        (["metrics", "a", "b", "--at", "x"], 1),
    ],
)
def test_numbers_have_a_least_value(capsys, arguments, least):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert f"expected a whole number of at least {least}, found" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "a", "b", "--metric", "map@all", "--metric", "map@50"],
        ["metrics", "a", "b", "--at", "5", "--labels", "y", "--at", "7"],
        ["search", "run", "--text", "a", "--text", "b"],
        ["summary", "--method", "a", "--method", "a"],
    ],
)
def test_an_option_is_given_once(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert f"error: {arguments[-2]}: given twice" in capsys.readouterr().err


def test_files_may_be_named_together_or_one_by_one():
    command = ["index", "run", "--out", "x", "--config", "a", "--embeddings", "1", "2", "--embeddings", "3"]
    options = cli.parser().parse_args([*command, "--config", "b", "c"])
    assert options.config == ["a", "b", "c"]
    assert options.embeddings == [Path("1"), Path("2"), Path("3")]
    assert cli.parser().parse_args(["prune"]).config == []


def test_a_report_replaces_nothing(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit):
        cli.main(["report", str(tmp_path / "results"), "--out", str(tmp_path)])
    assert "name a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
