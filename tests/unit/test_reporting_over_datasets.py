"""Methods over data sets: Friedman's and Nemenyi's tests, and the critical-difference diagram."""

from itertools import permutations, product

import matplotlib
import numpy as np
import pytest
from scipy.stats import friedmanchisquare, studentized_range

from cmr.reporting import drawing, over_datasets
from cmr.reporting.headline import Cell
from cmr.reporting.pivot import Line, Pivot


def pivot_of(values: list[list[float]], datasets: list[str] | None = None, higher_is_better: bool = True) -> Pivot:
    """Of values (methods, columns)."""
    columns = tuple(f"column{number}" for number in range(len(values[0])))
    lines = tuple(
        Line(f"m{number}", {column: Cell(value) for column, value in zip(columns, row, strict=True)}, float(number))
        for number, row in enumerate(values)
    )
    return Pivot("map", columns, tuple(datasets or columns), higher_is_better, lines)


def random_values(methods: int, datasets: int, gap: float) -> list[list[float]]:
    rng = np.random.default_rng(0)
    return [[float(-gap * method + rng.normal()) for _ in range(datasets)] for method in range(methods)]


def test_p_values_of_few_data_sets_are_those_of_all_permutations() -> None:
    values = [[0.9, 0.8, 0.7], [0.5, 0.6, 0.8], [0.1, 0.2, 0.3]]
    ranks = [[1, 2, 3], [1, 2, 3], [2, 1, 3]]
    everything = [np.mean(order, axis=0) for order in product(permutations([1, 2, 3]), repeat=3)]
    spread = [np.ptp(means) for means in everything]
    squares = [np.var(means) for means in everything]
    found = over_datasets.compare(pivot_of(values))
    assert found.methods == ("m0", "m1", "m2")
    assert found.ranks == pytest.approx(np.mean(ranks, axis=0))
    assert found.p == pytest.approx(np.mean([value > np.var(found.ranks) - 1e-9 for value in squares]))
    assert over_datasets.critical_difference(np.array(spread)) == min(
        value for value in spread if np.mean([other >= value - 1e-9 for other in spread]) < 0.05
    )


def test_of_many_data_sets_they_are_near_the_usual_approximations() -> None:
    values = random_values(methods=5, datasets=40, gap=0.15)
    found = over_datasets.compare(pivot_of(values))
    nemenyi = studentized_range.ppf(0.95, 5, np.inf) / np.sqrt(2) * np.sqrt(5 * 6 / (6 * 40))
    assert found.critical == pytest.approx(nemenyi, abs=1 / 20)
    assert 0.001 < found.p < 0.05
    assert found.p == pytest.approx(friedmanchisquare(*values).pvalue, abs=0.005)


def test_two_methods_and_four_data_sets_that_agree_show_nothing() -> None:
    found = over_datasets.compare(pivot_of([[0.9] * 4, [0.1] * 4]))
    assert (found.p, found.critical, found.groups) == (2 / 16, None, ((0, 1),))
    assert found.sentences[-1].endswith("that takes 6 at least.")
    six = over_datasets.compare(pivot_of([[0.9] * 6, [0.1] * 6]))
    assert (six.p, six.critical, six.groups) == (2 / 64, 1.0, ())
    assert six.sentences[-2:] == [
        "The other is significantly worse.",
        "Ranks 1.00 apart differ significantly (Nemenyi, p < 0.05).",
    ]


@pytest.mark.parametrize("methods", [2, 3, 4, 5])
def test_fewer_data_sets_than_are_needed_tell_no_two_methods_apart(methods: int) -> None:
    needed = over_datasets.datasets_needed(methods)
    for datasets in (needed - 1, needed):
        values = [[float(-method)] * datasets for method in range(methods)]
        if datasets > 1:
            found = over_datasets.compare(pivot_of(values))
            assert (found.critical is not None) == (datasets == needed)


def test_of_methods_that_rank_by_chance_no_two_are_told_apart() -> None:
    found = over_datasets.compare(pivot_of(random_values(methods=4, datasets=12, gap=0)))
    assert found.p >= 0.05
    assert (found.critical, found.groups) == (None, ((0, 3),))
    assert found.sentences[-1] == "No two methods can be told apart by their ranks."


def test_a_spread_that_exactly_one_of_twenty_reaches_is_not_rare_enough() -> None:
    assert over_datasets.critical_difference(np.arange(20.0)) is None
    assert over_datasets.critical_difference(np.arange(21.0)) == 20


