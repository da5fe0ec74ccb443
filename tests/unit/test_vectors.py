"""Vectors that stay in their file: read as numpy would index them, used by fits only where the method says so."""

import os

import h5py
import numpy as np
import pytest

from cmr import boundary, registry, store, vectors
from cmr.data import View
from cmr.errors import UserError
from cmr.methods.checks import check_features, check_memory
from cmr.methods.linear import Beside, products, ridge
from cmr.methods.scaling import CENTRE, NONE, STANDARDISE, ScaledRows, Scaling
from cmr.vectors import Vectors

IDS = np.array([f"item{row}" for row in range(50)], object)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(3, 2, (50, 7)).astype(np.float32)


@pytest.fixture
def file(tmp_path, rows):
    store.write_matrix(tmp_path / "rows.h5", "features", IDS, rows, {"extractor": "toy"})
    return tmp_path / "rows.h5"


@pytest.fixture
def stayed(file, monkeypatch):
    """The rows as `Vectors`, in blocks of eight."""
    monkeypatch.setattr(vectors, "BLOCK_BYTES", 8 * 7 * 4)
    return store.read_rows(file, "features").values


def test_a_matrix_of_more_than_a_block_stays_in_its_file(file, rows, stayed):
    assert isinstance(stayed, Vectors)
    read = store.read_rows(file, "features")
    assert read.ids.tolist() == IDS.tolist()
    assert read.attributes["extractor"] == "toy"
    assert np.array_equal(np.asarray(stayed), rows)
    assert isinstance(store.read_matrix(file, "features").values, np.ndarray)


def test_a_matrix_of_a_block_is_read_whole(file):
    assert isinstance(store.read_rows(file, "features").values, np.ndarray)


@pytest.mark.parametrize(
    "index",
    [
        slice(3, 20),
        slice(None, None, -2),
        np.array([7, 7, 2, 49, 0, 2]),
        np.array([], int),
        np.arange(50) % 3 == 0,
        np.zeros(50, bool),
        np.arange(10, 30),
    ],
    ids=str,
)
def test_rows_are_those_that_numpy_would_give(rows, stayed, index):
    some = stayed[index]
    assert some.shape == rows[index].shape
    assert len(some) == len(rows[index])
    some.announce()
    assert np.array_equal(np.asarray(some), rows[index])
    assert np.array_equal(np.asarray(some[::2]), rows[index][::2])
    assert np.asarray(some, np.float64).dtype == np.float64


def test_blocks_are_all_rows_in_their_order(rows, stayed):
    blocks = list(vectors.read_blocks(stayed))
    assert [len(block) for block in blocks] == [8, 8, 8, 8, 8, 8, 2]
    assert np.array_equal(np.concatenate(blocks), rows)
    assert [len(block) for block in vectors.read_blocks(rows)] == [8, 8, 8, 8, 8, 8, 2]


