"""Bootstrap intervals over queries, against loops, theory and the cases that must come out plain."""

import numpy as np
import pytest
from scipy import stats

from cmr.metrics import bootstrap
from cmr.metrics.bootstrap import RESAMPLES, bootstrap_interval, expanded_tail


def mean(draws):
    return draws.mean(axis=-1)


def median(draws):
    return np.median(draws, axis=-1)


@pytest.fixture
def values():
    return np.random.default_rng(0).beta(2, 5, 400)


def test_interval_is_quantiles_of_the_statistic_of_drawn_queries(values):
    rng = np.random.default_rng(0)
    medians = [np.median([values[i] for i in rng.integers(0, 400, 400, np.int32)]) for _ in range(RESAMPLES)]
    tail = stats.norm.cdf(np.sqrt(400 / 399) * stats.t.ppf(0.025, 399))
    wanted = np.quantile(medians, [tail, 1 - tail])
    assert bootstrap_interval(values, median) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("queries", [6, 20, 400])
def test_interval_of_a_mean_is_near_students(values, queries):
    few = values[:queries]
    wanted = stats.t.interval(0.95, queries - 1, few.mean(), stats.sem(few))
    assert bootstrap_interval(few, mean) == pytest.approx(wanted, abs=0.15 * (wanted[1] - wanted[0]))


def test_for_many_queries_the_tail_is_the_levels():
    assert expanded_tail(10**6) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(10) == pytest.approx(stats.norm.cdf(np.sqrt(10 / 9) * stats.t.ppf(0.025, 9)))


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    for queries in (10, 80):
        found = [bootstrap_interval(rng.standard_normal(queries), mean) for _ in range(400)]
        assert 0.92 <= np.mean([low <= 0 <= high for low, high in found]) <= 0.98


def test_blocks_of_draws_change_nothing(values, monkeypatch):
    whole = bootstrap_interval(values, mean)
    monkeypatch.setattr(bootstrap, "INDICES_AT_ONCE", 400 * 3)
    assert bootstrap_interval(values, mean) == whole


def test_queries_without_a_value_are_left_out(values):
    with_gaps = np.concatenate([values, [np.nan, np.nan]])
    assert bootstrap_interval(with_gaps, median) == bootstrap_interval(values, median)


def test_nothing_is_said_where_values_say_nothing():
    for few in ([], [np.nan], [0.5], [0.1] * 7):
        assert bootstrap_interval(np.array(few, float), mean) is None
