"""Ready features of the user's own: formats, labels, splits by part, index or share, and what is refused."""

import hashlib
import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
from pydantic import ValidationError

from cmr import registry
from cmr.boundary import files_named_by
from cmr.config import check_own_files, validate
from cmr.data import Items
from cmr.datasets.matrices import Reference, label_cells, label_names, matrix, rows_in
from cmr.datasets.precomputed import Params, Precomputed
from cmr.errors import UserError
from cmr.features.extraction import Task, extract
from cmr.features.ready import Params as ReadyParams
from cmr.features.ready import Ready
from cmr.measure import read_embeddings
from cmr.vectors import Vectors

MATRIX = np.arange(12, dtype=np.float64).reshape(4, 3)


def dataset(folder: Path, **params) -> Precomputed:
    return Precomputed(Params(**params), folder / "out", folder / "cache", folder)


def write_mat73(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As MATLAB's save -v7.3 does: HDF5 with dimensions reversed; a cell array holds references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if isinstance(array, list):
                for i, cell in enumerate(array):
                    file.create_dataset(f"#refs#/{name}{i}", data=cell.T)
                references = [[file[f"#refs#/{name}{i}"].ref] for i in range(len(array))]
                file.create_dataset(name, data=references, dtype=h5py.ref_dtype)
            else:
                file.create_dataset(name, data=array.T)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")


def cells(arrays: list[np.ndarray]) -> np.ndarray:
    made = np.empty((1, len(arrays)), object)
    made[0] = arrays
    return made


def write(folder: Path, name: str) -> Path:
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, MATRIX)
    elif path.suffix == ".npz":
        np.savez(path, x=MATRIX)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["group/x"] = MATRIX
    elif name == "five.mat":
        two = [np.zeros((1, 1)), MATRIX]
        scipy.io.savemat(path, {"x": MATRIX, "sparse": scipy.sparse.csc_array(MATRIX), "c": cells(two)})
    else:
        write_mat73(path, {"x": MATRIX, "c": [np.zeros((1, 1)), MATRIX]})
    return path


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.npy", ""),
        ("a.npz", "x"),
        ("a.h5", "group/x"),
        ("five.mat", "x"),
        ("five.mat", "sparse"),
        ("five.mat", "c/1"),
        ("seven.mat", "x"),
        ("seven.mat", "c/1"),
    ],
)
def test_every_format_gives_the_same_matrix(tmp_path, name, key):
    np.testing.assert_array_equal(Reference(write(tmp_path, name), key).read(), MATRIX)


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "five.mat", "seven.mat"])
def test_an_unknown_key_names_the_nearest(tmp_path, name):
    with pytest.raises(UserError, match=r"no array 'group/xx'; (did you mean 'group/x'|known: .*x)"):
        Reference(write(tmp_path, name), "group/xx").read()


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "five.mat", "seven.mat"])
def test_a_truncated_file_is_named(tmp_path, name):
    path = write(tmp_path, name)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(UserError, match=f"{name}.*cannot be read"):
        Reference(path, "x").read()


def test_pickles_need_trust_and_the_right_checksum(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"x": MATRIX.tolist()}, protocol=2))
    with pytest.raises(UserError, match="can execute code"):
        Reference(path, "x").read()
    with pytest.raises(UserError, match="not the file you trust"):
        Reference(path, "x", "0" * 64).read()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(Reference(path, "x", sha256).read(), MATRIX)
    np.save(tmp_path / "o.npy", np.array([{}], object))
    with pytest.raises(UserError, match=r"o\.npy: holds Python objects, .* can execute code"):
        Reference(tmp_path / "o.npy").read()


def test_trust_is_needed_besides_the_checksum(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(MATRIX))
    np.save(tmp_path / "y.npy", [0, 1, 0, 1])
    params = {
        "features": {"image": "a.pkl"},
        "labels": "y.npy",
        "sha256": {"a.pkl": hashlib.sha256((tmp_path / "a.pkl").read_bytes()).hexdigest()},
    }
    with pytest.raises(UserError, match="can execute code"):
        dataset(tmp_path, **params).prepare()
    assert len(dataset(tmp_path, **params, trust=True).prepare().table) == 4


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ([0, 2, 1], [["0"], ["2"], ["1"]]),
        ([[1.0], [3.0], [2.0]], [["1"], ["3"], ["2"]]),
        ([[1, 3, 2]], [["1"], ["3"], ["2"]]),
        ([[0, 1], [1, 0], [1, 1]], [["1"], ["0"], ["0", "1"]]),
        ([[-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], [["1"], ["0"], ["0", "1"]]),
        (np.array(["cat", "dog"]), [["cat"], ["dog"]]),
    ],
)
def test_labels_of_every_form(tmp_path, array, expected):
    np.save(tmp_path / "y.npy", array)
    assert label_names(Reference(tmp_path / "y.npy")) == expected