def test_what_cannot_be_read_by_the_row_is_read_whole(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK_BYTES", 64)
    for name, options in (("chunked", {"chunks": (5, 7)}), ("double", {"dtype": np.float64})):
        with h5py.File(tmp_path / f"{name}.h5", "w") as made:
            made.create_dataset("features", data=rows, **options)
            made.create_dataset("ids", data=IDS, dtype=store.TEXT)
        read = store.read_rows(tmp_path / f"{name}.h5", "features").values
        assert isinstance(read, np.ndarray)
        assert np.array_equal(read, rows)


def test_damage_is_told_as_of_a_matrix_that_is_read(tmp_path, rows, stayed, monkeypatch):
    with h5py.File(tmp_path / "nan.h5", "w") as made:
        made.create_dataset("features", data=np.where(np.arange(50)[:, None] == 33, np.nan, rows).astype(np.float32))
        made.create_dataset("ids", data=IDS, dtype=store.TEXT)
    with pytest.raises(
        UserError, match=r"1 of 50 rows hold NaN or infinite values, the first is item 'item33' \(row 33\)"
    ):
        store.read_rows(tmp_path / "nan.h5", "features")
    with h5py.File(tmp_path / "few.h5", "w") as made:
        made.create_dataset("features", data=rows)
        made.create_dataset("ids", data=IDS[:-1], dtype=store.TEXT)
    with pytest.raises(UserError, match=r"few.h5: 50 rows but 49 ids"):
        store.read_rows(tmp_path / "few.h5", "features")
    ((_, _, piece, place),) = stayed.matrix.runs(np.array([20]))
    os.truncate(piece.path, place)
    assert np.array_equal(np.asarray(stayed[:20]), rows[:20])
    with pytest.raises(UserError, match=r"rows.h5: shorter than it was"):
        np.asarray(stayed[10:21])


@pytest.mark.parametrize("mode", [STANDARDISE, CENTRE, NONE])
def test_a_scaling_of_blocks_is_that_of_all_rows(rows, mode, stayed):
    rows = rows.astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = {STANDARDISE: deviation, CENTRE: np.full(7, np.sqrt((deviation**2).mean())), NONE: np.ones(7)}[mode]
    found = Scaling.fit(stayed, mode)
    assert found.mean == pytest.approx(mean * (mode != NONE), rel=1e-12)
    assert found.scale == pytest.approx(scale, rel=1e-12)
    assert np.allclose(
        np.concatenate([ScaledRows(stayed, found)[a : a + 9] for a in range(0, 50, 9)]), (rows - found.mean) / scale
    )


def test_a_constant_feature_is_one_in_blocks_too(tmp_path, rows, monkeypatch):
    rows[:, 2] = 1e4
    store.write_matrix(tmp_path / "rows.h5", "features", IDS, rows, {})
    monkeypatch.setattr(vectors, "BLOCK_BYTES", 224)
    stayed = store.read_rows(tmp_path / "rows.h5", "features").values
    assert (Scaling.fit(stayed)(np.asarray(stayed))[:, 2] == 0).all()


def test_products_of_blocks_are_those_of_all_rows(rows, stayed):
    other = np.random.default_rng(1).normal(size=(50, 3))
    scaled = ScaledRows(stayed, Scaling.fit(stayed))
    x = np.asarray(scaled)
    own, cross, beside = products([scaled, other, Beside([scaled, other])], (0, 0), (1, 0), (2, 2))
    assert own == pytest.approx(x.T @ x)
    assert cross == pytest.approx(other.T @ x)
    assert beside == pytest.approx(np.hstack([x, other]).T @ np.hstack([x, other]))
    weights = ridge(scaled, other, 0.3)
    assert weights == pytest.approx(np.linalg.solve(x.T @ x + 15 * np.eye(7), x.T @ other))


def test_more_columns_than_rows_are_solved_in_the_span_of_the_rows(stayed):
    few = ScaledRows(stayed[:5], Scaling.fit(stayed[:5]))
    x, y = np.asarray(few), np.arange(10.0).reshape(5, 2)
    assert ridge(few, y, 0.3) == pytest.approx(np.linalg.solve(x.T @ x + 1.5 * np.eye(7), x.T @ y))


def test_rows_that_are_all_the_same_are_told_though_each_block_is_constant(tmp_path, rows, monkeypatch):
    info = registry.info("methods", "cca")
    monkeypatch.setattr(vectors, "BLOCK_BYTES", 224)
    for name, values, same in (
        ("same", rows[:1].repeat(50, axis=0), True),
        ("two", rows[:2].repeat(25, axis=0), False),
    ):
        store.write_matrix(tmp_path / f"{name}.h5", "features", IDS, values, {})
        stayed = store.read_rows(tmp_path / f"{name}.h5", "features").values
        if same:
            with pytest.raises(UserError, match="features of all 50 training rows are the same"):
                check_features(info, "image", stayed)
        else:
            check_features(info, "image", stayed[np.r_[0:8, 40:48]])


@pytest.mark.parametrize(
    ("method", "rows", "gigabytes"),
    [
        ("cca", 10**7, None),
        ("kcca", 10**5, "240"),
        ("kcca", 21000, "11"),
        ("kcca", 20000, None),
        ("mvda", 10**6, "20"),
        ("mvda", 10**5, None),
    ],
)
def test_what_a_method_holds_is_refused_with_its_size(monkeypatch, method, rows, gigabytes):
    monkeypatch.setattr("cmr.methods.checks.memory_here", lambda: 10 * 10**9)
    ids = np.empty(rows, np.uint8)
    views = [View(ids, Vectors.of(os.devnull, 0, (1, d))[np.broadcast_to(0, rows)]) for d in (1280, 384)]
    info = registry.info("methods", method)
    if gigabytes is None:
        check_memory(info, views)
        return
    expected = f"{info.title}: holds {info.memory}: of {rows:,} rows {gigabytes} GB at the least, and a job here may take 10 GB"
    with pytest.raises(UserError, match=expected):
        check_memory(info, views)


def test_the_memory_here_is_that_of_the_control_group(tmp_path, monkeypatch):
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(boundary, "CGROUPS", tmp_path)
    assert boundary.memory_here() == machine
    (tmp_path / "memory.max").write_text("max\n")
    assert boundary.memory_here() == machine
    (tmp_path / "memory.max").write_text("123456\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("99999999999999999\n")
    assert boundary.memory_here() in (123456, machine)  # by the version of control groups that this machine has
    (tmp_path / "memory/memory.limit_in_bytes").write_text("123456\n")
    assert boundary.memory_here() == 123456


def test_parts_in_several_files_are_one_matrix(tmp_path):
    """Other offsets, some rows of each, in an order of their own; rows that follow each other stop at a file's end."""
    rows = np.random.default_rng(0).standard_normal((23, 5)).astype(np.float32)
    parts = []
    for number, (start, end) in enumerate([(0, 9), (9, 10), (10, 23)]):
        (tmp_path / str(number)).write_bytes(b"x" * number + rows[start:end].tobytes())
        parts.append(Vectors.of(tmp_path / str(number), number, (end - start, 5)))
    whole = Vectors.joined(parts)
    assert whole.shape == (23, 5)
    assert np.array_equal(np.asarray(whole), rows)
    chosen = np.array([22, 3, 8, 9, 10, 3])
    assert np.array_equal(np.asarray(whole[chosen]), rows[chosen])
    some = Vectors.joined([parts[2][::-3], parts[0][4:6]])
    assert np.array_equal(np.asarray(some), np.concatenate([rows[10:][::-3], rows[4:6]]))
    again = Vectors.joined([some, parts[1]])
    assert np.array_equal(np.asarray(again[3:]), np.concatenate([rows[10:][::-3], rows[4:6], rows[9:10]])[3:])
    whole.announce()
