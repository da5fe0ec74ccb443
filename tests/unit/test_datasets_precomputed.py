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

from cmr import registry
from cmr.config import check_own_files, validate
from cmr.datasets.matrices import Reference, label_names
from cmr.datasets.precomputed import Params, Precomputed
from cmr.errors import UserError
from cmr.features.ready import Params as ReadyParams
from cmr.features.ready import Ready

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
    with pytest.raises(UserError, match="cannot be read"):
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
        (np.array(["cat", "dog"]), [["cat"], ["dog"]]),
    ],
)
def test_labels_of_every_form(tmp_path, array, expected):
    np.save(tmp_path / "y.npy", array)
    assert label_names(Reference(tmp_path / "y.npy")) == expected


@pytest.mark.parametrize(
    ("array", "problem"), [([[0, 1], [0, 0]], "row 1 has no label"), ([[0, 2], [1, 1]], "0/1 matrix")]
)
def test_labels_that_are_none(tmp_path, array, problem):
    np.save(tmp_path / "y.npy", array)
    with pytest.raises(UserError, match=problem):
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
        ({"labels": ""}, "features and labels are required"),
        ({"labels": "train.npz:y"}, "must be given for the same parts"),
        ({"labels": {"train": "train.npz:y", "dev": "train.npz:y"}}, "labels.dev: expected a part"),
        ({"labels": {"train": "train.npz:y", "validation": "train.npz:y"}}, "features.image.validation"),
        ({"labels": {"train": "none.npz:y", "test": "test.npz:y"}}, "params.labels.train: no such file"),
        ({"sha256": {"train.npz": "abc"}}, "expected 64 hex digits"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, change, problem):
    params = save_parts(tmp_path, train=4, test=2) | change
    with pytest.raises(UserError, match=problem):
        dataset(tmp_path, **params).prepare()


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
    assert registry.info("datasets", "precomputed").files == ("features", "labels", "index")
