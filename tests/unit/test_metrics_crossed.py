"""Means and differences over queries and seeds: against loops, textbook formulas, and figures of known origin."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from benchmarks.coverage import called_different, covered, figures
from cmr.errors import UserError
from cmr.info import MetricInfo
from cmr.metrics.crossed import (
    QUERIES,
    QUERIES_AND_SEEDS,
    SMALLEST_P,
    UNBOUNDED,
    Sample,
    bounds_of,
    difference,
    holm,
    mean,
    p_value,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def crossed(rng, seeds=4, queries=30, deviation=0.05):
    easy, good = 0.2 * rng.standard_normal(queries), deviation * rng.standard_normal((seeds, 1))
    return easy + good + 0.1 * rng.standard_normal((seeds, queries))


def loops(*samples):
    """The mean of the first less the second; of its variance that of queries, of seeds, and what both have; f."""
    signs = [1, -1][: len(samples)]
    queries = len(samples[0][0])
    per_query = [
        sum(s * np.mean([row[i] for row in y]) for s, y in zip(signs, samples, strict=True)) for i in range(queries)
    ]
    of_queries = stats.tvar(per_query) / queries
    both, squares, total = 0.0, 0.0, 0.0
    for y in samples:
        seeds, grand = len(y), np.mean(y)
        mse = 0.0
        for s in range(seeds):
            for i in range(queries):
                mse += (y[s][i] - np.mean(y[s]) - np.mean([row[i] for row in y]) + grand) ** 2
        mse /= (seeds - 1) * (queries - 1)
        of_seeds = stats.tvar([np.mean(row) for row in y]) / seeds
        both += mse / (seeds * queries)
        squares, total = squares + of_seeds**2 / (seeds - 1), total + of_seeds
    return np.mean(per_query), of_queries, total, both, total**2 / squares


def integrated(value, of_queries, of_seeds, both, freedom):
    """Student's p of a mean, over all χ² that the variance of seeds is divided by."""

    def at(log):
        variance = of_queries + max(0, of_seeds * freedom / np.exp(log) - both)
        p = 2 * stats.t.sf(abs(value) / np.sqrt(variance), 29 * (variance / of_queries) ** 2)
        return p * stats.chi2.pdf(np.exp(log), freedom) * np.exp(log)

    return integrate.quad(at, -40, 7, limit=500, epsabs=1e-10)[0]


@pytest.mark.parametrize("deviation", [0, 0.05, 0.5])
def test_p_and_interval_are_those_of_loops_and_an_integral(rng, deviation):
    for samples in ([crossed(rng, deviation=deviation)], [crossed(rng, deviation=deviation), crossed(rng, 3)]):
        value, *parts = loops(*samples)
        found = (mean if len(samples) == 1 else difference)(*map(Sample, samples))
        assert found.value == pytest.approx(value)
        assert found.value - found.ci95[0] == pytest.approx(found.ci95[1] - found.value)
        assert integrated(found.value - found.ci95[0], *parts) == pytest.approx(0.05, rel=1e-3)
        assert found.covers == QUERIES_AND_SEEDS
        if len(samples) == 2:
            assert found.p_value == pytest.approx(integrated(value, *parts), rel=1e-3)
            assert p_value(*map(Sample, samples)) == found.p_value


@pytest.mark.parametrize("queries", [2, 40])
def test_of_one_fit_each_it_is_students_t(rng, queries):
    a, b = rng.random((2, 1, queries))
    interval = stats.t.interval(0.95, queries - 1, a.mean(), stats.sem(a[0]))
    assert mean(Sample(a)).ci95 == pytest.approx(interval)
    found = difference(Sample(a), Sample(b))
    assert found.p_value == pytest.approx(stats.ttest_rel(a[0], b[0]).pvalue)
    assert found.covers == mean(Sample(a)).covers == QUERIES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("deviation", [0, 1e-7])
