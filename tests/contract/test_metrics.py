"""What every metric promises, over the registry: a new metric file is tested without more."""

import inspect
from dataclasses import fields
from itertools import permutations

import numpy as np
import pytest

from cmr import registry
from cmr.errors import UserError
from cmr.metrics import base
from cmr.metrics.configured import ConfiguredMetric
from cmr.metrics.ranking import LARGE_GALLERY, TOP, rank
from own_plugins import own_metric

NAMES = registry.names("metrics")
NUMBERS = [name for name in NAMES if registry.info("metrics", name).gives == "number"]
CURVES = [name for name in NAMES if registry.info("metrics", name).gives == "curve"]
CHANCE = [name for name in NUMBERS if hasattr(registry.module("metrics", name), "chance")]
QUERIES, GALLERY = 40, 60


def example(seed: int = 0, signal: float = 0.0, queries: int = QUERIES):
    """Scores, shared labels and own pairs; with ``signal``, scores that follow the labels and the pairs."""
    rng = np.random.default_rng(seed)
    gains, own = rng.integers(0, 3, (queries, GALLERY)), np.arange(queries) % GALLERY
    target = gains.astype(float)
    target[np.arange(queries), own] += 5
    return rng.standard_normal((queries, GALLERY)) + signal * target, gains, own


def default(name: str):
    return registry.module("metrics", name), registry.params_model("metrics", name)()


def values(name: str, ranking: base.Ranking) -> np.ndarray:
    """A value a query, a curve's ordinates, or the gallery's number."""
    module, params = default(name)
    found = module.compute(ranking, params)
    gives = registry.info("metrics", name).gives
    if gives == "gallery":
        return np.array(module.summary(found, ranking.gains.shape[1]))
    return found[1] if gives == "curve" else found


@pytest.mark.parametrize("name", NAMES)
def test_it_is_documented_and_follows_the_contract(name):
    info, module = registry.info("metrics", name), registry.module("metrics", name)
    assert info.range
    assert module.__doc__
    assert "Tie rule" in module.__doc__
    assert list(inspect.signature(module.compute).parameters) == ["ranking", "params"]
    assert (info.gives == "curve") == bool(info.x and info.y)
    assert (info.gives != "gallery") or hasattr(module, "summary")
    assert all(field.description for field in registry.params_model("metrics", name).model_fields.values())


SETTINGS = [{}, {"at": 3}, {"at": 3, "normalise": "relevant"}, {"k": 3}, {"ks": [2, 4]}]
SET = [(n, p) for n in NUMBERS for p in SETTINGS if p.keys() <= registry.params_model("metrics", n).model_fields.keys()]


