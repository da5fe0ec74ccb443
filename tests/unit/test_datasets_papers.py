"""The papers' data sets, on tiny files in the layout of the originals (the docstrings of the data sets give it)."""

import builtins
import io
import json
import os
import shutil
import subprocess
import zipfile
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image

from cmr import registry
from cmr.content import write_list
from cmr.data import Items
from cmr.datasets import (
    inria_websearch,
    ms_coco,
    nus_wide,
    nus_wide_10k,
    pascal_sentence,
    scitechdaily,
    tuxpaint_stamps,
    xmedianet,
)
from cmr.errors import UserError
from cmr.features.ready import Params as ReadyParams
from cmr.features.ready import Ready

PASCAL = os.environ.get("CMR_PASCAL", "")


def dataset(name: str, folder: Path, **params):
    return registry.load("datasets", name)(
        registry.params_model("datasets", name)(**params), folder / "data", folder / "cache"
    )


def raw(folder: Path, name: str) -> Path:
    path = folder / "cache/datasets" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def files_read(folder: Path, do: Callable[[], object]) -> set[str]:
    """The files of a folder that ``do`` opens, by their paths in it."""
    opened = []

    def note(path, *args, **kwargs):
        opened.append(path)
        return really(path, *args, **kwargs)

    really = io.open
    with pytest.MonkeyPatch.context() as patch:
        for place in (io, builtins):
            patch.setattr(place, "open", note)
        do()
    paths = [Path(path) for path in opened if isinstance(path, str | Path)]
    return {str(path.relative_to(folder)) for path in paths if path.is_relative_to(folder)}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), "red").save(path)


def zipped(path: Path, files: dict[str, str | bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def vectors(made, items, modality: str, name: str = "") -> np.ndarray:
    return Ready(ReadyParams(name=name), Path()).contents(made, items, modality)


def write_sdml(path: Path, sizes: dict[str, int], text: str = "text", labels=lambda n: np.arange(n) % 2) -> None:
    with h5py.File(path, "w") as file:
        for number, (part, n) in enumerate(sizes.items()):
            rows = 100 * number + np.arange(n)[:, None]
            file[f"{part}_imgs_deep"] = np.hstack([rows, rows])
            file[f"{part}_{text}"] = -rows
            file[f"{part}_imgs_labels"] = labels(n)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in registry.names("datasets")
        if n not in {"openmoji", "folder", "table", "precomputed", "tuxpaint_stamps"}
    ],
)
def test_what_is_behind_a_form_is_asked_for_with_address_file_and_folder(name, tmp_path, monkeypatch):
    """Without internet: every file that the data set needs is in sources.csv, and the message is enough to place it."""
    made = dataset(name, tmp_path)
    monkeypatch.setattr("cmr.transfer._append", lambda address, part: part.touch() or fail(address))

    def fail(address):
        import requests

        raise requests.ConnectionError(f"{address} cannot be reached")

    with pytest.raises(UserError, match=rf"(?s)place in {made.raw}.*:\n  .+ from http"):
        made.download()


# Pascal Sentence ----------------------------------------------------------------------------------------------------


def page(captions: dict[str, dict]) -> str:
    rows = "".join(
        f'<tr><td><img src="{c["category"]}/{name}"></td><td><table>'
        + "".join(f"<tr><td> {s} </td></tr>\n" for s in c["captions"])
        + "</table></td></tr>\n"
        for name, c in captions.items()
    )
    return f"<html><head><title>Pascal Sentences</title></head><body><table>{rows}</table></body></html>"


def pascal(folder: Path, captions: dict[str, dict]):
    (raw(folder, "pascal_sentence") / pascal_sentence.PAGE).write_text(page(captions))
    for name, caption in captions.items():
        path = raw(folder, "pascal_sentence") / caption["category"] / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    made = dataset("pascal_sentence", folder)
    made.download()
    return made