def test_a_matrix_of_labels_holds_0_and_1(tmp_path):
    np.save(tmp_path / "y.npy", [[0, 2], [1, 1]])
    with pytest.raises(UserError, match="a matrix of 0 and 1, found int64 of shape \\(2, 2\\)"):
        label_names(Reference(tmp_path / "y.npy"))


def save_parts(folder: Path, **sizes: int) -> dict:
    """image and text matrices and labels of each part; value = 100·part + row, so rows can be told apart."""
    params = {"features": {"image": {}, "text": {}}, "labels": {}}
    for number, (part, n) in enumerate(sizes.items()):
        rows = 100.0 * number + np.arange(n)[:, None]
        np.savez(folder / f"{part}.npz", image=rows, text=np.hstack([rows, -rows]), y=np.arange(n) % 2)
        for modality in params["features"]:
            params["features"][modality][part] = f"{part}.npz:{modality}"
        params["labels"][part] = f"{part}.npz:y"
    return params


def test_parts_given_by_key(tmp_path):
    made = dataset(tmp_path, **save_parts(tmp_path, train=6, validation=2, test=2))
    items = made.prepare()
    assert items.kinds == {"image": "ready", "text": "ready"}
    assert items.ids[6] == "validation-00000"
    split = made.split(items, "default")
    assert list(split.table["part"]) == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    vectors = Ready(ReadyParams(), tmp_path).contents(made, items, "text")
    assert vectors[7].tolist() == [101, -101]
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(Ready(ReadyParams(), tmp_path).transform(vectors[:2]), vectors[:2])
    with pytest.raises(UserError, match="no raw image, only ready features"):
        made.contents(items, "image")


def test_parts_given_by_index_files(tmp_path):
    np.savez(tmp_path / "all.npz", image=np.zeros((6, 1)), y=[0, 1, 0, 1, 0, 1], tr=[[1, 2, 3, 4]], te=[6])
    made = dataset(
        tmp_path,
        features={"image": "all.npz:image"},
        labels="all.npz:y",
        index={"train": "all.npz:tr", "test": "all.npz:te"},
        index_base=1,
    )
    assert list(made.parts(made.prepare(), "default")) == ["train"] * 4 + ["", "test"]


@pytest.mark.parametrize(
    ("index", "base", "problem"),
    [
        ({"train": "all.npz:tr", "test": "all.npz:tr"}, 0, "row 1 is in both train and test"),
        ({"train": "all.npz:tr"}, 1, "row 0 does not exist|row 6 does not exist"),
        ({"fit": "all.npz:tr"}, 0, "expected train, validation, test"),
    ],
)
def test_index_files_that_cannot_be(tmp_path, index, base, problem):
    np.savez(tmp_path / "all.npz", image=np.zeros((4, 1)), y=[0, 1, 0, 1], tr=[1, 0])
    made = dataset(tmp_path, features={"image": "all.npz:image"}, labels="all.npz:y", index=index, index_base=base)
    with pytest.raises(UserError, match=problem):
        made.parts(made.prepare(), "default")


def test_parts_given_by_shares(tmp_path):
    np.savez(tmp_path / "all.npz", image=np.zeros((40, 1)), y=np.arange(40) % 2)
    made = dataset(
        tmp_path, features={"image": "all.npz:image"}, labels="all.npz:y", shares={"train": 0.75, "test": 0.25}
    )
    parts = made.parts(made.prepare(), "default")
    assert ((parts == "train").sum(), (parts == "test").sum()) == (30, 10)


def test_a_part_without_a_share_has_no_rows(tmp_path):
    np.savez(tmp_path / "all.npz", image=np.zeros((40, 1)), y=np.arange(40) % 2)
    shares = {"train": 0.75, "validation": 0, "test": 0.25}
    made = dataset(tmp_path, features={"image": "all.npz:image"}, labels="all.npz:y", shares=shares)
    assert set(made.parts(made.prepare(), "default")) == {"train", "test"}


@pytest.mark.parametrize("shares", [{"train": 1.0}, {"train": 1.0, "test": 0}, {"train": 0.5, "test": 0.4}])
def test_shares_leave_rows_to_learn_from_and_to_rank(tmp_path, shares):
    np.savez(tmp_path / "all.npz", image=np.zeros((40, 1)), y=np.arange(40) % 2)
    made = dataset(tmp_path, features={"image": "all.npz:image"}, labels="all.npz:y", shares=shares)
    with pytest.raises(UserError, match=r"params.shares: expected shares of train and test"):
        made.parts(made.prepare(), "default")