def test_where_queries_say_nothing_it_is_welchs_t(rng, deviation):
    a, b = 0.1 * rng.standard_normal((4, 1)), 0.3 + 0.2 * rng.standard_normal((6, 1))
    noise = deviation * rng.standard_normal(50)
    found = difference(Sample(a + noise), Sample(b - noise))
    # Welch's degrees of freedom are Satterthwaite's
    assert found.p_value == pytest.approx(stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).pvalue, rel=1e-4)
    far = difference(Sample(a + noise), Sample(b + 2 - noise))
    assert far.p_value == pytest.approx(stats.ttest_ind(a[:, 0], b[:, 0] + 2, equal_var=False).pvalue, rel=1e-4)


def test_p_value_is_the_level_whose_interval_just_reaches_0(rng):
    for shift in np.linspace(-0.2, 0.2, 21):
        found = difference(Sample(crossed(rng) + shift), Sample(crossed(rng)))
        assert (found.p_value < 0.05) == (not found.ci95[0] <= 0 <= found.ci95[1])
    a = Sample(np.array([[0.1, 0.2, 0.3]]))
    assert difference(a, Sample(a.values + 1e6 + np.array([0, 1e-3, 0]))).p_value == SMALLEST_P


def test_difference_turns_its_sign_with_its_arguments(rng):
    a, b = Sample(crossed(rng) + 0.02), Sample(crossed(rng, seeds=2))
    there, back = difference(a, b), difference(b, a)
    assert there.value == pytest.approx(-back.value)
    assert there.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))
    assert there.p_value == pytest.approx(back.p_value)


def test_pairing_finds_a_small_difference_that_intervals_hide(rng):
    values = rng.random((1, 400))
    better = values + 0.005 + 0.001 * rng.standard_normal(400)
    assert mean(Sample(better)).ci95[0] < mean(Sample(values)).ci95[1]
    found = difference(Sample(better), Sample(values))
    assert 0.0045 < found.ci95[0] < found.value < found.ci95[1] < 0.0055


def test_seeds_that_move_alone_hide_a_difference_that_queries_show(rng):
    ((first, second),) = figures(rng, 1, 400, [(3, 0.02), (3, 0.02)])
    a, b = first.values - first.values.mean() + 0.02, second.values - second.values.mean()
    assert difference(Sample(a.mean(axis=0)[None]), Sample(b.mean(axis=0)[None])).p_value < 0.05
    assert difference(Sample(a), Sample(b)).p_value > 0.05


def test_nothing_is_said_where_values_say_nothing():
    assert mean(Sample(np.array([[0.5]]))) is None
    assert mean(Sample(np.full((3, 7), 0.1))) is None
    assert difference(Sample(np.full((1, 7), 0.3)), Sample(np.full((1, 7), 0.1))) is None
    equal = difference(Sample(np.ones((1, 7))), Sample(np.ones((1, 7))))
    assert (equal.value, equal.ci95, equal.p_value) == (0, (0, 0), 1)
    with pytest.raises(ValueError, match="3 and 4 queries"):
        difference(Sample(np.ones((1, 3))), Sample(np.ones((1, 4))))


def test_intervals_end_at_the_bounds_and_hold_the_mean_as_often_as_if_they_did_not(rng):
    held, beyond = np.zeros(2), 0
    for _ in range(400):
        rare = (rng.random((1, 30)) < 0.06).astype(float)
        free, within = (mean(Sample(rare, bounds)) for bounds in (UNBOUNDED, (0, 1)))
        if free is None:
            continue
        held += [estimate.ci95[0] <= 0.06 <= estimate.ci95[1] for estimate in (free, within)]
        beyond += free.ci95[0] < 0
        assert within.ci95 == (max(free.ci95[0], 0), min(free.ci95[1], 1))
        assert within.value == free.value
    assert beyond > 100
    assert held[0] == held[1] > 300


