"""The same labels by every way that labels come in: a table, ready features, `cmr metrics`. One meaning, or one question."""

import csv
import json
import logging

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from cmr.datasets.precomputed import Params as ReadyParams
from cmr.datasets.precomputed import Precomputed
from cmr.datasets.table import Params as TableParams
from cmr.datasets.table import Table
from cmr.errors import UserError
from cmr.measure import read_labels

N = 24


def in_table(write):
    """The class names of each row that a table gives."""

    def read(folder, labels):
        data = pd.DataFrame({"id": [f"i{row}" for row in range(N)], "text": [f"text {row}" for row in range(N)]})
        name = write(folder, data.assign(label=pd.Series(labels, dtype=object)))
        return list(
            Table(TableParams(file=name, id="id", text="text"), folder / "out", folder, folder)
            .prepare()
            .table["labels"]
        )

    return read


def as_csv(folder, data):
    data.to_csv(folder / "my.csv", index=False)
    return "my.csv"


def as_jsonl(folder, data):
    (folder / "my.jsonl").write_text("\n".join(json.dumps(row) for row in data.to_dict("records")))
    return "my.jsonl"


def as_parquet(folder, data):
    data.to_parquet(folder / "my.parquet")
    return "my.parquet"


def in_ready(write):
    """The class names of each row that ready features have."""

    def read(folder, labels):
        name = write(folder, labels)
        np.save(folder / "x.npy", np.arange(2.0 * N).reshape(N, 2))
        params = ReadyParams(features={"image": "x.npy"}, labels=name)
        return list(Precomputed(params, folder / "out", folder, folder).prepare().table["labels"])

    return read


def as_npy(folder, labels):
    np.save(folder / "y.npy", np.array(labels))
    return "y.npy"


def as_txt(folder, labels):
    (folder / "y.txt").write_text("".join(f"{label}\n" for label in labels))
    return "y.txt"


def as_lines(folder, labels):
    with open(folder / "y.csv", "w", newline="") as file:
        csv.writer(file).writerows([label] if label else [] for label in labels)
    return "y.csv"


def as_hdf5(folder, labels):
    with h5py.File(folder / "y.h5", "w") as file:
        file["y"] = labels
    return "y.h5"


def as_matlab(folder, labels):
    cells = np.empty((N, 1), object)
    cells[:, 0] = labels
    scipy.io.savemat(folder / "y.mat", {"y": cells})
    return "y.mat"


def in_metrics(folder, labels):
    """Names of the class numbers, by their order, which is that of the sorted names."""
    return [[str(number)] for number in read_labels(folder / as_npy(folder, labels)).values]


WAYS = {
    "a CSV": in_table(as_csv),
    "JSON lines": in_table(as_jsonl),
    "parquet": in_table(as_parquet),
    "npy": in_ready(as_npy),
    "txt": in_ready(as_txt),
    "a column of CSV": in_ready(as_lines),
    "HDF5": in_ready(as_hdf5),
    "cells of MATLAB's": in_ready(as_matlab),
}


def labels_of(*some):
    return [some[row % len(some)] for row in range(N)]


ONE_MEANING = {
    "blanks": (labels_of("a car", "a car ", " cat"), ["a car", "cat"]),
    "accents in two forms": (labels_of("caf\u00e9", "cafe\u0301", "car"), ["caf\u00e9", "car"]),
    "case": (labels_of("Cat", "cat", "dog"), ["Cat", "cat", "dog"]),
    "numbers": (labels_of("1", "2", "1.0"), ["1", "2"]),
    "lists of Python's": (labels_of("['cat', 'pet']", "['car']", "['dog', 'pet']"), ["car", "cat", "dog", "pet"]),
    "lists of NumPy's": (labels_of("['cat' 'pet']", "['car']", "['dog' 'pet']"), ["car", "cat", "dog", "pet"]),
}
REFUSED = {
    "nan": (labels_of("cat", "dog", "nan"), "no label"),
    "None": (labels_of("cat", "None", "dog"), "no label"),
    "empty": (labels_of("cat", "", "dog"), "no label"),
    "<NA>": (labels_of("cat", "dog", "<NA>"), "no label"),
    "NA": (labels_of("cat", "NA", "dog"), "8 labels are 'NA', which may be a class or stand for no label"),
    "-1": (labels_of("0", "-1", "1"), "8 labels are '-1', which may be a class or stand for no label"),
    "a separator": (labels_of("cat;pet", "dog;pet", "car"), "16 of 24 labels hold ';'"),
    "a bar": (labels_of("cat|pet", "dog", "car"), "8 of 24 labels hold '|'"),
    "commas": (labels_of("cat,pet", "dog,pet", "car"), "16 of 24 labels hold ','"),
    "lists and others": (labels_of("['cat']", "dog", "car"), "looks like a list, as 8 of 24 do"),
}
TOLD = {"case": "differ in case alone"}


@pytest.mark.mended(
    "lists that pandas wrote as text were one class, and blanks or accents in two forms made two of one"
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ONE_MEANING)
def test_what_has_one_meaning_is_read(tmp_path, caplog, way, case):
    labels, classes = ONE_MEANING[case]
    found = WAYS[way](tmp_path, labels)
    assert sorted({name for names in found for name in names}) == classes
    assert found[3:6] == found[:3]
    assert TOLD.get(case, "") in caplog.text


@pytest.mark.mended(
    "labels 'nan', 'None' and '<NA>' were classes, and so were -1, 'NA' and 'cat;dog' without a question"
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_has_none_or_two_is_told(tmp_path, way, case):
    labels, message = REFUSED[case]
    with pytest.raises(UserError) as told:
        WAYS[way](tmp_path, labels)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.mended(
    "`cmr metrics` took a byte order mark and blanks for a part of labels, and missing labels for a class"
)
@pytest.mark.parametrize("case", [*ONE_MEANING, *REFUSED])
def test_metrics_read_them_alike(tmp_path, case):
    labels, expected = (ONE_MEANING | REFUSED)[case]
    if case in REFUSED:
        with pytest.raises(UserError) as told:
            in_metrics(tmp_path, labels)
        assert expected in str(told.value)
    elif "lists" not in case:
        assert in_metrics(tmp_path, labels) == [[str(expected.index(own[0]))] for own in WAYS["npy"](tmp_path, labels)]
    else:
        assert read_labels(tmp_path / as_npy(tmp_path, labels)).values.shape == (N, len(expected))


@pytest.mark.parametrize(
    "labels", [labels_of(["a", ["b", "c"]], ["d"]), labels_of([["a", "b"]], ["c"])], ids=["mixed", "nested"]
)
def test_lists_in_lists_are_told(tmp_path, labels):
    with pytest.raises(UserError, match=r"row 1: label: expected a label, or a list of labels, found list"):
        WAYS["JSON lines"](tmp_path, labels)


def test_one_class_alone_is_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    WAYS["npy"](tmp_path, labels_of("cat"))
    assert "all labels are 'cat', so every item is relevant to every other" in caplog.text
