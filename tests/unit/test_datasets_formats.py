"""Arrays in files of many formats: what is read, what needs a key, and what is refused."""

import logging
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
import torch

from cmr.datasets.formats import READERS, read_array, read_ids
from cmr.datasets.keyed import FORMATS, file_and_key
from cmr.errors import UserError

MATRIX = np.array([[0.0, 1.5], [2.0, 0.0], [0.0, -3.0]])


def matlab_73(path: Path, **arrays) -> Path:
    """As MATLAB's save -v7.3 does: dimensions reversed, texts as numbers, cells as references, structs as groups."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            _write_73(file, name, value)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    return path


def _write_73(folder, name, value):
    if isinstance(value, dict):
        for key, inner in value.items():
            _write_73(folder.require_group(name), key, inner)
    elif isinstance(value, list):
        for number, cell in enumerate(value):
            _write_73(folder.file.require_group("#refs#"), f"{name}{number}", cell)
        references = [[folder.file[f"#refs#/{name}{number}"].ref for number in range(len(value))]]
        folder.create_dataset(name, data=references, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = b"cell"
    elif isinstance(value, str):
        folder[name] = np.array([[ord(letter)] for letter in value], np.uint16)
        if not value:
            folder[name].attrs["MATLAB_empty"] = 1
        folder[name].attrs["MATLAB_class"] = b"char"
    elif scipy.sparse.issparse(value):
        group, columns = folder.create_group(name), value.tocsc()
        group["data"], group["ir"], group["jc"] = columns.data, columns.indices, columns.indptr
        group.attrs["MATLAB_sparse"] = value.shape[0]
    else:
        folder[name] = value.T
        if value.dtype == bool:
            del folder[name]
            folder[name] = value.T.astype(np.uint8)
            folder[name].attrs["MATLAB_class"] = b"logical"


def cell_array(*values) -> np.ndarray:
    made = np.empty((len(values), 1), object)
    for row, value in enumerate(values):
        made[row, 0] = value
    return made


def square_of_cells() -> np.ndarray:
    """Cell number 1 is the one below the first: MATLAB counts down the columns."""
    made = np.empty((2, 2), object)
    made[0, 0], made[1, 0], made[0, 1], made[1, 1] = 0, MATRIX, MATRIX + 1, 2
    return made


def square_of_references(path: Path) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        for number, value in enumerate(square_of_cells().ravel(order="F")):
            file[f"#refs#/{number}"] = np.atleast_2d(value).T
        references = [[file[f"#refs#/{2 * column + row}"].ref for row in range(2)] for column in range(2)]
        file.create_dataset("c", data=references, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = b"cell"
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    return path


def hdf5(path: Path, **arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name.replace("__", "/")] = value
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def saved(save, path: Path, value) -> Path:
    save(path, value)
    return path


SPARSE = scipy.sparse.csr_array(MATRIX)
ONE_MATRIX = {
    "npy": (lambda f: saved(np.save, f / "x.npy", MATRIX), ""),
    "npz of one array": (lambda f: saved(np.savez, f / "x.npz", MATRIX), ""),
    "npz by name": (lambda f: saved(np.savez, f / "x.npz", MATRIX), "arr_0"),
    "sparse npz": (lambda f: saved(scipy.sparse.save_npz, f / "x.npz", SPARSE), ""),
    "sparse npz, by columns": (lambda f: saved(scipy.sparse.save_npz, f / "x.npz", SPARSE.tocsc()), ""),
    "mat of one array": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"x": MATRIX}), ""),
    "mat, a field": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"d": {"x": MATRIX, "y": 1}}), "d.x"),
    "mat, a field of a field": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"d": {"e": {"x": MATRIX}}}), "d/e/x"),
    "mat, a field in a cell": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"c": cell_array(1, {"x": MATRIX})}), "c/1.x"),
    "mat, cells in rows and columns": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"c": square_of_cells()}), "c/1"),
    "mat, an array of structs": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"d": np.array([({"x": 1},), ({"x": MATRIX},)], object)}), "d/1.x"),
    "7.3": (lambda f: matlab_73(f / "x.mat", x=MATRIX), ""),
    "7.3, a field": (lambda f: matlab_73(f / "x.mat", d={"x": MATRIX, "y": MATRIX[:1]}), "d.x"),
    "7.3, a cell": (lambda f: matlab_73(f / "x.mat", c=[MATRIX[:1], MATRIX]), "c/1"),
    "7.3, cells in rows and columns": (lambda f: square_of_references(f / "x.mat"), "c/1"),
    "7.3, sparse": (lambda f: matlab_73(f / "x.mat", x=SPARSE, y=MATRIX), "x"),
    "7.3, a sparse field": (lambda f: matlab_73(f / "x.mat", d={"x": SPARSE}), "d/x"),
    "h5 of one array": (lambda f: hdf5(f / "x.h5", x=MATRIX), ""),
    "h5, a group of one array": (lambda f: hdf5(f / "x.h5", a__x=MATRIX, b__x=MATRIX[:1]), "a"),
    "h5 as features are written here": (lambda f: hdf5(f / "x.h5", features=MATRIX, ids=["a", "b", "c"], z=[1]), ""),
    "pt": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pt", torch.tensor(MATRIX)), ""),
    "pt, bfloat16": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pt", torch.tensor(MATRIX).bfloat16()), ""),
    "pt, sparse": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pt", torch.tensor(MATRIX).to_sparse()), ""),
    "pt, with gradient": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pt", torch.tensor(MATRIX, requires_grad=True)), ""),
    "pt, a dictionary": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pth", {"x": torch.tensor(MATRIX), "y": 1}), "x"),
    "pt, rows": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pt", list(torch.tensor(MATRIX))), ""),
    "txt": (lambda f: saved(np.savetxt, f / "x.txt", MATRIX), ""),
    "txt, comments": (lambda f: written(f / "x.txt", "# made by hand\n# x y\n 0 1.5\n 2 0\n 0 -3\n\n"), ""),
    "csv": (lambda f: written(f / "x.csv", "0,1.5\r\n2,0\r\n0,-3\r\n"), ""),
    "csv, a header": (lambda f: written(f / "x.csv", "a,b\n0,1.5\n2,0\n0,-3\n"), ""),
    "csv, numbers as a header": (lambda f: written(f / "x.csv", "0,1\n0,1.5\n2,0\n0,-3\n"), ""),
    "tsv, numbers as a header": (lambda f: written(f / "x.tsv", "# x\n0\t1\n0\t1.5\n2\t0\n0\t-3\n"), ""),
    "csv of pandas without index": (lambda f: saved(lambda p, x: pd.DataFrame(x).to_csv(p, index=False), f / "x.csv", MATRIX), ""),
    "csv of pandas": (lambda f: saved(lambda p, x: pd.DataFrame(x).to_csv(p), f / "x.csv", MATRIX), ""),
    "csv with decimal commas": (lambda f: written(f / "x.csv", "\ufeff0,0;1,5\n2;0\n0;-3,0\n"), ""),
    "tsv": (lambda f: written(f / "x.tsv", "0\t1.5\n2\t0\n0\t-3\n"), ""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "file", "key"),
    [
        ("a.npy", "a.npy", ""),
        ("data.MAT:I_tr", "data.MAT", "I_tr"),
        ("my/a.h5:group/x:y", "my/a.h5", "group/x:y"),
        ("10:30.csv", "10:30.csv", ""),
        ("10:30/10:30.npz:x", "10:30/10:30.npz", "x"),
        ("10:30.parquet", "10:30.parquet", ""),
        ("folder:of pictures", "folder:of pictures", ""),
        ("", "", ""),
    ],
)
def test_a_key_stands_behind_the_suffix_of_the_file(reference, file, key):
    assert file_and_key(reference) == (file, key)
    assert set(FORMATS) == set(READERS)


@pytest.mark.parametrize("case", ONE_MATRIX)
def test_every_format_gives_the_same_matrix(tmp_path, case):
    make, key = ONE_MATRIX[case]
    np.testing.assert_array_equal(read_array(make(tmp_path), key), MATRIX)


TEXTS = ["cat", "polar bear", ""]
LABELS = {
    "7.3, cells": (lambda f: matlab_73(f / "y.mat", y=TEXTS), TEXTS),
    "5, cells": (lambda f: saved(scipy.io.savemat, f / "y.mat", {"y": cell_array(*TEXTS)}), TEXTS),
    "5, padded": (lambda f: saved(scipy.io.savemat, f / "y.mat", {"y": np.array(["cat ", "bird"])}), ["cat ", "bird"]),
    "h5": (lambda f: hdf5(f / "y.h5", y=["cat", "polar bear", ""]), TEXTS),
    "txt": (lambda f: written(f / "y.txt", "cat\npolar bear \n\nx\n"), [*TEXTS, "x"]),
    "csv": (lambda f: written(f / "y.csv", '"cat"\npolar bear\n\n"a, b"\n'), [*TEXTS, "a, b"]),
    "csv of pandas": (lambda f: saved(lambda p, x: pd.Series(x, name="label").to_csv(p), f / "y.csv", TEXTS), TEXTS),
    "csv of pandas, without a name": (lambda f: saved(lambda p, x: pd.Series(x).to_csv(p), f / "y.csv", TEXTS), TEXTS),
    "csv of R": (lambda f: written(f / "y.csv", '"","x"\n"1","cat"\n"2","polar bear"\n"3",""\n'), TEXTS),
    "tsv of pandas": (
        lambda f: saved(lambda p, x: pd.Series(x).to_csv(p, sep="\t"), f / "y.tsv", ["a", "", "b"]),
        ["a", "", "b"],
    ),
    "csv of pandas, ';'": (lambda f: saved(lambda p, x: pd.Series(x).to_csv(p, sep=";"), f / "y.csv", TEXTS), TEXTS),
    "pt": (lambda f: saved(lambda p, x: torch.save(x, p), f / "y.pt", TEXTS), TEXTS),
    "numbers in txt": (lambda f: written(f / "y.txt", "0\n2\n1\n"), [0, 2, 1]),
    "numbers with a header": (lambda f: written(f / "y.csv", "label\n0\n\n1\n"), [0, np.nan, 1]),
    "7.3, logical": (lambda f: matlab_73(f / "y.mat", y=np.array([[True], [False]])), [True, False]),
}


@pytest.mark.parametrize("case", LABELS)
def test_columns_of_texts_or_numbers(tmp_path, case):
    make, expected = LABELS[case]
    found = [
        cell.item() if isinstance(cell, np.ndarray) and cell.size == 1 else cell
        for cell in read_array(make(tmp_path)).ravel()
    ]
    found = ["" if isinstance(cell, np.ndarray) and not cell.size else cell for cell in found]
    np.testing.assert_array_equal(np.array(found), np.array(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1\n1,0\n0,1\n", [[0, 1], [1, 0], [0, 1]]),
        ("0,1,2\n0,1,0\n1,0,0\n", [[0, 1, 0], [1, 0, 0]]),
        ("0.0,1.0,2.0\n5,1,0\n", [[0, 1, 2], [5, 1, 0]]),
        ("0,1,2,3\n", [[0, 1, 2, 3]]),
        ("a,b\n0,1\n2.5,1\n", [[0, 1], [2.5, 1]]),
    ],
)
def test_numbers_from_0_on_are_a_header_where_no_row_is_like_them(tmp_path, text, expected):
    np.testing.assert_array_equal(read_array(written(tmp_path / "x.csv", text)), expected)


def test_decimal_commas_may_begin_below_the_first_row(tmp_path):
    text = "1;2;3\n1,5;2,5;3\n"
    np.testing.assert_array_equal(read_array(written(tmp_path / "x.csv", text)), [[1, 2, 3], [1.5, 2.5, 3]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (",2.5,3\n1,2,3\n", [[np.nan, 2.5, 3], [1, 2, 3]]),
        ("1,2,\n4,5,6\n", [[1, 2, np.nan], [4, 5, 6]]),
        ("1;NA;1,5\n4;5;6\n", [[1, np.nan, 1.5], [4, 5, 6]]),
        ("#N/A,2\n1,2\n", [[np.nan, 2], [1, 2]]),
        ("<NA>\n0\n1\n", [np.nan, 0, 1]),
        (",2019,2020\n0,1.5,2\n1,3,4\n2,5,6\n", [[1.5, 2], [3, 4], [5, 6]]),
        (",0,1\n7,1.5,2\n3,3,4\n", [[7, 1.5, 2], [3, 3, 4]]),
    ],
)
def test_a_first_row_that_lacks_a_number_is_a_row(tmp_path, text, expected):
    """Unless it is the header of row numbers, whose own name is empty."""
    np.testing.assert_array_equal(read_array(written(tmp_path / "x.csv", text)), expected)


def test_characters_of_matlab_are_texts_a_row_each(tmp_path):
    with h5py.File(matlab_73(tmp_path / "y.mat"), "a") as file:
        file["y"] = np.array([[ord(letter) for letter in text] for text in ("cat ", "bird")], np.uint16).T
        file["y"].attrs["MATLAB_class"] = b"char"
    assert read_array(tmp_path / "y.mat", "y").tolist() == ["cat ", "bird"]


class Anything:
    pass


REFUSED = {
    "npz of several arrays": (lambda f: saved(lambda p, x: np.savez(p, a=x, b=x), f / "x.npz", MATRIX), "", "holds 2 arrays; name one as x.npz:KEY; known: a, b"),
    "mat of several arrays": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"a": MATRIX, "b": MATRIX}), "", "name one as x.mat:KEY; known: a, b"),
    "h5 of several arrays": (lambda f: hdf5(f / "x.h5", g__a=MATRIX, g__b=MATRIX), "g", "no array 'g'; .*g/a"),
    "a key of an npy": (lambda f: saved(np.save, f / "x.npy", MATRIX), "x", "no array 'x'$"),
    "a key of a text": (lambda f: saved(np.savetxt, f / "x.txt", MATRIX), "x", "no array 'x'$"),
    "a struct": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"d": {"x": 1, "y": 2}}), "d", "a struct; name one of its fields, as KEY.x, of: x, y"),
    "no such field": (lambda f: saved(scipy.io.savemat, f / "x.mat", {"d": {"feat": 1, "y": 2}}), "d.feet", "no array 'd.feet'; .*'feat'|known: feat, y"),
    "a struct in 7.3": (lambda f: matlab_73(f / "x.mat", d={"x": MATRIX, "y": MATRIX}), "d", "a struct; name one of its fields, as KEY.x, of: x, y"),
    "no such field in 7.3": (lambda f: matlab_73(f / "x.mat", d={"x": MATRIX, "y": MATRIX}), "d.z", "no array 'd.z'; known: x, y"),
    "an object of MATLAB's": (lambda f: matlab_object(f / "x.mat"), "s", "an object of MATLAB's .* cellstr"),
    "a dictionary in npy": (lambda f: saved(lambda p, x: np.save(p, x, allow_pickle=True), f / "x.npy", {"x": MATRIX}), "x", "x.npy: holds Python objects, .* say trust: true"),
    "rows as objects in npz": (lambda f: saved(lambda p, x: np.savez(p, x=x), f / "x.npz", cell_array([1], [2])), "x", "x.npz: holds Python objects, .* say trust: true"),
    "a module in pt": (lambda f: saved(lambda p, x: torch.save(x, p), f / "x.pt", Anything()), "", "x.pt: holds more than tensors"),
    "a pickle named pt": (lambda f: saved(lambda p, x: p.write_bytes(pickle.dumps(x)), f / "x.pt", Anything()), "", "x.pt: "),
    "two values a line": (lambda f: written(f / "y.csv", "1,cat\n2,dog\n"), "", "line 1 holds 2 values; expected numbers alone, or one label a line; leave other columns out"),
    "a header, or a row": (lambda f: written(f / "x.csv", "0,1,2\n5,1,0\n"), "", "first line, '0,1,2', may name the columns or be a row; .* as 0.0,"),
    "a first column that does not count": (lambda f: written(f / "y.csv", ",label\n7,cat\n3,dog\n5,cat\n"), "", "line 1 holds 2 values"),
    "no format": (lambda f: written(f / "y.xls", "1"), "", "expected one of .npy, [^;]*, .txt$"),
    "no file": (lambda f: f / "x.npy", "", "x.npy: no such file"),
}  # fmt: skip


def matlab_object(path: Path) -> Path:
    """A string array, which MATLAB 7.3 writes as numbers that say nothing by themselves."""
    with h5py.File(matlab_73(path), "a") as file:
        file["s"] = np.zeros((1, 6), np.uint32)
        file["s"].attrs.update({"MATLAB_class": b"string", "MATLAB_object_decode": 3})
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_told_in_a_line(tmp_path, case):
    make, key, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as told:
        read_array(make(tmp_path), key)
    assert "\n" not in str(told.value)


def test_trusted_objects(tmp_path):
    np.save(tmp_path / "d.npy", {"x": MATRIX, "y": [1, 2]}, allow_pickle=True)
    np.testing.assert_array_equal(read_array(tmp_path / "d.npy", "x", trusted=True), MATRIX)
    with pytest.raises(UserError, match=r"holds 2 arrays; name one as d.npy:KEY; known: x, y"):
        read_array(tmp_path / "d.npy", trusted=True)
    torch.save(Anything(), tmp_path / "x.pt")
    with pytest.raises(UserError, match="holds more than tensors"):
        read_array(tmp_path / "x.pt", trusted=True)


def test_bytes_of_other_files_are_not_read(tmp_path):
    (tmp_path / "secret.bin").write_bytes(MATRIX.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("external", (3, 2), float, external=[(str(tmp_path / "secret.bin"), 0, 48)])
        layout = h5py.VirtualLayout((3, 2), float)
        layout[:] = h5py.VirtualSource(str(tmp_path / "gone.h5"), "x", (3, 2))
        file.create_virtual_dataset("virtual", layout)
    for key in ("external", "virtual"):
        with pytest.raises(UserError, match=f"x.h5:{key}: cannot be read: its values lie in other files"):
            read_array(tmp_path / "x.h5", key)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("1,2,3\n4,oops,6\n7,8,9\n", "line 2: 'oops' is no number"),
        ("a,b,c\n4,1,6\n7,8,x\n", "line 3: 'x' is no number"),
        ("1,2,3\n4,5\n7,8,9\n", "line 2 holds 2 values, line 1 holds 3"),
        ("# three\n1,2,3\n4,5,6\n4,5,6,7\n", "line 4 holds 4 values, line 2 holds 3"),
        ("1,2,\n4,5,\n", "every line ends with ',', behind which nothing stands; leave it out"),
    ],
)
def test_a_cell_or_a_line_that_fits_no_matrix_is_named(tmp_path, lines, problem):
    (tmp_path / "x.csv").write_text(lines)
    with pytest.raises(UserError, match=re.escape(f"x.csv: cannot be read: {problem}")):
        read_array(tmp_path / "x.csv")


def test_an_empty_line_is_a_row_without_values(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n\n3,4\n")
    assert np.isnan(read_array(tmp_path / "x.csv")).all(axis=1).tolist() == [False, True, False]


def test_ids_beside_an_array(tmp_path):
    hdf5(
        tmp_path / "x.h5",
        a__x=MATRIX,
        a__ids=["p", "q", "r"],
        b__x=MATRIX,
        c__x=MATRIX,
        c__ids=["p"],
        n__x=MATRIX,
        n__ids=[3, 1, 2],
    )
    assert read_ids(tmp_path / "x.h5", "a/x").tolist() == ["p", "q", "r"]
    assert read_ids(tmp_path / "x.h5", "a").tolist() == ["p", "q", "r"]
    assert read_ids(tmp_path / "x.h5", "n/x").tolist() == ["3", "1", "2"]
    assert read_ids(tmp_path / "x.h5", "b/x") is None
    with pytest.raises(UserError, match=r"x\.h5:c/x: cannot be read: /c/ids holds 1 id, /c/x 3 rows; give each row"):
        read_ids(tmp_path / "x.h5", "c/x")
    with pytest.raises(UserError, match=r"x\.h5: no array 'z'"):
        read_ids(tmp_path / "x.h5", "z")
    assert read_ids(tmp_path / "x.npy", "") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n0,1.5\n2,0\n0,-3\n", "its first line is a header: 'a,b'"),
        (",a\n0,0.5\n1,2\n2,3\n", "its first column, without a name, is the row's number and is left out"),
        ("0,0.5\n1,2\n2,3\n", "its first column is the row's number, and is read as a feature"),
    ],
)
def test_what_is_odd_in_a_text_is_told_to_the_log(tmp_path, caplog, text, told):
    caplog.set_level(logging.INFO)
    read_array(written(tmp_path / "x.csv", text))
    assert any(told in message for message in caplog.messages)
