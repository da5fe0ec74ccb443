"""A mirror that everything is asked for at, in the place of the addresses of the internet."""

import hashlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from cmr.datasets import downloads
from cmr.errors import UserError
from cmr.features import weights
from cmr.mirror import on_mirror

CONTENT = b"the right file"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ADDRESS = "https://host.example/models/net-1.pth"


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ("", "https://host.example/a/b.zip?raw=1"),
        ("http://mirror.lab", "http://mirror.lab/host.example/a/b.zip?raw=1"),
        ("http://mirror.lab/copies/", "http://mirror.lab/copies/host.example/a/b.zip?raw=1"),
    ],
)
def test_a_copy_lies_under_host_and_path(monkeypatch, mirror, expected):
    monkeypatch.setenv("CMR_MIRROR", mirror)
    assert on_mirror("https://host.example/a/b.zip?raw=1") == expected


@pytest.mark.parametrize("mirror", ["mirror.lab", "/srv/mirror", "ftp://mirror.lab/"])
def test_what_is_no_address_is_told(monkeypatch, mirror):
    monkeypatch.setenv("CMR_MIRROR", mirror)
    with pytest.raises(UserError, match=r"CMR_MIRROR: .*expected an address such as http://mirror/"):
        on_mirror(ADDRESS)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server of a folder that has the right file under its address."""
    file = tmp_path / "mirror/host.example/models/net-1.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    handler = type("Silent", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=tmp_path / "mirror"))
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    monkeypatch.setenv("CMR_MIRROR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield file
    server.shutdown()
    server.server_close()


def test_weights_come_from_it_and_their_checksums_count(mirror, tmp_path):
    assert weights.download(ADDRESS, SHA256[:8], tmp_path / "cache").read_bytes() == CONTENT
    mirror.write_bytes(b"another file")
    with pytest.raises(UserError, match="a damaged or foreign file"):
        weights.download(ADDRESS, SHA256[:8], tmp_path / "other")


def test_raw_files_come_from_it_and_their_checksums_count(mirror, tmp_path, monkeypatch):
    row = downloads.Source("d", "net-1.pth", "open", ADDRESS, SHA256, "", "", "", "")
    monkeypatch.setattr(downloads, "sources", lambda dataset, file: [row])
    assert downloads.fetch("d", ["net-1.pth"], tmp_path / "raw") == {"net-1.pth": SHA256}
    mirror.write_bytes(b"another file")
    with pytest.raises(UserError, match=f"expected {SHA256}"):
        downloads.fetch("d", ["net-1.pth"], tmp_path / "other")
