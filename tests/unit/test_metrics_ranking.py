"""The ranking under every metric: order, ties, bounds, pairs, and its equality with independent libraries."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import literal
from cmr.errors import UserError
from cmr.metrics import ranking, tagged_sort
from cmr.metrics.ranking import (
    Ranked,
    average_precision,
    own_columns,
    paired_ranks,
    pairs_of,
    rank,
    row_blocks,
    tie_order,
)

CUTS = [(None, "retrieved"), (7, "retrieved"), (7, "relevant"), (1, "retrieved"), (1000, "relevant")]


@pytest.fixture(params=["keys", "tagged"], autouse=True)
def path(request, monkeypatch):
    """Every test twice: scores sorted with places and gains in their keys, and with gains alone."""
    if request.param == "tagged":
        monkeypatch.setattr(ranking, "LARGE_GALLERY", -1)
        monkeypatch.setattr(tagged_sort, "FEW", 0)


@pytest.fixture
def random():
    rng = np.random.default_rng(5)
    return rng.standard_normal((30, 200)), rng.random((30, 200)) < 0.15


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("at", "normalise"), CUTS)
def test_average_precision_is_the_literal_loop(random, dtype, at, normalise):
    scores, relevance = random[0].astype(dtype), random[1]
    wanted = literal.average_precisions(scores, relevance, at=at, normalise=normalise)
    assert average_precision(scores, relevance, at, normalise) == pytest.approx(wanted, abs=1e-12)


def test_average_precision_of_a_hand_computed_ranking():
    scores, relevance = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[True, False, False, True]])
    assert average_precision(scores, relevance)[0] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert average_precision(scores, relevance, at=2)[0] == pytest.approx(1)
    assert average_precision(scores, relevance, at=2, normalise="relevant")[0] == pytest.approx(1 / 2)


def test_average_precision_equals_scikit_learn(random):
    scores, relevance = random
    wanted = [average_precision_score(r, s) for r, s in zip(relevance, scores, strict=True)]
    assert average_precision(scores, relevance) == pytest.approx(wanted, abs=1e-9)


def test_average_precision_equals_trec_eval(random):
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed")
    scores, relevance = random
    run = {f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    judged = {f"q{i}": {f"d{j}": int(r) for j, r in enumerate(row)} for i, row in enumerate(relevance)}
    found = pytrec_eval.RelevanceEvaluator(judged, {"map", "map_cut_10"}).evaluate(run)
    for name, at in (("map", None), ("map_cut_10", 10)):
        wanted = [found[f"q{i}"][name] for i in range(len(scores))]
        assert average_precision(scores, relevance, at, "relevant") == pytest.approx(wanted, abs=1e-9)


def test_a_query_with_nothing_relevant_scores_zero():
    for normalise in ("retrieved", "relevant"):
        assert average_precision(np.ones((1, 3)), np.zeros((1, 3), bool), 2, normalise).tolist() == [0]


def test_row_blocks_change_nothing(random, monkeypatch):
    whole = average_precision(*random)
    monkeypatch.setattr(row_blocks, "__defaults__", (7 * 200,))
    assert [block.stop - block.start for block in row_blocks(30, 200)] == [7, 7, 7, 7, 2]
    assert average_precision(*random).tolist() == whole.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gains_pairs_and_top_follow_the_scores(random, dtype):
    scores = random[0].astype(dtype)
    gains, own = np.random.default_rng(1).integers(0, 4, scores.shape), np.arange(30) * 3
    own[4] = -1
    ranked = rank(scores, gains, own, top=5)
    order = np.argsort(-scores, axis=1)
    assert ranked.gains.tolist() == np.take_along_axis(gains, order, axis=1).tolist()
    assert ranked.top.tolist() == order[:, :5].tolist()
    assert ranked.relevant.tolist() == (gains > 0).sum(axis=1).tolist()
    assert not ranked.tied.any()
    wanted = [list(row).index(item) + 1 if item >= 0 else 0 for row, item in zip(order, own, strict=True)]
    assert ranked.pair_rank.tolist() == paired_ranks(scores, own)[:, 0].tolist() == wanted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_scores_keep_their_order(dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    falling = [np.inf, 3e38, 1.0, smallest, 0.0, -smallest, -1.0, -3e38, -np.inf]
    mixed = np.random.default_rng(0).permutation(len(falling))
    scores = np.array([falling], dtype)[:, mixed]
    assert mixed[rank(scores, np.zeros((1, 9), bool), top=9).top[0]].tolist() == list(range(9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_minus_zero_ties_with_zero(dtype):
    scores = np.array([[0.0, -0.0]], dtype)
    for gains in ([[1, 0]], [[0, 1]]):
        assert rank(scores, np.array(gains)).tied.tolist() == [True]
        assert rank(scores, np.array(gains), ties="optimistic").gains.tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_order_of_tied_items_lies_between_the_bounds_and_they_are_reached(dtype):
    scores = np.array([[3, 2, 2, 2, 2, 1, 1, 0]], dtype)
    relevance = np.array([[0, 1, 0, 0, 1, 1, 0, 1]], bool)
    orders = [[0, *a, *b, 7] for a in permutations([1, 2, 3, 4]) for b in permutations([5, 6])]
    possible = [literal.average_precision(relevance[0, order]) for order in orders]
    bounds = [average_precision(scores, relevance, ties=ties)[0] for ties in ("pessimistic", "optimistic")]
    assert bounds == pytest.approx([min(possible), max(possible)])
    assert any(average_precision(scores, relevance)[0] == pytest.approx(value) for value in possible)


def test_bounds_hold_for_coarse_scores_and_graded_gains():
    rng = np.random.default_rng(2)
    scores, gains = rng.integers(0, 6, (40, 60)).astype(np.float32), rng.integers(0, 3, (40, 60))
    low, fixed, high = (average_precision(scores, gains > 0, ties=t) for t in ("pessimistic", "fixed", "optimistic"))
    assert (low <= fixed).all()
    assert (fixed <= high).all()
    assert (high - low).min() > 0
    worst = rank(scores, gains, ties="pessimistic").gains
    assert worst.tolist() == [gains[i, np.lexsort((gains[i], -scores[i]))].tolist() for i in range(40)]


@pytest.mark.parametrize("kind", ["integers", "constant"])
def test_both_paths_resolve_ties_alike(kind):
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 9, (20, 50)) if kind == "integers" else np.ones((20, 50), int)
    gains, own = rng.integers(0, 3, (20, 50)), rng.integers(-1, 50, 20)
    for ties in ("fixed", "pessimistic", "optimistic"):
        packed, exact = (rank(scores.astype(t), gains, own, ties=ties) for t in (np.float32, np.float64))
        for part in ("gains", "relevant", "tied", "top", "pair_ranks"):
            assert getattr(packed, part).tolist() == getattr(exact, part).tolist()


def test_a_gallery_sorted_by_class_gains_nothing_from_constant_scores():
    labels = np.repeat(np.arange(10), 100)
    found = average_precision(np.ones((1000, 1000), np.float32), labels[:, None] == labels)
    assert found.mean() == pytest.approx(0.1, abs=0.02)
    assert average_precision(np.ones((1, 1000), np.float32), labels[None] == 0, ties="optimistic") == [1]


def test_tied_marks_only_queries_that_ties_leave_open():
    scores = np.array([[2, 2, 1], [2, 2, 1], [3, 2, 1]], np.float32)
    gains = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0]])
    assert rank(scores, gains).tied.tolist() == [False, True, False]
    assert rank(scores, gains, np.array([0, -1, 0])).tied.tolist() == [True, True, False]


def test_ranks_of_tied_pairs():
    scores = np.array([[5, 3, 3, 3, 1]], np.float32)
    own = np.array([2])
    assert pairs_of(scores, own).ranks("optimistic").tolist() == [[2]]
    assert pairs_of(scores, own).ranks("pessimistic").tolist() == [[4]]
    place = sorted([1, 2, 3], key=lambda item: tie_order(5)[item]).index(2)
    assert paired_ranks(scores, own).tolist() == [[2 + place]]


def literal_ranks(scores, own, ties):
    """Ranks of a query's pairs, by an order of the whole gallery: pairs first or last among equals, or in its order."""
    wanted = set(own[own >= 0].tolist())
    last = {"optimistic": lambda item: item not in wanted, "pessimistic": lambda item: item in wanted}
    places = last.get(ties, lambda item: tie_order(len(scores))[item])
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], places(item)))
    ranks = [order.index(item) + 1 for item in wanted]
    return sorted(ranks) + [0] * (len(own) - len(wanted))


