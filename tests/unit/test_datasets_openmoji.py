"""OpenMoji: the text tells nothing of the class by name, equal texts and pictures share a part, rendering resumes."""

import re
from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from cmr.content import write_list
from cmr.datasets import openmoji
from cmr.errors import UserError

SIZE = 16


def dataset(folder) -> openmoji.OpenMoji:
    return openmoji.OpenMoji(openmoji.Params(size=SIZE), folder, folder / "cache")


@pytest.fixture(scope="module")
def all_items(tmp_path_factory):
    """Every item, with a stand-in for the rendering."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openmoji.OpenMoji, "_render", lambda self, emoji: str(openmoji.drawing(emoji.unified)))
        return dataset(tmp_path_factory.mktemp("emoji")).prepare()


def test_items_and_classes(all_items):
    assert len(all_items.table) == 1629
    assert len(all_items.classes) == 8
    assert not {"Flags", "Component"} & set(all_items.classes)
    all_items.check("openmoji")


def test_no_text_has_a_word_of_any_class_name(all_items):
    """The forms are written out here, so that a mistake in `forms` shows."""
    names = "smiley smileys emotion emotions people person persons body bodies animal animals nature natures food "
    names += "foods drink drinks travel travels place places activity activities object objects symbol symbols"
    found = {word for text in all_items.table["text"] for word in re.findall(r"[a-z]+", text)}
    assert not found & set(names.split())
    assert {"helicopter", "grinning", "strawberry"} <= found


def test_texts_are_distinct_lower_case_words(all_items):
    for text in all_items.table["text"]:
        assert text
        assert text == text.lower()
        assert len(text.split()) == len(set(text.split()))


def test_split_is_stratified_and_keeps_equal_texts_together(all_items, tmp_path):
    split = dataset(tmp_path).split(all_items, "default")
    part = dict(zip(split.table["id"], split.table["part"], strict=True))
    table = all_items.table.assign(part=all_items.table["id"].map(part))
    assert all_items.table["text"].duplicated().any()
    assert (table.groupby("text")["part"].nunique() == 1).all()
    for _, rows in table.groupby(table["labels"].str[0]):
        for name, share in openmoji.SHARES.items():
            assert abs((rows["part"] == name).sum() - share * len(rows)) <= 3
    assert set(split.held_out) == set(split.ids("validation"))


def test_no_picture_lies_in_two_parts(tmp_path):
    """Some emoji are drawn alike (a prince and a person with a crown): by their bytes they are one picture."""
    made = dataset(tmp_path)
    items = made.prepare()
    drawn = {name: sha256((tmp_path / name).read_bytes()).hexdigest() for name in items.table["image"]}
    write_list(tmp_path / "contents.sha256", sorted(drawn.items()))
    parts = made.parts(items, "default")
    drawing = items.table["image"].map(drawn)
    assert drawing.duplicated().any()
    parts_of_drawing = {(name, part) for name, part in zip(drawing, parts, strict=True)}
    assert max(Counter(name for name, _ in parts_of_drawing).values()) == 1
    assert Counter(parts) == {"train": 978, "validation": 328, "test": 323}


def test_all_is_rendered_anew(tmp_path, monkeypatch):
    """What other code has left is not taken for what this code makes."""
    few = [e for e in openmoji.emoji_data if e.unified in {"1F681", "1F353", "26D3-FE0F"}]
    monkeypatch.setattr(openmoji, "emoji_data", few)
    items = dataset(tmp_path).prepare()
    first = tmp_path / items.table["image"][0]
    with Image.open(first) as picture:
        assert picture.size == (SIZE, SIZE)
        assert np.asarray(picture.convert("RGB"))[0, 0].tolist() == [255, 255, 255]
    content = first.read_bytes()
    first.write_bytes(b"another picture")
    dataset(tmp_path).prepare()
    assert first.read_bytes() == content


def test_a_rendering_that_fails_leaves_no_picture(tmp_path, monkeypatch):
    def fail(**_):
        raise ValueError("no")

    monkeypatch.setattr(openmoji, "emoji_data", [e for e in openmoji.emoji_data if e.unified == "1F681"])
    monkeypatch.setattr(openmoji.resvg_py, "svg_to_bytes", fail)
    with pytest.raises(ValueError, match="no"):
        dataset(tmp_path).prepare()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_missing_drawing_is_named():
    with pytest.raises(UserError, match="no drawing of FFFFF"):
        openmoji.drawing("FFFFF")


def test_each_text_of_an_emoji_is_an_item_of_its_group(all_items, tmp_path, monkeypatch):
    monkeypatch.setattr(openmoji.OpenMoji, "_render", lambda self, emoji: f"{emoji.unified}.png")
    made = openmoji.OpenMoji(openmoji.Params(texts="each"), tmp_path, tmp_path / "cache")
    items = made.prepare()
    items.check("openmoji")
    assert items.having("image")["id"].tolist() == all_items.ids.tolist()
    assert not items.table.duplicated(["group", "text"]).any()
    assert items.table.groupby("group")["text"].count().max() > 2
    words = items.table.groupby("group", sort=False)["text"].agg(lambda own: list(dict.fromkeys(" ".join(own).split())))
    assert [" ".join(own) for own in words] == all_items.table["text"].tolist()
    parts = made.split(items, "default").table.set_index("id")["part"].reindex(items.ids)
    assert (parts.groupby(items.groups).nunique() == 1).all()