@pytest.mark.parametrize(("methods", "datasets"), [(3, 3), (3, 4), (3, 5), (4, 3)])
def test_the_critical_difference_is_the_least_rare_spread_of_all_orders(methods: int, datasets: int) -> None:
    """In whole numbers, sums of ranks: means of one sum may differ in their last digit."""
    orders = [np.array(sums) for sums in permutations(range(1, methods + 1))]
    totals = np.array([[0] * methods])
    for _ in range(datasets):
        totals = np.concatenate([totals + order for order in orders])
    spread = np.ptp(totals, axis=1)
    rare = [value for value in np.unique(spread) if np.count_nonzero(spread >= value) < 0.05 * len(spread)]
    found = over_datasets.compare(pivot_of([[float(-method)] * datasets for method in range(methods)]))
    assert found.critical == pytest.approx(rare[0] / datasets)


def test_a_method_that_a_data_set_lacks_is_not_compared() -> None:
    given = pivot_of([[0.9, 0.8], [0.5, 0.6], [0.1, 0.2]])
    lacking = Line("m3", {"column1": Cell(1.0)}, None)
    found = over_datasets.compare(Pivot("map", given.columns, given.datasets, True, (*given.lines, lacking)))
    assert found.methods == ("m0", "m1", "m2")
    assert over_datasets.compare(Pivot("map", given.columns, given.datasets, True, (given.lines[0], lacking))) is None


def test_the_best_is_not_said_to_be_level_with_a_group_that_it_is_not_in() -> None:
    datasets = tuple(f"d{number}" for number in range(9))
    found = over_datasets.Ranked("map", datasets, ("a", "b", "c"), (1.0, 2.4, 2.6), 0.001, 1.1, ((1, 2),))
    assert "All 2 others are significantly worse." in found.sentences


def test_groups_are_the_largest_whose_ends_are_near() -> None:
    ranks = [1.0, 1.5, 2.9, 3.0, 6.0]
    assert over_datasets.groups(ranks, 2.0) == ((0, 2), (1, 3))
    assert over_datasets.groups(ranks, 0.4) == ((2, 3),)
    assert over_datasets.groups(ranks, None) == ((0, 4),)
    assert over_datasets.groups([1.0, 3.0], 2.0) == (), "as far apart as the critical difference is far enough"


def test_ties_share_ranks_and_less_may_be_better() -> None:
    found = over_datasets.compare(pivot_of([[0.3, 1.0], [0.1 + 0.2, 2.0], [3.0, 3.0]], higher_is_better=False))
    assert dict(zip(found.methods, found.ranks, strict=True)) == {"m0": 1.25, "m1": 1.75, "m2": 3.0}


def test_a_data_set_of_several_protocols_counts_once_with_their_mean() -> None:
    values = [[0.5, 0.5, 0.1], [0.6, 0.0, 0.9]]
    found = over_datasets.compare(pivot_of(values, ["a", "a", "b"]))
    assert found.datasets == ("a", "b")
    assert dict(zip(found.methods, found.ranks, strict=True)) == {"m0": 1.5, "m1": 1.5}


def test_nothing_is_compared_over_one_data_set_or_of_one_method() -> None:
    assert over_datasets.compare(pivot_of([[0.5, 0.4], [0.3, 0.2]], ["a", "a"])) is None
    assert over_datasets.compare(pivot_of([[0.5, 0.4]])) is None


def test_the_diagram_names_all_methods_within_its_edges() -> None:
    found = over_datasets.compare(pivot_of(random_values(methods=9, datasets=6, gap=0.8)))
    figure = over_datasets.diagram(found)
    assert found.critical is not None
    for width in (drawing.COLUMN, drawing.PAGE):
        with matplotlib.rc_context(drawing.STYLE):
            canvas = drawing._canvas(figure, width)
            canvas.draw_without_rendering()
        texts = {text.get_text(): text.get_window_extent() for text in canvas.axes[0].texts}
        for name, rank in zip(found.methods, found.ranks, strict=True):
            box = next(box for text, box in texts.items() if name in text.split() and f"{rank:.2f}" in text.split())
            assert 0 <= box.x0 < box.x1 <= canvas.bbox.width
        assert f"critical difference {found.critical:.2f}" in texts
    assert set(drawing.static(figure)) == {"pdf", "wide.pdf", "svg"}


def test_of_very_many_methods_the_diagram_shows_the_best() -> None:
    figure = over_datasets.diagram(over_datasets.compare(pivot_of(random_values(40, 3, 1.0))))
    assert len(figure.rows) == 30
    assert "The 30 best of 40." in figure.note
    assert all(0 <= first < last < 30 for first, last in figure.groups)
    assert len({last for _, last in figure.groups}) == len(figure.groups)
