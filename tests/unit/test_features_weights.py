"""Weights: a file is used only when its hash is right, and is never lost."""

import errno
import functools
import hashlib
import os
import re
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file

from cmr import registry, transfer
from cmr.errors import UserError
from cmr.features import weights
from cmr.features.networks import read_weights

URL = "https://example.org/models/net-12345678.pth"


@pytest.fixture
def served(monkeypatch):
    """Answers every download with these bytes, and counts them."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    calls = []

    def resume(url, part):
        calls.append(url)
        part.write_bytes(b"weights")

    monkeypatch.setattr(transfer, "resume", resume)
    return calls


SHA256 = hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("digits", [8, 64])
def test_downloads_once_and_checks_the_hash(tmp_path, served, digits):
    for _ in range(2):
        file = weights.download(URL, SHA256[:digits], tmp_path / "cache")
        assert file.read_bytes() == b"weights"
    assert served == [URL]
    assert weights.describe(file, URL) == {"name": "net-12345678.pth", "sha256": SHA256, "source": URL}
    assert [f.name for f in (tmp_path / "cache").iterdir()] == ["net-12345678.pth"]


def test_a_shared_cache_is_one_for_all_of_the_group(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "served").mkdir()
    (tmp_path / "served/net.pth").write_bytes(b"weights")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = os.umask(0o002)
    try:
        url = f"http://127.0.0.1:{server.server_port}/net.pth"
        file = weights.download(url, SHA256, tmp_path / "cache")
    finally:
        os.umask(before)
        server.shutdown()
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


@pytest.mark.parametrize("sha256", ["00000000", SHA256[:7] + "xx", SHA256[1:9], SHA256[-8:], SHA256 + "0"])
def test_a_wrong_file_is_kept_aside(tmp_path, served, sha256):
    with pytest.raises(UserError, match=r"net-12345678\.pth: its sha256 starts with"):
        weights.download(URL, sha256, tmp_path)
    aside = tmp_path / f"net-12345678.pth.wrong-{SHA256[:8]}"
    assert [f.name for f in tmp_path.iterdir()] == [aside.name]
    assert aside.read_bytes() == b"weights"


def test_two_download_a_file_once(tmp_path, served, monkeypatch):
    slow, begun = transfer.resume, threading.Barrier(2)
    monkeypatch.setattr(transfer, "resume", lambda url, part: (time.sleep(0.3), slow(url, part)))

    def download(_):
        begun.wait()
        return weights.download(URL, SHA256, tmp_path).read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(download, range(2))) == [b"weights"] * 2
    assert served == [URL]


@pytest.mark.parametrize(
    ("name", "params", "folder"),
    [
        ("vgg19_fc7", {}, "weights"),
        ("alexnet_fc7", {}, "weights"),
        ("torchvision_backbone", {"model": "resnet50"}, "weights/checkpoints"),
        ("torchvision_backbone", {"model": "regnet_y_16gf"}, "weights/checkpoints"),
    ],
)
def test_torchvisions_weights_are_held_against_the_digits_in_their_names(name, params, folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(weights, "download", lambda *given: asked.append(given) or tmp_path / "file")
    registry.load("extractors", name)(registry.params("extractors", name, params), tmp_path).file()
    ((url, sha256, cache),) = asked
    assert url.endswith(f"-{sha256}.pth")
    assert re.fullmatch("[0-9a-f]{8}", sha256)
    assert cache == tmp_path / folder


def test_without_internet_the_message_says_where_to_place_the_file(tmp_path, monkeypatch):
    def resume(*_):
        raise ConnectionError("no route")

    monkeypatch.setattr(transfer, "resume", resume)
    with pytest.raises(UserError) as raised:
        weights.download(URL, "12345678", tmp_path)
    assert URL in str(raised.value)
    assert f"place it as {tmp_path / 'net-12345678.pth'}" in str(raised.value)


def test_a_full_disk_is_not_told_as_a_lack_of_internet(tmp_path, monkeypatch):
    def resume(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "resume", resume)
    with pytest.raises(UserError, match=r"net-12345678\.pth\.part: cannot be written: No space left on device"):
        weights.download(URL, "12345678", tmp_path)


def test_offline_nothing_is_downloaded(tmp_path, monkeypatch, served):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"place it as .*net-12345678\.pth"):
        weights.download(URL, SHA256, tmp_path)
    assert served == []


def test_placed_by_hand_it_is_taken_without_a_download(tmp_path, served):
    (tmp_path / "net-12345678.pth").write_bytes(b"weights")
    weights.download(URL, SHA256[:8], tmp_path)
    assert served == []


def test_reads_pth_and_safetensors(tmp_path):
    tensors = {"a": torch.arange(3.0)}
    torch.save(tensors, tmp_path / "a.pth")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # as torchvision's VGG-19 is
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("a.pth", "old.pth", "a.safetensors"):
        assert torch.equal(read_weights(tmp_path / name)["a"], tensors["a"])


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth"):
        read_weights(tmp_path / "evil.pth")
    assert "executed" not in capsys.readouterr().out


def test_a_local_file_that_is_missing_is_named():
    with pytest.raises(UserError, match=r"nowhere\.pth"):
        weights.local("nowhere.pth")
