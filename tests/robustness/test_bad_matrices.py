"""Ready features in broken and hostile files, through the stages that read them: in a process of its own, as HDF5 may crash."""

import json
import os
import pickle
import random
import subprocess
import sys

import h5py
import numpy as np
import pytest
import scipy.io
from scipy.sparse import csr_matrix

from toy_clones import ROOT

GENERATED = 25  # of each format
SCRIPT = """
import json, sys, traceback
from pathlib import Path
from cmr.data import Items
from cmr.errors import UserError
from toy_plan import Project, experiment

sys.setrecursionlimit(1000)
told = {}
for folder in sorted(Path(".").iterdir()):
    params = json.loads((folder / "params.json").read_text())
    data = {"datasets": [{"id": "made", "dataset": "precomputed", "params": params}]}
    features = {"features": [{"id": "image", "extractor": "ready", "modality": "image"}]}
    try:
        project = Project(folder, {**data, **features, **experiment(["image"], "random")})
        items = project.make(project.only("prepare")).files[0]
        told[folder.name] = ["ok", len(Items.read(project.path(items)).table)]
    except UserError as error:
        told[folder.name] = ["told", str(error)]
    except BaseException:
        told[folder.name] = ["trace", traceback.format_exc()]
print(json.dumps(told))
"""
X = np.random.default_rng(0).normal(size=(12, 3))
LABELS = np.arange(12) % 3


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def saved(folder, suffix):
    """A good file of each format, and the parameters that read it."""
    file = folder / f"x{suffix}"
    key = ":x"
    if suffix == ".npy":
        np.save(file, X)
        key = ""
    elif suffix == ".npz":
        np.savez_compressed(file, x=X)
    elif suffix == ".mat":
        scipy.io.savemat(file, {"x": X, "cells": np.array([X], object)}, do_compression=True)
    else:
        with h5py.File(file, "w") as opened:
            opened["x"] = X
    return file, {"features": {"image": f"x{suffix}{key}"}, "labels": "y.npy"}


def tried(tmp_path, cases):
    """What the stages say of each case: name → (ok | told | trace, number of items or message)."""
    for name, (params, files) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "y.npy", LABELS)
        (folder / "params.json").write_text(json.dumps(params))
        for file, content in files.items():
            (folder / file).write_bytes(content)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/workflow:{ROOT}/tests"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.rglob("executed"))
    return {name: tuple(said) for name, said in json.loads(done.stdout).items()}


def damaged(content, generator):
    """Cut short, some bytes replaced, or a piece taken out."""
    content, kind = bytearray(content), generator.randrange(3)
    if kind == 0:
        return bytes(content[: generator.randrange(len(content))])
    for _ in range(generator.choice([1, 2, 8])):
        content[generator.randrange(len(content))] = generator.randrange(256)
    start = generator.randrange(len(content))
    return bytes(content[:start] + content[start + 7 :] if kind == 2 else content)


@pytest.mark.mended("damaged .npy and .h5 files were a stack trace where the reader raises an error of its own kind")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".h5"])
def test_damaged_files(tmp_path, suffix, cases):
    cases(GENERATED)
    generator = random.Random(suffix)
    (tmp_path / "good").mkdir()
    file, params = saved(tmp_path / "good", suffix)
    good = file.read_bytes()
    (tmp_path / "tried").mkdir()
    files = {f"c{number:03}": (params, {file.name: damaged(good, generator)}) for number in range(GENERATED)}
    told = tried(tmp_path / "tried", files | {"whole": (params, {file.name: good})})
    assert told.pop("whole") == ("ok", 12)
    for name, (kind, what) in told.items():
        assert kind != "trace", f"{name}: {what}"
        assert kind == "ok" or len(what) < 1000, what


def npy(array, **options):
    from io import BytesIO

    file = BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def huge(shape):
    """A header that promises more than there is."""
    content = npy(np.zeros((10, 10)))
    text = content[10:128].decode().replace("(10, 10)", str(shape))
    return content[:10] + text[:118].ljust(118).encode() + content[128:]


def hdf5(tmp_path, write):
    file = tmp_path / "made.h5"
    with h5py.File(file, "w") as opened:
        write(opened)
    content = file.read_bytes()
    file.unlink()
    return content


def link_out(opened):
    opened["x"] = h5py.ExternalLink("/etc/passwd", "x")


def loop(opened):
    opened["x"] = h5py.SoftLink("/x")


def compound(opened):
    opened["x"] = np.zeros(12, [("a", float), ("b", int)])