@pytest.mark.parametrize("ties", ["fixed", "pessimistic", "optimistic"])
@pytest.mark.parametrize("levels", [1, 4, 1000])
def test_ranks_of_several_pairs_equal_a_literal_order(ties, levels):
    rng = np.random.default_rng(5)
    groups = rng.integers(0, 8, 40).astype(str)
    queries = rng.integers(0, 10, 25).astype(str)  # 8 and 9 have no pair
    own = own_columns(queries, groups)
    assert [set(row[row >= 0]) for row in own] == [set(np.flatnonzero(groups == query)) for query in queries]
    scores = rng.integers(0, levels, (25, 40)).astype(np.float32)
    found = rank(scores, np.zeros((25, 40), bool), own, ties=ties)
    assert found.pair_ranks.tolist() == [literal_ranks(s, o, ties) for s, o in zip(scores, own, strict=True)]
    open_ = [
        any(s[item] in s[o[o >= 0]] for item in range(40) if item not in o) for s, o in zip(scores, own, strict=True)
    ]
    assert found.tied.tolist() == open_


def test_half_and_integer_scores_are_ranked():
    relevance = np.array([[False, True, False]])
    for dtype in (np.float16, np.int64, bool):
        assert average_precision(np.array([[0, 1, 0]], dtype), relevance).tolist() == [1]


