"""Hashes of files: the bytes decide, and what is known of them is not read again."""

import hashlib
import os
import shutil
import subprocess
import time

import pytest

from cmr import content, provenance
from cmr.content import ABSENT, Hashes
from cmr.errors import UserError
from cmr.provenance import file_hash

NAMES = [
    "a.png",
    "two words.png",
    "line\nbreak.png",
    "back\\slash.png",
    "\\n.png",
    "Icon\r",
    "\r\n",
    "é\u2028.png",
    "x\\",
]


@pytest.fixture
def read(monkeypatch):
    """The files that are read from now on."""
    found = []

    def watched(path):
        found.append(os.path.basename(path))
        return provenance.file_hash(path)

    monkeypatch.setattr(content, "file_hash", watched)
    return found


def old(path, text="x"):
    """A file that has long been as it is, as far as the memory of hashes can see."""
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def no_race(monkeypatch):
    """Files of these tests are seconds old; a race is tried in a test of its own."""
    monkeypatch.setattr(content, "RACY_NS", -(10**12))


def test_a_file_is_read_once_and_from_run_to_run(tmp_path, read):
    files = [old(tmp_path / f"{n}.png", str(n)) for n in range(5)]
    found = Hashes(tmp_path / "cache").of_all(files)
    assert found == [file_hash(file) for file in files]
    assert Hashes(tmp_path / "cache").of_all(files) == found
    assert sorted(read) == [f"{n}.png" for n in range(5)]


def test_names_of_any_kind_are_remembered_but_for_line_breaks(tmp_path, read):
    files = [old(tmp_path / name, name) for name in NAMES]
    assert Hashes(tmp_path / "cache").of_all(files) == Hashes(tmp_path / "cache").of_all(files)
    assert sorted(read) == sorted([*NAMES, "line\nbreak.png", "\r\n"])


def replaced_in_place(path):
    status = path.stat()
    path.write_text("y")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced_by_a_backup(path):
    status, other = path.stat(), path.with_name("other")
    other.write_text("y")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.copy2(other, path)


def moved_over(path):
    status, other = path.stat(), path.with_name("other")
    other.write_text("y")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns - 10**12))
    os.replace(other, path)


def linked_elsewhere(path):
    status, other = path.stat(), path.with_name("other")
    other.write_text("y")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("change", [replaced_in_place, replaced_by_a_backup, moved_over, linked_elsewhere])
def test_other_bytes_of_equal_size_and_time_are_another_hash(tmp_path, change):
    file = old(tmp_path / "a.png")
    before = Hashes(tmp_path / "cache").of(file)
    change(file)
    assert Hashes(tmp_path / "cache").of(file) == file_hash(file) != before


def test_what_has_just_changed_is_not_remembered(tmp_path, read, monkeypatch):
    monkeypatch.setattr(content, "RACY_NS", 2 * 10**9)
    file = old(tmp_path / "a.png")
    for _ in range(2):
        Hashes(tmp_path / "cache").of(file)
    assert read == ["a.png"] * 2
    for said in (time.time() + 3600, time.time() - 3600):  # of a clock that is ahead, and of a copy that keeps times
        os.utime(file, (said, said))
        read.clear()
        for _ in range(2):
            Hashes(tmp_path / "cache").of(file)
        assert read == ["a.png"] * 2


def test_a_damaged_or_unwritable_memory_costs_time_and_nothing_else(tmp_path, read):
    file = old(tmp_path / "a.png")
    found = Hashes(tmp_path / "cache").of(file)
    (memory,) = (tmp_path / "cache" / "hashes").iterdir()
    for damage in (b"", b"\xff\xfe", memory.read_bytes()[:-20], b"one two\n"):
        memory.write_bytes(damage)
        assert Hashes(tmp_path / "cache").of(file) == found
    (tmp_path / "file").touch()
    assert Hashes(tmp_path / "file").of(file) == found
    assert len(read) == 6


def test_absent_files_and_folders(tmp_path):
    old(tmp_path / "folder.txt")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    old(tmp_path / "folder" / "a")
    old(tmp_path / "folder" / "inner" / "b", "y")
    hashes = Hashes(tmp_path / "cache")
    assert hashes.of_all([tmp_path / "gone", tmp_path / "folder.txt"]) == [ABSENT, file_hash(tmp_path / "folder.txt")]
    os.mkfifo(tmp_path / "pipe")
    assert hashes.of_all([tmp_path / "folder", tmp_path / "pipe"]) == [ABSENT, ABSENT]
    with pytest.raises(UserError, match="gone: no such file"):
        hashes.of(tmp_path / "gone")
    before = hashes.of(tmp_path / "folder")
    (tmp_path / "folder" / "a").rename(tmp_path / "folder" / "c")
    assert hashes.of(tmp_path / "folder") != before


def test_a_folder_is_its_files_in_the_order_of_their_names(tmp_path, monkeypatch):
    (tmp_path / "folder" / "b").mkdir(parents=True)
    for name in ("c", "a", "b/d", "b.txt"):
        old(tmp_path / "folder" / name, name)
    listed = "".join(f"{file_hash(tmp_path / 'folder' / name)}  {name}\n" for name in ("a", "b.txt", "b/d", "c"))
    expected = hashlib.sha256(listed.encode()).hexdigest()
    walked = list(os.walk(tmp_path / "folder"))
    for order in (1, -1):  # as file systems may list them
        found = [(place, folders, sorted(names)[::order]) for place, folders, names in walked]
        monkeypatch.setattr(content.os, "walk", lambda *_, found=found, **__: found)
        assert Hashes(tmp_path / "cache").of(tmp_path / "folder") == expected


def test_lists_hold_names_of_any_kind_as_sha256sum_writes_them(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text(name)
    pairs = [(name, file_hash(tmp_path / name)) for name in NAMES]
    content.write_list(tmp_path / "list", pairs)
    assert list(content.read_list(tmp_path / "list")) == pairs
    if shutil.which("sha256sum"):
        checked = subprocess.run(["sha256sum", "--check", "--quiet", "list"], cwd=tmp_path, capture_output=True)
        assert checked.returncode == 0, checked
