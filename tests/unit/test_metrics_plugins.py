"""Each metric against the plain reading of its formula, and its chance against every possible ranking."""

from fractions import Fraction
from itertools import combinations, permutations
from math import log2

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import skew
from sklearn.metrics import ndcg_score

import literal
from cmr import registry
from cmr.metrics.base import Ranking
from cmr.metrics.configured import ConfiguredMetric
from cmr.metrics.ranking import rank


def metric(name: str, **params):
    return registry.module("metrics", name), registry.params_model("metrics", name)(**params)


def compute(name: str, ranking: Ranking, **params):
    module, options = metric(name, **params)
    return module.compute(ranking, options)


def ranked(rows: list[list[int]], pair_ranks: list | None = None) -> Ranking:
    """A ranking whose gains, best first, are ``rows``."""
    gains = np.array(rows, np.uint32)
    top = np.tile(np.arange(min(10, gains.shape[1])), (len(gains), 1))
    pairs = None if pair_ranks is None else np.array(pair_ranks).reshape(len(gains), -1)
    return Ranking(gains, np.zeros(len(gains), bool), top, pairs)


def mean_over_rankings(name: str, gains: list[int], **params) -> float:
    """The mean of a metric over every order of a gallery with these gains."""
    return compute(name, ranked([list(order) for order in permutations(gains)]), **params).mean()


@pytest.mark.parametrize("normalise", ["retrieved", "relevant"])
@pytest.mark.parametrize("at", [None, 1, 2, 4, 6, 9])
def test_chance_of_average_precision_is_its_mean_over_all_rankings(at, normalise):
    module, params = metric("mean_average_precision", at=at, normalise=normalise)
    for relevant in range(7):
        orders = [[int(i in chosen) for i in range(6)] for chosen in combinations(range(6), relevant)]
        wanted = module.compute(ranked(orders), params).mean()
        assert module.chance(ranked(orders[:1]), params) == pytest.approx([wanted], abs=1e-12)


def test_chance_of_average_precision_of_large_galleries():
    module, params = metric("mean_average_precision")
    tenth = ranked([[1] * 10_000 + [0] * 90_000])
    assert module.chance(tenth, params)[0] == pytest.approx(0.1, abs=2e-4)
    one = ranked([[1]])
    assert module.chance(one, params).tolist() == [1]


def test_mean_average_precision_at_a_cut():
    row = [0, 1, 1, 0, 0, 1]
    assert compute("mean_average_precision", ranked([row]), at=3).tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2])
    assert compute("mean_average_precision", ranked([row]), at=3, normalise="relevant").tolist() == pytest.approx(
        [(1 / 2 + 2 / 3) / 3]
    )


@pytest.mark.parametrize("name", ["mean_average_precision", "ndcg"])
def test_a_cut_beyond_the_gallery_is_the_whole_gallery_and_is_said(name):
    module, params = metric(name, at=50)
    rows = ranked([[0, 1, 1, 0]])
    assert module.compute(rows, params).tolist() == compute(name, rows).tolist()
    assert module.note(params, 4) == "its cut at 50 is beyond the gallery's 4 items"
    assert module.note(params, 50) == ""
    assert module.note(type(params)(), 4) == ""


def test_one_more_relevant_item_inside_a_cut_may_lower_the_average():
    """The third place is a relevant item's or another's: (1 + 2/3)/2, or 1."""
    found = ConfiguredMetric.from_entry({"id": "map", "metric": "mean_average_precision", "params": {"at": 3}})
    scores, gains = np.array([[4.0, 3, 2, 2]]), np.array([[1, 0, 0, 1]])
    worst, best = (rank(scores, gains, ties=ties) for ties in ("pessimistic", "optimistic"))
    assert [bound.tolist() for bound in found.bounds(worst, best)] == [[pytest.approx(5 / 6)], [1]]


def literal_precision_recall(row: list[int], interpolated: bool) -> list[float]:
    precision = [sum(row[:r]) / r for r in range(1, len(row) + 1)]
    curve = []
    for tenths in range(11):
        reached = [p for r, p in enumerate(precision, start=1) if 10 * sum(row[:r]) >= tenths * sum(row)]
        curve.append(max(reached) if interpolated else reached[0])
    return curve


@pytest.mark.parametrize("interpolated", [True, False])
def test_eleven_point_curve(interpolated):
    rows = (np.random.default_rng(0).random((20, 50)) < 0.3).astype(int).tolist()
    rows += [[0] * 49 + [1], [1] + [0] * 49, [1] * 50]
    x, y = compute("precision_recall", ranked(rows), interpolated=interpolated)
    assert x.tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert y == pytest.approx(np.array([literal_precision_recall(row, interpolated) for row in rows]))


