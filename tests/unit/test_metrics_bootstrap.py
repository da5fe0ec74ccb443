"""Intervals and paired differences over queries, against loops, theory and the cases that must come out plain."""

import numpy as np
import pytest

from cmr.metrics import bootstrap
from cmr.metrics.bootstrap import RESAMPLES, bootstrap_interval, paired_difference


@pytest.fixture
def values():
    return np.random.default_rng(0).beta(2, 5, 400)


def test_interval_is_the_quantiles_of_means_of_drawn_queries(values):
    rng = np.random.default_rng(3)
    means = [np.mean([values[i] for i in rng.integers(0, 400, 400, np.int32)]) for _ in range(RESAMPLES)]
    wanted = np.quantile(means, [0.025, 0.975])
    assert bootstrap_interval(values, seed=3) == pytest.approx(wanted, abs=1e-12)


def test_interval_of_a_mean_is_near_the_normal_one(values):
    error = values.std() / np.sqrt(400)
    wanted = (values.mean() - 1.96 * error, values.mean() + 1.96 * error)
    assert bootstrap_interval(values) == pytest.approx(wanted, abs=0.2 * error)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = [low <= 0.5 <= high for low, high in (bootstrap_interval(rng.random(80), seed=s) for s in range(300))]
    assert 0.90 <= np.mean(covered) <= 0.98


def test_blocks_of_draws_change_nothing(values, monkeypatch):
    whole = bootstrap_interval(values)
    monkeypatch.setattr(bootstrap, "INDICES_AT_ONCE", 400 * 3)
    assert bootstrap_interval(values) == whole


def test_interval_of_another_statistic(values):
    low, high = bootstrap_interval(values, statistic=lambda of: np.median(of, axis=-1))
    assert low < np.median(values) < high
    assert low not in bootstrap_interval(values)


def test_queries_without_a_value_are_left_out(values):
    with_gaps = np.concatenate([values, [np.nan, np.nan]])
    assert bootstrap_interval(with_gaps) == bootstrap_interval(values)
    assert paired_difference(with_gaps, with_gaps + 1).mean == pytest.approx(-1)
    with pytest.raises(ValueError, match="no query"):
        bootstrap_interval(np.array([np.nan]))


def test_runs_are_averaged_a_query_first(values):
    runs = np.stack([values - 0.1, values + 0.1])
    assert bootstrap_interval(runs) == pytest.approx(bootstrap_interval(values))
    assert paired_difference(runs, values).mean == pytest.approx(0)


def test_pairing_finds_a_small_difference_that_intervals_hide(values):
    better = values + 0.005 + 0.001 * np.random.default_rng(2).standard_normal(400)
    assert bootstrap_interval(better)[0] < bootstrap_interval(values)[1]
    found = paired_difference(better, values)
    assert found.mean == pytest.approx(np.mean(better - values))
    assert 0.0045 < found.ci95[0] < found.mean < found.ci95[1] < 0.0055
    assert found.p_value == pytest.approx(2 / (RESAMPLES + 1))


def test_difference_turns_its_sign_with_its_arguments(values):
    other = np.random.default_rng(4).permutation(values) + 0.01
    there, back = paired_difference(values, other), paired_difference(other, values)
    assert there.mean == pytest.approx(-back.mean)
    assert there.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))
    assert there.p_value == back.p_value


def test_no_difference_is_not_significant(values):
    assert paired_difference(values, values).p_value == 1
    rng = np.random.default_rng(5)
    p_values = [paired_difference(*rng.random((2, 60)), seed=s).p_value for s in range(300)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.1


def test_p_value_agrees_with_the_interval(values):
    noise = np.random.default_rng(6).standard_normal(400)
    for shift in np.linspace(-0.1, 0.1, 21):
        found = paired_difference(values + 0.4 * noise + shift, values)
        if abs(found.p_value - 0.05) > 0.005:
            assert (found.p_value < 0.05) == (not found.ci95[0] <= 0 <= found.ci95[1])


def test_queries_must_pair():
    with pytest.raises(ValueError, match="3 and 4 queries"):
        paired_difference(np.ones(3), np.ones(4))