@pytest.mark.parametrize("shares", [{"train": -1, "test": 2}, {"train": 0.5, "tset": 0.5}])
def test_a_share_is_one_of_a_part(tmp_path, shares):
    with pytest.raises(ValidationError):
        dataset(tmp_path, features={"image": "all.npz:image"}, labels="all.npz:y", shares=shares)


def test_modalities_without_pairs(tmp_path):
    np.savez(tmp_path / "all.npz", image=np.ones((8, 1)), audio=np.ones((4, 2)), yi=[1, 2] * 4, ya=[1, 2] * 2)
    params = {"features": {"image": "all.npz:image", "audio": "all.npz:audio"}}
    params["labels"] = {"image": "all.npz:yi", "audio": "all.npz:ya"}
    made = dataset(tmp_path, **params, shares={"train": 0.5, "test": 0.5})
    items = made.prepare()
    assert len(items.having("image")) == 8
    assert len(items.having("audio")) == 4
    assert set(items.having("audio")["id"]).isdisjoint(items.having("image")["id"])
    assert Ready(ReadyParams(), tmp_path).contents(made, items, "audio").shape == (4, 2)
    with pytest.raises(UserError, match="need pairs"):
        dataset(tmp_path, **params, index={"train": "all.npz:yi"}).parts(items, "default")


def test_row_counts_that_differ_are_told(tmp_path):
    np.savez(tmp_path / "all.npz", image=np.ones((8, 1)), text=np.ones((7, 2)), y=[1, 2] * 4)
    with pytest.raises(UserError, match=r"all\.npz:text has 7 rows, .*all\.npz:y has 8 labels"):
        dataset(tmp_path, features={"image": "all.npz:image", "text": "all.npz:text"}, labels="all.npz:y").prepare()


def test_nan_is_told_or_left_out(tmp_path):
    params = save_parts(tmp_path, train=4, test=2)
    arrays = dict(np.load(tmp_path / "train.npz"))
    arrays["text"][3, 1] = np.nan
    np.savez(tmp_path / "train.npz", **arrays)
    with pytest.raises(UserError, match=r"train\.npz:text: row 3: NaN or infinite text features"):
        dataset(tmp_path, **params).prepare()
    made = dataset(tmp_path, **params, strict=False)
    items = made.prepare()
    assert "train-00003" not in items.ids
    assert np.isfinite(Ready(ReadyParams(), tmp_path).contents(made, items, "text")).all()
    assert list(pd.read_csv(tmp_path / "out/skipped.csv")["id"]) == ["train-00003"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"features": {}}, "features are required"),
        ({"labels": "train.npz:y"}, r"params\.labels: one file, params\.features\.image has parts; .* the same parts"),
        ({"labels": {"train": "train.npz:y", "dev": "train.npz:y"}}, "labels.dev: expected a part"),
        (
            {"labels": dict.fromkeys(("train", "validation", "test"), "train.npz:y")},
            r"params\.features\.image\.validation: missing, params\.labels has it; .* for the same parts",
        ),
        ({"labels": {"train": "train.npz:y"}}, r"params\.labels\.test: missing, params\.features\.image has it"),
        ({"labels": {"train": "none.npz:y", "test": "test.npz:y"}}, "params.labels.train: no such file"),
        ({"sha256": {"train.npz": "abc"}}, "expected 64 hex digits"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, change, problem):
    params = save_parts(tmp_path, train=4, test=2) | change
    with pytest.raises(UserError, match=problem):
        dataset(tmp_path, **params).prepare()


def test_parts_stand_as_the_labels_name_them(tmp_path):
    params = save_parts(tmp_path, train=2, test=2)
    params["labels"] = dict(reversed(params["labels"].items()))
    assert dataset(tmp_path, **params).prepare().ids.tolist() == [
        "test-00000",
        "test-00001",
        "train-00000",
        "train-00001",
    ]


def test_a_vector_is_no_matrix(tmp_path):
    np.savez(tmp_path / "all.npz", image=np.ones(4), y=[1, 2] * 2)
    with pytest.raises(UserError, match=r"expected a matrix of numbers, found float64 of shape \(4,\)"):
        dataset(tmp_path, features={"image": "all.npz:image"}, labels="all.npz:y").prepare()


