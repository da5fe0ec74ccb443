"""The configuration: every mistake is one line with the key's path, what was expected and the nearest name."""

import copy
import json
import math
from pathlib import Path

import pytest

from cmr import config
from cmr.errors import UserError

GOOD = {
    "datasets": [{"id": "emoji", "dataset": "openmoji"}],
    "features": [
        {"id": "lite0", "modality": "image", "extractor": "efficientnet_lite0"},
        {"id": "bow", "modality": "text", "extractor": "bow"},
    ],
    "dictionaries": [{"id": "coupled", "params": {"atoms": [8, 8]}}],
    "experiments": [
        {
            "id": "main",
            "data": ["emoji"],
            "inputs": [["lite0", "bow"]],
            "methods": [
                "cca",
                {"id": "dla", "method": "dla_cmr", "dictionary": "coupled", "tune": {"margin": [0.1, 1]}},
            ],
            "seeds": 3,
        }
    ],
}


def changed(*path, value):
    """GOOD with the value at a path of keys replaced."""
    configuration = copy.deepcopy(GOOD)
    place = configuration
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return configuration


def error(configuration) -> str:
    with pytest.raises(UserError) as caught:
        config.validate(configuration, "config.yaml")
    return str(caught.value)


def test_bare_names_and_defaults():
    checked = config.validate(GOOD)
    cca, dla = checked.experiments[0].methods
    assert (cca.id, cca.method, cca.params) == ("cca", "cca", {})
    assert (dla.method, dla.dictionary) == ("dla_cmr", "coupled")
    assert checked.data("emoji") == (checked.datasets[0], "default")
    assert checked.data("openmoji/default")[0].dataset == "openmoji"  # a plug-in's name stands for its defaults
    assert [metric.id for metric in checked.metrics] == ["map@all", "map@50", "precision_recall", "precision_scope"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("titel",), "x", "config.yaml: titel: unknown key; did you mean 'title'?"),
        (("device",), "gpu", "config.yaml: device: expected 'auto', 'cpu' or 'cuda', found 'gpu'"),
        (("features", 0, "extractor"), "efficientnet_light0", "config.yaml: features[0].extractor: unknown extractor 'efficientnet_light0'; did you mean 'efficientnet_lite0'?"),
        (("features", 0, "modality"), "text", "config.yaml: features[0].modality: 'efficientnet_lite0' reads image, found 'text'"),
        (("features", 0, "modalty"), "image", "config.yaml: features[0].modalty: unknown key; did you mean 'modality'?"),
        (("features", 1, "params"), {"vocabulry": 5}, "config.yaml: features[1].params.vocabulry: unknown key; did you mean 'vocabulary'?"),
        (("dictionaries", 0, "params", "atoms"), [8], "config.yaml: dictionaries[0].params.atoms"),
        (("experiments", 0, "methods", 0), "ccaa", "config.yaml: experiments[0].methods[0].method: unknown method 'ccaa'; did you mean 'cca'?"),
        (("experiments", 0, "methods", 1, "tune"), {"margn": [1]}, "config.yaml: experiments[0].methods[1].tune.margn: unknown key; did you mean 'margin'?"),
        (("experiments", 0, "methods", 1, "tune"), {"margin": [-1]}, "config.yaml: experiments[0].methods[1].tune.margin: expected greater than or equal to 0, found -1"),
        (("experiments", 0, "methods", 1, "tune"), {"margin": [math.inf]}, "config.yaml: experiments[0].methods[1].tune.margin: expected a finite number, found inf"),
        (("experiments", 0, "methods", 1, "params"), {"margin": 1}, "config.yaml: experiments[0].methods[1].tune.margin: stands in params too; keep one"),
        (("experiments", 0, "methods", 1), {"id": "ridge_label", "tune": {"alpha": [1, 10]}, "sweep": {"alpha": [1, 2]}}, "config.yaml: experiments[0].methods[1].sweep.alpha: stands in tune too; keep one"),
        (("experiments", 0, "methods"), [], "config.yaml: experiments[0].methods: expected at least 1 entry, found none"),
        (("experiments", 0, "methods", 1, "tune"), {"dictionary.lamda1": [1]}, "config.yaml: experiments[0].methods[1].tune.dictionary.lamda1: unknown key; did you mean 'lambda1'?"),
        (("experiments", 0, "methods", 1, "tune"), {"dictionary.lambda1": [1, -1]}, "config.yaml: experiments[0].methods[1].tune.dictionary.lambda1: expected greater than 0, found -1"),
        (("experiments", 0, "methods", 1, "tune"), {"dictionary.atoms": [[8, 8]]}, "config.yaml: experiments[0].methods[1].tune.dictionary.atoms: stands in params of 'coupled' too; keep one"),
        (("experiments", 0, "methods", 0), {"id": "cca", "tune": {"dictionary.lambda1": [1]}}, "config.yaml: experiments[0].methods[0].tune.dictionary.lambda1: 'cca' takes no dictionary; name one under dictionary, or leave it out"),
        (("experiments", 0, "methods", 1, "dictionary"), "coupld", "config.yaml: experiments[0].methods[1].dictionary: unknown dictionary 'coupld'; did you mean 'coupled'?"),
        (("experiments", 0, "data"), ["emojy"], "config.yaml: experiments[0].data[0]: unknown dataset 'emojy'; did you mean 'emoji'?"),
        (("experiments", 0, "data"), ["emoji/defalt"], "config.yaml: experiments[0].data[0]: data set 'emoji' has no split 'defalt'; did you mean 'default'?"),
        (("experiments", 0, "inputs"), [["lite0", "brt"]], "config.yaml: experiments[0].inputs[0][1]: unknown extractor 'brt'"),
        (("experiments", 0, "inputs"), [["lite0", "lite0"]], "config.yaml: experiments[0].inputs[0][1]: a second vector of modality 'image'; take one of each"),
        (("experiments", 0, "seeds"), 0, "config.yaml: experiments[0].seeds: expected greater than or equal to 1, found 0"),
        (("experiments", 0, "seeds"), "three", "config.yaml: experiments[0].seeds: expected a valid integer"),
        (("experiments", 0, "id"), "a/b", "config.yaml: experiments[0].id: "),
        (("experiments",), [], "config.yaml: experiments: "),
        (("features", 1, "id"), "lite0", "config.yaml: features[1].id: 'lite0' stands twice; ids must differ"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_key(path, value, expected):
    message = error(changed(*path, value=value))
    assert expected in message
    assert len(message.splitlines()) == 1


def test_a_missing_key_is_named():
    configuration = changed("experiments", value=[{"id": "x", "data": ["emoji"], "methods": ["cca"]}])
    assert error(configuration) == "config.yaml: experiments[0].inputs: required, but missing"


def test_several_mistakes_are_several_lines():
    configuration = changed("device", value="gpu") | {"colour": "red"}
    assert len(error(configuration).splitlines()) == 2


def test_a_sweep_is_one_entry_a_point():
    entry = config.MethodEntry(id="cca", sweep={"regularisation": [0.1, 1.0], "components": [2, 3]})
    assert [point.params for point in entry.points()] == [
        {"regularisation": r, "components": c} for r in (0.1, 1.0) for c in (2, 3)
    ]


def test_files_that_are_not_configurations(tmp_path):
    for text, expected in (
        ("- a", "expected keys and values"),
        ("a: [", r"c\.yaml: no YAML: line 1, column 5: expected the node content, but found '<stream end>'$"),
        ("a: 1\ntitle: b: c", r"c\.yaml: no YAML: line 2, column 9: mapping values are not allowed here$"),
        ("a:\n\t- 1", r"c\.yaml: no YAML: line 2, column 1: found character '\\t' that cannot start any token$"),
        ("a: \x07", r"c\.yaml: cannot be read: .*special characters are not allowed"),
    ):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=expected):
            config.load(path)
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory$"):
        config.load(tmp_path)


