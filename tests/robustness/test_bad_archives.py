"""Archives that would write elsewhere or are damaged; weights and checkpoints that are not what they should be."""

import io
import os
import pickle
import random
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from cmr import registry, store
from cmr.api import fit
from cmr.create import fitted_method
from cmr.datasets import downloads
from cmr.errors import UserError
from cmr.features import weights
from cmr.machine import Machine
from synthetic import create, separable, small

GENERATED = 40


def tar(*members, mode="w:gz"):
    """A tar file of (TarInfo, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as opened:
        for member, content in members:
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return file.getvalue()


def member(name, kind=tarfile.REGTYPE, target=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def zipped(*names, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as opened:
        for name in names:
            opened.writestr(name, b"escaped")
    return file.getvalue()


def zipped_link():
    file, info = io.BytesIO(), zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr(info, "/etc")
    return file.getvalue()


def encrypted():
    content = bytearray(zipped("a.txt"))
    content[6] |= 1  # of the local header, and of the central one: a password is needed
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def of_unknown_method():
    content = bytearray(zipped("a.txt"))
    content[8] = 99
    content[content.rindex(b"PK\x01\x02") + 10] = 99
    return bytes(content)


ESCAPING = {
    "above.tar.gz": tar((member("../escaped"), b"escaped")),
    "symlink.tar.gz": tar((member("link", tarfile.SYMTYPE, "../.."), b""), (member("link/escaped"), b"escaped")),
    "hardlink.tar.gz": tar((member("link", tarfile.LNKTYPE, "../../escaped"), b"")),
    "device.tar": tar((member("null", tarfile.CHRTYPE), b""), mode="w"),
    "pipe.tar": tar((member("pipe", tarfile.FIFOTYPE), b""), mode="w"),
    "above.zip": zipped("a/../../escaped"),
    "absolute.zip": zipped("/tmp/cmr-escaped"),
    "backslash.zip": zipped("..\\escaped"),
    "encrypted.zip": encrypted(),
    "unknown_method.zip": of_unknown_method(),
    "a_file_twice_a_folder.zip": zipped("a", "a/b"),
}


@pytest.mark.mended("an archive with a password, an unknown compression or a wrong gzip checksum was a stack trace")
@pytest.mark.parametrize("name", ESCAPING)
def test_refused_and_nothing_written(tmp_path, name):
    archive = tmp_path / "inner" / name
    archive.parent.mkdir()
    archive.write_bytes(ESCAPING[name])
    with pytest.raises(UserError) as told:
        downloads.unpack(archive, tmp_path / "inner/there/out")
    assert name in str(told.value)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [name]
    assert not os.path.exists("/tmp/cmr-escaped")


def test_absolute_names_in_a_tar_file_stay_inside(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar((member("/tmp/cmr-escaped"), b"escaped")))
    downloads.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out/tmp/cmr-escaped").exists()
    assert not os.path.exists("/tmp/cmr-escaped")


def test_a_link_in_a_zip_is_a_file(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped_link())
    downloads.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out/link").is_symlink()


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_damaged(tmp_path, suffix, cases):
    cases(GENERATED)
    generator, content = random.Random(suffix), random.Random(0).randbytes(3000)
    good = zipped("a", compression=zipfile.ZIP_DEFLATED)
    if suffix != ".zip":
        good = tar((member("a"), content), (member("b/c"), content), mode=f"w:{suffix.rpartition('.')[2]}")
    for number in range(GENERATED):
        damaged = bytearray(good)
        for _ in range(generator.choice([1, 3])):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        archive = tmp_path / f"{number}{suffix}"
        archive.write_bytes(damaged[: generator.randrange(len(damaged))] if number % 2 else damaged)
        try:
            downloads.unpack(archive, tmp_path / f"out{number}")
        except UserError as error:
            assert archive.name in str(error)  # noqa: PT017
            assert not (tmp_path / f"out{number}").exists()
    assert not list(tmp_path.glob(".*"))


# Weights --------------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


def test_weights_with_another_hash_are_put_aside(tmp_path):
    file = tmp_path / "net.pth"
    file.write_bytes(b"foreign")
    with pytest.raises(UserError, match="a damaged or foreign file, kept as"):
        weights.download("https://example.org/net.pth", "0" * 8, tmp_path)
    assert not file.exists()


@pytest.mark.mended("a damaged checkpoint was torch's own error")
@pytest.mark.parametrize(
    "content", [pickle.dumps({"network": Evil()}), pickle.dumps(Evil(), 0), b"", b"PK half a file"]
)
def test_a_checkpoint_that_is_none_is_refused_and_not_executed(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "final.pt"
    checkpoint.write_bytes(content)
    method = create("dla_cmr", **small("dla_cmr"))
    method.checkpoint = checkpoint
    with pytest.raises(UserError, match="not a checkpoint"):
        method.fit(separable(), None, None)
    assert not (tmp_path / "executed").exists()


@pytest.mark.mended("a model whose arrays are missing or of other shapes was a stack trace")
@pytest.mark.parametrize("name", ["cca", "dla_cmr"])
def test_a_model_of_something_else(tmp_path, name):
    """What `cmr search` and the evaluation load."""
    views = separable()
    labels = views["image"].labels if registry.info("methods", name).labels else None
    fit(name, {m: view.features for m, view in views.items()}, labels, **small(name)).save(tmp_path)
    folder = tmp_path / "image+text"
    model, good = folder / "model.safetensors", store.read_arrays(folder / "model.safetensors")
    fitted_method(folder, Machine(device="cpu"))
    key = next(key for key, value in good.items() if value.ndim == 2)
    bad = [{}, {k: v for k, v in good.items() if k != key}, pickle.dumps(Evil()), model.read_bytes()[:-9]]
    bad += [good | {key: good[key][:1, :1]}] if name == "dla_cmr" else []
    for content in bad:
        model.write_bytes(content) if isinstance(content, bytes) else store.write_arrays(model, content)
        with pytest.raises(UserError, match=r"model\.safetensors: not "):
            fitted_method(folder, Machine(device="cpu"))


@pytest.mark.parametrize("name", ["vgg19_fc7", "alexnet_fc7"])
def test_weights_that_are_a_pickle_with_code(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"features.0.weight": Evil()}))
    params = registry.params_model("extractors", name)(weights=str(tmp_path / "net.pth"))
    extractor = registry.load("extractors", name)(params, tmp_path)
    extractor.fetch()
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(picture)
    with pytest.raises(UserError, match=r"net\.pth"):
        extractor.transform([picture])
    assert not (tmp_path / "executed").exists()