def test_its_files_are_inputs_of_the_job(tmp_path):
    params = save_parts(tmp_path, train=4, test=2)
    entry = {"id": "mine", "dataset": "precomputed", "params": params}
    experiment = {"id": "e", "data": ["mine"], "inputs": [["f"]], "methods": ["random"]}
    features = [{"id": "f", "modality": "image", "extractor": "ready"}]
    config = validate({"datasets": [entry], "features": features, "experiments": [experiment]})
    assert config.datasets[0].own_files() == ["test.npz", "train.npz"]
    check_own_files(config.datasets[0], str(tmp_path))
    with pytest.raises(UserError, match=r"data set 'mine': no such file: away/test\.npz"):
        check_own_files(config.datasets[0], "away")
    assert registry.info("datasets", "precomputed").files == ("features", "labels", "index", "group")


def test_a_colon_in_the_name_of_a_file_is_of_the_name(tmp_path):
    np.savez(tmp_path / "10:30.npz", image=MATRIX, y=[0, 1, 0, 1])
    params = {"features": {"image": "10:30.npz:image"}, "labels": "10:30.npz:y"}
    assert len(dataset(tmp_path, **params).prepare().table) == 4
    entries = [{"id": "mine", "dataset": "precomputed", "params": params}]
    entries.append({"id": "table", "dataset": "table", "params": {"file": "10:30.csv", "text": "text"}})
    experiment = {"id": "e", "data": ["mine", "table"], "inputs": [["bow"]], "methods": ["random"]}
    checked = validate({"datasets": entries, "experiments": [experiment]})
    assert [entry.own_files() for entry in checked.datasets] == [["10:30.npz"], ["10:30.csv"]]
    assert set(files_named_by({"datasets": entries})) >= {"10:30.npz", "10:30.csv"}
    assert read_embeddings(tmp_path / "10:30.npz:image")[0].shape == MATRIX.shape


# One meaning is read, two are asked.


def two(folder: Path, n: int = 12, **arrays) -> Precomputed:
    """n rows of image and text features and labels of three classes, some of them replaced; others are parameters."""
    found = {"image": np.arange(n * 2.0).reshape(n, 2), "text": np.arange(n * 3.0).reshape(n, 3), "y": np.arange(n) % 3}
    found |= {key: arrays.pop(key) for key in list(arrays) if isinstance(arrays[key], np.ndarray)}
    np.savez(folder / "all.npz", **found)
    params = {"features": {"image": "all.npz:image", "text": "all.npz:text"}, "labels": "all.npz:y"}
    return dataset(folder, **params | arrays)


def vectors(made: Precomputed, modality: str) -> np.ndarray:
    return Ready(ReadyParams(), Path()).contents(made, made.prepare(), modality)


@pytest.mark.parametrize(
    ("arrays", "name", "hint"),
    [
        ({"image": np.zeros((2, 12))}, "image", r"image has 2 rows, .* 12 labels; .* say transposed: \[image\]"),
        (
            {"y": np.eye(3, dtype=int)[np.arange(12) % 3].T},
            "labels",
            r"12 rows, .* 3 labels; .* transposed: \[labels\]",
        ),
    ],
)
def test_items_as_columns_are_asked_and_read_where_it_is_said(tmp_path, arrays, name, hint):
    with pytest.raises(UserError, match=hint):
        two(tmp_path, **arrays).prepare()
    items = two(tmp_path, **arrays, transposed=[name]).prepare()
    assert [labels[0] for labels in items.table["labels"]] == ["0", "1", "2"] * 4
    with pytest.raises(UserError, match=r"params\.transposed: 'sound' is neither a modality nor labels"):
        two(tmp_path, transposed=["sound"]).prepare()


@pytest.mark.parametrize("name", ["image", "labels"])
def test_columns_that_are_said_to_be_items_and_are_not(tmp_path, name):
    arrays = {"image": np.zeros((12, 2)), "y": np.eye(3, dtype=int)[np.arange(12) % 3]}
    with pytest.raises(UserError, match=rf"they match without transposed: \[{name}\], so leave it out"):
        two(tmp_path, **arrays, transposed=[name]).prepare()


def test_as_many_columns_as_rows_are_told_unless_it_is_said_what_they_are(tmp_path, caplog):
    square = np.arange(144.0).reshape(12, 12)
    assert vectors(two(tmp_path, image=square), "image")[0].tolist() == square[0].tolist()
    assert (
        "all.npz:image has as many columns as rows (12); if items are its columns, say transposed: [image]"
        in caplog.text
    )
    caplog.clear()
    assert vectors(two(tmp_path, image=square, transposed=["image"]), "image")[0].tolist() == square[:, 0].tolist()
    assert "as many columns" not in caplog.text


def by_id(path: Path, ids: list[str], **columns) -> None:
    with h5py.File(path, "w") as file:
        file["ids"] = ids
        for name, values in columns.items():
            file[name] = values


IDS = [f"i{row}" for row in range(12)]
OTHER = [IDS[row] for row in (np.arange(12) * 5 + 3) % 12]


