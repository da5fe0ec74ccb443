"""Downloads against a server in this process: cuts, mirrors, wrong checksums, archives, files placed by hand."""

import csv
import errno
import hashlib
import io
import subprocess
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import requests

from cmr import transfer
from cmr.datasets import downloads
from cmr.datasets.downloads import Source, extract_member, fetch, git_blob, unpack
from cmr.datasets.pascal_sentence import PICTURE
from cmr.errors import UserError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT; ``cuts`` are the lengths after which the next answers break off."""

    def __init__(self):
        self.cuts, self.ranges, self.honours_ranges, self.delay = [], [], True, 0.0
        self.encodings = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=[0.02], daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        self.encodings.add(request.headers.get("Accept-Encoding"))
        if request.path != "/good":
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.honours_ranges else 0
        if start >= len(CONTENT):
            request.send_error(416)
            return
        rest = CONTENT[start:]
        time.sleep(self.delay)
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[: self.cuts.pop(0)] if self.cuts else rest)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Writes sources.csv rows: (file, access, address, checksum)."""

    def write(*rows: tuple[str, str, str, str]) -> None:
        with open(tmp_path / "sources.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Source.__dataclass_fields__)
            for name, access, address, checksum in rows:
                writer.writerow(["d", name, access, address, checksum, "", "1024000", "free", "the note"])
        monkeypatch.setattr(downloads, "SOURCES", tmp_path / "sources.csv")

    return write


def test_a_download_is_whole_checked_and_not_repeated(server, known, tmp_path):
    known(("f", "open", server.address + "good", SHA256))
    assert fetch("d", ["f"], tmp_path / "raw") == {"f": SHA256}
    assert (tmp_path / "raw/f").read_bytes() == CONTENT
    assert fetch("d", ["f"], tmp_path / "raw") == {"f": SHA256}
    assert len(server.ranges) == 1


def test_a_cut_download_is_resumed_where_it_ended(server, known, tmp_path):
    known(("f", "open", server.address + "good", SHA256))
    server.cuts = [transfer.CHUNK + 1000] * 7  # more cuts than attempts that bring nothing
    fetch("d", ["f"], tmp_path / "raw")
    assert (tmp_path / "raw/f").read_bytes() == CONTENT
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in server.ranges[1:]]
    assert server.ranges[0] is None
    assert starts == [transfer.CHUNK * k for k in range(1, 8)]
    assert server.encodings == {"identity"}  # of a compressed answer, a range would count other bytes
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["f"]


def test_what_an_earlier_run_left_is_gone_on_with(server, known, tmp_path):
    known(("f", "open", server.address + "good", SHA256))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/f.part").write_bytes(CONTENT[:1000])
    fetch("d", ["f"], tmp_path / "raw")
    assert server.ranges == ["bytes=1000-"]
    (tmp_path / "raw/f").rename(tmp_path / "raw/f.part")  # killed between the last byte and the check
    fetch("d", ["f"], tmp_path / "raw")
    assert (tmp_path / "raw/f").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server, known, tmp_path):
    known(("f", "open", server.address + "good", SHA256))
    server.honours_ranges, server.cuts = False, [5000]
    fetch("d", ["f"], tmp_path / "raw")
    assert (tmp_path / "raw/f").read_bytes() == CONTENT


def test_a_server_that_starts_again_and_is_always_cut_is_given_up(server, known, tmp_path, monkeypatch):
    known(("f", "open", server.address + "good", SHA256))
    monkeypatch.setattr(transfer, "CHUNK", 1000)
    server.honours_ranges, server.cuts = False, [6000, 5000, 4000, 5000, 4000, 5000]
    with pytest.raises(UserError, match="Run again to resume"):
        fetch("d", ["f"], tmp_path / "raw")
    assert len(server.ranges) == transfer.ATTEMPTS


def test_the_next_mirror_is_tried(server, known, tmp_path):
    known(("f", "open", server.address + "gone", SHA256), ("f", "open", server.address + "good", SHA256))
    assert fetch("d", ["f"], tmp_path / "raw") == {"f": SHA256}


def test_a_wrong_checksum_is_told_and_the_file_kept_aside(server, known, tmp_path):
    known(("f", "open", server.address + "good", "0" * 64))
    with pytest.raises(UserError, match=f"checksum {SHA256}, expected 0000"):
        fetch("d", ["f"], tmp_path / "raw")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [f"f.wrong-{SHA256[:8]}"]


def test_a_placed_file_is_accepted_only_with_the_right_checksum(known, tmp_path):
    known(("f", "open", "http://127.0.0.1:9/f", SHA256))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/f").write_bytes(CONTENT)
    assert fetch("d", ["f"], tmp_path / "raw") == {"f": SHA256}
    (tmp_path / "raw/f").write_bytes(CONTENT[1:])
    with pytest.raises(UserError, match=r"kept aside as f\.wrong-"):
        fetch("d", ["f"], tmp_path / "raw")
    assert not (tmp_path / "raw/f").exists()


