"""Items, splits and views: round trips through files, and what is refused."""

import errno

import numpy as np
import pandas as pd
import pytest

from cmr.data import Items, Split, View, check_ids, paired, rows_of
from cmr.errors import UserError
from cmr.store import Rows


def items(ids=("a", "b", "c"), labels=(["x"], ["y", "x"], ["y"])) -> Items:
    table = pd.DataFrame(
        {"id": list(ids), "image": ["1.png", None, "3.png"], "text": ["one", "two", None], "labels": list(labels)}
    )
    return Items(table, {"image": "image", "text": "text"})


def test_items_survive_a_round_trip_with_their_kinds(tmp_path):
    items().write(tmp_path / "items.parquet")
    read = Items.read(tmp_path / "items.parquet")
    assert read.kinds == {"image": "image", "text": "text"}
    assert list(read.ids) == ["a", "b", "c"]
    assert [list(labels) for labels in read.table["labels"]] == [["x"], ["y", "x"], ["y"]]
    assert list(read.having("image")["id"]) == ["a", "c"]
    assert list(read.having("text")["id"]) == ["a", "b"]


def test_without_contents_the_items_tell_what_they_have(tmp_path):
    items().write(tmp_path / "items.parquet")
    whole, told = (Items.read(tmp_path / "items.parquet", contents=contents) for contents in (True, False))
    assert list(told.table) == list(whole.table)
    assert told.table["image"].dropna().tolist() == [True, True]
    for modality in ("image", "text"):
        assert told.has(modality).tolist() == whole.has(modality).tolist()
    assert told.labels(["c", "b"]).tolist() == [[0, 1], [1, 1]]


def test_a_column_of_contents_that_are_no_texts_is_refused_unread(tmp_path):
    items().table.assign(image=[1, 2, 3]).to_parquet(path := tmp_path / "numbers.parquet", index=False)
    frame = pd.read_parquet(path)
    frame.attrs = {"kinds": {"image": "image"}}
    frame.to_parquet(path, index=False)
    for contents in (True, False):
        with pytest.raises(UserError, match=r"not a readable items table.*a cell of image is no text"):
            Items.read(path, contents=contents)


def test_items_with_equal_labels_share_them_and_what_has_others_does_not(tmp_path):
    names = [["x"], ["x", "y"], ["y", "x"], ["x"], ["x", "y"]]
    table = pd.DataFrame({"id": list("abcde"), "text": list("vwxyz"), "labels": names})
    Items(table, {"text": "text"}).write(tmp_path / "items.parquet")
    read = Items.read(tmp_path / "items.parquet")
    assert list(map(list, read.table["labels"])) == names
    assert read.table["labels"][0] is read.table["labels"][3]
    assert read.strata == ["x", "x", "y", "x", "x"]
    assert read.labels(list("edcba")).tolist() == [[1, 1], [1, 0], [1, 1], [1, 1], [1, 0]]


def test_ids_of_other_data_have_no_rows():
    assert items().rows(np.array(["c", "a"])).tolist() == [2, 0]
    for ask in (items().rows, items().labels):
        with pytest.raises(UserError, match="item 'q' is not in the items table"):
            ask(["a", "z", "q"])


def test_groups_are_those_of_the_column_or_the_ids():
    table = items().table
    grouped = Items(table.assign(group=["g", "h", "g"]), items().kinds)
    assert grouped.groups.tolist() == ["g", "h", "g"]
    assert grouped.groups_of(np.array(["c", "b"])).tolist() == ["g", "h"]
    assert items().groups_of(np.array(["c", "b"])).tolist() == ["c", "b"]


def test_labels_are_multi_hot_in_the_order_of_classes_and_ids():
    assert items().classes == ["x", "y"]
    assert items().labels(["c", "b", "a"]).tolist() == [[0, 1], [1, 1], [1, 0]]


def test_an_unknown_modality_names_those_there_are():
    with pytest.raises(UserError, match=r"no modality 'audio'; it has image, text"):
        items().having("audio")


