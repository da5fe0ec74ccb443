"""The user's table: what is read, how it is split, and one clear line for every kind of bad row."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
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
    assert dict(zip(split.table["id"], split.table["part"], strict=True)) == {f"k{i}": p for i, p in enumerate(parts)}
    assert set(split.held_out) == {"k8", "k9"}


def test_the_order_of_a_table_with_ids_decides_nothing(pictures):
    made = dataset(pictures, frame())
    one = made.split(made.prepare(), "default").table.set_index("id").sort_index()
    turned = dataset(pictures, frame().iloc[::-1])
    other = turned.split(turned.prepare(), "default").table.set_index("id").sort_index()
    pd.testing.assert_frame_equal(one, other)


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
    groups = same_content([data["image"], data["text"]])
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups)) == 3
    assert len(np.unique(groups[2:])) == 3


# One meaning is read, two are asked.


def saved(folder: Path, name: str, text: str, encoding: str = "utf-8") -> str:
    (folder / name).write_bytes(text.encode(encoding))
    return name


@pytest.mark.parametrize(("name", "separator"), [("my.csv", ";"), ("my.csv", "|"), ("my.csv", "\t"), ("my.tsv", ",")])
def test_another_separator_is_read_and_told(pictures, caplog, name, separator):
    saved(pictures, name, frame().to_csv(sep=separator, index=False), "utf-8-sig")
    items = dataset(pictures, file=name).prepare()
    assert list(items.table["text"]) == list(frame()["caption"])
    assert "columns are separated by" in caplog.text


def test_an_encoding_is_given_where_the_file_does_not_say_it(pictures):
    data = frame().assign(caption="caf\u00e9")
    saved(pictures, "my.csv", data.to_csv(index=False), "utf-16")
    assert set(dataset(pictures).prepare().table["text"]) == {"caf\u00e9"}
    saved(pictures, "my.csv", data.to_csv(index=False), "cp1252")
    with pytest.raises(
        UserError, match=r"my\.csv: line 2: not UTF-8 at '.*caf\\\\xe9'; save it as UTF-8, or .*encoding: cp1252"
    ):
        dataset(pictures).prepare()
    assert set(dataset(pictures, encoding="cp1252").prepare().table["text"]) == {"caf\u00e9"}


def test_a_caption_that_starts_with_a_quotation_mark_swallows_no_rows(pictures, caplog):
    captions = [f'"Stop sign {i}' if i in (3, 9) else f"a sign {i}" for i in range(12)]
    rows = [f"k{i}\tpictures/{i}.png\t{captions[i]}\t{'cat' if i % 2 else 'dog'}" for i in range(12)]
    saved(pictures, "my.tsv", "\n".join(["key\tpicture\tcaption\tclass", *rows]))
    items = dataset(pictures, file="my.tsv").prepare()
    assert list(items.table["text"]) == captions
    assert "my.tsv: row 5: a quotation mark opens a cell and does not close it" in caplog.text
    data = frame().assign(caption=["two\nlines", *["one"] * 11])
    saved(pictures, "my.tsv", data.to_csv(sep="\t", index=False))
    assert len(dataset(pictures, file="my.tsv").prepare().table) == 12
    assert len(dataset(pictures, file="my.tsv", quotes=True).prepare().table) == 12


def test_lists_that_pandas_wrote_as_text_are_lists(pictures):
    data = frame().assign(
        caption=[str(["One.", f"It's {i}."]) for i in range(12)],
        **{"class": [str(["cat", "pet"] if i % 2 else ["dog", "pet"]) for i in range(12)]},
    )
    items = dataset(pictures, data).prepare()
    assert list(items.table["text"])[:2] == ["One. It's 0.", "One. It's 1."]
    assert list(items.table["labels"])[:2] == [["dog", "pet"], ["cat", "pet"]]


def test_texts_of_which_some_look_like_lists_stay_as_they_are(pictures, caplog):
    data = frame()
    data.loc[0, "caption"] = "['a']"
    assert dataset(pictures, data).prepare().table["text"][0] == "['a']"
    assert "caption: 1 of 12 texts look like lists, and are read as they stand" in caplog.text


@pytest.mark.parametrize("part", ["val", "dev", "valid", "Validation", "VAL"])
def test_parts_by_their_other_names(pictures, caplog, part):
    caplog.set_level("INFO")
    made = dataset(pictures, frame().assign(part=["Train"] * 8 + [part] * 2 + ["test"] * 2), split="part")
    assert list(made.prepare().table["part"]) == ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    assert f"part: {part!r} is read as validation" in caplog.text


@pytest.mark.parametrize(("parts", "lacks"), [(["train"] * 12, "test"), (["val"] * 10 + ["train"] * 2, "test")])
def test_a_split_without_test_rows_is_told(pictures, parts, lacks):
    with pytest.raises(UserError, match=rf"my\.csv: no row is in the part {lacks}; there are"):
        dataset(pictures, frame().assign(part=parts), split="part").prepare()


@pytest.mark.parametrize(("parts", "row"), [(["train"] * 10 + ["tset"] * 2, 12), (["test"] * 2 + ["trian"] * 10, 4)])
def test_a_part_of_which_all_rows_are_left_out_is_told_with_the_first(pictures, parts, row):
    made = dataset(pictures, frame().assign(part=parts), split="part", strict=False)
    with pytest.raises(UserError, match=rf"my\.csv: no row is in the part \w+; there are \w+; row {row}: part '\w+',"):
        made.prepare()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_is_found_by_accents_in_either_unicode_form(pictures, caplog, form):
    import unicodedata

    caplog.set_level("INFO")
    other = "NFD" if form == "NFC" else "NFC"
    on_disk = unicodedata.normalize(form, "pictures/caf\u00e9.png")
    (pictures / "pictures/0.png").rename(pictures / on_disk)
    data = frame()
    data.loc[0, "picture"] = unicodedata.normalize(other, on_disk)
    assert dataset(pictures, data).prepare().table["image"][0] == on_disk
    assert (
        "image: 1 files are found with '/' for '\\', or with accents in another Unicode form; the first: row 2"
        in caplog.text
    )


def test_paths_of_windows_are_found(pictures):
    data = frame().assign(picture=[f"pictures\\{i}.png" for i in range(12)])
    (pictures / "pictures\\1.png").write_bytes((pictures / "pictures/0.png").read_bytes())
    items = dataset(pictures, data).prepare()
    assert list(items.table["image"])[:3] == ["pictures/0.png", "pictures\\1.png", "pictures/2.png"]
    data.loc[0, "picture"] = "..\\secret.png"
    with pytest.raises(UserError, match="leaves the folder of the data"):
        dataset(pictures, data).prepare()
    data.loc[0, "picture"] = "C:\\pictures\\0.png"
    with pytest.raises(UserError, match="is absolute, on another system; make it relative to the table's folder"):
        dataset(pictures, data).prepare()


@pytest.mark.parametrize("written", ["pictures/10 .png", "pictures/10.PNG", "pictures/1-0.png", "pictures/10_.png"])
def test_a_file_that_is_not_there_is_told_with_the_nearest_name(pictures, written):
    data = frame()
    data.loc[0, "picture"] = written
    with pytest.raises(UserError, match=rf"no such file: {written}; did you mean '10.png'\?"):
        dataset(pictures, data).prepare()


def test_a_path_out_of_the_folder_is_told_with_what_can_be_done(pictures):
    data = frame()
    data.loc[0, "picture"] = "../x.png"
    with pytest.raises(
        UserError, match=r"put the table into a folder above its files, link .*, or write absolute paths"
    ):
        dataset(pictures, data).prepare()


def parquet(folder: Path, **columns) -> table.Table:
    data = frame().assign(**columns)
    data.to_parquet(folder / "my.parquet")
    return dataset(folder, file="my.parquet")


def test_large_whole_numbers_of_parquet_stay_themselves_beside_missing_ones(pictures):
    numbers = [None if row % 3 == 0 else 2**53 + row % 3 for row in range(12)]
    pq.write_table(pa.table(frame().to_dict("list") | {"class": numbers}), pictures / "my.parquet")
    items = dataset(pictures, file="my.parquet", strict=False).prepare()
    assert list(items.table["labels"]) == [[str(number)] for number in numbers if number]


def test_columns_of_parquet_that_nobody_names_are_not_read(pictures):
    """One that would take more memory than its size allows, read, is no obstacle, and still a column."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 12, pa.int32()), ["word " * 5_000_000])
    columns = {**frame().rename(columns={"class": "label"}).to_dict("list"), "source": text}
    pq.write_table(pa.table(columns), pictures / "my.parquet")
    items = dataset(pictures, file="my.parquet", label=None).prepare()
    assert list(items.table["labels"]) == [["dog"], ["cat"]] * 6  # the column label is read where there is one
    with pytest.raises(UserError, match=r"my\.parquet: cannot be read: .* would unpack to 300"):
        dataset(pictures, file="my.parquet", text="source", label="label").prepare()
    pq.write_table(pa.table(columns).drop_columns("source"), pictures / "my.parquet")
    with pytest.raises(UserError, match=r"no column 'labels'; did you mean 'label'"):
        dataset(pictures, file="my.parquet", label="labels").prepare()


