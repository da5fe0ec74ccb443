"""Features of wider types as float32: bit for bit where that holds them, less an offset where it does not."""

import numpy as np
import pytest

from cmr.datasets.rounding import as_float32
from cmr.publish import read_json
from toy_plan import Project, experiment, written_features


def features(offset: float = 0.0) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((50, 300))
    values[:, [3, 299]] += offset
    return values


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32, np.uint8, bool])
def test_what_float32_holds_is_cast_and_no_more(dtype, caplog):
    values = (features() * 100).astype(dtype)
    found = as_float32(values, "x.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, values.astype(np.float32))
    assert not caplog.text


@pytest.mark.parametrize("offset", [1e6, 1e9, -1e9, 1e12])
def test_columns_with_an_offset_keep_what_varies(offset, caplog):
    values, plain = features(offset), features()
    found = as_float32(values, "x.npy")
    wanted = plain.copy()
    wanted[:, [3, 299]] -= plain[0, [3, 299]]
    np.testing.assert_allclose(found, wanted, atol=1e-6 + 2e-16 * abs(offset))
    assert np.array_equal(found[:, 4:299], plain[:, 4:299].astype(np.float32))
    assert "x.npy: 2 of 300 columns vary by less than 0.0001 of their size" in caplog.text


def test_whole_numbers_with_an_offset():
    """Seconds since 1970, of one day, in either order and with or without a sign."""
    since = np.arange(0, 86_400, 600)
    for rows, kind in ((since, np.int64), (since, np.uint64), (since[::-1], np.int64), (since[::-1], np.uint64)):
        seconds = (1_700_000_000 + rows[:, None]).astype(kind)
        assert np.array_equal(as_float32(seconds, "x.npy")[:, 0], rows - rows[0])


def test_constant_columns_and_float32_ones_stay(caplog):
    constant = np.full((5, 2), 1e9 + 0.25)
    assert np.array_equal(as_float32(constant, "x.npy"), constant.astype(np.float32))
    narrow = features(1e9).astype(np.float32)
    assert as_float32(narrow, "x.npy") is narrow
    assert not caplog.text


@pytest.mark.filterwarnings("error")
def test_rows_that_are_not_finite_do_not_count():
    values = features(1e9)
    values[0, 3], values[1, 5], values[2, 6] = np.nan, np.inf, 1e300
    found = as_float32(values, "x.npy")
    np.testing.assert_allclose(found[3:, 3], features()[3:, 3] - features()[3, 3], atol=1e-6)
    assert np.isnan(found[0, 3])
    assert np.isinf(found[1, 5])
    assert np.isinf(found[2, 6])


def figures(folder, offset: float) -> list[float]:
    """mAP of each direction and method, from features of a few binary digits, so that the offset takes none of them."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    values = {m: rng.normal(size=(3, d))[labels] + rng.normal(size=(90, d)) for m, d in (("image", 6), ("text", 5))}
    values = {m: np.round(rows * 2**12) / 2**12 + offset for m, rows in values.items()}
    data = written_features(
        folder, values, labels, ["train" if row % 3 < 2 else "test" for row in range(30) for _ in range(3)]
    )
    project = Project(folder, {**data, **experiment(["image", "text"], "cca", "ridge_label", "semantic_matching")})
    runs = [project.make(run) for run in project.results("evaluate")]
    tasks = [task for run in runs for task in read_json(project.path(run.files[0]))["tasks"]]
    return [task["metrics"]["map@all"]["value"] for task in tasks]


def test_an_offset_changes_no_figure(tmp_path):
    """float32 has steps of 64 around 1e9, so that nothing would be left of these features."""
    plain, moved = figures(tmp_path / "plain", 0), figures(tmp_path / "moved", 1e9)
    assert moved == pytest.approx(plain, abs=1e-6)
    assert min(plain) > 0.45