def test_scores_that_only_double_precision_tells_apart_are_no_ties():
    relevance = np.eye(3, dtype=bool)
    for scores in (1 + 1e-12 * np.arange(3), 2**24 + np.arange(3)):
        rows = np.tile(scores, (3, 1))
        assert average_precision(rows, relevance).tolist() == [1 / 3, 1 / 2, 1]
        assert not rank(rows, relevance).tied.any()


def test_scores_that_differ_in_their_last_bit_are_no_ties():
    more = np.nextafter(np.float32(1), np.float32(2))
    scores = np.array([[1, more, 0.5, 1]], np.float32)
    for own, better in ((0, 1), (1, 0)):
        assert rank(scores[:, :2], np.zeros((1, 2), bool), np.array([own])).pair_rank.tolist() == [better + 1]
    assert rank(scores, np.array([[1, 0, 0, 1]])).tied.tolist() == [False], "equal scores are of equal gain"


def test_scores_of_any_size_are_ranked_where_only_gains_are_wanted():
    """Distances to the power of two, negated: below -2, and few above."""
    scores = -(np.random.default_rng(8).normal(size=(20, 90)) ** 2).astype(np.float32) * 3
    gains = np.random.default_rng(9).integers(0, 3, scores.shape)
    order = np.argsort(-scores, axis=1)
    for own in (gains > 1, gains):
        assert np.array_equal(rank(scores, own, top=0).gains, np.take_along_axis(own, order, axis=1))
        assert np.array_equal(rank(scores / 100, own, top=0).gains, np.take_along_axis(own, order, axis=1))


def test_items_of_equal_scores_stand_as_they_always_have():
    """Figures that people have would no longer be those of their scores."""
    assert tie_order(10).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_refused_with_its_place(dtype):
    scores = np.ones((3, 4), dtype)
    scores[1, 2] = np.nan
    with pytest.raises(UserError, match=r"row 1 .* row 2 is NaN"):
        average_precision(scores, np.ones((3, 4), bool))
    with pytest.raises(UserError, match="NaN"):
        paired_ranks(scores, np.arange(3))


def test_arguments_that_cannot_be_ranked_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="differ in shape"):
        rank(np.ones((2, 3)), np.ones((2, 4), bool))
    with pytest.raises(UserError, match="gains from -1"):
        rank(np.ones((1, 1)), np.array([[-1]]))
    monkeypatch.setattr(ranking, "MAX_GALLERY", 3)
    assert rank(np.ones((1, 3)), np.ones((1, 3), bool)).size == 3
    with pytest.raises(UserError, match="4 items"):
        rank(np.ones((1, 4)), np.ones((1, 4), bool))