def test_rows_of_the_same_labels_share_one_list(pictures):
    labels = dataset(pictures, frame()).prepare().table["labels"]
    assert len(set(map(id, labels))) == 2


SOME = [None if i % 3 == 0 else i % 3 for i in range(12)]
NULLABLE = {
    "Int64": pd.array(SOME, "Int64"),
    "boolean": pd.array([None if i is None else i == 1 for i in SOME], "boolean"),
    "Float64": pd.array(SOME, "Float64"),
    "string": pd.array([None if i is None else f"c{i}" for i in SOME], "string"),
    "string[pyarrow]": pd.array([None if i is None else f"c{i}" for i in SOME], "string[pyarrow]"),
    "datetime": pd.to_datetime([None if i is None else f"202{i}-01-01" for i in SOME]),
    "category": pd.Categorical([None if i is None else f"c{i}" for i in SOME]),
    "lists": [None if i is None else [f"c{i}"] for i in SOME],
}


@pytest.mark.parametrize("kind", NULLABLE)
def test_a_missing_cell_of_parquet_is_no_class(pictures, kind):
    with pytest.raises(UserError, match=r"my.parquet: row 1: no label \(3 more rows have problems\)"):
        parquet(pictures, **{"class": NULLABLE[kind]}).prepare()
    made = dataset(pictures, file="my.parquet", strict=False)
    expected = {
        "boolean": ["False", "True"],
        "Int64": ["1", "2"],
        "Float64": ["1", "2"],
        "datetime": ["2021-01-01", "2022-01-01"],
    }
    assert made.prepare().classes == expected.get(kind, ["c1", "c2"])
    assert list(pd.read_csv(pictures / "out/skipped.csv")["row"]) == [1, 4, 7, 10]