def test_eleven_point_curve_by_hand():
    _, y = compute("precision_recall", ranked([[0, 1, 0, 1]]))
    assert y.tolist() == [[0.5] * 11]
    _, y = compute("precision_recall", ranked([[0, 1, 0, 1]]), interpolated=False)
    assert y.tolist() == [[0] + [0.5] * 10]


def test_full_curve_has_a_point_a_rank():
    x, y = compute("precision_recall", ranked([[0, 1, 0, 1]]), points="all", interpolated=False)
    assert x.tolist() == [[0, 0.5, 0.5, 1]]
    assert y.tolist() == [[0, 1 / 2, 1 / 3, 1 / 2]]
    _, y = compute("precision_recall", ranked([[1, 0, 0, 1]]), points="all")
    assert y.tolist() == [[1, 0.5, 0.5, 0.5]]


def test_a_curve_of_a_query_with_nothing_relevant_is_zero():
    for points in (11, "all"):
        x, y = compute("precision_recall", ranked([[0, 0]]), points=points)
        assert not y.any()
        assert np.isfinite(x).all()


def test_precision_scope_is_cut_to_the_gallery_and_says_so():
    module, params = metric("precision_scope", scopes=(2, 1, 4, 50, 100))
    x, y = module.compute(ranked([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1]]), params)
    assert x.tolist() == [1, 2, 4, 5]
    assert y.tolist() == [[1, 0.5, 0.75, 0.6], [0, 0, 0, 0.2]]
    assert module.note(params, 5) == "scopes 50, 100 are cut to the gallery's 5 items"
    assert module.note(params, 100) == ""


@pytest.mark.parametrize("scopes", [(), (0,), (-1, 5)])
def test_scopes_are_numbers_of_results(scopes):
    with pytest.raises(ValidationError):
        metric("precision_scope", scopes=scopes)


def test_recall_and_median_rank_of_pairs():
    rows = ranked([[0] * 20] * 4, pair_ranks=[1, 10, 11, 0])
    assert compute("recall_at_k", rows).tolist() == pytest.approx([1, 1, 0, np.nan], nan_ok=True)
    assert compute("recall_at_k", rows, k=1).tolist() == pytest.approx([1, 0, 0, np.nan], nan_ok=True)
    assert compute("median_rank", rows).tolist() == pytest.approx([1, 10, 11, np.nan], nan_ok=True)
    median, _ = metric("median_rank")
    assert median.summary(np.array([[1.0, 10, 11, 12], [1, 1, 1, 9]]), 20).tolist() == [10.5, 1]


BY_INSTANCE = [
    ("recall_at_k", {"k": 1}),
    ("recall_at_k", {"k": 3}),
    ("recall_at_k", {"k": 30}),
    ("recall_sum", {"ks": [1, 3]}),
    ("median_rank", {}),
    ("mean_rank", {}),
    ("map_at_r", {}),
]


@pytest.mark.parametrize(("name", "params"), BY_INSTANCE)
@pytest.mark.parametrize("pairs", [1, 2, 3])
@pytest.mark.parametrize("size", [7, 8])
def test_chance_by_instance_is_the_mean_or_median_over_all_places_of_the_pairs(name, params, pairs, size):
    places = [list(ranks) for ranks in combinations(range(1, size + 1), pairs)]
    rows = ranked([[0] * size] * len(places), pair_ranks=places)
    module, options = metric(name, **params)
    values, chance = module.compute(rows, options), module.chance(rows, options)
    if name == "median_rank":
        assert module.chance_summary(chance, size) == np.median(values)
    else:
        assert chance == pytest.approx(np.full(len(places), np.mean(values)))


