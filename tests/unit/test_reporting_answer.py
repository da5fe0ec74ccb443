"""What is said first: the best, the next, what lies between them, and each two methods against each other."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from cmr import compare
from cmr.data import Items
from cmr.metrics.crossed import Difference, Estimate
from cmr.reporting import answer, headline, significance, versus
from cmr.reporting.collect import Collection, load
from cmr.reporting.gallery import Catalogue
from cmr.reporting.gallery import of_protocol as gallery_of
from cmr.reporting.pivot import pivot
from cmr.reporting.protocols import protocols
from reporting_tree import write_experiment, write_items, write_run, write_tree


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return load(write_tree(tmp_path_factory.mktemp("answer") / "results", seeds=3))


def answer_of(collection: Collection) -> answer.Answer:
    rows = collection.united_rows()
    (found,) = answer.answers(headline.blocks(protocols(collection), rows, significance.weigh(collection, rows)))
    return found


def test_the_best_and_the_next_are_those_of_the_table(collection: Collection) -> None:
    found = answer_of(collection)
    averages = {
        r["id"]: r["mean"] for r in collection.united_rows() if (r["metric"], r["query"]) == ("map@all", "average")
    }
    first, second, _ = sorted(averages, key=lambda name: -averages[name])
    assert (found.best.name, found.runner_up.name) == (first, second)
    assert [line.name for line in found.block.lines] == [*sorted(averages, key=lambda n: -averages[n]), "chance"]
    assert found.sentences[0].startswith(f"map@all {averages[first]:.3f} [")
    assert found.sentences[0].endswith("; chance 0.250.")
    assert found.sentences[1].startswith(f"{averages[first] - averages[second]:.3f} [")
    assert f"above {second}, p " in found.sentences[1]


def block_of(*lines: headline.Line) -> headline.Block:
    class Protocol:
        key = "d/s/i"

    return headline.Block(Protocol(), "map", "Map", {}, ("average",), lines)


def line(name: str, mean: float, mark: str, difference: tuple | None = None, p_holm: float | None = None, seeds=3):
    tested = difference and Difference(difference[0], difference[1:3], "queries", difference[3])
    evidence = significance.Evidence(
        mark,
        Estimate(mean, (mean - 0.02, mean + 0.02), "queries"),
        tested,
        p_holm,
        one_seed=seeds == 1 and mark == significance.UNTESTED,
        reason=significance.FEW_SEEDS if mark == significance.UNTESTED else "",
    )
    return headline.Line(name, "measured", {"average": headline.Cell(mean, None, evidence)}, seeds)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            line("b", 0.581, significance.NOT_WORSE, (-0.010, -0.020, 0.0004, 0.045), 0.13),
            "0.010 [−0.000, 0.020] above b, p = 0.045, corrected 0.13, 3 seeds: the two cannot be told apart.",
        ),
        (
            line("b", 0.491, significance.WORSE, (-0.100, -0.130, -0.070, 1e-9), 3e-9, seeds=1),
            "0.100 [0.070, 0.130] above b, p < 0.001, corrected < 0.001, deterministic: a significant difference.",
        ),
        (
            line("b", 0.581, significance.UNTESTED, seeds=2),
            "0.010 above b; not tested: too few seeds.",
        ),
    ],
)
def test_the_difference_is_said_with_its_interval_and_both_p(other: headline.Line, told: str) -> None:
    (found,) = answer.answers([block_of(line("a", 0.591, significance.BEST), other)])
    assert found.sentences == ("map 0.591 [0.571, 0.611], 3 seeds.", told)


@pytest.mark.parametrize(
    ("p", "form", "told"),
    [
        (0.1349, ".2g", "0.13"),
        (0.0009, ".2g", "< 0.001"),
        (0.0496, ".2g", "< 0.05"),
        (0.0496, ".3f", "< 0.05"),
        (0.0494, ".3f", "0.049"),
        (0.05, ".3f", "0.050"),
    ],
)
def test_a_p_below_the_level_never_shows_as_the_level(p: float, form: str, told: str) -> None:
    assert significance.p_in_words(p, form) == told


def test_where_less_is_better_the_best_lies_below() -> None:
    other = line("b", 9.0, significance.WORSE, (4.0, 3.0, 5.0, 0.002), 0.002)
    (found,) = answer.answers([block_of(line("a", 5.0, significance.BEST), other)])
    assert found.sentences[1].startswith("4.000 [3.000, 5.000] below b, p = 0.002")


def test_all_that_cannot_be_told_from_the_best_are_counted() -> None:
    difference = (-0.01, -0.03, 0.01, 0.5)
    others = [line(name, 0.5, significance.NOT_WORSE, difference, 1.0) for name in "bcde"]
    others += [
        line("f", 0.4, significance.UNTESTED),
        line("g", 0.3, significance.WORSE, (-0.3, -0.4, -0.2, 1e-5), 1e-4),
    ]
    (found,) = answer.answers([block_of(line("a", 0.6, significance.BEST), *others)])
    assert found.sentences[2] == "4 of 6 others cannot be told from it: b, c, d, …; not tested: f."


@pytest.mark.parametrize(
    ("others", "level", "untested", "told"),
    [
        (2, "", "bc", "None of 2 others was tested: b, c."),
        (2, "", "", "All 2 others are significantly worse."),
        (1, "", "", "The other is significantly worse."),
        (2, "", "c", "1 of 2 others is significantly worse; not tested: c."),
        (4, "", "bc", "2 of 4 others are significantly worse; not tested: b, c."),
        (3, "b", "", "1 of 3 others cannot be told from it: b."),
    ],
)
def test_what_was_tested_and_what_it_said_of_the_others_is_told(others: int, level: str, untested: str, told: str):
    assert answer.standing(others, level, untested) == told


def test_one_seed_is_said_of_a_stochastic_method_alone(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=["cca", "dla"], seeds=1)
    assert ", one seed; " in answer_of(load(results)).sentences[0]
    results = write_tree(tmp_path / "others", methods=["cca", "ridge"], seeds=1)
    assert ", deterministic; " in answer_of(load(results)).sentences[0]


def test_what_equals_the_best_is_named_before_the_next() -> None:
    worse = line("c", 0.4, significance.WORSE, (-0.2, -0.3, -0.1, 1e-5), 1e-4)
    (found,) = answer.answers([block_of(*(line(name, 0.6, significance.BEST) for name in "ab"), worse)])
    assert found.runner_up == worse
    assert found.sentences[1] == "Equal: b."
    assert found.sentences[2].startswith("0.200 [0.100, 0.300] above c")


def test_methods_of_one_seed_each_are_not_said_to_be_told_apart() -> None:
    others = [line(name, 0.5, significance.UNTESTED, seeds=1) for name in "bc"]
    (found,) = answer.answers([block_of(line("a", 0.6, significance.BEST), *others)])
    assert found.sentences[2] == "None of 2 others was tested: b, c."


def test_intervals_show_each_method_with_its_seeds_and_chance(collection: Collection) -> None:
    found = answer_of(collection)
    figure = answer.intervals(found)
    assert figure.rows == [line.name for line in found.block.lines if line.kind == "measured"]
    assert figure.chance == pytest.approx(0.25)
    means = {
        figure.rows[row]: (x, *reach)
        for s in figure.series[:-1]
        for x, row, *reach in zip(s.x, s.y, s.below, s.error, strict=True)
    }
    for one in found.block.lines[:-1]:
        cell = one.cells["average"]
        assert means[one.name] == (
            pytest.approx(cell.mean, abs=1e-5),
            pytest.approx(cell.mean - cell.evidence.mean.ci95[0]),
            pytest.approx(cell.evidence.mean.ci95[1] - cell.mean),
        )
    dots = figure.series[-1]
    runs = sorted((r for r in collection.runs if r.variant == "dla"), key=lambda run: run.seed)
    assert dots.x == pytest.approx([run.metrics["average"]["map@all"] for run in runs], abs=1e-5)
    assert {figure.rows[row] for row in dots.y} == {"dla"}


def test_each_two_methods_are_compared_as_by_the_command(collection: Collection) -> None:
    (protocol,) = protocols(collection)
    catalogue = Catalogue(protocol.items, Path(), Path())
    shown = gallery_of(protocol, catalogue)
    found = versus.of_protocol(protocol, [d["queries"] for d in shown["directions"]], catalogue)
    json.dumps(found, allow_nan=False)
    assert found["methods"] == shown["methods"]
    runs = {name: [r for r in collection.runs if r.variant == name] for name in found["methods"]}
    for place, direction in enumerate(protocol.directions):
        told = found["directions"][place]
        ids = catalogue.ids(shown["directions"][place]["queries"])
        for pair, (a, b) in zip(told["pairs"], combinations(range(3), 2), strict=True):
            first, second = found["methods"][a], found["methods"][b]
            compared = compare.compare(runs[first], runs[second], "map@all", worst=100)
            (wanted,) = [c for c in compared if (c.query, c.gallery) == direction]
            assert pair["difference"] == pytest.approx(wanted.difference.value, abs=1e-6)
            assert pair["ci95"] == pytest.approx(wanted.difference.ci95, abs=1e-6)
            assert pair["p"] == pytest.approx(wanted.difference.p_value, rel=1e-2)
            assert pair["covers"] == wanted.difference.covers
            assert [told["means"][a], told["means"][b]] == pytest.approx([wanted.a, wanted.b], abs=1e-6)
            gaps = np.subtract(told["classes"][a], told["classes"][b])
            assert dict(zip(protocol.items.classes, gaps, strict=True)) == pytest.approx(wanted.per_class, abs=1e-5)
            values = {q.id: (q.a, q.b) for q in wanted.queries}
            for row, item in enumerate(ids):
                if item in values:
                    assert (told["values"][a][row], told["values"][b][row]) == pytest.approx(values[item], abs=1e-4)
            wins = [
                sum(x > y + versus.TIE for x, y in values.values()),
                sum(y > x + versus.TIE for x, y in values.values()),
            ]
            assert pair["better"] == wins


def test_a_table_over_protocols_ranks_the_methods_that_all_of_them_have(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", ["one", "two"], ["cca", "ridge"], seeds=1)
    items = write_items(results, "three", 48)
    write_experiment(
        results, "more-b", [write_run(results, items, "three", "lite0+bert", m, 0) for m in ("cca", "ridge", "dla")]
    )
    collection = load(results)
    rows = collection.united_rows()
    blocks = headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))
    found = pivot(blocks)
    assert found.columns == ("one", "two", "three")
    mean_of = {(r["dataset"], r["id"]): r["mean"] for r in rows if (r["metric"], r["query"]) == ("map@all", "average")}
    for line in found.lines:
        assert {column: cell.mean for column, cell in line.cells.items()} == {
            d: v for (d, m), v in mean_of.items() if m == line.name
        }
    assert [(line.name, line.rank) for line in found.lines] == [("ridge", 1.0), ("cca", 2.0), ("dla", None)]
    assert pivot([block for block in blocks if block.protocol.parts[0] == "one"]) is None


def test_equal_values_share_the_mean_of_their_ranks_and_less_may_be_better() -> None:
    class Protocol:
        def __init__(self, data: str):
            self.key, self.parts = f"{data}/s/i", [data, "s", "i"]

    def block(data: str, values: dict[str, float]) -> headline.Block:
        lines = tuple(line(name, value, significance.WORSE) for name, value in values.items())
        return headline.Block(Protocol(data), "rank", "Rank", {}, ("average",), lines, higher_is_better=False)

    found = pivot([block("x", {"a": 0.1 + 0.2, "b": 0.3, "c": 0.1}), block("y", {"a": 1.0, "b": 2.0, "c": 3.0})])
    assert {line.name: line.rank for line in found.lines} == {"a": 1.75, "b": 2.25, "c": 2.0}


def test_the_weakest_and_the_strongest_class_of_the_best_are_named(collection: Collection) -> None:
    found = answer_of(collection)
    (group,) = (g for g in found.block.protocol.groups if g.name == found.best.name)
    means = {
        name: np.mean([t["metrics"]["map@all"]["per_class"][name] for r in group.runs for t in r.metrics["tasks"]])
        for name in group.shown.metrics["tasks"][0]["metrics"]["map@all"]["per_class"]
    }
    weakest, strongest = min(means, key=means.get), max(means, key=means.get)
    assert answer.by_class(found) == (
        f"Weakest on queries of the class {weakest}, {means[weakest]:.3f}; strongest on {strongest}, "
        f"{means[strongest]:.3f}."
    )
    of_ranks = replace(found, block=replace(found.block, higher_is_better=False))
    assert answer.by_class(of_ranks).startswith(f"Weakest on queries of the class {strongest}, ")
    items = found.block.protocol.items.table.copy()
    items.at[0, "labels"] = [*items.at[0, "labels"], "another"]
    found.block.protocol.__dict__["items"] = Items(items, found.block.protocol.items.kinds)
    assert answer.by_class(found).endswith("A query of several classes counts in each.")


def test_a_line_tells_what_its_fits_cost(collection: Collection) -> None:
    found = answer_of(collection)
    runs = {run.variant: run for run in collection.runs}
    for line in found.block.lines:
        if line.kind == "measured":
            own = [run.seconds for run in collection.runs if run.method["id"] == line.name]
            assert line.seconds == pytest.approx(np.mean(own))
            assert line.memory == runs[line.name].peak_memory_mb