def test_a_missing_text_or_id_of_parquet_is_missing(pictures):
    texts = pd.array([None, *[f"text {i}" for i in range(11)]], "string")
    with pytest.raises(UserError, match="row 1: empty text"):
        parquet(pictures, caption=texts).prepare()
    assert len(dataset(pictures, file="my.parquet", unpaired=True).prepare().having("text")) == 11
    with pytest.raises(UserError, match="row 1: empty id"):
        parquet(pictures, key=pd.array([None, *range(11)], "Int64")).prepare()


def test_large_numbers_stay_themselves_or_are_refused(pictures):
    large = 2**53 + np.arange(12)
    ids = pd.array([*large[:11].tolist(), None], "Int64")
    parquet(pictures, key=ids)
    assert list(dataset(pictures, file="my.parquet", strict=False).prepare().ids) == [str(i) for i in large[:11]]
    with pytest.raises(UserError, match=r"row 1: id 9007199254740992 is a float beyond 2\^53"):
        parquet(pictures, key=large.astype(float)).prepare()
    with pytest.raises(UserError, match=r"row 1: class: the label 9007199254740992 is a float beyond 2\^53"):
        parquet(pictures, **{"class": large.astype(float)}).prepare()


@pytest.mark.parametrize("item", ["a\0", "a\rb", "a\nb"])
def test_ids_of_characters_that_files_lose_are_told(pictures, item):
    data = frame()
    data.loc[0, "key"] = item
    data.to_parquet(pictures / "my.parquet")
    with pytest.raises(UserError, match=r"row 1: id .* holds a control character"):
        dataset(pictures, file="my.parquet").prepare()


def test_classes_too_rare_for_the_split_are_named_all_at_once_or_left_out(pictures):
    data = frame().assign(**{"class": ["odd", "even", "even", *["dog", "cat"] * 4, "dog"]})
    made = dataset(pictures, data)
    with pytest.raises(
        UserError, match=r"class 'even' has only 2 distinct items, class 'odd' has only 1 distinct item: "
    ):
        made.split(made.prepare(), "default")
    made = dataset(pictures, data, strict=False)
    assert made.prepare().classes == ["cat", "dog"]
    assert len(made.split(made.prepare(), "default").table) == 9
    skipped = pd.read_csv(pictures / "out/skipped.csv")
    assert list(skipped["row"]) == [2, 3, 4]
    assert skipped["problem"][0] == (
        "class 'odd' has only 1 distinct item, and each of train, validation, test needs one; remove or merge such classes"
    )


def test_parts_far_from_their_shares_are_told_once_with_the_reason(pictures, caplog):
    labels = [f"c{row % 100}" for row in range(300)]
    data = pd.DataFrame({"key": range(300), "caption": map(str, range(300)), "class": labels})
    made = dataset(pictures, data, image="", strict=False)
    made.split(made.prepare(), "default")
    (told,) = [line for line in caplog.messages if "far from their shares" in line]
    assert told.endswith(
        "train 100, validation 100, test 100; 300 distinct items in 100 classes, each of which is dealt alone"
    )


