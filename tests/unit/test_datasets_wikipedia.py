"""Wikipedia: the authors' real feature files where they are (CMR_WIKIPEDIA), and tiny files in the other layouts."""

import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from cmr.data import Items
from cmr.datasets import wikipedia
from cmr.datasets.wikipedia import Params, Wikipedia
from cmr.errors import UserError
from cmr.features.ready import Params as ReadyParams
from cmr.features.ready import Ready

REAL = os.environ.get("CMR_WIKIPEDIA", "")
needs_real = pytest.mark.skipif(not REAL, reason="CMR_WIKIPEDIA does not name a folder with the authors' files")


def dataset(folder: Path, **params) -> Wikipedia:
    return Wikipedia(Params(**params), folder / "data", folder / "cache")


def raw(folder: Path) -> Path:
    path = folder / "cache/datasets/wikipedia"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    for name in dataset(folder).files():
        (raw(folder) / name).symlink_to(Path(REAL) / name)
    made = dataset(folder)
    made.download()
    made.prepare().write(folder / "items.parquet")
    return made, Items.read(folder / "items.parquet")


@needs_real
def test_the_authors_files_are_accepted_by_their_checksums(real):
    found = real[0].download()
    assert found["raw_features.mat"] == "ca628f765a69575e168ab29eb97f5ade12fadf47b31de1328c7ff631c7f225ae"
    assert len(found) == 4


@needs_real
def test_features_are_the_authors_rows(real):
    made, items = real
    assert len(items.table) == 2866
    assert items.table["id"].is_unique
    assert items.classes == sorted((Path(REAL) / "categories.list").read_text().split())
    sift = Ready(ReadyParams(name="sift"), Path()).contents(made, items, "image")
    lda = Ready(ReadyParams(), Path()).contents(made, items, "text")
    arrays = scipy.io.loadmat(Path(REAL) / "raw_features.mat")
    np.testing.assert_array_equal(sift[:2173], arrays["I_tr"].astype(np.float32))
    np.testing.assert_array_equal(lda[2173:], arrays["T_te"].astype(np.float32))
    last = (Path(REAL) / "testset_txt_img_cat.list").read_text().split("\n")[692].split("\t")
    assert items.ids[-1] == last[0]
    assert items.table["image"].iloc[-1] == last[1]


@needs_real
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("2173_693", {"train": 2173, "test": 693}),
        ("2173_231_462", {"train": 2173, "validation": 231, "test": 462}),
        ("2173_231", {"train": 2173, "test": 231}),
        ("2292_574", {"train": 2292, "test": 574}),
        ("drawn_2173_693", {"train": 2173, "test": 693}),
        ("as_distributed", {"train": 2173, "test": 693}),
    ],
)
def test_splits_have_the_papers_sizes(real, name, sizes):
    made, items = real
    split = made.split(items, name)
    assert split.table["part"].value_counts().to_dict() == sizes
    held_out = 231 if name == "2173_231_462" else round(sizes["train"] / 10)
    assert abs(len(split.held_out) - held_out) <= 10
    if name == "2173_231_462":
        assert set(split.held_out) == set(items.ids[2173 : 2173 + 231])
        assert set(made.split(items, "2173_231").ids("test")) == set(split.held_out)
    if name in wikipedia.DRAWN:
        test = items.table[items.table["id"].isin(split.ids("test"))]["labels"].str[0].value_counts()
        everything = items.table["labels"].str[0].value_counts()
        assert (abs(test - everything * sizes["test"] / 2866) <= 1).all()
        authors = set(made.split(items, "2173_693").ids("test"))
        assert len(authors.intersection(split.ids("test"))) < len(authors) / 3  # a quarter of all rows are test rows


@needs_real
@pytest.mark.parametrize(("name", "digest"), [("2292_574", "acecd1bddad1d3b8"), ("drawn_2173_693", "07bb56078b80ed09")])
def test_drawn_splits_are_those_of_the_measured_figures(real, name, digest):
    made, items = real
    test = "\n".join(made.split(items, name).ids("test"))
    assert hashlib.sha256(test.encode()).hexdigest()[:16] == digest