def test_no_internet_names_address_size_and_folder(known, tmp_path, monkeypatch):
    known(("f", "open", "http://127.0.0.1:9/f", SHA256))
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    with pytest.raises(
        UserError, match=rf"place in {tmp_path}/raw:\n  f \(1,024,000 bytes; sha256 {SHA256}; the note\)"
    ):
        fetch("d", ["f"], tmp_path / "raw")


def test_an_archive_that_cannot_be_reached_is_told_once_in_plain_words(known, tmp_path, monkeypatch):
    members = [(name, "archive", "a.zip", SHA256) for name in ("m", "n")]
    known(*members, ("a.zip", "open", "http://127.0.0.1:9/a.zip", ""))
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    with pytest.raises(UserError) as caught:
        fetch("d", ["m", "n"], tmp_path / "raw")
    told = str(caught.value)
    assert told.count("m cannot be had") == told.count("n cannot be had") == told.count("http://127.0.0.1:9/a.zip") == 1
    assert told.count("Connection refused") == 1
    assert "Pool" not in told
    assert "object at 0x" not in told


def test_files_by_hand_are_asked_for_all_at_once_and_then_taken(known, tmp_path):
    known(("a", "by hand", "http://form", ""), ("b", "by hand", "http://gone", SHA256))
    with pytest.raises(UserError, match=r"(?s)d cannot be downloaded; place in .*raw.*a \(.*http://form.*b \(.*gone"):
        fetch("d", ["a", "b"], tmp_path / "raw")
    (tmp_path / "raw/a").mkdir(parents=True)
    (tmp_path / "raw/b").write_bytes(CONTENT)
    assert fetch("d", ["a", "b"], tmp_path / "raw") == {"a": "", "b": SHA256}


