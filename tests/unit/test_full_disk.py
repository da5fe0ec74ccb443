"""No room on the disk, as a limit of file size: one line that names the file, the old file kept, nothing half-written."""

import subprocess
import sys

import numpy as np
import pytest

from cmr import publish, store
from cmr.errors import UserError

SCRIPT = """
import json, os, resource
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image
from cmr import content, export, publish, store
from cmr.data import Items, Split
from cmr.errors import UserError

rng = np.random.default_rng(0)
ids, values = np.arange(200).astype(str), rng.normal(size=(200, 50))
items = Items(pd.DataFrame({"id": ids, "text": [str(row) for row in values], "labels": [["a"]] * 200}), {"text": "text"})

split = Split(pd.DataFrame({"id": ids.repeat(50), "part": "train", "held_out": False}))
rows = {"text": store.Rows(ids, values.astype(np.float32))}

def picture(path):
    with publish.atomic(path) as temporary:
        Image.effect_noise((300, 300), 90).save(temporary, "PNG")

def folder(path):
    with publish.atomic_folder(path) as temporary:
        publish.write_json(temporary / "a.json", ["x" * 50_000])

def partial(path):
    with store.resumable(path, "key") as file:
        file["a"] = values

WRITERS = {
    "json": lambda path: publish.write_json(path, ["x" * 50_000]),
    "matrix": lambda path: store.write_matrix(path, "features", ids, values, {}),
    "arrays": lambda path: store.write_arrays(path, {"a": values}),
    "rows": lambda path: publish.write_table(path, [{"a": "x" * 100}] * 1000),
    "items": items.write,
    "picture": picture,
    "folder": folder,
    "partial": partial,
    "split": lambda path: split.write(path),
    "list": lambda path: content.write_list(path, [(name, "0" * 64) for name in ids] * 2),
    **{form: lambda path, form=form: export.FORMS[form].write(Path(path), rows, items) for form in ("npz", "npy", "mat", "csv")},
}
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name, write in WRITERS.items():
    if os.fork() == 0:  # a process each: HDF5 cannot close what it could not write, and may crash afterwards
        os.mkdir(name)
        try:
            write(f"{name}/new")
        except UserError as error:
            publish.write_json(f"{name}.json", str(error))
        os._exit(0)
    os.wait()
"""
NAMES = (
    "json", "matrix", "arrays", "rows", "items", "picture", "folder", "partial", "split", "list", "npz", "npy", "mat", "csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The folder in which each kind of file was too large to be written, in a folder of the kind's name."""
    root = tmp_path_factory.mktemp("full")
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_named_and_nothing_is_left(tried, name):
    (message,) = publish.read_json(tried / f"{name}.json").splitlines()
    assert message.startswith(f"{name}/")
    assert message.endswith(": cannot be written: File too large; make room and run again")
    assert [path.name for path in (tried / name).iterdir()] == (["new"] if name == "partial" else [])


def test_unfinished_work_is_taken_up_again_once_there_is_room(tried):
    with store.resumable(tried / "partial/new", "key") as file:
        file.require_dataset("b", (3,), float)[:] = [1, 2, 3]
        assert np.array_equal(file["b"][()], [1, 2, 3])
    assert not (tried / "partial/new").exists()


def test_the_old_file_is_kept(tmp_path, monkeypatch):
    publish.write_json(tmp_path / "f.json", ["old"])

    def full(*_):
        raise OSError(28, "as a library puts it")

    monkeypatch.setattr(publish.os, "replace", full)
    with pytest.raises(UserError, match=r"f\.json: cannot be written: No space left on device"):
        publish.write_json(tmp_path / "f.json", ["new"])
    assert publish.read_json(tmp_path / "f.json") == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


def test_a_lack_of_rights_names_the_file(tmp_path):
    with (
        pytest.raises(UserError, match=r"^a/b: cannot be written: Permission denied; "),
        publish.write_errors_told("c"),
    ):
        raise PermissionError(13, "denied", "a/b")


def test_an_error_that_a_library_met_again_as_it_closed_the_file_is_told():
    def write():
        try:
            raise OSError(28, "full")
        finally:
            raise SystemError("seekable returned a result with an exception set")

    with pytest.raises(UserError, match="f: cannot be written: No space left on device; "):
        publish.write_errors_told("f")(write)()


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(TimeoutError), publish.write_errors_told(tmp_path):
        raise TimeoutError(110, "late")