def in_other_orders(folder: Path, text_ids: list[str], labels: str, **params) -> Precomputed:
    """Every value is the number in the item's id, whatever the order of the rows."""
    number = {item: float(item[1:]) for item in [*IDS, *text_ids]}
    by_id(folder / "image.h5", IDS, features=[[number[item]] for item in IDS])
    by_id(folder / "text.h5", text_ids, features=[[number[item]] for item in text_ids])
    by_id(folder / "y.h5", OTHER, y=[int(number[item]) % 3 for item in OTHER])
    by_id(folder / "twice.h5", ["i3", *OTHER[1:-1], "i3"], y=np.arange(12) % 3)
    by_id(folder / "short.h5", OTHER[1:], y=np.arange(12) % 3)
    np.save(folder / "y.npy", np.arange(12) % 3)
    return dataset(folder, features={"image": "image.h5", "text": "text.h5"}, labels=labels, **params)


def test_rows_are_matched_by_their_ids_never_by_their_place(tmp_path):
    made = in_other_orders(tmp_path, IDS[::-1], "y.h5:y")
    image, text = vectors(made, "image").ravel(), vectors(made, "text").ravel()
    assert image.tolist() == text.tolist() == [float(item[1:]) for item in OTHER]
    assert [labels[0] for labels in made.prepare().table["labels"]] == [str(int(value) % 3) for value in image]
    assert made.prepare().table["text"][0] == f"text.h5:[{IDS[::-1].index(OTHER[0])}]"


@pytest.mark.parametrize(
    ("text_ids", "labels", "params", "problem"),
    [
        (OTHER, "y.npy", {}, r"image.h5 and .*text.h5 hold the same ids in different orders, and .*y.npy has no ids"),
        ([*IDS[1:], "x9"], "y.npy", {}, "hold different items by their ids: 'i0' is in one of them only"),
        ([*IDS[2:], "i2", "i3"], "y.npy", {}, "text.h5: the id 'i2' stands twice"),
        (IDS, "y.h5:y", {"index": {"train": "y.npy"}}, "params.index: row numbers have two meanings"),
        (IDS, "twice.h5:y", {}, "twice.h5:y: the id 'i3' stands twice, so rows cannot be matched"),
        (IDS, "short.h5:y", {}, "short.h5:y: cannot be read: /ids holds 11 ids, /y 12 rows; give each row its id"),
    ],
)
def test_ids_that_do_not_say_which_rows_belong_together(tmp_path, text_ids, labels, params, problem):
    with pytest.raises(UserError, match=problem):
        in_other_orders(tmp_path, text_ids, labels, **params).prepare()


def test_ids_of_another_array_of_a_file_are_not_taken(tmp_path):
    by_id(tmp_path / "a.h5", IDS, y=np.arange(12) % 3, z=np.ones((20, 2)))
    assert Reference(tmp_path / "a.h5", "y").ids().tolist() == IDS
    assert Reference(tmp_path / "a.h5", "z").ids() is None


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("007\n7\n8\n", "'007' and '7' are one number"),
        ("label\n1.10\n2\n1.1\n", "'1.10' and '1.1' are one number"),
        (",label\n0,1e1\n1,2\n2,10\n", "'1e1' and '10' are one number"),
        ("007\n008\n007\n", ""),
        ("1.0\n\n2.0\n1\n", ""),
        ("# of birds\n1\n2\n1\n", ""),
    ],
)
def test_a_number_that_a_file_of_labels_writes_in_two_ways_may_be_two_classes(tmp_path, lines, found):
    (tmp_path / "y.csv").write_text(lines)
    if found:
        with pytest.raises(UserError, match=rf"y\.csv: {found}; write it in one way"):
            label_cells(Reference(tmp_path / "y.csv"))
    else:
        assert len(label_cells(Reference(tmp_path / "y.csv"))) >= 3


def test_a_nan_is_named_by_its_row_in_its_own_file(tmp_path):
    made = in_other_orders(tmp_path, IDS[::-1], "y.h5:y")
    with h5py.File(tmp_path / "text.h5", "a") as file:
        file["features"][4] = np.nan
    with pytest.raises(UserError, match=rf"row item-{OTHER.index(IDS[::-1][4]):05}: .*text.h5: row 4: NaN"):
        made.prepare()


def parts_of(folder: Path, train, test, **params) -> list[str]:
    np.save(folder / "tr.npy", train)
    np.save(folder / "te.npy", test)
    made = two(folder, index={"train": "tr.npy", "test": "te.npy"}, **params)
    return list(made.parts(made.prepare(), "default"))