def test_pascal_sentences_are_joined_and_split_by_class(unchecked):
    captions = {
        f"2008_{c}{i:03}.jpg": {"category": c, "captions": [f"One {c} & {i}.", "Two."]}
        for c in ("cat", "bus")
        for i in range(50)
    }
    made = pascal(unchecked, captions)
    items = made.prepare()
    assert items.table.iloc[0].to_dict() == {
        "id": "2008_cat000", "image": "cat/2008_cat000.jpg", "text": "One cat & 0. Two.", "labels": ["cat"],
    }  # fmt: skip
    parts = made.parts(items, "800_100_100")
    labels = [own[0] for own in items.table["labels"]]
    assert set(Counter(zip(labels, parts, strict=True)).values()) == {40, 5}
    parts = made.parts(items, "600_400")
    assert Counter(zip(labels, parts, strict=True)) == {
        (c, p): n for c in ("cat", "bus") for p, n in (("train", 30), ("test", 20))
    }


def test_equal_sentences_or_pictures_of_pascal_lie_in_one_part(unchecked):
    captions = {
        f"2008_{c}{i:03}.jpg": {"category": c, "captions": [f"One {c} & {i // 2}."]}
        for c in ("cat", "bus")
        for i in range(50)
    }
    made = pascal(unchecked, captions)
    items = made.prepare()
    alike = [items.table["image"][0], items.table["image"][2]]  # two pictures, whose texts differ
    hashes = {name: f"{0 if name in alike else row:064}" for row, name in enumerate(items.table["image"], 1)}
    made.folder.mkdir(parents=True, exist_ok=True)
    write_list(made.folder / "contents.sha256", hashes.items())
    for name in ("800_100_100", "600_400"):
        parts = made.parts(items, name)
        assert len(set(parts[:4])) == 1
        assert (parts[::2] == parts[1::2]).all()


@pytest.mark.skipif(not PASCAL, reason="CMR_PASCAL does not name the folder of the real captions")
def test_the_real_captions_survive_the_page(unchecked):
    found = Path(PASCAL)
    captions = json.loads((found / "pascal_sentences.json" if found.is_dir() else found).read_text())
    made = pascal(unchecked, captions)
    items = made.prepare()
    assert len(items.table) == 1000
    expected = {name.removesuffix(".jpg"): " ".join(" ".join(c["captions"]).split()) for name, c in captions.items()}
    assert dict(zip(items.ids, items.table["text"], strict=True)) == expected
    split = made.split(items, "600_400")
    assert split.table["part"].value_counts().to_dict() == {"train": 600, "test": 400}


def test_a_page_without_pictures_is_told(unchecked):
    (raw(unchecked, "pascal_sentence") / pascal_sentence.PAGE).write_text("<html>404</html>")
    with pytest.raises(UserError, match="not the page of the data set"):
        dataset("pascal_sentence", unchecked).download()


def test_dscmrs_features(unchecked):
    for part, n in (("train", 4), ("test", 2)):
        arrays = {"img": np.ones((n, 3)), "txt": np.zeros((n, 2)), "img_lab": np.arange(n)[:, None] % 2}
        for kind, array in arrays.items():
            scipy.io.savemat(raw(unchecked, "pascal_sentence") / f"{part}_{kind}.mat", {f"{part}_{kind}": array})
    made = dataset("pascal_sentence", unchecked, content="dscmr")
    made.download()
    items = made.prepare()
    assert list(made.parts(items, "as_distributed")) == ["train"] * 4 + ["test"] * 2
    assert vectors(made, items, "image", "vgg19_finetuned").shape == (6, 3)


# NUS-WIDE -----------------------------------------------------------------------------------------------------------