@pytest.mark.parametrize("pairs", [[1, 3], [1, 1, 5], [2, 4, 4, 1]])
def test_chance_of_the_median_rank_is_the_median_of_all_queries_together(pairs):
    """Over all places of the pairs of queries that have different numbers of them, each query as often as another."""
    size = 8
    best = [[ranks[0] for ranks in combinations(range(1, size + 1), number)] for number in pairs]
    orders = np.lcm.reduce([len(ranks) for ranks in best])
    together = np.concatenate([np.repeat(ranks, orders // len(ranks)) for ranks in best])
    module, _ = metric("median_rank")
    assert module.chance_summary(np.array(pairs), size) == np.median(together)


def test_what_papers_print_of_five_captions():
    """A picture whose captions rank 1, 2, 7, 8, 20, one whose best is 6, and a caption whose picture ranks third."""
    rows = ranked([[0] * 30] * 3, pair_ranks=[[1, 2, 7, 8, 20], [6, 7, 8, 9, 10], [3, 0, 0, 0, 0]])
    assert compute("recall_at_k", rows, k=1).tolist() == [1, 0, 0]
    assert compute("recall_at_k", rows, k=5).tolist() == [1, 0, 1]
    assert compute("recall_sum", rows).tolist() == [300, 100, 200]
    assert compute("mean_rank", rows).tolist() == compute("median_rank", rows).tolist() == [1, 6, 3]
    assert compute("map_at_r", rows).tolist() == [(1 / 1 + 2 / 2) / 5, 0, 0]
    for name in ("recall_at_k", "recall_sum", "mean_rank", "median_rank", "map_at_r"):
        assert np.isnan(compute(name, ranked([[0] * 30], pair_ranks=[0]))).all(), "a query without a pair"
    assert metric("recall_at_k")[0].note(metric("recall_at_k", k=31)[1], 30)
    rsum, params = metric("recall_sum", ks=[5, 31])
    assert [rsum.note(params, size) for size in (30, 31)] == ["its cut at 31 is beyond the gallery's 30 items", ""]


@pytest.mark.parametrize("at", [None, 5, 100])
def test_ndcg_equals_scikit_learn(at):
    rng = np.random.default_rng(1)
    scores, gains = rng.standard_normal((20, 40)), rng.integers(0, 4, (20, 40))
    wanted = [ndcg_score(g[None], s[None], k=at) for g, s in zip(gains, scores, strict=True)]
    assert compute("ndcg", rank(scores, gains), at=at) == pytest.approx(wanted, abs=1e-12)


def test_ndcg_with_exponential_gain_by_hand():
    found = compute("ndcg", ranked([[0, 3, 1]]), gain="exponential")
    assert found.tolist() == pytest.approx([(7 / log2(3) + 1 / log2(4)) / (7 / log2(2) + 1 / log2(3))])


@pytest.mark.parametrize("gain", ["linear", "exponential"])
def test_ndcg_of_hundreds_of_shared_labels(gain):
    """Against whole numbers, which have no largest."""
    rows = [[300, 0, 301, 299], [5000, 4998, 4999, 1], [2, 0, 1, 3], [0, 0, 0, 0]]
    found, expected = compute("ndcg", ranked(rows), gain=gain), []
    for row in rows:
        gains = [2**shared - 1 if gain == "exponential" else shared for shared in row]
        unit = max(*gains, 1)
        dcg, ideal = (
            sum(Fraction(g, unit) / Fraction(log2(r)) for r, g in enumerate(order, 2))
            for order in (gains, sorted(gains, reverse=True))
        )
        expected.append(float(dcg / ideal) if ideal else 0.0)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_ndcg_of_nothing_shared_is_zero():
    module, params = metric("ndcg")
    assert module.compute(ranked([[0, 0]]), params).tolist() == module.chance(ranked([[0, 0]]), params).tolist() == [0]


@pytest.mark.parametrize("params", [{}, {"at": 3}, {"gain": "exponential"}])
def test_chance_of_ndcg_is_its_mean_over_all_rankings(params):
    module, options = metric("ndcg", **params)
    gains = [3, 1, 1, 0, 0, 0]
    assert module.chance(ranked([gains]), options) == pytest.approx([mean_over_rankings("ndcg", gains, **params)])


def test_hubness_is_the_skewness_of_the_k_occurrence():
    module, params = metric("hubness", k=5)
    scores = np.random.default_rng(2).standard_normal((60, 40)) + np.linspace(0, 2, 40)
    rows = module.compute(rank(scores, np.ones((60, 40), bool)), params)
    occurrence = [sum(item in np.argsort(-s)[:5] for s in scores) for item in range(40)]
    assert module.summary(rows, 40) == pytest.approx(skew(occurrence))
    assert module.summary(np.arange(40).reshape(8, 5), 40) == 0
    of_the_first = np.zeros((8, 1), int)  # the last items are among no results
    assert module.summary(of_the_first, 40) == pytest.approx(skew([8] + [0] * 39))


def test_literal_loop_of_the_tests_on_a_hand_computed_ranking():
    assert literal.average_precision([True, False, True]) == pytest.approx((1 + 2 / 3) / 2)


def test_a_sum_of_recalls_is_of_numbers_from_1():
    with pytest.raises(ValidationError, match="greater than 0"):
        registry.params_model("metrics", "recall_sum")(ks=[0, 1])