FIRST = np.arange(12) < 8


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (FIRST, ~FIRST),
        (FIRST.astype(np.uint8)[:, None], (~FIRST).astype(float)[:, None]),
        (np.flatnonzero(FIRST).astype(float), np.flatnonzero(~FIRST)[None]),
    ],
)
def test_index_files_hold_numbers_or_masks(tmp_path, train, test):
    assert parts_of(tmp_path, train, test) == ["train"] * 8 + ["test"] * 4


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ([0.0, 1.5], "tr.npy: 1.5 is no row number; expected whole numbers, or a mask of 0 and 1"),
        ([0.0, np.nan], "tr.npy: nan is no row number"),
        (["a"], "tr.npy: expected row numbers or a mask, found <U1"),
        ([True, False], "tr.npy: a mask of 2 values for 12 rows"),
        ([-1, 0], "tr.npy: row -1 does not exist; is index_base right?"),
        (range(1, 13), "tr.npy: row 12 does not exist; if numbers start at 1, say index_base: 1"),
        ([0, 14], "tr.npy: row 14 does not exist; is index_base right?"),
    ],
)
def test_index_files_that_name_no_rows(tmp_path, train, problem):
    with pytest.raises(UserError) as told:
        parts_of(tmp_path, list(train), [11])
    assert problem in str(told.value)


@pytest.mark.parametrize(
    ("train", "test", "params", "told"),
    [
        (range(8), range(8, 12), {}, []),
        (range(6), range(8, 12), {}, ["2 of 12 rows are in no part"]),
        (
            range(1, 8),
            range(8, 12),
            {},
            ["1 of 12 rows are in no part", "row 0 is in no part; if the numbers start at 1"],
        ),
        (range(1, 9), range(9, 13), {"index_base": 1}, []),
        ([*range(8), 3, 3], range(8, 12), {}, ["tr.npy: 2 row numbers stand more than once"]),
    ],
)
def test_what_is_odd_in_index_files_is_told_to_the_log(tmp_path, caplog, train, test, params, told):
    parts_of(tmp_path, list(train), list(test), **params)
    messages = set(caplog.messages)
    assert len(messages) == len(told)
    for expected in told:
        assert any(expected in message for message in messages)


def test_rows_without_a_label_are_told_with_their_number_or_left_out(tmp_path):
    labels = np.array(["a", "b", "c"] * 4, object)
    labels[[7, 9]] = ["", "nan"]
    made = {"y": labels.astype(str)}
    with pytest.raises(
        UserError, match=r"all.npz:y: row 7 has no label \(1 more rows have problems\); .*strict: false"
    ):
        two(tmp_path, **made).prepare()
    items = two(tmp_path, **made, strict=False).prepare()
    assert len(items.table) == 10
    assert list(pd.read_csv(tmp_path / "out/skipped.csv")["problem"]) == [
        f"{tmp_path}/all.npz:y: row {row} has no label" for row in (7, 9)
    ]


def test_classes_too_rare_for_the_split_are_named_all_at_once_or_left_out(tmp_path):
    labels = np.array(["a", "b"] * 4 + ["odd", "even", "even", "a"])
    made = two(tmp_path, y=labels)
    with pytest.raises(
        UserError, match="class 'even' has only 2 distinct items, class 'odd' has only 1 distinct item: "
    ):
        made.split(made.prepare(), "default")
    made = two(tmp_path, y=labels, strict=False)
    assert made.prepare().classes == ["a", "b"]
    assert len(made.split(made.prepare(), "default").table) == 9
    assert set(pd.read_csv(tmp_path / "out/skipped.csv")["row"]) == {"item-00008", "item-00009", "item-00010"}


@pytest.mark.parametrize("strict", [True, False])
def test_a_class_that_seldom_stands_first_is_not_rare(tmp_path, strict):
    """Of a multi-hot matrix the first label of a row is that of the lowest column, so one class is first in one row."""
    labels = np.zeros((60, 4), int)
    labels[np.arange(60), np.arange(60) % 3] = 1
    labels[:29, 3] = 1
    labels[28, :3] = 0
    made = two(tmp_path, n=60, y=labels, strict=strict)
    items = made.prepare()
    assert len(items.table) == 60
    parts = made.split(items, "default").table["part"].to_numpy(str)
    assert set(parts[labels[:, 3] == 1]) == {"train", "validation", "test"}
    assert [int((parts == part).sum()) for part in ("train", "validation", "test")] == [36, 12, 12]


def test_classes_without_a_training_row_are_left_out_of_a_given_split(tmp_path):
    np.save(tmp_path / "tr.npy", np.arange(8))
    np.save(tmp_path / "te.npy", np.arange(8, 12))
    made = two(
        tmp_path, y=np.array(["a", "b"] * 5 + ["odd", "a"]), index={"train": "tr.npy", "test": "te.npy"}, strict=False
    )
    assert made.prepare().classes == ["a", "b"]
    assert "label 'odd' has no training row" in pd.read_csv(tmp_path / "out/skipped.csv")["problem"][0]
    assert len(made.split(made.prepare(), "default").table) == 11


