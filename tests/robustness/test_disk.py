"""Disks that are full or read-only, rights that are missing, files that vanish: a line in words, earlier results intact."""

import importlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cmr import publish, store
from cmr.cli import main
from cmr.errors import BadContent, UserError
from cmr.job import job
from cmr.pictures import read_rgb
from toy_plan import Project, experiment, written_features

NOBODY = 65534
N = 24
LABELS = ["a", "b"] * (N // 2)


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


@dataclass
class Tree:
    """A project of some items, whose features are as wide as its model shall be large, and its fits in ``fits``."""

    project: Project
    fits: Path

    def fit(self, name):
        """The fit stage anew, with the method's id ``name``."""
        (result,) = (fit for fit in self.project.results("fit") if f"/{name}" in fit.record)
        self.project.make(result, again=True)

    def file(self, name):
        (found,) = (self.project.root / "results").rglob(name)
        return found


def tree(folder, width, fits):
    """Features and a split below ``folder``; ``fits`` stands for the folder of that name."""
    values = {"image": np.random.default_rng(0).normal(size=(N, width))}
    parts = np.where(np.arange(N) < 16, "train", "test")
    methods = [{"id": name, "method": "ridge_label"} for name in ("first", "second")]
    data = written_features(folder, values, LABELS, parts)
    made = Tree(Project(folder, {**data, **experiment(values, *methods)}), fits)
    fits.mkdir(exist_ok=True, parents=True)
    (folder / "results").mkdir()
    (folder / "results/fits").symlink_to(fits)
    for source in made.project.results("fit")[0].made_from:
        made.project.make(source)
    return made


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_and_then_room(disk, tmp_path):
    small, large = tree(tmp_path / "small", 50, disk / "fits"), tree(tmp_path / "large", 30_000, disk / "fits")
    small.fit("first")
    before = contents(disk)
    for name in ("second", "first"):  # a new one, and one that would replace the old
        with pytest.raises(
            UserError, match=r"model\.safetensors: cannot be written: No space left on device; make room"
        ):
            large.fit(name)
        assert contents(disk) == before
    matrix = store.read_matrix(large.file("image*.h5"), "features")
    with pytest.raises(UserError, match="No space left on device"):
        store.write_matrix(disk / "new.h5", "features", matrix.ids, matrix.values, {})
    assert contents(disk) == before
    assert mount("-o", "remount,size=20m", disk).returncode == 0
    large.fit("second")
    assert before.items() <= contents(disk).items()


@pytest.mark.mended("a read-only or foreign folder was a stack trace in `cmr report` and `cmr search --html`")
def test_a_read_only_disk(disk, tmp_path, capsys):
    small = tree(tmp_path / "small", 50, disk / "fits")
    small.fit("first")
    before = contents(disk)
    assert mount("-o", "remount,ro", disk).returncode == 0
    with pytest.raises(UserError, match=r"fits/.*second.*: cannot be written: Read-only file system; "):
        small.fit("second")
    with pytest.raises(UserError, match=r"cannot be written: Read-only file system; "):
        small.fit("first")
    assert contents(disk) == before
    with pytest.raises(SystemExit), job(disk / "log/fit.log"):
        small.fit("second")
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
    small = tree(tmp_path / "small", 50, tmp_path / "fits")
    small.fit("first")
    before = contents(tmp_path)
    for folder in [tmp_path, *tmp_path.parents]:
        folder.chmod(folder.stat().st_mode | 0o755)
    secret = small.file("image*.h5")
    importlib.import_module("cmr.reporting.page")  # nobody may not read Python's own files where they are root's
    with as_nobody():
        with pytest.raises(UserError, match=r"fits/.*second.*: cannot be written: Permission denied; "):
            small.fit("second")
        with pytest.raises(UserError, match=r"fits/.*first.*: cannot be written: Permission denied; "):
            small.fit("first")
        with pytest.raises(SystemExit):
            main(["report", str(tmp_path), "--out", str(tmp_path / "page")])
    secret.chmod(0o600)
    with as_nobody(), pytest.raises(UserError, match=r"image.*\.h5"):
        small.fit("second")
    secret.chmod(0o644)
    assert contents(tmp_path) == before
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.mended("an items table or a split that is gone was a stack trace")
@pytest.mark.parametrize("gone", ["items.parquet", "default.csv", "image*.h5"])
def test_inputs_that_vanish(tmp_path, gone):
    small = tree(tmp_path / "small", 50, tmp_path / "fits")
    small.fit("first")
    before = contents(tmp_path / "fits")
    file = small.file(gone)
    file.unlink()
    with pytest.raises(UserError, match=file.name):
        small.fit("second")
    assert contents(tmp_path / "fits") == before


@pytest.mark.mended("a damaged split was a stack trace, or rows without a part")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"id,part\n",
        b"\xff\xfe",
        b"id,part,held_out\ni00,tarin,False\n",
        b"a,b,c\n1,2,3\n",
        b"id,part,held_out\ni00,train,False\ni00,test,False\n",
    ],
)
def test_a_split_that_is_none(tmp_path, content):
    small = tree(tmp_path / "small", 50, tmp_path / "fits")
    with small.project.by_hand(small.project.only("split")) as work:
        Path(work.result.files[0]).write_bytes(content)
    with pytest.raises(UserError, match=r"splits/default\.csv: "):
        small.fit("first")


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
    script = (
        "import resource, sys; from pathlib import Path; from cmr.job import job\n"
        f"sys.path[:0] = {sys.path!r}; from robustness.test_disk import tree\n"
        f"small = tree(Path('{tmp_path}/small'), 30_000, Path('{tmp_path}/fits'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        f"with job('{tmp_path}/log'): small.fit('first')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be written: File too large; make room" in line
    assert "Traceback" not in done.stderr
    assert contents(tmp_path / "fits") == {}
    assert not list(tmp_path.rglob("*.tmp"))