def test_a_difference_ends_where_its_two_sides_are_at_their_bounds():
    a, b = np.array([[1, 1, 0.2]]), np.array([[0, 0.1, 0]])
    free = difference(Sample(a), Sample(b))
    assert free.ci95[1] > 1
    found = difference(Sample(a, (0, 1)), Sample(b, (0, 1)))
    assert found.ci95 == (free.ci95[0], 1)
    assert found.p_value == free.p_value
    assert difference(Sample(a, (0, np.inf)), Sample(b, (0, np.inf))).ci95 == free.ci95


def test_bounds_are_what_a_metric_says(monkeypatch):
    found = {name: bounds_of(name) for name in ("recall_at_k", "mean_rank", "hubness", "of_a_plug_in_that_is_gone")}
    assert found == {
        "recall_at_k": (0, 1),
        "mean_rank": (1, np.inf),
        "hubness": UNBOUNDED,
        "of_a_plug_in_that_is_gone": UNBOUNDED,
    }
    told = MetricInfo(title="t", gives="number", range="a share")
    monkeypatch.setattr("cmr.registry.info", lambda kind, name: told)
    with pytest.raises(UserError, match=r"metric 'ndcg': INFO: range: 'a share' is no interval; write one as in"):
        bounds_of("ndcg")


def test_holm_steps_down(rng):
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    p = rng.random(30) ** 3
    corrected = np.array(holm(p))[np.argsort(p)]
    literal, largest = [], 0.0
    for rank, value in enumerate(sorted(p)):
        largest = max(largest, min(1, value * (30 - rank)))
        literal.append(largest)
    assert corrected == pytest.approx(literal)
    assert all(a <= b for a, b in pairwise(corrected))


NONE = (1, None)
SEVERAL = [(queries, (seeds, deviation)) for queries in (10, 462) for seeds in (3, 5) for deviation in (0.0001, 0.02)]
REGIMES = [pytest.param(*regime, marks=[pytest.mark.slow] if regime[0] > 10 else []) for regime in SEVERAL]


@pytest.mark.parametrize(("queries", "method"), [(10, NONE), (462, NONE), *REGIMES])
def test_95_of_100_intervals_hold_the_mean_and_5_of_100_equal_methods_differ(queries, method):
    rng = np.random.default_rng(0)
    covers = covered(figures(rng, 2000, queries, [method]))
    alike = [called_different(figures(rng, 2000, queries, [method, other])) for other in (method, NONE)]
    if method is NONE:
        assert 0.935 <= covers <= 0.965
        assert all(0.035 <= share <= 0.065 for share in alike)
    else:  # a little more and less often than they say
        assert 0.94 <= covers <= 0.985
        assert all(0.01 <= share <= 0.06 for share in alike)


@pytest.mark.parametrize("deviation", [0.005, 0.02])
def test_of_few_seeds_p_values_are_as_rarely_small_as_they_say(deviation):
    """Also those that are left of 0.05 where many methods are compared, and methods that find the same queries hard."""
    methods = [(3, deviation)] * 2
    p = np.array([p_value(*pair) for pair in figures(np.random.default_rng(0), 6000, 200, methods, own=0)])
    assert (p < 0.001).mean() <= 0.002
    assert 0.01 <= (p < 0.05).mean() <= 0.06


def test_of_two_seeds_the_interval_still_holds_the_mean():
    rng = np.random.default_rng(0)
    assert covered(figures(rng, 2000, 462, [(2, 0.02)])) >= 0.93


def test_one_of_many_equal_methods_is_rarely_called_worse_than_the_best():
    rng, called = np.random.default_rng(0), 0
    for samples in figures(rng, 300, 100, [NONE] * 6):
        best = int(np.argmax([sample.values.mean() for sample in samples]))
        pairs = [(a, b) for a in range(6) for b in range(a)]
        corrected = holm([difference(samples[a], samples[b]).p_value for a, b in pairs])
        called += any(p < 0.05 for pair, p in zip(pairs, corrected, strict=True) if best in pair)
    assert called / 300 <= 0.07