def test_a_full_disk_is_told_and_what_came_is_kept(known, tmp_path, monkeypatch):
    known(("f", "open", "http://unused", SHA256))

    def full(address, part):
        part.write_bytes(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_append", full)
    with pytest.raises(UserError, match="no space left, f takes 1,024,000 bytes"):
        fetch("d", ["f"], tmp_path / "raw")
    assert (tmp_path / "raw/f.part").exists()
    assert not (tmp_path / "raw/f").exists()


def test_a_timeout_is_not_an_endless_loop(known, tmp_path, monkeypatch):
    known(("f", "open", "http://unused", SHA256))
    calls = []

    def slow(address, part):
        part.touch()
        calls.append(address)
        raise requests.Timeout("slow")

    monkeypatch.setattr(transfer, "_append", slow)
    with pytest.raises(UserError, match="slow"):
        fetch("d", ["f"], tmp_path / "raw")
    assert len(calls) == transfer.ATTEMPTS


def test_git_blob_is_what_git_says(tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    said = subprocess.run(["git", "hash-object", tmp_path / "f"], capture_output=True, text=True, check=True)
    assert git_blob(tmp_path / "f") == said.stdout.strip()


def write_archive(path, members: dict[str, bytes]) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_unpacking(tmp_path, name):
    write_archive(tmp_path / name, {"d/one.txt": b"1", "d/e/two.txt": b"2"})
    unpack(tmp_path / name, tmp_path / "out")
    assert (tmp_path / "out/d/e/two.txt").read_bytes() == b"2"
    extract_member(tmp_path / name, "two.txt", tmp_path / "two.txt")
    assert (tmp_path / "two.txt").read_bytes() == b"2"
    with pytest.raises(UserError, match=r"0 members are called 'three\.txt'"):
        extract_member(tmp_path / name, "three.txt", tmp_path / "three.txt")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_members_outside_the_destination_are_refused(tmp_path, name):
    write_archive(tmp_path / name, {"fine.txt": b"1", "../evil.txt": b"2"})
    with pytest.raises(UserError, match="refused"):
        unpack(tmp_path / name, tmp_path / "in/out")
    assert not (tmp_path / "in/out").exists()
    assert not (tmp_path / "in/evil.txt").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_truncated_archive_is_named_and_nothing_is_left(tmp_path, name):
    write_archive(tmp_path / name, {"one.bin": CONTENT})
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-200])
    with pytest.raises(UserError, match=f"{name}: damaged or not an archive"):
        unpack(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_member_is_taken_out_of_the_archive_that_has_it(known, tmp_path):
    known(("m", "archive", "a.zip", hashlib.sha256(b"m").hexdigest()), ("a.zip", "by hand", "http://x", ""))
    (tmp_path / "raw").mkdir()
    write_archive(tmp_path / "raw/a.zip", {"deep/m": b"m"})
    assert fetch("d", ["m"], tmp_path / "raw") == {"m": hashlib.sha256(b"m").hexdigest()}


def test_the_next_archive_is_tried(known, tmp_path):
    digest = hashlib.sha256(b"m").hexdigest()
    archives = [(name, "by hand", "http://x", "") for name in ("none.zip", "other.zip", "a.zip")]
    known(*[("m", "archive", name, digest) for name, *_ in archives], *archives)
    (tmp_path / "raw").mkdir()
    write_archive(tmp_path / "raw/other.zip", {"deep/n": b"n"})
    with pytest.raises(UserError, match=r"(?s)cannot be had.*none\.zip.*0 members are called 'm'.*a\.zip"):
        fetch("d", ["m"], tmp_path / "raw")
    write_archive(tmp_path / "raw/a.zip", {"deep/m": b"m"})
    assert fetch("d", ["m"], tmp_path / "raw") == {"m": digest}


def test_sources_are_well_formed():
    from cmr import registry

    with open(downloads.SOURCES, newline="", encoding="utf-8") as rows:
        found = [Source(**row) for row in csv.DictReader(rows)]
    for source in found:
        assert source.dataset in registry.names("datasets")
        assert source.access in {"open", "archive", "by hand"}
        assert source.address
        assert source.licence
        assert len(source.sha256) in {0, 64}
        assert len(source.git_blob) in {0, 40}
        assert source.bytes.isdigit() or not source.bytes


def test_all_that_is_missing_is_told_at_once(server, known, tmp_path):
    known(
        ("gone", "open", server.address + "none", SHA256),
        ("good", "open", server.address + "good", SHA256),
        ("inside", "archive", "a.zip", SHA256),
        ("a.zip", "by hand", "http://form", ""),
        ("own", "by hand", "http://form", ""),
    )
    with pytest.raises(UserError) as caught:
        fetch("d", ["gone", "good", "inside", "own"], tmp_path / "raw")
    told = str(caught.value)
    assert all(name in told for name in ("gone", "inside", "a.zip", "own"))
    assert (tmp_path / "raw/good").read_bytes() == CONTENT


def test_a_replaced_archive_is_unpacked_again(tmp_path):
    data = SimpleNamespace(raw=tmp_path, existing=lambda file: tmp_path / file)
    for text in ("old", "new"):
        with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
            archive.writestr(f"{text}.txt", text)
        for _ in range(2):
            folder = downloads.Downloaded.unpacked(data, "raw.zip")
            assert [file.name for file in folder.iterdir()] == [f"{text}.txt"]
    (tmp_path / "raw.zip").unlink()
    assert downloads.Downloaded.unpacked(data, "raw.zip") == folder


@pytest.mark.parametrize("name", ["../../evil/x.jpg", "/etc/x.jpg", "a/b/c.jpg", "x.jpg", "a/.."])
def test_the_page_of_pascal_sentence_says_not_where_files_are_written(name):
    assert not PICTURE.fullmatch(name)
    assert PICTURE.fullmatch("aeroplane/2008_000716.jpg")


# Two at once, one cache ---------------------------------------------------------------------------------------------


def two_at_once(work):
    """Calls ``work`` twice at the same time, of which both must end well; a lock sees two files, as of two processes."""
    ready = threading.Barrier(2)
    with ThreadPoolExecutor() as pool:
        for call in [pool.submit(lambda: (ready.wait(), work())) for _ in range(2)]:
            call.result(60)


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_two_bring_a_file_once(server, known, tmp_path, sha256):
    known(("f", "open", server.address + "good", sha256))
    server.delay = 0.2
    two_at_once(lambda: fetch("d", ["f"], tmp_path / "raw"))
    assert (tmp_path / "raw/f").read_bytes() == CONTENT
    assert len(server.ranges) == 1
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["f"]


def test_two_unpack_an_archive_once(tmp_path, monkeypatch):
    archive, unpacked = tmp_path / "a.zip", tmp_path / "unpacked.txt"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("x.txt", "x")
    slowly = downloads.unpack

    def unpack(*arguments):
        with unpacked.open("a") as told:
            told.write("once\n")
        time.sleep(0.2)
        slowly(*arguments)

    monkeypatch.setattr(downloads, "unpack", unpack)

    def work():
        downloads._unpack_once(archive, tmp_path / "folder")
        assert (tmp_path / "folder/x.txt").read_text() == "x"
        downloads._unpack_again(archive, tmp_path / "other", tmp_path / "mark", "hash")
        assert (tmp_path / "other/x.txt").read_text() == "x"

    two_at_once(work)
    assert unpacked.read_text() == "once\nonce\n"


def test_a_lock_that_a_killed_process_left_holds_nobody_up(server, known, tmp_path):
    known(("f", "open", server.address + "good", SHA256))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/.f.lock").touch()
    assert fetch("d", ["f"], tmp_path / "raw") == {"f": SHA256}
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["f"]