def test_labels_of_all_parts_are_read_together(tmp_path, caplog):
    params = save_parts(tmp_path, train=4, test=2)
    arrays = dict(np.load(tmp_path / "train.npz"))
    np.savez(tmp_path / "train.npz", **arrays | {"y": np.array(["Cat", "dog", "Cat", "dog"])})
    np.savez(tmp_path / "test.npz", **dict(np.load(tmp_path / "test.npz")) | {"y": np.array(["cat", "dog"])})
    dataset(tmp_path, **params).prepare()
    assert "train.npz:y and 1 more: the classes 'Cat' (2), 'cat' (1) differ in case alone" in caplog.text
    np.savez(tmp_path / "test.npz", **dict(np.load(tmp_path / "test.npz")) | {"y": np.array(["cat", ""])})
    with pytest.raises(UserError, match=r"test.npz:y: row 1 has no label"):
        dataset(tmp_path, **params).prepare()


@pytest.mark.parametrize(("part", "row"), [("train", 0), ("train", 3), ("validation", 0), ("test", 0), ("test", 1)])
def test_a_value_that_is_no_label_is_named_by_its_row_in_the_file_of_its_part(tmp_path, part, row):
    params = save_parts(tmp_path, train=4, validation=3, test=2)
    arrays = dict(np.load(tmp_path / f"{part}.npz"))
    labels = arrays["y"].astype(float)
    labels[row] = 1e300
    np.savez(tmp_path / f"{part}.npz", **arrays | {"y": labels})
    with pytest.raises(UserError, match=rf"{part}\.npz:y: row {row}: the label .* is a float beyond"):
        dataset(tmp_path, **params).prepare()


def test_questions_about_labels_have_answers(tmp_path):
    with pytest.raises(UserError, match=r"all.npz:y: 3 labels are '-1', .* say no_label: \['-1'\]"):
        two(tmp_path, y=np.arange(12) % 4 - 1).prepare()
    assert two(tmp_path, y=np.arange(12) % 4 - 1, no_label=[]).prepare().classes == ["-1", "0", "1", "2"]
    assert len(two(tmp_path, y=np.arange(12) % 4 - 1, no_label=[-1], strict=False).prepare().table) == 9
    both = np.array(["cat;pet", "dog;pet"] * 6)
    with pytest.raises(UserError, match="say separator: ';'"):
        two(tmp_path, y=both).prepare()
    assert two(tmp_path, y=both, separator=";").prepare().classes == ["cat", "dog", "pet"]


def test_a_header_of_a_file_of_names_is_guessed_at(tmp_path):
    (tmp_path / "y.csv").write_text("label\n" + "cat\ndog\n" * 6)
    with pytest.raises(
        UserError, match=r"12 rows, .*y\.csv has 13 labels; leave out the first line .* if it is a header"
    ):
        two(tmp_path, labels="y.csv").prepare()


def rows_as_objects(*rows) -> np.ndarray:
    made = np.empty(len(rows), object)
    for position, row in enumerate(rows):
        made[position] = row
    return made


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([np.arange(3.0)] * 12, ""),
        ([[1, 2, 3]] * 12, ""),
        ([np.zeros((1, 3))] * 12, ""),
        ([np.zeros(3)] * 11 + [np.zeros(4)], "row 11 holds 4 numbers, row 0 holds 3"),
        (["text"] * 12, "expected a matrix of numbers, found object"),
        ([np.zeros((2, 2))] * 12, "expected a matrix of numbers, found object"),
    ],
)
def test_rows_as_objects_are_stacked(tmp_path, rows, problem):
    np.save(tmp_path / "rows.npy", rows_as_objects(*rows), allow_pickle=True)
    sha256 = hashlib.sha256((tmp_path / "rows.npy").read_bytes()).hexdigest()
    reference = Reference(tmp_path / "rows.npy", "", sha256)
    if problem:
        with pytest.raises(UserError, match=problem):
            matrix(reference)
    else:
        assert matrix(reference).shape == (12, 3)
        assert matrix(reference).dtype.kind in "if"


def test_equal_rows_of_features_stay_in_one_part(tmp_path):
    """Five captions a picture: without it a test picture is a training picture, and noise is learned by heart."""
    generator = np.random.default_rng(0)
    pictures = np.repeat(generator.normal(size=(60, 4)), 5, axis=0)
    made = two(tmp_path, 300, image=pictures, text=generator.normal(size=(300, 3)), y=np.repeat(np.arange(60) % 3, 5))
    parts = made.split(made.prepare(), "default").table["part"].to_numpy().reshape(60, 5)
    assert (parts == parts[:, :1]).all()
    assert set(parts[:, 0]) == {"train", "validation", "test"}