@pytest.mark.parametrize(("name", "params"), SET)
@pytest.mark.parametrize("seed", range(20, 40))  # in some, one more relevant item inside a cut lowers the average
def test_the_bounds_are_the_worst_and_the_best_of_all_orders_of_tied_items(name, params, seed):
    rng = np.random.default_rng(seed)
    scores, gains = rng.integers(0, 3, (1, 6)).astype(np.float32), rng.integers(0, 3, (1, 6))
    orders = np.array(list(permutations(range(6))))
    metric = ConfiguredMetric.from_entry({"id": name, "metric": name, "params": params})
    pair = rng.permutation(6)[:1]

    def values(ranking: base.Ranking) -> list[float]:
        return metric.module.compute(ranking, metric.params).tolist()

    # a query for each order of the gallery, by scores that differ by less than the tied ones do from others
    of_orders = values(rank(scores + 0.1 * orders, gains.repeat(len(orders), axis=0), pair.repeat(len(orders))))
    worst, best = (rank(scores, gains, pair, ties=ties) for ties in ("pessimistic", "optimistic"))
    bounds = [float(bound[0]) for bound in metric.bounds(worst, best)]
    assert sorted(bounds) == pytest.approx([min(of_orders), max(of_orders)])
    assert min(of_orders) - 1e-12 <= values(rank(scores, gains, pair))[0] <= max(of_orders) + 1e-12


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(registry.module("metrics", name), "depth")])
@pytest.mark.parametrize("cut", [3, 10, 1000])
def test_it_needs_no_more_results_than_it_says(name, cut):
    module, model = registry.module("metrics", name), registry.params_model("metrics", name)
    cuts = {"at": cut, "k": min(cut, TOP), "scopes": [2, cut], "ks": [1, cut]}
    params = model(**{key: value for key, value in cuts.items() if key in model.model_fields})
    whole, first = (rank(*example(), top=TOP, depth=depth) for depth in (None, module.depth(params)))
    assert first.gains.shape[1] == min(max(module.depth(params), TOP), GALLERY)
    for found, wanted in zip(module.compute(first, params), module.compute(whole, params), strict=True):
        assert np.array_equal(found, wanted, equal_nan=True)
    if hasattr(module, "chance"):
        assert np.array_equal(module.chance(first, params), module.chance(whole, params), equal_nan=True)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_has_one_finite_value_a_query(name):
    found = values(name, rank(*example()))
    assert found.shape == (QUERIES,)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_has_as_many_abscissae_as_ordinates_in_rising_order(name):
    module, params = default(name)
    x, y = module.compute(rank(*example()), params)
    assert y.shape == (QUERIES, x.shape[-1])
    assert x.ndim == 1 or x.shape == y.shape
    assert (np.diff(x, axis=-1) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_the_range(name):
    low, high = registry.info("metrics", name).range.strip("[]()").split(", ")
    low, high = float(low.replace("∞", "inf")), float(high.replace("∞", "inf").replace("gallery size", str(GALLERY)))
    for ties in ("fixed", "pessimistic", "optimistic"):
        scores, gains, own = example()
        ranking = rank(np.round(scores), gains, own, ties=ties)
        if registry.info("metrics", name).gives == "gallery" and ties != "fixed":
            continue
        found = values(name, ranking)
        assert found.min() >= low
        assert found.max() <= high


@pytest.mark.parametrize("name", NUMBERS + CURVES)
def test_scores_that_follow_the_labels_are_better_than_random_ones(name):
    random, good = (values(name, rank(*example(signal=s))).mean() for s in (0, 9))
    assert good > random + 0.05 if registry.info("metrics", name).higher_is_better else good < random - 0.05


@pytest.mark.parametrize("name", NUMBERS + CURVES)
def test_each_query_is_on_its_own(name):
    scores, gains, own = example()
    order = np.random.default_rng(1).permutation(QUERIES)[:17]
    whole = values(name, rank(scores, gains, own))
    assert values(name, rank(scores[order], gains[order], own[order])).tolist() == whole[order].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_gallery_does_not_matter_without_ties(name):
    scores, gains, own = example()
    order = np.random.default_rng(1).permutation(GALLERY)
    moved = rank(scores[:, order], gains[:, order], np.argsort(order)[own])
    assert values(name, moved) == pytest.approx(values(name, rank(scores, gains, own)))


@pytest.mark.parametrize("name", NUMBERS)
def test_bounds_enclose_the_value_of_tied_scores(name):
    scores, gains, own = example()
    low, value, high = (
        values(name, rank(np.round(scores), gains, own, ties=ties)) for ties in ("pessimistic", "fixed", "optimistic")
    )
    sign = 1 if registry.info("metrics", name).higher_is_better else -1
    assert (sign * low <= sign * value + 1e-12).all()
    assert (sign * value <= sign * high + 1e-12).all()
    assert low.mean() != high.mean()


@pytest.mark.parametrize("name", CHANCE)
def test_chance_is_the_mean_over_random_scores(name):
    module, params = default(name)
    gains = np.tile(np.random.default_rng(2).integers(0, 3, GALLERY), (4000, 1))
    ranking = rank(np.random.default_rng(3).standard_normal(gains.shape), gains, np.zeros(4000, int))
    found = module.compute(ranking, params)
    if hasattr(module, "chance_summary"):
        chance, wanted = module.chance_summary(module.chance(ranking, params), GALLERY), module.summary(found, GALLERY)
    else:
        chance, wanted = module.chance(ranking, params).mean(), found.mean()
    assert chance == pytest.approx(wanted, abs=5 * found.std() / np.sqrt(4000))


def test_the_ranking_keeps_as_many_results_as_metrics_need():
    limits = registry.params_model("metrics", "hubness").model_fields["k"].metadata
    assert max(getattr(limit, "le", 0) for limit in limits) == TOP


@pytest.mark.parametrize("gallery", [GALLERY, LARGE_GALLERY + 1])
@pytest.mark.parametrize("ties", ["fixed", "pessimistic", "optimistic"])
@pytest.mark.parametrize("depth", [None, 0, 5])
def test_what_metrics_share_is_read_only(gallery, ties, depth):
    scores = np.random.default_rng(0).standard_normal((4, gallery)).astype(np.float32)
    ranking = rank(scores, scores > 1, np.arange(4), ties=ties, depth=depth)
    arrays = [value for field in fields(ranking) if isinstance(value := getattr(ranking, field.name), np.ndarray)]
    assert len(arrays) >= 5
    assert not any(array.flags.writeable for array in arrays)


def test_a_metric_that_changes_what_metrics_share_is_named_with_its_line(tmp_path):
    """Else it would change the metrics that are computed after it."""
    writes = own_metric(tmp_path, "writes", "ranking.gains[:, 2:] = 0\nreturn ranking.relevance.mean(axis=1)")
    line = r"metrics/writes\.py, line \d+: ValueError: assignment destination is read-only"
    with writes as metric, pytest.raises(UserError, match=f"metric 'writes': .*{line}"):
        metric.compute(rank(*example()))


WRONG = [
    ("number", "return ranking.relevance * 1.0", r"compute gave float64 of shape \(40, 60\), expected .* \(40,\)"),
    ("number", "return np.ones(1)", r"compute gave float64 of shape \(1,\), expected real numbers of shape \(40,\)"),
    ("number", "return 0.5", r"compute gave float64 of shape \(\), expected"),
    ("number", "return None", "compute gave NoneType, expected"),
    ("number", "return [[1], [1, 2]]", "compute gave list, expected"),
    ("number", "return ranking.gains[:, 0] * 1j", "compute gave complex128 of shape"),
    (
        "number",
        "return np.full(len(ranking.gains), np.inf)",
        r"compute gave inf, expected those of its range, \[0, 1\]",
    ),
    ("number", "return np.full(len(ranking.gains), 1.5)", "compute gave 1.5, expected those of its range"),
    ("curve", "return ranking.relevance * 1.0", "compute gave ndarray, expected a pair of arrays"),
    ("curve", "return np.arange(3), ranking.relevance * 1.0", r"compute for x gave int64 of shape \(3,\), .* \(60,\)"),
    ("curve", "return np.arange(60), np.ones(60)", r"compute for y gave float64 of shape \(60,\), .* \(40, d\)"),
    ("curve", "return np.arange(60), ranking.relevance * 2.0", "compute for y gave 2.0, expected those of its range"),
    ("gallery", "return np.full((40, 2), np.inf)", "compute gave inf, expected finite numbers or NaN"),
    (
        "gallery",
        "return ranking.relevant",
        r"compute gave int64 of shape \(40,\), expected real numbers of shape \(40, d\)",
    ),
]


@pytest.mark.parametrize(("gives", "body", "message"), WRONG)
def test_what_a_metric_gives_is_checked(gives, body, message, tmp_path):
    with own_metric(tmp_path, "wrong", body, gives) as metric, pytest.raises(UserError, match=f"'wrong': {message}"):
        metric.compute(rank(*example()))


def test_a_metric_s_own_bounds_are_checked(tmp_path):
    fine, beyond = np.ones(QUERIES), np.full(QUERIES, 1.5)
    ranking = rank(*example())
    with own_metric(tmp_path, "wrong", "return ranking.relevance.mean(axis=1)") as metric:
        for found in ((fine, beyond), (beyond, fine)):
            metric.module.bounds = lambda worst, best, params, found=found: found
            with pytest.raises(
                UserError, match=r"metric 'wrong': bounds gave 1.5, expected those of its range, \[0, 1"
            ):
                metric.bounds(ranking, ranking)


def test_the_innermost_line_of_the_file_is_named(tmp_path):
    body = "def inner():\n    raise KeyError('here')\nreturn inner()"
    with own_metric(tmp_path, "fails", body) as metric:
        lines = (tmp_path / "metrics/fails.py").read_text().splitlines()
        line = next(number for number, text in enumerate(lines, 1) if "raise" in text)
        with pytest.raises(UserError, match=rf"metric 'fails': .*fails\.py, line {line}: KeyError: 'here'"):
            metric.compute(rank(*example()))


def test_a_metric_of_another_signature_is_named(tmp_path):
    wrong = own_metric(tmp_path, "one", "return 0", arguments="ranking")
    with wrong as metric, pytest.raises(UserError, match=r"metric 'one': compute: TypeError: .* takes 1 positional"):
        metric.compute(rank(*example()))


def test_queries_without_a_value_and_float32_are_taken(tmp_path):
    body = "return np.where(ranking.relevant > 40, np.nan, np.nextafter(np.float32(1), np.float32(2)))"
    with own_metric(tmp_path, "single", body) as metric:
        assert metric.compute(rank(*example())).shape == (QUERIES,)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_package_s_own_give_passes_the_check(name):
    metric = ConfiguredMetric.from_entry({"id": name, "metric": name, "params": {}})
    scores, gains, own = example()
    fixed, worst, best = (rank(np.round(scores), gains, own, TOP, t) for t in ("fixed", "pessimistic", "optimistic"))
    metric.compute(fixed)
    if metric.info.gives == "number":
        metric.bounds(worst, best)
