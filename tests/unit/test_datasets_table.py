"""The user's table: what is read, how it is split, and one clear line for every kind of bad row."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmr.data import Items
from cmr.datasets import table
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.stages.report import picture_roots

COLUMNS = {"id": "key", "image": "picture", "text": "caption", "label": "class"}


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        Image.new("RGB", (4, 4), (number * 20, 0, 0)).save(tmp_path / f"pictures/{number}.png")
    return tmp_path


def frame(n: int = 12) -> pd.DataFrame:
    rows = range(n)
    return pd.DataFrame(
        {
            "key": [f"k{i}" for i in rows],
            "picture": [f"pictures/{i}.png" for i in rows],
            "caption": [f"caption {i}" for i in rows],
            "class": ["cat" if i % 2 else "dog" for i in rows],
        }
    )


def dataset(folder: Path, data: pd.DataFrame | None = None, data_root: Path | None = None, **params) -> table.Table:
    if data is not None:
        data.to_csv(folder / "my.csv", index=False)
    merged = {"file": "my.csv", **COLUMNS, **params}
    return table.Table(table.Params(**merged), folder / "out", folder / "cache", folder, data_root)


def test_a_csv_becomes_items(pictures):
    items = dataset(pictures, frame()).prepare()
    assert items.kinds == {"image": "image", "text": "text"}
    assert list(items.table.columns) == ["id", "image", "text", "labels"]
    assert items.table.iloc[1].to_dict() == {
        "id": "k1", "image": "pictures/1.png", "text": "caption 1", "labels": ["cat"],
    }  # fmt: skip
    items.write(pictures / "items.parquet")
    contents = dataset(pictures).contents(Items.read(pictures / "items.parquet"), "image")
    assert contents[1] == pictures / "pictures/1.png"


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_other_formats_say_the_same(pictures, suffix):
    data = frame()
    if suffix == ".tsv":
        data.to_csv(pictures / "my.tsv", sep="\t", index=False)
    elif suffix == ".jsonl":
        data.to_json(pictures / "my.jsonl", orient="records", lines=True)
    else:
        data.to_parquet(pictures / "my.parquet")
    expected = dataset(pictures, data).prepare().table
    found = dataset(pictures, file=f"my{suffix}").prepare().table
    assert found.astype(object).to_dict("list") == expected.astype(object).to_dict("list")


def test_json_lines_may_hold_lists_and_numbers(pictures):
    rows = [{"key": i, "caption": ["One.", "Two."], "class": [i % 2, "all"]} for i in range(4)]
    (pictures / "my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    items = dataset(pictures, file="my.jsonl", image="").prepare()
    assert items.kinds == {"text": "text"}
    assert list(items.table["text"]) == ["One. Two."] * 4
    assert list(items.ids) == ["0", "1", "2", "3"]
    assert list(items.table["labels"]) == [["0", "all"], ["1", "all"]] * 2


def test_texts_that_pandas_takes_for_missing_are_kept_and_a_byte_order_mark_is_not(pictures):
    data = frame().assign(caption="NA", key=[f"0{i}" for i in range(12)])
    data.to_csv(pictures / "my.csv", index=False, encoding="utf-8-sig")
    items = dataset(pictures).prepare()
    assert set(items.table["text"]) == {"NA"}
    assert items.ids[3] == "03"


def test_several_labels_in_a_cell(pictures):
    data = frame().assign(**{"class": "cat; dog;cat"})
    assert dataset(pictures, data, separator=";").prepare().table["labels"][0] == ["cat", "dog"]
    assert dataset(pictures, data, separator="").prepare().table["labels"][0] == ["cat; dog;cat"]
    with pytest.raises(UserError, match=r"my\.csv: class: 12 of 12 labels hold ';', .* say separator: ';'"):
        dataset(pictures, data).prepare()


def test_without_an_id_column_rows_are_numbered_as_in_an_editor(pictures):
    assert list(dataset(pictures, frame(), id="").prepare().ids)[:2] == ["2", "3"]


def test_seeded_split_is_stratified_and_keeps_shared_texts_and_files_together(pictures):
    data = pd.concat(
        [frame(), frame().assign(key=[f"more{i}" for i in range(12)], caption=lambda d: d["caption"] + "!")]
    )
    data = data.assign(caption=["caption 2" if c == "caption 0!" else c for c in data["caption"]])
    made = dataset(pictures, data)
    items = made.prepare()
    part = dict(zip(items.ids, made.parts(items, "default"), strict=True))
    for i in range(12):
        assert part[f"k{i}"] == part[f"more{i}"]  # the same picture
    assert part["k0"] == part["k2"]  # by way of more0: the picture of k0, the text of k2
    assert set(part.values()) == {"train", "validation", "test"}


def test_the_split_column_is_followed(pictures):
    parts = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    made = dataset(pictures, frame().assign(part=parts), split="part")
    items = made.prepare()
    items.write(pictures / "items.parquet")
    split = made.split(Items.read(pictures / "items.parquet"), "default")
    assert list(split.table["part"]) == parts
    assert split.held_out == {"k8", "k9"}


def test_absolute_paths_are_read_under_data_root_only(pictures, tmp_path):
    data = frame().assign(picture=[str(pictures / f"pictures/{i}.png") for i in range(12)])
    with pytest.raises(UserError, match=r"row 2: .* is absolute and not in data_root"):
        dataset(pictures, data).prepare()
    made = dataset(pictures, data, data_root=pictures / "pictures")
    items = made.prepare()
    assert items.table["image"][0] == "pictures/0.png"  # no absolute path in the items
    with pytest.raises(UserError, match="absolute and not in data_root"):
        dataset(pictures, data, data_root=pictures / "pict").prepare()


def test_the_reports_pictures_are_looked_for_beside_the_table(pictures, monkeypatch, caplog):
    monkeypatch.chdir(pictures)
    frame().to_csv("my.csv", index=False)
    entry = {"id": "mine", "dataset": "table", "params": {"file": "my.csv", **COLUMNS}}
    machine = Machine()
    assert picture_roots({"mine-1a2b3c": entry}, machine) == {"mine-1a2b3c": Path(".")}
    Path("my.csv").unlink()
    assert picture_roots({"mine-1a2b3c": entry}, machine) == {}
    assert "the page has no pictures of mine-1a2b3c: params.file: no such file: my.csv" in caplog.text


def test_unpaired_rows_lack_a_modality(pictures):
    data = frame()
    data.loc[0, "picture"] = ""
    items = dataset(pictures, data, unpaired=True).prepare()
    assert len(items.having("image")) == 11
    assert len(items.having("text")) == 12
    data.loc[0, "caption"] = " "
    with pytest.raises(UserError, match="row 2: nothing in any of the columns of image, text"):
        dataset(pictures, data, unpaired=True).prepare()


BAD_CELLS = [
    ("picture", "../secret.png", "leaves the folder of the data"),
    ("picture", "pictures/../../secret.png", "leaves the folder of the data"),
    ("picture", "pictures/99.png", "no such file: pictures/99.png"),
    ("picture", "", "empty image"),
    ("caption", "  ", "empty text"),
    ("class", "", "no label"),
    ("key", "", "empty id"),
    ("key", "k1", "id 'k1' stands on row 3 too"),
]


@pytest.mark.parametrize(("name", "cell", "problem"), BAD_CELLS)
def test_a_bad_cell_is_named_with_file_and_row(pictures, name, cell, problem):
    (pictures.parent / "secret.png").write_bytes(b"")
    data = frame()
    data.loc[5, name] = cell
    with pytest.raises(UserError, match=rf"my.csv: row 7: .*{problem}.*strict: false"):
        dataset(pictures, data).prepare()
    assert not (pictures / "out").exists()


@pytest.mark.parametrize(("name", "cell", "problem"), BAD_CELLS)
def test_not_strict_leaves_the_row_out_and_lists_it(pictures, name, cell, problem):
    data = frame()
    data.loc[5, name] = cell
    items = dataset(pictures, data, strict=False).prepare()
    assert len(items.table) == 11
    skipped = pd.read_csv(pictures / "out/skipped.csv")
    assert list(skipped["row"]) == [7]
    assert problem in skipped["problem"][0]


def test_broken_pictures_are_skipped_where_not_strict(pictures):
    whole = (pictures / "pictures/0.png").read_bytes()
    Image.effect_noise((64, 64), 50).save(pictures / "pictures/0.jpg")
    cut = (pictures / "pictures/0.jpg").read_bytes()[:-400]
    (pictures / "pictures/0.png").write_bytes(cut)
    (pictures / "pictures/1.png").write_bytes(b"no picture")
    items = dataset(pictures, frame(), strict=False).prepare()
    assert "k0" not in items.ids
    assert "k1" not in items.ids
    assert len(items.table) == 10
    (pictures / "pictures/0.png").write_bytes(whole)
    assert "k0" in dataset(pictures, frame(), strict=False).prepare().ids


def test_a_part_that_is_none_is_told(pictures):
    with pytest.raises(UserError, match="row 2: part 'eval', expected train, validation or test"):
        dataset(pictures, frame().assign(part="eval"), split="part").prepare()


def test_a_label_seen_only_in_test_is_told(pictures):
    data = frame().assign(part=["train"] * 10 + ["test"] * 2)
    data.loc[11, "class"] = "horse"
    with pytest.raises(UserError, match="row 13: label 'horse' has no training row"):
        dataset(pictures, data, split="part").prepare()
    assert len(dataset(pictures, data, split="part", strict=False).prepare().table) == 11


def test_a_missing_column_is_told_with_the_nearest_name(pictures):
    with pytest.raises(UserError, match="no column 'captoin'; did you mean 'caption'"):
        dataset(pictures, frame(), text="captoin").prepare()


def test_a_class_with_a_single_item_is_told(pictures):
    data = frame()
    data.loc[0, "class"] = "horse"
    made = dataset(pictures, data)
    with pytest.raises(UserError, match="class 'horse' has only 1 distinct item"):
        made.split(made.prepare(), "default")


@pytest.mark.parametrize(
    ("params", "content", "problem"),
    [
        ({"file": ""}, None, "params.file: required"),
        ({"file": "none.csv"}, None, "no such file"),
        ({"file": "/etc/hostname"}, None, "is absolute"),
        ({"file": "my.xlsx"}, b"x", "expected one of .csv"),
        ({}, b"", "cannot be read"),
        ({}, b"key,picture\n1,2,3\n", "cannot be read"),
        ({}, "key,picture,caption,class\n1,é,é,é".encode("latin-1"), r"line 2: not UTF-8 at '1,\\\\xe9'"),
        ({"file": "my.jsonl"}, b'{"key": 1}\n{"key"', "row 2"),
        ({"file": "my.jsonl"}, b"[1]", "row 1: expected an object"),
        ({"file": "my.parquet"}, b"PAR1", "cannot be read"),
        ({}, b"key,picture,caption,class\n", "no usable row"),
        ({"image": "", "text": ""}, b"key,class\n1,a\n", "at least one modality"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, params, content, problem):
    if content is not None:
        (tmp_path / params.get("file", "my.csv")).write_bytes(content)
    with pytest.raises(UserError, match=problem):
        dataset(tmp_path, **params).prepare()


def test_links_may_point_anywhere(pictures, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("big_disk")
    (pictures / "pictures/0.png").rename(elsewhere / "0.png")
    (pictures / "pictures/0.png").symlink_to(elsewhere / "0.png")
    assert len(dataset(pictures, frame()).prepare().table) == 12


def test_same_content_is_transitive_and_nulls_share_nothing():
    from cmr.datasets.splitting import same_content

    data = pd.DataFrame(
        {
            "id": list("abcde"),
            "image": ["1", "1", "2", None, None],
            "text": ["x", "y", "y", None, "z"],
            "labels": [["c"]] * 5,
        }
    )
    groups = same_content(Items(data, {"image": "image", "text": "text"}))
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups)) == 3
    assert len(np.unique(groups[2:])) == 3
