"""Configuration files of commands are put together as `snakemake --configfile` does it."""

from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from cmr import cli, config, doctor, settings
from cmr.errors import UserError
from cmr.sharing import prune

OWN = {"cache": "one", "device": "cpu", "features": [{"id": "few", "extractor": "bow"}], "title": "Own"}
MORE = {"features": [{"id": "more", "extractor": "bow"}], "cache": "two"}
EXPERIMENT = {"experiments": [{"id": "x", "data": ["openmoji"], "inputs": [["efficientnet_lite0", "more"]], "methods": ["cca"]}]}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("my").mkdir()
    for name, value in (("config.yaml", OWN), ("my/my.yaml", MORE), ("my/x.yaml", EXPERIMENT)):
        Path(name).write_text(yaml.safe_dump(value))


@pytest.mark.parametrize("given", [[], ["my/my.yaml"], ["my/my.yaml", "my/x.yaml"], ["config.yaml", "my/x.yaml"]])
def test_files_extend_the_own_one_as_snakemake_extends_it(given):
    expected = {}
    for file in dict.fromkeys(["config.yaml", *given]):
        update_config(expected, yaml.safe_load(Path(file).read_text()))
    assert settings.merged(given) == expected
    assert settings.machine(given).cache == expected["cache"]


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"my/none\.yaml: no such file"):
        settings.machine(["my/none.yaml"])


def test_doctor_and_prune_take_a_file_that_extends_the_own_one():
    Path("config.yaml").write_text(yaml.safe_dump(OWN | EXPERIMENT | {"features": MORE["features"]}))
    Path("my/other.yaml").write_text(yaml.safe_dump({"experiments": [{**EXPERIMENT["experiments"][0], "id": "y"}]}))
    found = doctor.findings(["my/other.yaml"])
    assert found[0]["text"] == "config.yaml, my/other.yaml"
    Path("results").mkdir()
    assert prune("results", ["my/other.yaml"]).kept_for == ["config.yaml", "config.yaml + my/other.yaml"]


def test_a_hyphen_in_an_id_is_told_in_words():
    with pytest.raises(UserError) as caught:
        config.validate({"datasets": [{"id": "my-data", "dataset": "openmoji"}], **EXPERIMENT})
    line = (
        "config.yaml: datasets[0].id: expected letters, digits, '.', '_' and '@', found 'my-data'; write 'my_data', say"
    )
    assert line in str(caught.value).splitlines()


def test_version_and_completion(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("cmr 0.")
    for shell in ("bash", "zsh", "tcsh"):
        cli.main(["completion", shell])
        script = capsys.readouterr().out
        assert "summary" in script
        assert "compare" in script


def test_files_of_features_are_relative_to_the_file_that_names_them():
    Path("deep/data").mkdir(parents=True)
    for file in ("my/net.pt", "deep/net.pt", "net.pt"):
        Path(file).touch()
    Path("deep/data.yaml").write_text(
        yaml.safe_dump({"datasets": [{"id": "mine", "dataset": "openmoji"}], "base": "data"})
    )
    own = {"id": "net", "extractor": "torchvision_backbone", "params": {"weights": "net.pt", "model": "resnet18"}}
    hub = {"id": "hub", "extractor": "timm_backbone", "params": {"model": "timm/resnet18"}}
    absent = {"id": "absent", "extractor": "bert", "params": {"model": "none"}}
    Path("my/my.yaml").write_text(yaml.safe_dump({"features": [own, hub, absent, "bow"]}))
    found = settings.merged(["deep/data.yaml", "my/my.yaml"])["features"]
    assert found[0]["params"] == {"weights": "../../my/net.pt", "model": "resnet18"}
    assert found[1:] == [hub, absent, "bow"]
    machine = settings.machine(["deep/data.yaml", "my/my.yaml"])
    assert Path(machine.located(found[0]["params"]["weights"])).samefile("my/net.pt")
    alone = settings.merged(["my/my.yaml"])["features"]
    assert Path(settings.machine(["my/my.yaml"]).located(alone[0]["params"]["weights"])).samefile("my/net.pt")


@pytest.mark.parametrize("features", [None, "bow", ["bow", 3, None], [{"id": "x", "params": [1]}], [{"params": {}}]])
def test_features_of_another_form_are_left_to_the_check(features):
    Path("my/my.yaml").write_text(yaml.safe_dump({"features": features}))
    assert settings.merged(["my/my.yaml"])["features"] == features