def write_archive(folder: Path) -> None:
    """Four pairs in the layout of the authors' archive; one XML is not well-formed, as some of theirs."""
    top = folder / "wikipedia_dataset"
    for name in ("texts", "images/art", "images/biology"):
        (top / name).mkdir(parents=True)
    rows = [("a-1", "p1", 1), ("b-2.1", "p2", 2), ("c-3", "p3", 1), ("d-4", "p4", 2)]
    for text, image, number in rows:
        Image.new("RGB", (2, 2)).save(top / f"images/{['art', 'biology'][number - 1]}/{image}.jpg")
        body = f"<document><name>A & B</name><text>\n The {text} &amp; more\n</text></document>"
        (top / f"texts/{text}.xml").write_text(body)
    lines = ["\t".join(map(str, row)) + "\n" for row in rows]
    (top / "trainset_txt_img_cat.list").write_text("".join(lines[:3]))
    (top / "testset_txt_img_cat.list").write_text(lines[3])
    (top / "categories.list").write_text("art\nbiology\n")
    eye = np.eye(4)
    arrays = {"I_tr": eye[:3], "T_tr": eye[:3, :2], "I_te": eye[3:], "T_te": eye[3:, :2]}
    scipy.io.savemat(top / "raw_features.mat", arrays)
    with zipfile.ZipFile(raw(folder) / "wikipedia_dataset.zip", "w") as archive:
        for path in sorted(top.rglob("*")):
            archive.write(path, path.relative_to(folder))


def test_raw_pictures_and_texts_come_from_the_archive(unchecked):
    write_archive(unchecked)
    made = dataset(unchecked, content="raw")
    made.download()
    items = made.prepare()
    assert items.kinds == {"image": "image", "text": "text"}
    assert list(items.table["text"])[:2] == ["The a-1 & more", "The b-2.1 & more"]
    assert all(path.is_file() for path in made.contents(items, "image"))
    assert made.also_read(items) == [f"texts/{name}.xml" for name in ("a-1", "b-2.1", "c-3", "d-4")]
    assert all((made.root() / name).is_file() for name in made.also_read(items))
    assert items.table["image"][1] == "images/biology/p2.jpg"
    assert list(made.parts(items, "as_distributed")) == ["train"] * 3 + ["test"]
    assert Ready(ReadyParams(name="sift"), Path()).contents(made, items, "image").tolist() == np.eye(4).tolist()


def test_features_alone_are_taken_out_of_the_archive(unchecked):
    write_archive(unchecked)
    made = dataset(unchecked)
    assert set(made.download()) == set(made.files())
    assert made.prepare().kinds == {"image": "ready", "text": "ready"}
    with pytest.raises(UserError, match="no features 'sifft' of 'image'"):
        made.features("image", "sifft")
    with pytest.raises(UserError, match=r"the protocol has .*2173.*as_distributed"):
        made.parts(made.prepare(), "2173_693")


def test_a_picture_that_is_missing_is_told(unchecked):
    write_archive(unchecked)
    made = dataset(unchecked, content="raw")
    made.download()
    (made.root() / "images/art/p1.jpg").unlink()
    with pytest.raises(UserError, match=r"p1\.jpg: no such picture \(1 of 4 are missing\)"):
        made.prepare()


def test_sdmls_file(unchecked, monkeypatch):
    with h5py.File(raw(unchecked) / wikipedia.SDML, "w") as file:
        for part, n in (("train", 3), ("test", 2)):
            file[f"{part}_imgs_deep"] = np.arange(n * 4.0).reshape(n, 4)
            file[f"{part}_text"] = -np.arange(n * 2.0).reshape(n, 2)
            file[f"{part}_imgs_labels"] = file[f"{part}_texts_labels"] = np.arange(n) % 2 + 1
    made = dataset(unchecked, content="sdml")
    made.download()
    items = made.prepare()
    assert list(items.ids) == ["train-00000", "train-00001", "train-00002", "test-00000", "test-00001"]
    assert items.classes == ["1", "2"]
    assert made.features("text", "doc2vec").values.shape == (5, 2)
    with pytest.raises(UserError, match="no ready features 'lda'"):
        made.features("text", "lda")
    monkeypatch.setattr(wikipedia, "AUTHORS", {"train": 3, "test": 2})
    monkeypatch.setattr(wikipedia, "VALIDATION_ROWS", 1)
    assert list(made.parts(items, "2173_231_462")) == ["train"] * 3 + ["validation", "test"]
    assert list(made.parts(items, "2173_231")) == ["train"] * 3 + ["test", ""]


def test_acmrs_pickles_need_trust(unchecked):
    with zipfile.ZipFile(raw(unchecked) / wikipedia.ACMR, "w") as archive:
        for part, n in (("train", 3), ("test", 2)):
            contents = {
                "img_feats": [np.ones(4)] * n,
                "txt_vecs": [[0.0, 1.0]] * n,
                "labels": [1 + i % 2 for i in range(n)],
            }
            for name, content in contents.items():
                archive.writestr(f"wikipedia_dataset/{part}_{name}.pkl", pickle.dumps(content, protocol=2))
    made = dataset(unchecked, content="acmr")
    made.download()
    with pytest.raises(UserError, match="can execute code"):
        made.prepare()
    trusting = dataset(unchecked, content="acmr", trust=True)
    items = trusting.prepare()
    assert [labels[0] for labels in items.table["labels"]] == ["1", "2", "1", "1", "2"]
    assert trusting.features("text", "bow").values.tolist() == [[0.0, 1.0]] * 5