@pytest.mark.parametrize("ties", ["fixed", "pessimistic", "optimistic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_shared_labels_than_a_byte_holds(dtype, ties):
    """Gains of which 255 times as many are shared: the same order, and the gains themselves."""
    scores, gains, own = coarse_scores()
    few, many = (rank(scores.astype(dtype), g, own, ties=ties) for g in (gains, gains * 255))
    assert np.array_equal(many.gains, few.gains.astype(int) * 255)
    assert all(np.array_equal(getattr(many, part), getattr(few, part)) for part in ("tied", "top", "pair_ranks"))
    shared = np.array([[0, 70_000, 256]])
    assert rank(np.array([[3.0, 1.0, 2.0]], dtype), shared, ties=ties).gains.tolist() == [[0, 256, 70_000]]
    assert rank(np.array([[3.0, 1.0, 2.0]], dtype), shared // 256 % 2 * 256, ties=ties).gains.max() == 256


def test_arguments_are_left_as_they_were(random):
    scores, relevance = random[0].astype(np.float32), random[1]
    before = scores.copy(), relevance.copy()
    rank(scores, relevance, np.arange(30))
    assert np.array_equal(scores, before[0])
    assert np.array_equal(relevance, before[1])


def coarse_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    scores = rng.integers(-9, 9, (25, 80)).astype(np.float32)
    scores[0, :4] = np.inf, -np.inf, 0.0, -0.0
    return scores, rng.integers(0, 3, (25, 80)), rng.integers(-1, 80, 25)


@pytest.mark.parametrize("depth", [0, 1, 7, 50, 79, 80, 81])
@pytest.mark.parametrize("ties", ["fixed", "pessimistic", "optimistic"])
@pytest.mark.parametrize("kind", ["coarse", "cosines", "float64", "many labels"])
def test_the_first_ranks_alone_are_those_of_the_whole_order(kind, ties, depth):
    scores, gains, own = coarse_scores()
    if kind == "cosines":  # the narrow keys
        scores, gains = np.round(np.random.default_rng(2).uniform(-1, 1, scores.shape), 2).astype(np.float32), gains > 1
    scores = scores.astype(np.float64) if kind == "float64" else scores
    gains = gains * 200 if kind == "many labels" else gains
    top = 0 if kind == "cosines" or depth == 0 else min(depth, 10)
    whole, first = rank(scores, gains, own, top, ties), rank(scores, gains, own, top, ties, depth)
    assert first.gains.tolist() == whole.gains[:, :depth].tolist()
    for part in ("top", "relevant", "pair_ranks", "size"):
        assert np.array_equal(getattr(first, part), getattr(whole, part)), part
    low, high = (rank(scores, gains, own, 0, bound).gains[:, :depth] for bound in ("pessimistic", "optimistic"))
    open_ = (low != high).any(axis=1)
    assert first.tied[open_].all()


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
@pytest.mark.parametrize("levels", [1, 3, 60, 10**6])
def test_some_rows_by_every_way_to_resolve_ties_are_those_of_a_literal_order(levels, share):
    """Gains of three sizes; levels: how many scores there are, so how many ties."""
    rng = np.random.default_rng(7)
    scores = (rng.integers(0, levels, (12, 300)) / levels - 0.5).astype(np.float32)
    gains = np.where(rng.random(scores.shape) < share, rng.integers(1, 4, scores.shape), 0)
    gains[3] = 0
    own, some = rng.integers(-1, 300, (12, 2)), np.array([0, 3, 4, 11])
    ranked = Ranked(scores, gains, own, top=10)
    place = {"fixed": tie_order(300), "pessimistic": gains, "optimistic": -gains}
    for ties, places in place.items():
        order = np.lexsort((np.broadcast_to(places, scores.shape), -scores), axis=1)
        found, of_some = ranked.by(ties), ranked.by(ties, some)
        wanted = np.take_along_axis(gains, order, axis=1)
        assert np.array_equal(found.gains, wanted)
        assert np.array_equal(found.hits()[0], np.flatnonzero(wanted))
        assert np.array_equal(of_some.hits()[0], np.flatnonzero(wanted[some]))
        assert np.array_equal(found.hits(50)[0], np.flatnonzero(wanted[:, :50]))
        assert np.array_equal(found.top, order[:, : 10 if ties == "fixed" else 0])
        assert found.relevant.tolist() == np.count_nonzero(gains, axis=1).tolist()
        for part in ("gains", "tied", "top", "relevant", "pair_ranks"):
            assert np.array_equal(getattr(of_some, part), getattr(found, part)[some]), part
    low, high = (ranked.by(ties).gains for ties in ("pessimistic", "optimistic"))
    assert Ranked(scores, gains).by().tied.tolist() == (low != high).any(axis=1).tolist()


@pytest.mark.parametrize(("levels", "by_tags"), [(1, False), (3, False), (10**6, True)])
def test_scores_of_few_values_are_not_sorted_by_tags(monkeypatch, levels, by_tags):
    monkeypatch.setattr(ranking, "LARGE_GALLERY", -1)
    monkeypatch.setattr(tagged_sort, "FEW", 8)
    rng = np.random.default_rng(3)
    scores = (rng.integers(0, levels, (4, 500)) / levels).astype(np.float32)
    assert (Ranked(scores, rng.random(scores.shape) < 0.1).tagged is not None) == by_tags
