"""What a file says of its own size is looked at before anything of that size is made."""

import io
import os
import struct
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from cmr import boundary, create, pictures
from cmr.boundary import BoundaryError, check_array
from cmr.errors import BadContent, UserError
from cmr.features import mfcc
from cmr.features.word_tables import word_vectors
from cmr.machine import Machine
from cmr.pictures import read_rgb
from cmr.store import open_hdf5, write_matrix

SOUND = 2000  # samples


@pytest.fixture
def extractor():
    return create.extractor({"id": "mfcc", "extractor": "mfcc", "params": {}}, Machine(device="cpu"))


def claiming_hours(folder):
    """A FLAC of some bytes whose header tells of 2^36 - 1 samples: of the 64 bits from byte 18 on, the last 36."""
    soundfile.write(folder / "x.flac", np.zeros(SOUND), 8000)
    content = bytearray((folder / "x.flac").read_bytes())
    told = int.from_bytes(content[18:26], "big")
    content[18:26] = (told | (2**36 - 1)).to_bytes(8, "big")
    (folder / "x.flac").write_bytes(content)
    return folder / "x.flac"


def at_rate(folder, rate):
    soundfile.write(folder / "x.wav", np.zeros(SOUND), 8000)
    content = bytearray((folder / "x.wav").read_bytes())
    content[24:28] = struct.pack("<I", rate)
    (folder / "x.wav").write_bytes(content)
    return folder / "x.wav"


def without_form(folder):
    (folder / "x.raw").write_bytes(bytes(SOUND))
    return folder / "x.raw"


def not_finite(folder):
    soundfile.write(folder / "x.wav", np.full(SOUND, np.inf, np.float32), 8000, subtype="FLOAT")
    return folder / "x.wav"


def pipe(folder):
    os.mkfifo(folder / "x.wav")
    return folder / "x.wav"


@pytest.mark.mended(
    "a sound that told of hours, of two thousand million samples a second, or of none, was a stack trace"
)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (claiming_hours, r"samples of all channels; at most 120,000,000"),
        (lambda folder: at_rate(folder, 2**31 - 1), "2,147,483,647 samples a second"),
        (lambda folder: at_rate(folder, 1), "1 samples a second"),
        (without_form, "not a sound that can be decoded"),
        (not_finite, "NaN or infinite"),
        (pipe, "not a file"),
    ],
)
def test_sounds_within_a_budget(extractor, tmp_path, make, said):
    with pytest.raises(BadContent, match=said):
        extractor.transform([make(tmp_path)])


def test_a_sound_is_read_a_block_at_a_time(extractor, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "x.wav", rng.uniform(-1, 1, (SOUND, 2)), 22050, subtype="DOUBLE")
    whole = extractor.read(tmp_path / "x.wav")
    samples, _ = soundfile.read(tmp_path / "x.wav")
    assert np.abs(whole - samples.mean(1)).max() < 1e-12
    monkeypatch.setattr(mfcc, "BLOCK", 7)
    assert np.array_equal(extractor.read(tmp_path / "x.wav"), whole)


@pytest.mark.mended("an icon of 16 pixels with a picture of 174 million in it took 670 MB until it was refused")
def test_an_icon_is_as_large_as_the_picture_in_it(tmp_path, monkeypatch):
    raw = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(raw, "PNG")
    head = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(raw.getvalue()), 22)
    (tmp_path / "x.ico").write_bytes(head + raw.getvalue())
    assert read_rgb(tmp_path / "x.ico").getpixel((3, 3)) == (255, 0, 0)
    loaded = []
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    monkeypatch.setattr(pictures, "_on_white", loaded.append)
    with pytest.raises(BadContent, match="40 × 30 pixels: more than 1,000"):
        read_rgb(tmp_path / "x.ico")
    assert loaded == []


LISTED = pa.ListArray.from_arrays(pa.array([0, 3_000_000], pa.int32()), pa.array(np.zeros(3_000_000, np.int64)))
FIXED = pa.array([bytes(100_000)] * 300, pa.binary(100_000))


