"""`cmr list experiments`: what each entry makes, whether its data are here, and how long it takes where that is known."""

import json

import pytest

from cmr import experiments
from cmr.cli import main

FILE = """
title: Toy
missing_data: leave_out
not_made: {Fig. 1: a drawing}
datasets:
  - wikipedia
  - scitechdaily
  - {id: emoji, dataset: openmoji}
features:
  - {id: lite0, modality: image, extractor: efficientnet_lite0}
  - bert
experiments:
  - id: first
    makes: [Table 2, Fig. 3]
    data: [emoji, wikipedia/2173_693, scitechdaily]
    inputs: [[lite0, bert]]
    methods: [{id: cca, tune: {regularisation: [1, 2]}}, {id: sdml, params: {epochs: 5}}]
    seeds: 3
  - {id: second, data: [emoji], inputs: [[lite0, bert]], methods: [pls]}
"""
HEADER = "dataset,split,inputs,method,id,parameters,mean,std,chance,seconds,peak_memory_mb\n"
ROWS = [  # of two queries each, as `cmr summary --csv` writes them; the last is of another number of epochs
    'emoji,default,lite0+bert,cca,cca,"{""tune"":{""regularisation"":[1,2]}}",0.1,,,7.5,',
    'emoji,default,lite0+bert,cca,cca,"{""tune"":{""regularisation"":[1,2]}}",0.2,,,7.5,',
    'emoji,default,lite0+bert,sdml,named,"{""params"":{""epochs"":5}}",0.1,,,20,',
    'emoji,default,lite0+bert,sdml,sdml,"{""params"":{""epochs"":6}}",0.1,,,900,',
    'scitechdaily,4173_1044,lite0+bert,cca,cca,"{""tune"":{""regularisation"":[1,2]}}",0.1,,,30,',
]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The folder of the cache; files and measured results are those above."""
    for folder in ("experiments", "measured", "here"):
        (tmp_path / folder).mkdir()
    (tmp_path / "experiments/toy.yaml").write_text(FILE)
    (tmp_path / "measured/toy.csv").write_text(HEADER + "\n".join(ROWS))
    monkeypatch.setattr(experiments, "FILES", tmp_path / "experiments")
    monkeypatch.setattr(experiments, "MEASURED", tmp_path / "measured")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here/.cache/datasets"


def listed(capsys):
    main(["list", "experiments", "--json"])
    (file,) = json.loads(capsys.readouterr().out)
    return file


def test_an_entry_is_an_experiment_on_a_data_set(toy, capsys):
    file = listed(capsys)
    assert (file["file"], file["title"], file["not_made"]) == ("toy.yaml", "Toy", {"Fig. 1": "a drawing"})
    found = [tuple(entry[key] for key in ("experiment", "data", "state", "runs")) for entry in file["entries"]]
    assert found == [
        ("first", "emoji", "here", 4),
        ("first", "wikipedia/2173_693", "to download", 4),
        ("first", "scitechdaily", "missing", 4),
        ("second", "emoji", "here", 1),
    ]
    assert [entry["makes"] for entry in file["entries"]] == [["Table 2", "Fig. 3"]] * 3 + [[]]


def test_what_is_missing_says_where_to_place_it_until_it_is_placed(toy, capsys):
    assert str(toy / "scitechdaily") in listed(capsys)["entries"][2]["missing"]
    (toy / "scitechdaily").mkdir(parents=True)
    (toy / "scitechdaily/scitechdaily.csv").touch()
    entry = listed(capsys)["entries"][2]
    assert (entry["state"], entry["missing"]) == ("here", "")


def test_times_are_those_of_the_same_method_data_and_parameters(toy, capsys):
    found = [(entry["measured"], entry["seconds"]) for entry in listed(capsys)["entries"]]
    assert found == [(4, 7.5 + 3 * 20), (0, None), (1, 30), (0, None)]


def test_the_listing_for_people_is_80_columns_wide(toy, capsys):
    main(["list", "experiments"])
    text = capsys.readouterr().out
    assert "  first: Table 2, Fig. 3\n    emoji               here            4 runs  1.1 min\n" in text
    assert "    scitechdaily        missing         4 runs  over 30 s\n" in text
    assert "    emoji               here            1 run   time unknown\n" in text
    assert "  not made: Fig. 1: a drawing\n" in text
    assert all(len(line) <= 80 or " " not in line.strip() for line in text.splitlines())


def test_a_file_that_extends_no_configuration_of_this_folder_is_told(toy, capsys):
    (toy.parents[1] / "config.yaml").write_text("no_such_key: 1\n")
    file = listed(capsys)
    assert file["entries"] == []
    assert "no_such_key: unknown key" in file["problem"]


def test_a_file_that_is_not_there_ends_the_listing_in_a_line(toy, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["list", "experiments", "--config", "my/nope.yaml"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (1, "", 1)
    assert "my/nope.yaml" in err


def test_a_file_of_the_folder_that_is_named_is_listed_alone(capsys):
    main(["list", "experiments", "--json", "--config", str(experiments.FILES / "smcr.yaml")])
    (file,) = json.loads(capsys.readouterr().out)
    assert file["file"] == "smcr.yaml"
    assert {entry["experiment"].partition("_")[0] for entry in file["entries"]} == {"smcr"}
