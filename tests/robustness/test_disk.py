"""Disks that are full or read-only, rights that are missing, files that vanish: a line in words, earlier results intact."""

import importlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from cmr.jobs import job

from cmr import publish, stages, store
from cmr.cli import main
from cmr.data import Items, Split
from cmr.errors import UserError
from cmr.features.base import BadContent
from cmr.features.images import read_rgb

NOBODY = 65534
N = 24
LABELS = [["a"], ["b"]] * (N // 2)


def mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of 200 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = mount("-t", "tmpfs", "-o", "size=200k", "tmpfs", folder)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here (it needs root): {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def results(folder, width):
    """Items, split and features below ``folder``; how wide the features are tells how large the files are."""
    ids = np.array([f"i{row:02}" for row in range(N)])
    table = pd.DataFrame({"id": ids, "text": ["red apple", "green tree"] * (N // 2), "labels": LABELS})
    table["image"] = "x"
    Items(table, {"text": "text", "image": "ready"}).write(folder / "items.parquet")
    parts = np.where(np.arange(N) < 16, "train", "test")
    Split(pd.DataFrame({"id": ids, "part": parts, "held_out": np.arange(N) < 2})).write(folder / "split.csv")
    values = np.random.default_rng(0).normal(size=(N, width)).astype(np.float32)
    store.write_matrix(folder / "image.h5", "features", ids, values, {"extractor": "ready"})
    return folder


def fit(source, out):
    """The fit stage, with its model in ``out``; as large as the features are wide."""
    configuration = {
        "data": {},
        "split": "default",
        "features": [{"id": "image", "extractor": "ready", "modality": "image", "params": {}}],
        "dictionary": None,
        "method": {"id": "r", "method": "ridge_label", "params": {}, "dictionary": None, "tune": {}},
        "seed": 0,
    }
    files = [str(source / "image.h5")]
    items, split = str(source / "items.parquet"), str(source / "split.csv")
    stages.fit(configuration, items, split, files, str(out), str(out.parent / "partial"), "cpu", "")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_and_then_room(disk, tmp_path):
    small, large = results(tmp_path / "small", 50), results(tmp_path / "large", 30_000)
    fit(small, disk / "fits/first/0")
    before = contents(disk)
    for out in ("fits/second/0", "fits/first/0"):  # a new one, and one that would replace the old
        with pytest.raises(
            UserError, match=r"model\.safetensors: cannot be written: No space left on device; make room"
        ):
            fit(large, disk / out)
        assert contents(disk) == before
    matrix = store.read_matrix(large / "image.h5", "features")
    with pytest.raises(UserError, match="No space left on device"):
        store.write_matrix(disk / "new.h5", "features", matrix.ids, matrix.values, {})
    assert contents(disk) == before
    assert mount("-o", "remount,size=20m", disk).returncode == 0
    fit(large, disk / "fits/second/0")
    assert before.items() <= contents(disk).items()


@pytest.mark.mended("a read-only or foreign folder was a stack trace in `cmr report` and `cmr search --html`")
def test_a_read_only_disk(disk, tmp_path, capsys):
    small = results(tmp_path / "small", 50)
    fit(small, disk / "fits/first/0")
    before = contents(disk)
    assert mount("-o", "remount,ro", disk).returncode == 0
    with pytest.raises(UserError, match=r"fits/second.*: cannot be written: Read-only file system; "):
        fit(small, disk / "fits/second/0")
    with pytest.raises(UserError, match=r"cannot be written: Read-only file system; "):
        fit(small, disk / "fits/first/0")
    assert contents(disk) == before
    with pytest.raises(SystemExit), job(disk / "log/fit.log"):
        fit(small, disk / "fits/second/0")
    assert "Read-only file system" in capsys.readouterr().err


@contextmanager
def as_nobody():
    """Without root's rights on files until the block ends."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.mark.mended("a job that cannot write its log was a stack trace")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_somebody_elses_folder(tmp_path, capfd):
    small = results(tmp_path / "small", 50)
    fit(small, tmp_path / "fits/first/0")
    before = contents(tmp_path)
    for folder in [tmp_path, *tmp_path.parents]:
        folder.chmod(folder.stat().st_mode | 0o755)
    secret = small / "image.h5"
    importlib.import_module("cmr.reporting.page")  # nobody may not read Python's own files where they are root's
    with as_nobody():
        with pytest.raises(UserError, match=r"fits/second.*: cannot be written: Permission denied; "):
            fit(small, tmp_path / "fits/second/0")
        with pytest.raises(UserError, match=r"fits/first.*: cannot be written: Permission denied; "):
            fit(small, tmp_path / "fits/first/0")
        with pytest.raises(SystemExit):
            main(["report", str(tmp_path), "--out", str(tmp_path / "page")])
    secret.chmod(0o600)
    with as_nobody(), pytest.raises(UserError, match=r"image\.h5"):
        fit(small, tmp_path / "fits/second/0")
    secret.chmod(0o644)
    assert contents(tmp_path) == before
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.mended("an items table or a split that is gone was a stack trace")
@pytest.mark.parametrize("gone", ["items.parquet", "split.csv", "image.h5"])
def test_inputs_that_vanish(tmp_path, gone):
    small = results(tmp_path / "small", 50)
    fit(small, tmp_path / "fits/first/0")
    before = contents(tmp_path / "fits")
    (small / gone).unlink()
    with pytest.raises(UserError, match=gone):
        fit(small, tmp_path / "fits/second/0")
    assert contents(tmp_path / "fits") == before


@pytest.mark.mended("a damaged split was a stack trace, or rows without a part")
@pytest.mark.parametrize(
    "content", [b"", b"id,part\n", b"\xff\xfe", b"id,part,held_out\ni00,tarin,False\n", b"a,b,c\n1,2,3\n"]
)
def test_a_split_that_is_none(tmp_path, content):
    small = results(tmp_path / "small", 50)
    (small / "split.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"split\.csv: "):
        fit(small, tmp_path / "fits/0")


def test_a_folder_that_vanishes_while_it_is_written(tmp_path, capsys):
    def vanishing():
        with publish.atomic(tmp_path / "gone/a.json") as temporary:
            temporary.write_text("{}")
            shutil.rmtree(tmp_path / "gone")

    with pytest.raises(SystemExit), job(tmp_path / "log"):
        vanishing()
    (line,) = capsys.readouterr().err.splitlines()
    assert "gone/" in line


def test_a_picture_that_vanishes(tmp_path):
    with pytest.raises(BadContent, match="no such file"):
        read_rgb(tmp_path / "a.png")


def test_a_limit_of_file_size_in_a_real_run(tmp_path):
    """`ulimit -f`, as some clusters set it, on the whole command line."""
    small = results(tmp_path / "small", 30_000)
    script = (
        "import resource, sys; from pathlib import Path; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        f"sys.path[:0] = {sys.path!r}; from robustness.test_disk import fit; from cmr.jobs import job\n"
        f"with job('{tmp_path}/log'): fit(Path('{small}'), Path('{tmp_path}/fits/0'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be written: File too large; make room" in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "fits/0").exists()
    assert not list(tmp_path.rglob("*.tmp"))