@pytest.mark.mended("tables in parquet of 1 kB unpacked to gigabytes: lists of numbers, and bytes of one length")
@pytest.mark.parametrize("column", [LISTED, FIXED], ids=["list", "fixed"])
def test_tables_within_measure(tmp_path, monkeypatch, column):
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 2**20)
    pq.write_table(pa.table({"id": [str(row) for row in range(len(column))], "x": column}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 50_000
    with pytest.raises(BoundaryError, match="would unpack to"):
        boundary.plain_parquet(tmp_path / "x.parquet")
    small = column.slice(0, 1) if column is FIXED else pa.array([[1, 2, 3]])
    pq.write_table(pa.table({"id": ["a"], "x": small}), tmp_path / "y.parquet")
    assert boundary.plain_parquet(tmp_path / "y.parquet") == tmp_path / "y.parquet"


@pytest.mark.mended("a file of word vectors that is none, or tells of more words than it has bytes, was a stack trace")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"1000000000 300\nx 1 2\n"),
        ("b.txt", b"garbage\n"),
        ("c.txt", b"2 -3\nx 1 2\n"),
        ("d.txt", b"\xff\xfe\n"),
        ("e.txt", b""),
        ("f.bin", b"5 300\nx " + bytes(100)),
        ("g.txt.gz", b"no gzip"),
        ("h.txt", b"1 3\nx 1 2\n"),
    ],
)
def test_word_vectors_are_in_their_form(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"params\.vectors: .*not a file in word2vec's format") as told:
        word_vectors([["x"]], SimpleNamespace(vectors=str(tmp_path / name)))
    assert "\n" not in str(told.value)
    (tmp_path / "good.txt").write_text("2 3\nx 1 2 3\ny 4 5 6\n")
    words, vectors = word_vectors([["y"]], SimpleNamespace(vectors=str(tmp_path / "good.txt")))
    assert words.tolist() == ["y"]
    assert vectors.tolist() == [[4, 5, 6]]


FORMS = {"whole": {}, "chunks": {"chunks": (30,)}, "gzip": {"chunks": (30,), "compression": "gzip", "shuffle": True}}


@pytest.mark.mended("references of an HDF5 file to one long text, or a length that is a lie, took gigabytes")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_texts_within_measure(tmp_path, monkeypatch, form):
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 2**20)
    texts = ["é", *["ab"] * 98, "x" * 50_000]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("texts", data=np.array(texts, object), dtype=h5py.string_dtype("utf-8"), **form)
    with h5py.File(tmp_path / "x.h5") as file:
        check_array(file["texts"])
        assert boundary._length_of_texts(file["texts"]) == sum(len(text.encode()) for text in texts)
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 1000)
    monkeypatch.setattr(boundary, "MAX_RATIO", 0)
    with h5py.File(tmp_path / "x.h5") as file, pytest.raises(BoundaryError, match="would unpack to 50,198"):
        check_array(file["texts"])


@pytest.mark.parametrize("lie", ["all the last", "too long"])
def test_ids_of_results_within_measure(tmp_path, monkeypatch, lie):
    monkeypatch.setattr(boundary, "UNPACKED_FREELY", 2**20)
    ids = np.array([*map(str, range(999)), "x" * 100_000])
    write_matrix(tmp_path / "x.h5", "features", ids, np.zeros((1000, 2), np.float32), {})
    with h5py.File(tmp_path / "x.h5") as file:
        place = file["ids"].id.get_offset()
    content = bytearray(Path(tmp_path / "x.h5").read_bytes())
    if lie == "all the last":
        content[place : place + 16_000] = content[place + 15_984 : place + 16_000] * 1000
    else:
        content[place : place + 4] = struct.pack("<I", 2**32 - 1)
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(UserError, match=r"/ids: .* would unpack to"), open_hdf5(tmp_path / "x.h5"):
        pass


def test_texts_that_cannot_be_measured_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=["a", "b"], dtype=h5py.string_dtype(), chunks=(2,), compression="lzf")
        with pytest.raises(BoundaryError, match="store them with gzip"):
            check_array(file["x"])
