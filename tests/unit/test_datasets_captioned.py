"""Flickr8k, Flickr30k and MS-COCO's captions, on tiny files in the layout of the originals."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from cmr import registry
from cmr.data import Split
from cmr.datasets import coco, coco_captions, flickr8k, flickr30k
from cmr.errors import UserError

NAMES = ["1000092795", "10002456", "1000268201", "1000344755"]
KARPATHY_SPLITS = ["train", "val", "test", "train"]
MODULES = {"flickr8k": flickr8k, "flickr30k": flickr30k, "coco_captions": coco_captions}
SMALL = {"train": 2, "validation": 1, "test": 1}


def dataset(name: str, folder: Path, **params):
    model = registry.params_model("datasets", name)
    return registry.load("datasets", name)(model(**params), folder / "data", folder / "cache")


def raw(folder: Path, name: str) -> Path:
    path = folder / "cache/datasets" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def pictures(folder: Path, names=NAMES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.jpg").write_bytes(name.encode())


def sentences(name: str, count: int = 5) -> list[str]:
    return [f"A {name} , seen {number} ." for number in range(count)]


def karpathy(images: list[dict], dataset: str) -> str:
    """As the files are: every sentence with its tokens, and numbers that nothing here reads."""
    for number, image in enumerate(images):
        raws = image.pop("raws")
        image["sentences"] = [{"tokens": r.lower().split(), "raw": r, "imgid": number, "sentid": 0} for r in raws]
        image |= {"sentids": [0], "imgid": number}
    return json.dumps({"images": images, "dataset": dataset})


def flickr_json(dataset: str) -> str:
    images = zip(NAMES, KARPATHY_SPLITS, strict=True)
    return karpathy([{"filename": f"{n}.jpg", "split": s, "raws": sentences(n)} for n, s in images], dataset)


def tokens(name: str) -> list[str]:
    return [f"{name}.jpg#{number}\t{text}" for number, text in enumerate(sentences(name))]


def placed8k(folder: Path) -> Path:
    place = raw(folder, "flickr8k")
    pictures(place / "Flicker8k_Dataset")
    (place / "dataset_flickr8k.json").write_text(flickr_json("flickr8k"))
    lines = [line for name in NAMES for line in tokens(name)] + ["2258277193_586949ec62.jpg.1#0\tNobody 's ."]
    (place / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for kind, names in (("train", [NAMES[0], NAMES[3]]), ("dev", [NAMES[1]]), ("test", [NAMES[2]])):
        (place / f"Flickr_8k.{kind}Images.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    return place


def placed30k(folder: Path) -> Path:
    place = raw(folder, "flickr30k")
    pictures(place / "flickr30k-images")
    (place / "dataset_flickr30k.json").write_text(flickr_json("flickr30k"))
    (place / "results_20130124.token").write_text("\n".join(line for name in NAMES for line in tokens(name)) + "\n")
    rows = [f"{n}.jpg| {i}| {text}" for n in NAMES for i, text in enumerate(sentences(n))]
    rows[4] = rows[4].replace("| 4| A", "| 4   A")  # a row of the published table
    (place / "results.csv").write_text("\n".join(["image_name| comment_number| comment", *rows]) + "\n")
    for part, names in (("train", [NAMES[0], NAMES[3]]), ("val", [NAMES[1]]), ("test", [NAMES[2]])):
        (place / f"{part}.txt").write_text("\n".join(names))
    return place


def placed_coco(folder: Path) -> Path:
    place = raw(folder, "ms_coco")
    files = {"train2014": [1, 2], "val2014": [11, 12, 13, 14]}
    name = "COCO_{}_{:012}.jpg".format
    for part, numbers in files.items():
        with zipfile.ZipFile(place / f"{part}.zip", "w") as archive:
            for number in numbers:
                archive.writestr(f"{part}/{name(part, number)}", str(number))
    splits = {1: "train", 2: "train", 11: "restval", 12: "val", 13: "test", 14: "test"}
    images = [
        {"filepath": part, "filename": name(part, n), "cocoid": n, "split": splits[n], "raws": sentences(str(n), 7)}
        for part in ("val2014", "train2014")
        for n in files[part]
    ]
    (place / "dataset_coco.json").write_text(karpathy(images, "coco"))
    with zipfile.ZipFile(place / coco.ANNOTATIONS, "w") as archive:
        for part, numbers in files.items():
            listed = [{"id": n, "file_name": name(part, n)} for n in numbers]
            said = [{"image_id": n, "caption": f" {t}\n"} for n in numbers for t in sentences(str(n), 6)]
            found = [{"image_id": n, "category_id": c} for n in numbers if n != 14 for c in (90, 18)]
            named = [{"id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}]
            archive.writestr(f"annotations/captions_{part}.json", json.dumps({"images": listed, "annotations": said}))
            instances = {"images": listed, "annotations": found, "categories": named}
            archive.writestr(f"annotations/instances_{part}.json", json.dumps(instances))
    return place


def as_expected(items, name: str, image: str, classes: tuple[str, ...] = ()) -> None:
    """A picture is one item with its first caption; four more are items of its group."""
    rows = items.table[items.groups == name]
    assert rows["id"].tolist() == [name, *(f"{name}-{number}" for number in (2, 3, 4, 5))]
    assert rows["image"].notna().tolist() == [True, False, False, False, False]
    assert rows["image"].iloc[0] == image
    assert [list(labels) for labels in rows["labels"]] == [list(classes)] * 5


def parts_by_group(made, items, split: str) -> dict[str, str]:
    """The one part of each group."""
    found = {}
    for group, part in zip(items.groups, made.parts(items, split), strict=True):
        assert found.setdefault(group, part) == part
    return found


@pytest.mark.parametrize(
    ("name", "captions", "split"),
    [
        ("flickr8k", "karpathy", "karpathy"),
        ("flickr8k", "token", "as_distributed"),
        ("flickr30k", "karpathy", "karpathy"),
        ("flickr30k", "token", "entities"),
        ("flickr30k", "csv", "entities"),
    ],
)
def test_flickr_in_each_of_its_layouts(name, captions, split, unchecked, monkeypatch):
    place = {"flickr8k": placed8k, "flickr30k": placed30k}[name](unchecked)
    made = dataset(name, unchecked, captions=captions)
    assert set(made.download()) == set(made.files())
    items = made.prepare()
    assert list(dict.fromkeys(items.groups)) == NAMES
    folder = MODULES[name].PICTURES
    for picture in NAMES:
        as_expected(items, picture, f"{folder}/{picture}.jpg")
        assert items.table["text"][items.groups == picture].tolist() == sentences(picture)
    assert not items.has_classes
    items.check(place)
    assert [path.read_text() for path in made.contents(items, "image")] == NAMES
    with pytest.raises(UserError, match=r"the protocol has .*: these are not the protocol's files"):
        made.parts(items, split)
    monkeypatch.setitem(made.sizes, split, SMALL)
    wanted = dict(zip(NAMES, ("train", "validation", "test", "train"), strict=True))
    assert parts_by_group(made, items, split) == wanted
    (other,) = set(registry.info("datasets", name).splits) - {split}
    with pytest.raises(UserError, match=f"the split {other} is not of these captions, which come with {split}"):
        made.parts(items, other)


def test_the_published_sizes_are_those_of_the_whole():
    totals = {
        name: {split: sum(own.values()) for split, own in module.SIZES.items()} for name, module in MODULES.items()
    }
    assert totals == {
        "flickr8k": {"karpathy": 8000, "as_distributed": 8000},
        "flickr30k": {"karpathy": 31014, "entities": 31783},
        "coco_captions": {"karpathy": 123287, "as_distributed": 123287},
    }


def test_cocos_captions_with_karpathys_split(unchecked, monkeypatch):
    placed_coco(unchecked)
    made = dataset("coco_captions", unchecked)
    made.download()
    items = made.prepare()
    as_expected(
        items, "COCO_train2014_000000000002", "train2014.zip.unpacked/train2014/COCO_train2014_000000000002.jpg"
    )
    assert [path.read_text() for path in made.contents(items, "image")] == ["11", "12", "13", "14", "1", "2"]
    monkeypatch.setitem(made.sizes, "karpathy", {"train": 3, "validation": 1, "test": 2})
    found = {int(group[-12:]): part for group, part in parts_by_group(made, items, "karpathy").items()}
    assert found == {11: "train", 12: "validation", 13: "test", 14: "test", 1: "train", 2: "train"}
    monkeypatch.setattr(coco_captions, "FOLD", 1)
    split = made.split(items, "karpathy_1k")
    split.write(unchecked / "split.csv")
    split = Split.read(unchecked / "split.csv")
    assert split.table["part"].tolist() == made.split(items, "karpathy").table["part"].tolist()
    assert split.table["fold"].tolist() == [{13: "1", 14: "2"}.get(int(g[-12:]), "") for g in items.groups]
    captions = items.ids[made.parts(items, "karpathy") == "test"]
    assert split.folds(captions) == {"1": slice(0, 5), "2": slice(5, 10)}
    assert split.folds(captions[::5]) == {"1": slice(0, 1), "2": slice(1, 2)}
    with pytest.raises(UserError, match="the items of a fold do not follow each other"):
        split.folds(captions[[0, 5, 1]])
    assert made.split(items, "karpathy").folds(captions) == {}


def test_cocos_own_captions_and_objects(unchecked, monkeypatch):
    placed_coco(unchecked)
    made = dataset("coco_captions", unchecked, captions="coco", labels="objects")
    made.download()
    items = made.prepare()
    as_expected(
        items, "COCO_val2014_000000000013", "val2014.zip.unpacked/val2014/COCO_val2014_000000000013.jpg",
        ("dog", "toothbrush"),
    )  # fmt: skip
    assert list(items.table["labels"][items.groups == "COCO_val2014_000000000014"].iloc[0]) == ["no object"]
    assert items.table["text"].iloc[0] == sentences("1")[0]
    monkeypatch.setitem(made.sizes, "as_distributed", {"train": 2, "test": 4})
    assert Counter(parts_by_group(made, items, "as_distributed").values()) == {"train": 2, "test": 4}


def test_objects_are_not_needed_without_labels(tmp_path):
    assert coco.ANNOTATIONS not in dataset("coco_captions", tmp_path).files()
    assert coco.ANNOTATIONS in dataset("coco_captions", tmp_path, labels="objects").files()


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("Flickr8k.token.txt", "1000092795.jpg 0 A .\n", r"token.txt: line 1: not a picture, a number and a caption"),
        ("Flickr_8k.devImages.txt", f"{NAMES[0]}.jpg\n", r"devImages.txt: line 1: 1000092795 is in the part train too"),
        ("Flickr8k.token.txt", f"{NAMES[0]}.jpg#0\tA .\nnone.jpg#0\tB .\n", None),
    ],
)
def test_damaged_lists_are_told(unchecked, file, text, problem):
    place = placed8k(unchecked)
    (place / file).write_text(text)
    made = dataset("flickr8k", unchecked, captions="token")
    if problem:
        with pytest.raises(UserError, match=problem):
            made.prepare()
    else:
        assert made.prepare().ids.tolist() == [NAMES[0]]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"images": [{"filename": "a.jpg"}]}', '{"images": 3}', '{"images": ' + "[" * 100_000]
)
def test_another_json_is_told(unchecked, text):
    place = placed8k(unchecked)
    (place / "dataset_flickr8k.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset_flickr8k.json: not one of Karpathy's lists"):
        dataset("flickr8k", unchecked).prepare()


@pytest.mark.parametrize("read", [coco.sentences, coco.objects])
@pytest.mark.parametrize(
    "found", [{}, [], None, {"annotations": None, "categories": []}, {"annotations": [3], "categories": [3]}]
)
def test_annotations_of_another_form_are_told(read, found):
    with pytest.raises(UserError, match="not the annotations of MS-COCO"):
        read(found)


def test_annotations_that_are_no_json_are_told(tmp_path):
    for text in ("{", "[" * 100_000, b"\xff"):
        with zipfile.ZipFile(tmp_path / coco.ANNOTATIONS, "w") as archive:
            archive.writestr("annotations/x.json", text)
        with pytest.raises(UserError, match=r"annotations/x\.json cannot be read"):
            coco.annotations(tmp_path / coco.ANNOTATIONS, "x.json")


def test_a_picture_without_file_or_caption_is_told(unchecked):
    place = placed8k(unchecked)
    images = [{"filename": "x.jpg", "split": "train", "raws": []}]
    (place / "dataset_flickr8k.json").write_text(karpathy(images, "flickr8k"))
    with pytest.raises(UserError, match=r"the picture x.jpg has no caption"):
        dataset("flickr8k", unchecked).prepare()
    (place / "dataset_flickr8k.json").write_text(flickr_json("flickr8k").replace(NAMES[0], "../x"))
    with pytest.raises(UserError, match=r"the picture ../x.jpg leaves the folder of the pictures"):
        dataset("flickr8k", unchecked).prepare()
    (place / "dataset_flickr8k.json").write_text(flickr_json("flickr8k"))
    (place / "Flicker8k_Dataset" / f"{NAMES[1]}.jpg").unlink()
    with pytest.raises(UserError, match=rf"Flicker8k_Dataset/{NAMES[1]}.jpg: no such file"):
        dataset("flickr8k", unchecked).prepare()