def test_relative_data_paths_resolve_against_the_file_that_names_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "mine.yaml").write_text("datasets: []\n")
    (tmp_path / "config.yaml").write_text("title: x\n")
    files = [str(tmp_path / "config.yaml"), str(tmp_path / "lab" / "mine.yaml")]
    assert config.data_base(config.read_all(files)) == "lab"
    assert config.data_base(config.read_all(files[:1])) == "."


@pytest.mark.parametrize(
    ("own", "mine", "expected"),
    [
        ({"base": "here"}, {"datasets": []}, "here"),
        ({"datasets": []}, {"base": "there"}, "lab/there"),
        ({"datasets": [], "base": "here"}, {"datasets": []}, "lab"),
        ({"base": "here"}, {"datasets": [], "base": "there"}, "lab/there"),
        ({"base": "here"}, {"base": "there"}, "lab/there"),
        ({"datasets": [], "base": "here"}, {"title": "x"}, "here"),
        ({"base": "here"}, {"datasets": [], "base": None}, "here"),
    ],
)
def test_a_base_is_relative_to_its_file_and_for_the_data_that_it_can_be_for(tmp_path, monkeypatch, own, mine, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    for file, value in (("config.yaml", own), ("lab/mine.yaml", mine)):
        Path(file).write_text(json.dumps(value))
    assert config.data_base(config.read_all(["config.yaml", "lab/mine.yaml"])) == expected


@pytest.mark.parametrize("key", ["base", "plugins"])
def test_a_folder_that_is_relative_to_no_file_is_refused(tmp_path, key):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{key}: data\n")
    files = config.read_all([file])
    config.check_is_of_files({key: "data"}, files)
    with pytest.raises(UserError, match=f"{key}: elsewhere: it is relative to a configuration file; write it into one"):
        config.check_is_of_files({key: "elsewhere"}, files)
