"""`cmr check`: one line for what there is, what is odd and what would stop a run, and nothing is left behind."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from cmr import check, transfer
from cmr.cli import main

N = 30
TABLE = {"file": "my.csv", "image": "picture", "text": "caption", "label": "class"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    return tmp_path


def rows() -> pd.DataFrame:
    """Ten of each of three classes; the pictures differ and are on disk."""
    for row in range(N):
        Image.new("RGB", (8, 8), (8 * row, 0, 0)).save(f"my/{row}.png")
    made = pd.DataFrame({"picture": [f"{row}.png" for row in range(N)], "class": [f"c{row % 3}" for row in range(N)]})
    return made.assign(caption=[f"a picture of number {row}" for row in range(N)])


def configure(dataset: str, params: dict, *features: str, **ready: str) -> str:
    """``features``: extractors. ``ready``: modalities by the id of their ready features."""
    entries = [{"id": name} for name in features]
    entries += [{"id": name, "extractor": "ready", "modality": modality} for name, modality in ready.items()]
    value = {
        "datasets": [{"id": "mine", "dataset": dataset, "params": params}],
        "features": entries,
        "experiments": [{"id": "e", "data": ["mine"], "inputs": [[*features, *ready]], "methods": ["cca"]}],
    }
    Path("my/my.yaml").write_text(yaml.safe_dump(value))
    return "my/my.yaml"


def checked(capsys, *arguments: str) -> tuple[int, list[str]]:
    """The status, and the lines with their blanks joined."""
    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    return ended.value.code, [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_table_without_faults(folder, capsys):
    rows().to_csv("my/my.csv", index=False)
    status, lines = checked(capsys, configure("table", TABLE, "sift_bovw", "bert"))
    *found, cost = lines
    assert (status, found) == (
        0,
        [
            "ok mine: 30 items: image 30, text 30",
            "ok mine: 3 classes of 10 ('c2') to 10 items ('c0')",
            "ok mine, default: train 18, validation 6, test 6",
        ],
    )
    assert cost.startswith("ok mine, bert: 384 columns; all 30 are about 0.0 MB in memory, and ")
    assert sorted(path.name for path in folder.iterdir() if path.name != ".cache") == ["my"]


def test_weights_that_a_run_would_download_are_asked_for(folder, capsys, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    asked = []

    def resume(url, part):
        asked.append(url)
        raise ConnectionError

    monkeypatch.setattr(transfer, "resume", resume)
    rows().to_csv("my/my.csv", index=False)
    status, lines = checked(capsys, configure("table", TABLE, "vgg19_fc7", "bert"))
    assert status == 1
    assert len(asked) == 1
    assert any(line.startswith(f"error mine, vgg19_fc7: {asked[0]} cannot be downloaded") for line in lines)


def test_what_all_features_take_is_told_from_some(monkeypatch):
    class Slow:
        def transform(self, contents):
            clock.append(clock[-1] + 2 * len(contents))  # two seconds an item
            return np.arange(250 * len(contents), dtype=np.float32).reshape(-1, 250)

    clock = [0]
    monkeypatch.setattr(check.time, "perf_counter", lambda: clock[-1])
    told = list(check._sample(Slow(), ["text"] * 9000))
    assert told == [("ok", "250 columns; all 9,000 are about 9.0 MB in memory, and 5.0 h of extraction here")]
    assert clock[-1] == 2 * (1 + check.SAMPLE)


def faulty() -> None:
    made = rows()
    made.loc[0, "class"] = ""
    made.loc[1, "picture"] = "99.png"
    made.loc[2, "class"] = "rare"
    made.loc[3, "class"] = "C0"
    Path("my/4.png").write_text("no picture")
    made.loc[5, "caption"] = made.loc[8, "caption"]
    made.loc[6, "caption"] = "…"
    made.loc[[7, 10], "caption"] = [f"{letter} {'word ' * 200}" for letter in "ab"]
    made.to_csv("my/my.csv", index=False)


NEEDED = "and each of train, validation, test needs one; remove or merge such classes"
BAD = {
    "mine: row 2: no label",
    "mine: row 3: no such file: 99.png",
    f"mine: row 4: class 'rare' has only 1 distinct item, {NEEDED}",
    f"mine: row 5: class 'C0' has only 1 distinct item, {NEEDED}",
    "mine: row 6: 4.png does not decode: not a picture that can be decoded (cannot identify image file '4.png')",
}
ODD = {
    "mine: 1 items share a picture, a sound, a text or a vector with an earlier one",
    "mine: my.csv: class: the classes 'C0' (1), 'c0' (8) differ in case alone",
    "mine: my.csv: caption: 1 of 25 texts hold no letter or digit, the first on row 8",
    "mine, bert: 2 of 25 texts are cut after 128 tokens",
}


@pytest.mark.parametrize("strict", [True, False])
def test_all_faults_of_a_table_at_once(folder, capsys, strict):
    faulty()
    name = configure("table", {**TABLE, "strict": strict}, "sift_bovw", "bert")
    status, lines = checked(capsys, name)
    kind = "error" if strict else "warning"
    found = {tuple(line.split(" ", 1)) for line in lines if not line.startswith("ok")}
    assert {(kind, line.replace(f"{folder}/my/", "")) for line in BAD} | {("warning", line) for line in ODD} == found
    assert status == strict


def test_a_row_tells_the_path_that_its_cell_holds(folder, capsys):
    made = rows()
    made.loc[0, "picture"] = f"{folder}/my/0.png"
    made.to_csv("my/my.csv", index=False)
    status, lines = checked(capsys, configure("table", TABLE, "sift_bovw", "bert"))
    remedy = "is absolute and not in data_root; set data_root to a folder above the files"
    assert status == 1
    assert f"error mine: row 2: {folder}/my/0.png {remedy}" in lines
    rows().assign(picture=lambda made: f"{folder}/my/" + made["picture"]).to_csv("my/my.csv", index=False)
    _, lines = checked(capsys, "my/my.yaml")
    assert f"error mine: my.csv: no usable row; the first: {folder}/my/0.png {remedy}" in lines


def test_many_bad_rows_are_counted(folder, capsys):
    rows().assign(caption=lambda made: ["" if row % 2 else text for row, text in enumerate(made["caption"])]).to_csv(
        "my/my.csv", index=False
    )
    _, lines = checked(capsys, configure("table", TABLE, "sift_bovw", "bow"))
    assert sum(": empty text" in line for line in lines) == 10
    assert "error mine: 5 more rows have problems" in lines


def ready(**params) -> str:
    rng = np.random.default_rng(0)
    for name in ("x", "t"):
        np.save(f"my/{name}.npy", rng.normal(size=(N, 4)))
    np.save("my/y.npy", np.arange(N) % 3)
    given = {"features": {"image": "x.npy", "text": "t.npy"}, "labels": "y.npy", **params}
    return configure("precomputed", given, pictures="image", texts="text")


def test_ready_features_with_rows_in_no_part(folder, capsys):
    name = ready(index={"train": "train.npy", "test": "test.npy"})
    np.save("my/train.npy", np.arange(1, 19))
    np.save("my/test.npy", np.arange(19, 25))
    status, lines = checked(capsys, name)
    assert status == 0
    assert "ok mine, default: train 18, test 6" in lines
    assert "warning mine, default: 6 of 30 items are in no part" in lines
    assert any("if the numbers start at 1, say index_base: 1" in line for line in lines)


def test_a_class_that_no_test_row_has(folder, capsys):
    rows().assign(part=["test" if row % 3 and row > 9 else "train" for row in range(N)]).to_csv(
        "my/my.csv", index=False
    )
    status, lines = checked(capsys, configure("table", {**TABLE, "split": "part"}, "sift_bovw", "bert"))
    told = "no test item has the class 'c0': the figures are of the other 2 of 3 classes"
    assert (status, [line for line in lines if line.startswith("warning")]) == (0, [f"warning mine, default: {told}"])


def test_features_and_classes_that_tell_nothing_apart(folder, capsys):
    name = ready()
    np.save("my/x.npy", np.ones((N, 4)))
    np.save("my/y.npy", np.full(N, 7))
    status, lines = checked(capsys, name)
    assert status == 0
    assert {line for line in lines if line.startswith("warning")} >= {
        "warning mine: all items are of one class, '7': each ranking is perfect, and labels teach nothing",
        "warning mine, pictures: 24 items, evenly drawn, have the same features: nothing can be told apart by them",
    }
    assert not any("mine, texts: 24 items" in line for line in lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_asked_for_and_not_here(folder, capsys):
    name = ready()
    Path("my/gpu.yaml").write_text("device: cuda\n")
    status, lines = checked(capsys, name, "my/gpu.yaml")
    assert status == 0  # a cluster's nodes may have one
    assert lines[0].startswith("warning on this machine: device: cuda cannot be used: ")
    assert not any("this machine" in line for line in checked(capsys, name)[1])


def test_what_cannot_be_read_is_an_error_and_what_comes_after_is_left_out(folder, capsys):
    name = ready()
    np.save("my/x.npy", np.zeros((N - 1, 4)))
    status, lines = checked(capsys, name)
    assert status == 1
    (line,) = lines
    assert line.startswith("error mine: x.npy has 29 rows, y.npy has 30 labels")


def test_it_extends_config_yaml_and_prints_json(folder, capsys):
    ready()
    os.rename("my/my.yaml", "config.yaml")
    Path("my/more.yaml").write_text("features:\n- {id: pictures, extractor: ready, modality: image}\n")
    for file in ("x", "t", "y"):
        os.rename(f"my/{file}.npy", f"{file}.npy")
    status, lines = checked(capsys, "--json")
    found = json.loads("".join(lines))
    assert found[0] == {"kind": "ok", "what": "mine", "text": "30 items: image 30, text 30"}
    assert status == 0
    with pytest.raises(SystemExit):  # lists are replaced, as Snakemake does
        main(["check", "my/more.yaml"])
    assert (
        "config.yaml, my/more.yaml: experiments[0].inputs[0][1]: unknown extractor 'texts'" in capsys.readouterr().err
    )


def test_pictures_with_several_captions_and_no_labels(folder, capsys):
    table = rows().drop(columns="class")
    more = table.assign(caption=table["caption"] + " again")
    pd.concat([table, more]).to_csv("my/my.csv", index=False)
    params = {"file": "my.csv", "image": "picture", "text": "caption", "group": "picture"}
    name = configure("table", params, "sift_bovw", "bert")
    Path("my/recall.yaml").write_text("metrics: [{id: recall_at_k}]\n")
    status, lines = checked(capsys, name, "my/recall.yaml")
    assert status == 0
    assert lines[:3] == [
        "ok mine: 60 items: image 30, text 60",
        "ok mine: no labels: figures by instance alone",
        "ok mine: 30 groups of items that belong together",
    ]
    assert not any("share a picture" in line for line in lines)


def test_a_run_that_would_stop_for_the_lack_of_labels(folder, capsys):
    rows().drop(columns="class").to_csv("my/my.csv", index=False)
    params = {"file": "my.csv", "image": "picture", "text": "caption"}
    value = yaml.safe_load(Path(configure("table", params, "vgg19_finetuned", "bow")).read_text())
    value["experiments"][0]["methods"] = ["cca", "ridge_label", {"id": "drawn", "method": "cca", "pairing": "class"}]
    for metrics, stops in ((["mean_average_precision"], True), (["recall_at_k"], False)):
        Path("my/my.yaml").write_text(yaml.safe_dump(value | {"metrics": [{"id": name} for name in metrics]}))
        status, lines = checked(capsys, "my/my.yaml")
        found = [line for line in lines if line.startswith("error")]
        expected = [
            "error mine, vgg19_finetuned: this extractor learns from labels, and the data have none; choose another",
            "error mine, metrics: the data have no labels and no metric is by instance; add one, recall_at_k say",
            "error mine, ridge_label: this method learns from labels of two classes or more, the data have 0",
            "error mine, drawn: pairing: class draws pairs within a class, and the data have no labels",
        ]
        assert status == 1
        assert set(found) == {line for line in expected if stops or "metrics" not in line}


def test_a_method_that_learns_from_labels_stops_at_one_class(folder, capsys):
    rows().assign(**{"class": "all"}).to_csv("my/my.csv", index=False)
    name = configure("table", TABLE, "bow", "sift_bovw")
    assert checked(capsys, name)[0] == 0  # a warning: cca takes no labels
    Path(name).write_text(Path(name).read_text().replace("cca", "ridge_label"))
    status, lines = checked(capsys, name)
    assert status == 1
    assert lines[-1].startswith("error mine, ridge_label: this method learns from labels of two classes or more")


def test_without_any_configuration_config_yaml_is_asked_for(folder, capsys):
    with pytest.raises(SystemExit):
        main(["check"])
    assert capsys.readouterr().err == "error: config.yaml: experiments: required, but missing\n"


def test_what_no_reader_foresaw_is_a_finding_too(folder, capsys, monkeypatch):
    def look(*_):
        raise KeyError("x\n" * 1000)

    rows().to_csv("my/my.csv", index=False)
    monkeypatch.setitem(check.LOOKS, "prepare", look)
    status, lines = checked(capsys, configure("table", TABLE, "sift_bovw", "bert"))
    (line,) = lines
    assert status == 1
    assert line.startswith("error mine: of a form that is not foreseen, or a mistake of the program: KeyError: ")
    assert len(line) < 400