def references(opened):
    opened["y"] = X
    opened.create_dataset("x", (12, 2), h5py.ref_dtype)


NPY = {"features": {"image": "x.npy"}, "labels": "y.npy"}
H5 = {"features": {"image": "x.h5:x"}, "labels": "y.npy"}
PKL = {"features": {"image": "x.pkl"}, "labels": "y.npy"}


@pytest.mark.mended("labels that are NaN or empty became the classes 'nan' and ''; features of no columns were taken")
def test_hand_written_files(tmp_path, cases):
    evil = pickle.dumps(Evil())
    made = {
        "pickle_in_npy": (NPY, {"x.npy": npy(np.array([Evil()], object), allow_pickle=True)}, "can execute code"),
        "pickle": (PKL, {"x.pkl": evil}, "can execute code"),
        "pickle_wrong_hash": (PKL | {"trust": True, "sha256": {"x.pkl": "0" * 64}}, {"x.pkl": evil}, "not the file you"),
        "pickle_named_npy": (NPY, {"x.npy": evil}, "can execute code"),
        "huge_npy": (NPY, {"x.npy": huge((10**9, 10**6))}, "x.npy: "),
        "negative_shape": (NPY, {"x.npy": huge((-1, 3))}, "cannot be read"),
        "empty": (NPY, {"x.npy": b""}, "cannot be read"),
        "scalar": (NPY, {"x.npy": npy(np.float64(1))}, "expected a matrix"),
        "complex": (NPY, {"x.npy": npy(X + 1j)}, "expected a matrix"),
        "words": (NPY, {"x.npy": npy(np.array([["a"] * 3] * 12))}, "expected a matrix"),
        "nan": (NPY, {"x.npy": npy(np.where(X > 2, np.nan, X) * np.nan)}, "row 0: NaN"),
        "beyond_float32": (NPY, {"x.npy": npy(X * 1e300)}, "row 0: "),
        "no_columns": (NPY, {"x.npy": npy(np.zeros((12, 0)))}, "expected a matrix"),
        "too_few": (NPY, {"x.npy": npy(X[:11])}, "x.npy has 11 rows, "),
        "external_link": (H5, {"x.h5": hdf5(tmp_path, link_out)}, "x.h5"),
        "link_to_itself": (H5, {"x.h5": hdf5(tmp_path, loop)}, "x.h5"),
        "compound": (H5, {"x.h5": hdf5(tmp_path, compound)}, "expected a matrix"),
        "references": (H5, {"x.h5": hdf5(tmp_path, references)}, "never written"),
        "no_such_key": (H5 | {"features": {"image": "x.h5:z"}}, {"x.h5": hdf5(tmp_path, compound)}, "no array 'z'"),
        "leaves": (NPY | {"features": {"image": "/etc/passwd"}}, {}, "is absolute"),
        "wrong_suffix": (NPY | {"features": {"image": "x.doc"}}, {"x.doc": b"1 2"}, "expected one of"),
        "nan_labels": (NPY, {"x.npy": npy(X), "y.npy": npy(np.full(12, np.nan))}, "y.npy: row 0 has no label"),
        "no_labels": (NPY, {"x.npy": npy(X), "y.npy": npy(np.zeros((12, 3)))}, "row 0 has no label"),
        "empty_names": (NPY, {"x.npy": npy(X), "y.npy": npy(np.array([""] * 12))}, "row 0 has no label"),
    }  # fmt: skip
    cases(len(made))
    (tmp_path / "tried").mkdir()
    told = tried(tmp_path / "tried", {name: (params, files) for name, (params, files, _) in made.items()})
    for name, (kind, what) in told.items():
        assert kind == "told", f"{name}: {what}"
        assert made[name][2] in what, f"{name}: {what}"


def test_a_mat_file_with_cells_and_sparse_matrices(tmp_path):
    file = tmp_path / "x.mat"
    scipy.io.savemat(file, {"s": csr_matrix(X), "c": np.array([X, X[:5]], object), "t": "text"})
    (tmp_path / "tried").mkdir()
    keys = {"s": "ok", "c/0": "ok", "c/1": "told", "c/9": "told", "c/x": "told", "t": "told", "q": "told"}
    cases = {
        key.replace("/", "_"): (NPY | {"features": {"image": f"x.mat:{key}"}}, {"x.mat": file.read_bytes()})
        for key in keys
    }
    told = tried(tmp_path / "tried", cases)
    assert {name: kind for name, (kind, _) in told.items()} == {
        key.replace("/", "_"): kind for key, kind in keys.items()
    }