@pytest.mark.parametrize("strict", [True, False])
def test_a_class_that_seldom_stands_first_is_not_rare(pictures, strict):
    labels = ["z", *["a;z"] * 11, *["a"] * 12, *["b"] * 12]
    data = pd.DataFrame({"key": range(100, 136), "caption": map(str, range(36)), "class": labels})
    made = dataset(pictures, data, image="", separator=";", strict=strict)
    split = made.split(made.prepare(), "default")
    assert len(split.table) == 36
    data.loc[2:11, "class"] = "a"
    with pytest.raises(UserError, match="class 'z' has only 2 distinct items: "):
        (made := dataset(pictures, data, image="", separator=";")).split(made.prepare(), "default")


def test_labels_that_no_training_row_has_are_left_out_until_the_split_stands(pictures):
    """Second labels of one item each: whichever part their items are drawn into, what is left can be split."""
    labels = [f"{'cat' if i % 2 else 'dog'};only{i}" if i < 4 else "cat" if i % 2 else "dog" for i in range(12)]
    made = dataset(pictures, frame().assign(**{"class": labels}), separator=";", strict=False)
    items = made.prepare()
    split = made.split(items, "default").table.set_index("id")["part"]
    trained = {
        label
        for item, own in zip(items.ids, items.table["labels"], strict=True)
        if split[item] == "train"
        for label in own
    }
    assert trained == set(items.classes)
    problems = pd.read_csv(pictures / "out/skipped.csv")["problem"]
    assert 0 < len(problems) < 4
    assert set(problems) <= {f"label 'only{i}' has no training row" for i in range(4)}


@pytest.mark.parametrize("rare", range(24))
def test_what_is_left_out_is_by_the_split_that_is_drawn(pictures, rare):
    """Ids sort otherwise than rows stand: i0, i1, i10, i11, …"""
    labels = ["a;z" if row == rare else "ab"[row % 2] for row in range(24)]
    data = pd.DataFrame({"key": [f"i{row}" for row in range(24)], "caption": map(str, range(24)), "class": labels})
    made = dataset(pictures, data, image="", separator=";", strict=False)
    assert made.split(made.prepare(), "default").has_validation


def test_not_strict_leaves_out_rows_without_label(pictures):
    data = frame()
    data.loc[[3, 5], "class"] = ["nan", ""]
    assert len(dataset(pictures, data, strict=False).prepare().table) == 10
    assert list(pd.read_csv(pictures / "out/skipped.csv")["problem"]) == ["no label"] * 2


def captions_with_twins(folder: Path, rows: int = 60) -> table.Table:
    """Texts of four classes, some with two; each sixth text stands twice, but for its case and closing point."""
    texts = [f"A house by the river {row % 7}{row}" for row in range(rows)]
    texts[::6] = [f"{text.upper()}." for text in texts[1::6]]
    data = pd.DataFrame(
        {
            "key": [f"k{(37 * row) % rows:02}" for row in range(rows)],
            "caption": texts,
            "class": [f"c{row % 4}" if row % 5 else f"c{row % 4};c{(row + 1) % 4}" for row in range(rows)],
        }
    )
    return dataset(folder, data, image="", separator=";")


def test_a_seeded_split_of_a_table_is_the_one_that_it_has_always_been(tmp_path):
    """Results that people have would no longer be those of their split."""
    made = captions_with_twins(tmp_path)
    split = made.split(made.prepare(), "default").table
    parts = "".join({"train": "-", "validation": "v", "test": "t"}[part] for part in split["part"])
    assert list(split["id"]) == [f"k{row:02}" for row in range(60)]
    assert parts == "tv-v-----t-v--t-v--tv-v-v-vv-t--t----tttv-t--t-t--t--v----v-"


def test_texts_that_are_names_of_files_are_refused(pictures):
    data = frame().assign(caption=[f"pictures/{i}.png" for i in range(12)])
    with pytest.raises(UserError, match=r"my.csv: caption: the cells name files, such as 'pictures/0.png'; write the"):
        dataset(pictures, data).prepare()


def test_texts_as_missing_values_are_written_are_told(pictures, caplog):
    dataset(pictures, frame().assign(caption=["nan", *"abcdefghijk"])).prepare()
    assert "1 texts are 'nan', as missing values are written, and count as texts; empty cells do not" in caplog.text


def test_pictures_that_repeat_beside_their_captions_are_told(pictures, caplog):
    data = frame().assign(picture=[f"pictures/{i // 2}.png" for i in range(12)])
    dataset(pictures, data).prepare()
    assert (
        "12 rows hold 6 different contents of image; if rows of the same one belong together, say group: picture"
        in (caplog.text)
    )
    caplog.clear()
    dataset(pictures, data, group="picture").prepare()
    dataset(pictures, frame()).prepare()
    assert "belong together" not in caplog.text