def test_equal_rows_are_looked_for_once_by_a_split_and_again_in_other_items(tmp_path, monkeypatch):
    made = two(tmp_path, 60)
    items, seen = made.prepare(), []
    keys = Precomputed.content_keys
    monkeypatch.setattr(Precomputed, "content_keys", lambda *given: seen.append(given[2]) or keys(*given))
    made.split(items, "default")
    assert seen == ["image", "text"]
    made.groups(items)
    assert seen == ["image", "text"]
    some = Items(items.table.iloc[:7].reset_index(drop=True), items.kinds)
    assert len(made.groups(some)) == 7
    assert seen == ["image", "text"] * 2
    made.groups(Items(items.table.iloc[7:14].reset_index(drop=True), items.kinds))
    assert seen == ["image", "text"] * 3


def test_rows_that_name_the_class_keep_nothing_together_and_it_is_said(tmp_path, caplog):
    labels = np.arange(60) % 3
    made = two(tmp_path, 60, image=np.arange(120.0).reshape(60, 2), text=np.eye(3)[labels], y=labels)
    parts = made.split(made.prepare(), "default").table["part"]
    assert parts.value_counts().to_dict() == {"train": 36, "validation": 12, "test": 12}
    assert "text: its rows name classes rather than items" in caplog.text


@pytest.mark.parametrize("kind", [".npy", ".h5", "parts"])
def test_a_large_matrix_stays_in_its_file_and_everything_is_the_same(tmp_path, kind, monkeypatch):
    """A picture stands beside three captions, a row is bad, and the items are in an order of their own."""
    generator = np.random.default_rng(0)
    pictures = np.repeat(generator.normal(size=(20, 6)), 3, axis=0).astype(np.float32)
    pictures[7] = np.nan
    labels = np.arange(60) // 3 % 2
    np.save(tmp_path / "image.npy", pictures)
    np.save(tmp_path / "y.npy", labels)
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["features"] = pictures
    image, of_image = f"image{kind}", "y.npy"
    if kind == "parts":  # of which the second is small
        rows = {"train": slice(0, 57), "test": slice(57, 60)}
        for part, some in rows.items():
            np.save(tmp_path / f"{part}.npy", pictures[some])
            np.save(tmp_path / f"y_{part}.npy", labels[some])
        image, of_image = {part: f"{part}.npy" for part in rows}, {part: f"y_{part}.npy" for part in rows}
    made = dataset(tmp_path, features={"image": image}, labels=of_image, strict=False)

    def found(named):
        items = made.prepare()
        turned = Items(items.table.iloc[::-1], items.kinds)
        extractor = Ready(ReadyParams(), tmp_path)
        contents = extractor.contents(made, turned, "image")
        extract(Task(extractor, contents, turned.ids), tmp_path / named, {}, tmp_path / "partial", "key", chunk=8)
        return items, made.split(items, "default").table, contents

    items, split, contents = found("memory.h5")
    assert isinstance(contents, np.ndarray)
    monkeypatch.setattr("cmr.vectors.BLOCK_BYTES", 5 * 6 * 4)
    again, split_again, stayed = found("file.h5")
    assert isinstance(stayed, Vectors)
    assert len(again.ids) == 59
    pd.testing.assert_frame_equal(again.table, items.table)
    pd.testing.assert_frame_equal(split_again, split)
    assert (tmp_path / "file.h5").read_bytes() == (tmp_path / "memory.h5").read_bytes()


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        (np.ones((40, 3)), {}),
        (np.ones((40, 3), ">f4"), {}),
        (np.asfortranarray(np.ones((40, 3), np.float32)), {}),
        (np.ones((3, 40), np.float32), {"transposed": True}),
    ],
)
def test_other_large_matrices_are_read_whole(tmp_path, monkeypatch, values, changed):
    monkeypatch.setattr("cmr.vectors.BLOCK_BYTES", 16)
    np.save(tmp_path / "x.npy", values)
    found = rows_in(Reference(tmp_path / "x.npy", **changed))
    assert isinstance(found, np.ndarray)
    assert found.shape == (40, 3)


def test_a_large_matrix_that_is_cut_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cmr.vectors.BLOCK_BYTES", 16)
    np.save(tmp_path / "x.npy", np.ones((40, 3), np.float32))
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(300)
    with pytest.raises(UserError, match=r"x\.npy: cannot be read"):
        rows_in(Reference(tmp_path / "x.npy"))