def test_duplicate_ids_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match="id 'b' stands on more than one row"):
        items(ids=("a", "b", "b")).write(tmp_path / "items.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_table(tmp_path, monkeypatch):
    def full(self, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        items().write(tmp_path / "items.parquet")
    assert list(tmp_path.iterdir()) == []


def test_an_item_without_a_class_is_refused(tmp_path):
    with pytest.raises(UserError, match="item 'c' has no class"):
        items(labels=(["x"], ["y"], [])).write(tmp_path / "items.parquet")


def test_a_truncated_or_foreign_items_table_is_named(tmp_path):
    path = tmp_path / "items.parquet"
    items().write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a readable items table"):
        Items.read(path)
    pd.DataFrame({"id": ["a"]}).to_parquet(path)
    with pytest.raises(UserError, match="not a readable items table"):
        Items.read(path)


def test_split_survives_a_round_trip_with_ids_that_look_like_numbers(tmp_path):
    table = pd.DataFrame(
        {"id": ["01", "1", "NA"], "part": ["train", "train", "test"], "held_out": [True, False, False]}
    )
    Split(table).write(tmp_path / "split.csv")
    read = Split.read(tmp_path / "split.csv")
    pd.testing.assert_frame_equal(read.table, table)
    assert not read.has_validation
    assert set(read.held_out) == {"01"}
    assert set(read.selection_train) == {"1"}
    assert set(read.ids("test")) == {"NA"}


def test_what_has_no_labels_any_more_keeps_its_groups():
    given = View(np.array(["a", "b"]), np.zeros((2, 1)), np.eye(2), np.array(["g", "h"]))
    bare = given.without_labels()
    assert (bare.ids.tolist(), bare.labels, bare.groups.tolist()) == (["a", "b"], None, ["g", "h"])


def test_paired_aligns_rows_by_id():
    first = View(np.array(["a", "b", "c"]), np.array([[1.0], [2], [3]]))
    second = View(np.array(["c", "d", "a"]), np.array([[30.0], [40], [10]]))
    left, right = paired({"image": first, "text": second}, ("image", "text"))
    assert list(left.ids) == list(right.ids) == ["a", "c"]
    assert left.features.tolist() == [[1], [3]]
    assert right.features.tolist() == [[10], [30]]


def test_paired_refuses_modalities_without_a_common_item():
    part = {"image": View(np.array(["a"]), np.zeros((1, 1))), "text": View(np.array(["b"]), np.zeros((1, 1)))}
    with pytest.raises(UserError, match="no item has all of the modalities image, text"):
        paired(part, ("image", "text"))


def test_rows_of_keeps_the_order_of_the_matrix():
    matrix = Rows(np.array(["a", "b", "c"]), np.array([[1.0], [2], [3]]), {})
    view = rows_of(matrix, {"c", "a"}, items())
    assert list(view.ids) == ["a", "c"]
    assert view.features.tolist() == [[1], [3]]
    assert view.labels.tolist() == [[1, 0], [0, 1]]
    assert rows_of(matrix, {"a"}, items(), with_labels=False).labels is None


@pytest.mark.parametrize(
    ("ids", "what"),
    [(["a", "z"], "unknown item 'z'"), (["a"], "item 'b' is missing"), (["b", "a"], "other order")],
)
def test_ids_of_another_version_of_the_items_are_told(ids, what):
    matrix = Rows(np.array(ids), np.zeros((len(ids), 1)), {})
    with pytest.raises(UserError, match=what):
        check_ids("f.h5", matrix, ["a", "b"])


def of_modalities(image, text):
    """Items that have an image or a text, with a label each."""
    rows = [("image", label) for label in image] + [("text", label) for label in text]
    table = pd.DataFrame(
        {
            "id": [f"i{number}" for number in range(len(rows))],
            **{m: [m if kind == m else None for kind, _ in rows] for m in ("image", "text")},
            "labels": [[label] for _, label in rows],
        }
    )
    return Items(table, {"image": "text", "text": "text"})


def test_modalities_whose_classes_have_other_names_are_refused():
    made = of_modalities(["0", "1"], ["1", "2"])
    made.check("here")
    assert made.classes_of("image") == {"0", "1"}
    with pytest.raises(UserError, match=r"here: image has no class in common with text, such as '0' and 'one'; call"):
        of_modalities(["0", "1"], ["one", "two"]).check("here")