def nus_files(folder: Path, labels: pd.DataFrame, tags: list[str]) -> None:
    """``labels``: 0/1, a column a concept; the first three quarters of the pictures are the official training part."""
    n = len(labels)
    names = [f"dir{i % 3}\\{i:04}_{9000 + i}.jpg" for i in range(n)]
    lists = {
        "Imagelist.txt": names,
        "TrainImagelist.txt": names[: n * 3 // 4],
        "TestImagelist.txt": names[n * 3 // 4 :],
    }
    zipped(
        raw(folder, "nus_wide") / "ImageList.zip", {f"ImageList/{k}": "\r\n".join(v) + "\r\n" for k, v in lists.items()}
    )
    lines = "".join(f"{9000 + i}      {tag}\r\n" for i, tag in enumerate(tags))
    zipped(raw(folder, "nus_wide") / "NUS_WID_Tags.zip", {"All_Tags.txt": lines})
    columns = {f"AllLabels/Labels_{c}.txt": "\r\n".join(map(str, labels[c])) + "\r\n" for c in labels}
    zipped(raw(folder, "nus_wide") / "Groundtruth.zip", {f"Groundtruth/{k}": v for k, v in columns.items()})
    (raw(folder, "nus_wide") / "Flickr").mkdir()


def test_nus_wide_takes_the_reading_that_gives_the_printed_numbers(unchecked, monkeypatch):
    #            sky only ×4, clouds only ×3, toy only ×2, sky+clouds ×2, clouds+toy ×1
    sky, clouds = [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1]
    toy = [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1]
    tags = ["a b"] * 12
    tags[1] = ""  # without tags: left out
    nus_files(unchecked, pd.DataFrame({"sky": sky, "clouds": clouds, "toy": toy}), tags)
    monkeypatch.setattr(nus_wide, "CLASSES", 2)
    made = dataset("nus_wide", unchecked)
    made.download()
    # The two largest are clouds and sky. Exclusive among all three: rows 0, 2-6. Among the two: also row 11 (clouds+toy).
    for sizes, rows in (({"train": 6}, [0, 2, 3, 4, 5, 6]), ({"train": 6, "test": 1}, [0, 2, 3, 4, 5, 6, 11])):
        monkeypatch.setattr(nus_wide, "SIZES", sizes)
        items = made.prepare()
        assert list(items.ids) == [f"dir{i % 3}_{i:04}_{9000 + i}" for i in rows]
    assert items.table["image"][6] == "Flickr/dir2/0011_9011.jpg"
    assert items.table["labels"][6] == ["clouds"]
    monkeypatch.setattr(nus_wide, "VALIDATION_ROWS", 1)
    assert list(made.parts(items, "42941_5000_23661")) == ["train"] * 6 + ["validation"]
    monkeypatch.setattr(nus_wide, "SIZES", {"train": 99})
    with pytest.raises(UserError, match=r"no reading of the protocol gives .*99.*largest by all pictures"):
        made.prepare()


def test_nus_wide_lists_that_do_not_agree_are_told(unchecked):
    nus_files(unchecked, pd.DataFrame({"sky": [1, 1, 1, 1]}), ["a"] * 3)
    made = dataset("nus_wide", unchecked)
    made.download()
    with pytest.raises(UserError, match=r"All_Tags\.txt has 3 lines, Imagelist\.txt 4"):
        made.prepare()
    path = made.raw / "All_Tags.txt"
    path.write_text("9000 a\n9001 a\n9009 a\n9003 a\n")
    with pytest.raises(UserError, match=r"line 3: All_Tags\.txt has the picture 9009"):
        made.prepare()


def test_nus_wide_sdml_file(unchecked, monkeypatch):
    write_sdml(raw(unchecked, "nus_wide") / nus_wide.SDML, {"train": 4, "test": 3}, "texts")
    monkeypatch.setattr(nus_wide, "SIZES", {"train": 4, "test": 3})
    monkeypatch.setattr(nus_wide, "VALIDATION_ROWS", 1)
    made = dataset("nus_wide", unchecked, content="sdml")
    items = made.prepare()
    assert list(made.parts(items, "42941_5000_23661")) == ["train"] * 4 + ["validation"] + ["test"] * 2
    assert vectors(made, items, "text", "doc2vec").ravel().tolist() == [0, -1, -2, -3, -100, -101, -102]


def test_nus_wide_10k_draws_the_same_pictures_of_each_class(unchecked, monkeypatch):
    rows = [
        {c: int(c == own) for c in nus_wide_10k.CLASSES} | {"other": 0}
        for own in nus_wide_10k.CLASSES
        for _ in range(14)
    ]
    rows[0]["other"] = 1  # not exclusive
    nus_files(unchecked, pd.DataFrame(rows), [f"tag{i}" for i in range(139)] + [""])
    monkeypatch.setattr(nus_wide_10k, "PER_CLASS", 10)
    made = dataset("nus_wide_10k", unchecked)
    assert made.raw == dataset("nus_wide", unchecked).raw
    made.download()
    items = made.prepare()
    assert Counter(own[0] for own in items.table["labels"]) == dict.fromkeys(nus_wide_10k.CLASSES, 10)
    assert not {"dir0_0000_9000", f"dir{139 % 3}_0139_9139"} & set(items.ids)
    assert list(made.prepare().ids) == list(items.ids)
    parts = made.parts(items, "8000_1000_1000")
    assert Counter(parts) == {"train": 80, "validation": 10, "test": 10}
    table = items.table.copy()
    table.loc[:1, "text"] = "the same tags"
    table.loc[10:14, "text"] = "others"
    items = Items(table, items.kinds)
    parts = made.parts(items, "8000_1000_1000")
    assert parts[0] == parts[1]
    assert len(set(parts[10:15])) == 1
    monkeypatch.setattr(nus_wide_10k, "PER_CLASS", 14)
    with pytest.raises(UserError, match="fewer than 14 exclusive pictures"):
        made.prepare()


# INRIA-Websearch ----------------------------------------------------------------------------------------------------


def write_webqueries(folder: Path, sizes: dict[int, int]) -> None:
    """``sizes``: relevant documents of each query; every query has one irrelevant document besides."""
    top = raw(folder, "inria_websearch") / "webqueries"
    (top / "metadata").mkdir(parents=True)
    lines = []
    for query, n in sizes.items():
        for document in range(n + 1):
            lines.append(f"{query} {document} {int(document < n)}")
            stem = f"query_{query}_document_{document}"
            picture(top / f"images/{stem}_imagethumb.jpg")
            words = "<before> left &amp; </before> <after></after> <ptitle> Title </ptitle> <alt> Alt </alt>"
            (top / f"metadata/{stem}_textmeta.xml").write_text(
                f"<documentmeta><concept>x</concept>{words}</documentmeta>"
            )
    (top / "labels.txt").write_text("\n".join(lines) + "\n")
    (top / "queries_en_trans.txt").write_text("".join(f'{q} "thing {q % 3}"\n' for q in sizes))


def test_web_queries_keeps_relevant_pairs_of_the_largest_classes(unchecked, monkeypatch):
    write_webqueries(unchecked, {1: 5, 2: 9, 3: 2, 4: 6})
    monkeypatch.setattr(inria_websearch, "CLASSES", 3)
    monkeypatch.setattr(inria_websearch, "SIZES", {"train": 4 + 7 + 5, "test": 1 + 2 + 1})  # 0.7·5, 0.7·9, 0.7·6 up
    made = dataset("inria_websearch", unchecked)
    made.download()
    items = made.prepare()
    assert Counter(own[0] for own in items.table["labels"]) == {"thing 1 (1)": 5, "thing 2": 9, "thing 1 (4)": 6}
    assert items.table.iloc[0].to_dict() == {
        "id": "1_0", "image": "images/query_1_document_0_imagethumb.jpg", "text": "Alt Title left &",
        "labels": ["thing 1 (1)"],
    }  # fmt: skip
    assert all(path.is_file() for path in made.contents(items, "image"))
    read = files_read(made.root(), made.prepare)
    assert set(made.also_read(items)) == read, "an edit of any of them is noticed"
    assert {"labels.txt", "queries_en_trans.txt", "metadata/query_2_document_3_textmeta.xml"} < read
    assert Counter(made.parts(items, "10332_4366")) == {"train": 16, "test": 4}
    with pytest.raises(UserError, match="of Wei's file"):
        made.parts(items, "9000_1332_4366")
    monkeypatch.setattr(inria_websearch, "SIZES", {"train": 15, "test": 5})
    with pytest.raises(UserError, match=r"the protocol has .* these are"):
        made.parts(items, "10332_4366")
    (made.root() / "images/query_2_document_3_imagethumb.jpg").unlink()
    with pytest.raises(UserError, match="no such file"):
        made.prepare()


def test_weis_features(unchecked, monkeypatch):
    arrays = {}
    for prefix, n in (("tr", 4), ("val", 2), ("te", 3)):
        arrays |= {
            f"{prefix}_img": np.full((n, 3), n),
            f"{prefix}_txt": np.ones((n, 2)),
            f"{prefix}_img_lab": np.arange(n) % 2,
        }
    scipy.io.savemat(raw(unchecked, "inria_websearch") / inria_websearch.FEATURES, arrays)
    monkeypatch.setattr(inria_websearch, "SIZES", {"train": 6, "test": 3})
    made = dataset("inria_websearch", unchecked, content="wei")
    made.download()
    items = made.prepare()
    assert list(made.parts(items, "9000_1332_4366")) == ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
    assert list(made.parts(items, "10332_4366")) == ["train"] * 6 + ["test"] * 3
    assert vectors(made, items, "image", "cnn")[:, 0].tolist() == [4] * 4 + [2] * 2 + [3] * 3


# XMedia, XMediaNet ----------------------------------------------------------------------------------------------------


def write_xmedia(path: Path, pair_labels_agree: bool = True) -> None:
    sizes = {"I": (8, 4), "T": (8, 4), "A": (4, 2), "d3": (2, 2), "V": (5, 4)}
    names = {"I": "I_{}_CNN", "T": "T_{}_BOW", "A": "A_{}", "d3": "d3_{}", "V": "V_{}_CNN"}
    labels = {"I": "Img", "T": "Txt", "A": "Aud", "d3": "3d", "V": "Vid"}
    arrays = {}
    for key, (train, test) in sizes.items():
        for prefix, n in (("tr", train), ("te", test)):
            arrays[names[key].format(prefix)] = np.full((n, 2), n)
            shift = 0 if pair_labels_agree or key != "T" else 1
            arrays[f"{prefix}{labels[key]}Cat"] = (np.arange(n) + shift)[:, None] % 2 + 1
    scipy.io.savemat(path, arrays)


def test_xmedia_has_pairs_and_three_modalities_without(unchecked, monkeypatch):
    write_xmedia(raw(unchecked, "xmedia") / "XMediaFeatures.mat")
    made = dataset("xmedia", unchecked)
    made.download()
    items = made.prepare()
    counts = {m: len(items.having(m)) for m in items.kinds}
    assert counts == {"image": 12, "text": 12, "audio": 6, "3d": 4, "video": 9}
    assert len(items.table) == 12 + 6 + 4 + 9
    assert vectors(made, items, "video", "c3d").tolist() == [[5, 5]] * 5 + [[4, 4]] * 4
    split = made.split(items, "sdml")
    for modality, sizes in (("image", (8, 2, 2)), ("audio", (4, 1, 1)), ("3d", (2, 1, 1)), ("video", (5, 2, 2))):
        part = split.table["part"][split.table["id"].isin(items.having(modality)["id"])]
        assert (Counter(part)["train"], Counter(part)["validation"], Counter(part)["test"]) == sizes
        assert list(part)[sizes[0]] == "test"  # SDML's code tests on the first half
    monkeypatch.setattr("cmr.datasets.xmedia.TEST_PAIRS", 2)
    split = made.split(items, "4000_700")
    assert Counter(split.table["part"]) == {"train": 8, "test": 2}
    assert Counter(made.parts(items, "authors")) == {"train": 8 + 4 + 2 + 5, "test": 4 + 2 + 2 + 4}


def test_xmedia_is_not_paired_where_labels_disagree(unchecked):
    write_xmedia(raw(unchecked, "xmedia") / "XMediaFeatures.mat", pair_labels_agree=False)
    items = dataset("xmedia", unchecked).prepare()
    assert items.table[["image", "text"]].notna().all(axis=1).sum() == 0
    assert len(items.having("text")) == 12


@pytest.mark.parametrize("sizes", [{"train": 9, "test": 2}, {"train": 7, "test": 4}])
def test_xmedianet_validation_is_where_the_numbers_say(unchecked, monkeypatch, sizes):
    write_sdml(raw(unchecked, "xmedianet") / xmedianet.FILE, sizes)
    monkeypatch.setattr(xmedianet, "SIZES", {"train": 7, "validation": 2, "test": 2})
    made = dataset("xmedianet", unchecked)
    parts = made.parts(made.prepare(), "32000_4000_4000")
    assert list(parts) == ["train"] * 7 + ["validation"] * 2 + ["test"] * 2


# MS-COCO --------------------------------------------------------------------------------------------------------------


def write_coco(folder: Path) -> None:
    annotations = {}
    for part, numbers in (("train", [1, 2, 3]), ("val", [11, 12, 13, 14])):
        images = [{"id": i, "file_name": f"COCO_{part}2014_{i:012}.jpg"} for i in numbers]
        objects = [{"image_id": i, "category_id": c} for i in numbers[1:] for c in (90, 18, 18)]
        captions = [{"image_id": i, "caption": f" A {i}.\n"} for i in numbers for _ in range(2)]
        categories = [{"id": 18, "name": "dog"}, {"id": 90, "name": "toothbrush"}]
        instances = {"images": images, "annotations": objects, "categories": categories}
        annotations[f"annotations/instances_{part}2014.json"] = json.dumps(instances)
        annotations[f"annotations/captions_{part}2014.json"] = json.dumps({"images": images, "annotations": captions})
        zipped(raw(folder, "ms_coco") / f"{part}2014.zip", {f"{part}2014/{i['file_name']}": b"x" for i in images})
    zipped(raw(folder, "ms_coco") / ms_coco.ANNOTATIONS, annotations)


def test_coco_is_multi_label_and_leaves_out_pictures_without_objects(unchecked, monkeypatch):
    write_coco(unchecked)
    monkeypatch.setattr(ms_coco, "SIZES", {"train": 2, "test": 3})
    monkeypatch.setattr(ms_coco, "VALIDATION_ROWS", 2)
    made = dataset("ms_coco", unchecked)
    made.download()
    items = made.prepare()
    assert list(items.ids) == ["2", "3", "12", "13", "14"]
    assert items.table["labels"][0] == ["dog", "toothbrush"]
    assert items.table["text"][0] == "A 2. A 2."
    assert all(path.is_file() for path in made.contents(items, "image"))
    assert Counter(made.parts(items, "82081_10000_30137")) == {"train": 2, "validation": 2, "test": 1}
    made.contents(items, "image")[0].unlink()
    with pytest.raises(UserError, match=r"COCO_train2014_000000000002\.jpg: no such file"):
        made.prepare()


def test_cocos_sdml_file_has_multi_hot_labels(unchecked, monkeypatch):
    write_sdml(
        raw(unchecked, "ms_coco") / ms_coco.SDML, {"train": 3, "test": 2}, labels=lambda n: np.tri(n, 3, dtype=int)
    )
    made = dataset("ms_coco", unchecked, content="sdml")
    items = made.prepare()
    assert list(items.table["labels"]) == [["0"], ["0", "1"], ["0", "1", "2"], ["0"], ["0", "1"]]
    monkeypatch.setattr(ms_coco, "SIZES", {"train": 3, "test": 2})
    monkeypatch.setattr(ms_coco, "VALIDATION_ROWS", 1)
    assert list(made.parts(items, "82081_10000_30137")) == ["train"] * 3 + ["validation", "test"]


# SciTechDaily, Tux Paint ------------------------------------------------------------------------------------------------


def test_scitechdaily_reads_what_is_placed(unchecked, monkeypatch):
    folder = raw(unchecked, "scitechdaily")
    picture(folder / "p.png")
    rows = pd.DataFrame({"id": range(10), "image": "p.png", "text": "t", "label": ["a", "b"] * 5})
    rows.to_csv(folder / "scitechdaily.csv", index=False)
    made = dataset("scitechdaily", unchecked)
    items = made.prepare()
    with pytest.raises(UserError, match="expected 5,217 items"):
        made.parts(items, "4173_1044")
    monkeypatch.setattr(scitechdaily, "SIZES", {"train": 8, "test": 2})
    labels = [own[0] for own in items.table["labels"]]
    assert Counter(zip(labels, made.parts(items, "4173_1044"), strict=True)) == {
        ("a", "train"): 4, ("b", "train"): 4, ("a", "test"): 1, ("b", "test"): 1,
    }  # fmt: skip
    rows.assign(image="none.png").to_csv(folder / "scitechdaily.csv", index=False)
    with pytest.raises(UserError, match="row 2: no such file"):
        made.prepare()


def test_a_debian_package_without_what_unpacks_it(unchecked, monkeypatch):
    raw(unchecked, "tuxpaint_stamps").joinpath("tuxpaint-stamps-default_1_all.deb").touch()
    monkeypatch.setattr(shutil, "which", lambda command: None)
    with pytest.raises(UserError, match="install dpkg"):
        dataset("tuxpaint_stamps", unchecked).unpacked()


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_stamps_of_a_debian_package(unchecked, monkeypatch):
    stamps = unchecked / "tree/usr/share/tuxpaint/stamps"
    square = '<svg xmlns="http://www.w3.org/2000/svg" width="20pt" height="10pt"><rect width="9" height="9"/></svg>'
    for name in ("animals/cat", "animals/cat_mirror", "food/nuts/nut", "symbols/alphabets/a", "military/gun"):
        picture(stamps / f"{name}.png")
        (stamps / f"{name}.txt").write_text(f"A {name}.\nde.utf8=Ein\n")
    for name in ("animals/cat", "animals/dog"):
        (stamps / f"{name}.svg").write_text(square)
        (stamps / f"{name}.txt").write_text(f"A {name}.\n")
    picture(stamps / "food/no_text.png")
    picture(stamps / "food/cake.png")
    (stamps / "food/cake.txt").write_text("A cake.")
    (stamps / "animals/dog.ogg").write_bytes(b"woof")
    (stamps / "animals/cat_desc.ogg").write_bytes(b"A cat.")
    control = "Package: tuxpaint-stamps-default\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    (unchecked / "tree/DEBIAN").mkdir()
    (unchecked / "tree/DEBIAN/control").write_text(control)
    package = raw(unchecked, "tuxpaint_stamps") / "tuxpaint-stamps-default_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", unchecked / "tree", package], check=True, capture_output=True)
    monkeypatch.setattr(tuxpaint_stamps, "SMALLEST_CLASS", 2)
    made = dataset("tuxpaint_stamps", unchecked, size=32)
    assert list(made.download()) == [package.name]
    items = made.prepare()
    assert list(items.ids) == ["animals/cat", "animals/dog", "food/cake", "food/nuts/nut"]
    assert list(items.table["text"]) == ["A animals/cat.", "A animals/dog.", "A cake.", "A food/nuts/nut."]
    assert list(items.having("audio")["id"]) == ["animals/dog"]
    assert items.kinds["audio"] == "audio"
    for path in made.contents(items, "image"):
        with Image.open(path) as opened:
            assert (opened.mode, opened.size) == ("RGB", (32, 32))
            assert opened.getpixel((0, 0)) == (255, 255, 255)
    other = package.with_name("tuxpaint-stamps-default_0_all.deb")
    shutil.copyfile(package, other)
    assert list(made.download()) == [package.name]
    monkeypatch.setattr(tuxpaint_stamps, "VERIFIED", other.name)
    assert other.name in str(made.unpacked())
    other.unlink()
    package.write_bytes(package.read_bytes()[:400])
    shutil.rmtree(package.with_name(f"{package.name}.unpacked"))
    with pytest.raises(UserError, match="dpkg-deb cannot unpack it"):
        made.prepare()


def test_every_source_names_a_file_that_its_data_set_knows():
    """A renamed constant in a data set and a row of sources.csv cannot drift apart."""
    from cmr.datasets import downloads

    with open(downloads.SOURCES, newline="", encoding="utf-8") as rows:
        table = pd.read_csv(rows, dtype=str)
    for folder, files in table.groupby("dataset")["file"]:
        names = [name for name in registry.names("datasets") if registry.info("datasets", name).raw == folder]
        needed = {
            file for name in names for choice in choices(name) for file in dataset(name, Path(), **choice).files()
        }
        inside = set(table["address"][(table["dataset"] == folder) & (table["access"] == "archive")])
        assert needed <= set(files)
        assert set(files) == needed | inside, names


def choices(name: str) -> list[dict[str, str]]:
    """All combinations of the parameters that have a few values."""
    fields = registry.params_model("datasets", name).model_fields
    values = {key: own for key, field in fields.items() if (own := get_args(field.annotation))}
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
