import json
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib import colormaps
from plotly.graph_objects import Figure as PlotlyFigure

from cmr.metrics import precision_recall
from cmr.metrics.ranking import rank
from cmr.reporting import drawing, figures, space
from cmr.reporting.collect import Collection, Index, UnitedIndices, load
from cmr.reporting.figures import Figure, Series
from cmr.reporting.headline import blocks
from cmr.reporting.protocols import Protocol, protocols, variant_names
from cmr.reporting.runs import Run
from cmr.reporting.significance import weigh
from reporting_tree import write_experiment, write_items, write_run, write_tree

DIRECTION = ("image", "text")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return load(write_tree(tmp_path_factory.mktemp("figures") / "results", seeds=2))


@pytest.fixture(scope="module")
def protocol(collection: Collection) -> Protocol:
    (only,) = protocols(collection)
    return only


def test_curves_are_means_over_seeds(protocol: Protocol) -> None:
    figure = next(
        f for f in figures.curves(protocol) if f.name.startswith("precision_scope") and "image-to-text" in f.name
    )
    (series,) = (s for s in figure.series if s.name == "dla")
    group = next(group for group in protocol.groups if group.name == "dla")
    expected = [0.0] * len(series.y)
    for run in group.runs:
        _, y = run.tasks[DIRECTION].curves["precision_scope"]
        expected = [total + value / 2 for total, value in zip(expected, y, strict=True)]
    assert series.y == pytest.approx(expected, abs=1e-4)
    assert series.x == list(range(1, 25))


def test_long_curves_are_thinned_to_their_ends() -> None:
    assert figures.short([0.123456789]) == [0.12346]
    x = np.arange(1, 1001.0)
    seeds = [SimpleNamespace(tasks={DIRECTION: SimpleNamespace(curves={"scope": (x, y)})}) for y in (1 / x, 3 / x)]
    group = SimpleNamespace(runs=seeds, name="a", style=0)
    series = figures._curve(group, "scope", DIRECTION)
    assert len(series.x) == len(series.y) == figures.MAX_POINTS
    assert (series.x[0], series.x[-1]) == (1, 1000)
    assert 1 <= min(np.diff(series.x)) <= max(np.diff(series.x)) <= 6
    assert series.y == pytest.approx([2 / place for place in series.x], rel=1e-4)


def test_histories_are_means_over_seeds_as_far_as_all_of_them_went(tmp_path: Path) -> None:
    results = write_tree(tmp_path, methods=["dla"], seeds=2)
    folder = results / "fits/shapes/default/lite0+bert/dla"
    (folder / "0" / "history.csv").write_text("epoch,loss,validation,stage\n1,8,0.1,a\n2,4,0.3,b\n3,2,0.4,b\n4,1,,b\n")
    (folder / "1" / "history.csv").write_text("epoch,loss,validation,stage\n1,6,0.2,a\n2,2,0.5,b\n3,1,,b\n")
    (protocol,) = protocols(load(results))
    scores, losses = figures.convergence(protocol)
    assert (scores.series[0].name, scores.series[0].x) == ("dla", [1, 2, 3])
    assert scores.series[0].y[:2] == pytest.approx([0.15, 0.4])
    assert np.isnan(scores.series[0].y[2])
    assert [series.name for series in losses.series] == ["loss"]
    assert losses.series[0].y == pytest.approx([7, 3, 1.5])
    assert drawing.plotly(scores)["data"][0]["y"][2] is None


def test_log_axes_have_round_ticks_around_the_values() -> None:
    assert drawing.round_numbers([0.3, 4.0]) == [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]


def test_confusion_counts_the_classes_of_the_first_results(protocol: Protocol) -> None:
    group = protocol.groups[0]
    shares, depth = figures.confusion_shares(protocol, group, [DIRECTION])
    class_of = {i: names[0] for i, names in zip(protocol.items.ids, protocol.items.table["labels"], strict=True)}
    task, gallery = group.shown.tasks[DIRECTION], group.shown.embeddings(DIRECTION)["text"].ids
    classes = protocol.items.classes
    counts = {(q, r): 0 for q in classes for r in classes}
    for query, row in zip(task.ids, task.top, strict=True):
        for place in row:
            counts[class_of[query], class_of[gallery[place]]] += 1
    for i, query in enumerate(classes):
        total = sum(counts[query, result] for result in classes)
        assert shares[i] == pytest.approx([counts[query, result] / total for result in classes])
    assert depth == 10


def test_principal_components_are_eigenvectors_of_the_covariance() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5)) * [3, 2, 1, 0.5, 0.1]
    points, explained = space.principal_components(rows)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    for number, column in enumerate((-1, -2)):
        projected = (rows - rows.mean(axis=0)) @ vectors[:, column]
        assert np.abs(points[:, number]) == pytest.approx(np.abs(projected))
        assert explained[number] == pytest.approx(values[column] / values.sum())


def test_map_has_every_test_item_of_both_modalities_once(protocol: Protocol) -> None:
    figure = next(space.maps(protocol))
    shown = [(series.name.rpartition(", ")[2], item) for series in figure.series for item in series.items]
    assert len(shown) == len(set(shown)) == 2 * 24


def test_one_swept_parameter_is_a_line_and_two_are_a_heat_map(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    grid = [{"margin": m, "label_weight": w} for m in (0.1, 1.0) for w in (100.0, 200.0)]
    write_experiment(
        tmp_path, "grid-a", [write_run(tmp_path, items, "shapes", "lite0+bert", "dla", 0, p) for p in grid]
    )
    line = [{"regularisation": value} for value in (10.0, 0.5, 2.0)]
    write_experiment(
        tmp_path, "line-a", [write_run(tmp_path, items, "shapes", "lite0+bert", "cca", 0, p) for p in line]
    )
    collection = load(tmp_path)
    (protocol,) = protocols(collection)
    everything = list(figures.grids(protocol, collection.united_rows()))
    found = {f.kind: f for f in everything if f.title.startswith("map@all, average")}
    assert len(everything) == 6
    by_direction = [f for f in everything if f.kind == "lines" and f is not found["lines"]]
    assert [f.title.partition(", of")[0] for f in by_direction] == ["map@all, image→text", "map@all, text→image"]
    mean_of_both = np.mean([f.series[0].y for f in by_direction], axis=0)
    assert found["lines"].series[0].y == pytest.approx(mean_of_both, abs=1e-4)
    heat = found["heat"]
    assert (heat.rows, heat.columns) == (["100", "200"], ["0.1", "1"])
    assert np.isfinite(np.array(heat.heat)).all()
    assert found["lines"].series[0].x == [0.5, 2.0, 10.0]
    assert not found["lines"].log_x
    shown = [group.name for group in protocol.shown]
    assert shown == ["dla (label_weight 100, margin 0.1)"] + [f"cca (regularisation {v})" for v in ("10", "0.5", "2")]


def test_of_a_sweep_plots_show_what_is_best_on_held_out_rows(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    sweep = {value: {"regularisation": value} for value in (0.01, 0.5, 10.0, 100.0)}
    written = {v: write_run(tmp_path, items, "shapes", "lite0+bert", "cca", 0, p) for v, p in sweep.items()}
    write_experiment(tmp_path, "sweep-a", list(written.values()))
    for value, path in written.items():
        run = tmp_path / path / "run.json"
        record = json.loads(run.read_text())
        record["fits"][0]["selection"] = {
            "chosen": {"components": 5},
            "candidates": [
                {"parameters": {"components": 5}, "validation_score": 0.3 if value == 10.0 else 0.2},
                {"parameters": {"components": 9}, "validation_score": 0.1},
            ],
        }
        run.write_text(json.dumps(record))
    collection = load(tmp_path)
    (protocol,) = protocols(collection)
    assert [group.name for group in protocol.shown] == ["cca (regularisation 10)"]
    line, *_ = figures.grids(protocol, collection.united_rows())
    assert line.log_x
    assert line.series[0].x == [0.01, 0.5, 10.0, 100.0]


@pytest.mark.parametrize(("seconds", "logarithmic"), [(99.0, False), (101.0, True)])
def test_costs_start_at_zero_unless_they_span_much(tmp_path: Path, seconds: float, logarithmic: bool) -> None:
    results = write_tree(tmp_path, methods=["cca", "dla"], seeds=1)
    for method, spent in (("cca", 20.0), ("dla", seconds)):
        run = results / "runs/shapes/default/lite0+bert" / method / "0/run.json"
        record = json.loads(run.read_text())
        record["fits"][0]["usage"]["seconds"] = spent
        run.write_text(json.dumps(record))
    collection = load(results)
    (protocol,) = protocols(collection)
    figure = next(figures.cost(protocol, collection.united_rows()))
    assert figure.log_x == logarithmic
    axis = drawing.plotly(figure)["layout"]["xaxis"]
    assert axis.get("rangemode") == (None if logarithmic else "tozero")
    assert axis.get("type") == ("log" if logarithmic else None)


def test_round_numbers_are_fewer_over_many_powers_of_ten() -> None:
    assert drawing.round_numbers([30, 400]) == [10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert drawing.round_numbers([0.003, 0, 2000]) == [0.001, 0.01, 0.1, 1, 10, 100, 1000, 10000]
    assert drawing.round_numbers([1e-9, 1e9]) == [1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9]


def test_variants_are_told_apart_by_whatever_they_differ_in(collection: Collection) -> None:
    def named(first: dict, second: dict) -> list[str]:
        fit = collection.runs[0].fits[0]
        runs = []
        for variant, changed in (("cca-aaaaaa", first), ("cca-bbbbbb", second)):
            run = Run(Path(), f"runs/shapes/default/lite0+bert/{variant}/0", "")
            run.__dict__["record"] = {"fits": [fit | changed]}
            runs.append(run)
        return list(variant_names(Collection(Path(), (UnitedIndices("e", (Index("e-a", {}, tuple(runs)),)),))).values())

    coupled = [{"dictionary": {"id": "small", "dictionary": "other", "params": {"atoms": n}}} for n in (8, 64)]
    assert named(*coupled) == ["cca (dictionary atoms 8)", "cca (dictionary atoms 64)"]
    entry = collection.runs[0].fits[0]["method"]
    tuned = [{"method": entry | {"tune": tune}} for tune in ({}, {"components": [5, 10]})]
    assert named(*tuned) == ["cca", "cca (tune components)"]
    assert named({}, {}) == ["cca-aaaaaa", "cca-bbbbbb"]


def test_plots_show_the_seeds_that_were_evaluated_alike(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    default = [write_run(tmp_path, items, "shapes", "lite0+bert", "dla", seed) for seed in (3, 4)]
    options = {"map@3": {"at": 3, "normalise": "relevant"}}
    other = [write_run(tmp_path, items, "shapes", "lite0+bert", "dla", 5, digest="abc123", options=options)]
    write_experiment(tmp_path, "a-a", other, digest="abc123")
    write_experiment(tmp_path, "b-b", default)
    collection = load(tmp_path)
    (protocol,) = protocols(collection)
    assert [(run.seed, run.digest) for run in protocol.groups[0].runs] == [(3, ""), (4, "")]
    assert list(figures.of_protocol(protocol, collection.united_rows()))


def test_methods_measured_with_other_metrics_stand_in_the_table_only(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    first = write_run(tmp_path, items, "shapes", "lite0+bert", "cca", 0)
    options = {"map@3": {"at": 3, "normalise": "relevant"}}
    second = write_run(tmp_path, items, "shapes", "lite0+bert", "dla", 0, digest="abc123", options=options)
    write_experiment(tmp_path, "one-a", [first])
    write_experiment(tmp_path, "two-b", [second], digest="abc123")
    collection = load(tmp_path)
    (protocol,) = protocols(collection)
    rows = collection.united_rows()
    drawn = list(figures.of_protocol(protocol, rows))
    assert protocol.headline_metric == "map@all"
    assert {series.name for f in drawn if f.kind in ("bars", "points") for series in f.series} == {"cca"}
    assert {series.name for f in drawn if f.section == "curves" for series in f.series} == {"cca", "dla"}
    (block,) = (b for b in blocks([protocol], rows, weigh(collection, rows)) if b.metric == "map@3")
    assert [line.name for line in block.lines] == ["dla", "chance"]


def test_every_figure_is_one_that_plotly_knows(protocol: Protocol, collection: Collection) -> None:
    drawn = [*figures.of_protocol(protocol, collection.united_rows()), *space.maps(protocol)]
    assert {figure.kind for figure in drawn} == {"lines", "bars", "points", "heat", "map"}
    assert len({figure.name for figure in drawn}) == len(drawn)
    for figure in drawn:
        PlotlyFigure(drawing.plotly(figure)).to_json()


def test_the_average_of_a_class_is_that_of_its_directions(protocol: Protocol) -> None:
    there, back, average = figures.per_class(protocol)
    assert average.title == "map@all of each class, average"
    for one, other, mean in zip(there.series, back.series, average.series, strict=True):
        assert list(mean.x) == list(one.x) == list(other.x)
        assert mean.y == pytest.approx([(a + b) / 2 for a, b in zip(one.y, other.y, strict=True)], abs=1e-4)


def test_the_value_of_a_class_is_the_mean_over_seeds_and_over_directions_that_have_it(protocol: Protocol) -> None:
    group = next(group for group in protocol.groups if group.name == "dla")
    found = figures._per_class(protocol, group, DIRECTION)
    tables = [run.metrics["tasks"][0]["metrics"]["map@all"]["per_class"] for run in group.runs]
    assert tables[0] != tables[1]
    assert found == pytest.approx({name: (tables[0][name] + tables[1][name]) / 2 for name in tables[0]})
    there, back = {group: {"a": 0.1, "b": 0.2}}, {group: {"b": 0.4, "c": 0.5}}
    assert figures._mean_over_directions([there, back]) == {group: {"b": pytest.approx(0.3)}}


def test_the_sum_of_a_fits_terms_and_that_of_the_fit_it_was_chosen_by_are_drawn(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    run = write_run(tmp_path, items, "shapes", "lite0+bert", "dla", 0)
    write_experiment(tmp_path, "main-a", [run])
    history = tmp_path / run.replace("runs", "fits", 1) / "history.csv"
    history.write_text("epoch,label,triplet,choosing,validation\n1,4,2,7,0.1\n2,3,1,5,0.2\n3,,,4,0.1\n")
    (protocol,) = protocols(load(tmp_path))
    _, losses = figures.convergence(protocol)
    drawn = {series.name: series.y for series in losses.series}
    assert drawn["sum"][:2] == [6, 4]
    assert np.isnan(drawn["sum"][2])
    assert drawn["choosing"] == [7, 5, 4]
    assert "choosing: " in losses.note


@pytest.mark.parametrize("section", ["confusion", "grids"])
def test_numbers_in_cells_can_be_read_on_every_shade(section: str) -> None:
    values = np.linspace(0.2, 0.9, 101)
    rows, columns = ["a", "b"], [f"c{number}" for number in range(101)]
    heat = [list(values), [float("nan")] * 101]
    figure = Figure("g", section, "p", "heat", "t", "x", "y", rows=rows, columns=columns, heat=heat)
    low = 0 if section == "confusion" else 0.2
    _, numbers = drawing.plotly(figure)["data"]
    assert (numbers["x"], set(numbers["y"])) == (columns, {"a"})
    for value, text, ink in zip(values, numbers["text"], numbers["textfont"]["color"], strict=True):
        channels = np.array(colormaps["Blues"]((value - low) / (0.9 - low))[:3])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        light, dark = sorted([float(linear @ [0.2126, 0.7152, 0.0722]), {"black": 0, "white": 1}[ink]], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
        assert text == (f"{value:.3f}" if section == "grids" else f"{value:.2f}")


def test_bars_of_many_methods_are_a_heat_map(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = next(figures.per_class(protocol))
    monkeypatch.setattr(figures, "MAX_BARS", len(bars.series) - 1)
    heat = next(figures.per_class(protocol))
    assert (bars.kind, heat.kind) == ("bars", "heat")
    assert (heat.rows, heat.columns) == ([series.name for series in bars.series], bars.series[0].x)
    assert heat.heat == [series.y for series in bars.series]


def test_names_with_markup_are_escaped_for_plotly_and_plain_in_svg(protocol: Protocol) -> None:
    figure = next(figures.per_class(protocol))
    plot = drawing.plotly(figure)
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; co" in plot["data"][0]["x"]
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; co" in drawing.static(figure)["svg"].decode()


def test_static_figures_are_the_same_bytes_each_time() -> None:
    lines = Figure(
        "n", "s", "p", "lines", "t", "costs $5 and $6", "y", (Series("a", [1, 2], [1.0, float("nan")]),), log_x=True
    )
    first, second = drawing.static(lines), drawing.static(lines)
    assert first == second
    assert first["pdf"].startswith(b"%PDF")
    assert first["wide.pdf"].startswith(b"%PDF")
    assert b"costs $5 and $6" in first["svg"]
    assert width_of(first["pdf"]) == pytest.approx(72 * drawing.COLUMN, abs=0.1)
    assert width_of(first["wide.pdf"]) == pytest.approx(72 * drawing.PAGE, abs=0.1)
    assert b"mathdefault" not in first["svg"]


def width_of(pdf: bytes) -> float:
    """In points, of the first page."""
    return float(re.search(rb"/MediaBox \[ *0 0 ([\d.]+)", pdf)[1])


def test_letters_are_of_eight_points_in_a_column() -> None:
    series = tuple(Series(f"method {n}", [1, 2, 3], [0.1, 0.2, 0.3], style=n, marker=n) for n in range(12))
    lines = Figure("n", "s", "p", "lines", "t", "recall", "precision", series, chance=0.15)
    with matplotlib.rc_context(drawing.STYLE):
        canvas = drawing._canvas(lines, drawing.COLUMN)
        canvas.draw_without_rendering()
        (axes,) = canvas.axes
        (legend,) = canvas.legends
        texts = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels(), *legend.texts]
        assert {text.get_fontsize() for text in texts} == {8.0}
        assert axes.get_title(loc="left") == axes.get_title() == ""
        named = [line for line in axes.lines if line.get_label().startswith("method")]
        assert len({(line.get_linestyle(), line.get_marker()) for line in named}) == drawing.NAMED
        assert {"chance", "4 others"} <= {text.get_text() for text in legend.texts}


def test_both_directions_of_a_curve_have_the_same_axis_and_the_share_of_relevant_items(protocol: Protocol) -> None:
    scope = [f for f in figures.curves(protocol) if f.name.startswith("precision_scope")]
    assert len(scope) == 2
    assert len({f.limits for f in scope}) == 1
    assert scope[0].limits[1] >= max(max(series.y) for f in scope for series in f.series)
    for figure in scope:
        assert figure.chance == pytest.approx(0.25)
        drawn = drawing.plotly(figure)["layout"]
        assert (drawn["shapes"][0]["y0"], drawn["yaxis"]["range"]) == (figure.chance, list(figure.limits))


def test_precision_at_a_recall_has_no_line_of_chance(protocol: Protocol) -> None:
    """Random scores lie above the share of relevant items there, interpolated or not."""
    recalls = [f for f in figures.curves(protocol) if f.name.startswith("precision_recall")]
    assert [f.chance for f in recalls] == [None, None]
    relevance = np.zeros((400, 100), bool)
    relevance[:, :5] = True
    ranking = rank(np.random.default_rng(0).random(relevance.shape), relevance)
    _, precision = precision_recall.compute(ranking, precision_recall.Params())
    assert precision.mean(axis=0)[0] > 3 * relevance.mean()
    assert precision.mean(axis=0).min() > relevance.mean()


def test_validation_scores_of_different_steps_are_different_figures(tmp_path: Path) -> None:
    results = write_tree(tmp_path, methods=["cca", "dla"], seeds=1)
    cca = results / "fits/shapes/default/lite0+bert/cca/0/history.csv"
    cca.write_text("component,correlation\n1,0.9\n2,0.8\n")
    (protocol,) = protocols(load(results))
    (scores,) = [f for f in figures.convergence(protocol) if f.name.startswith("validation")]
    assert (scores.x, [series.name for series in scores.series]) == ("epoch", ["dla"])
    cca.write_text("component,validation\n1,0.9\n2,0.8\n")
    found = [f for f in figures.convergence(protocol) if f.name.startswith("validation")]
    assert {(f.x, f.series[0].name) for f in found} == {("epoch", "dla"), ("component", "cca")}
    assert len({f.name for f in found}) == 2


def test_no_two_of_twenty_methods_look_the_same() -> None:
    series = [Series(str(n), [0], [0], style=n, marker=n) for n in range(20)]
    figure = Figure("n", "s", "p", "lines", "t", "x", "y", tuple(series))
    assert len({(drawing.colour(figure, s), drawing.dash(s)) for s in series}) == 20
    assert len({(drawing.colour(figure, s), drawing.marker(s)) for s in series}) == 20
    assert len({(drawing.colour(figure, s), drawing.pattern(s)) for s in series}) == 20


def test_an_interval_plot_reaches_beyond_chance_and_all_intervals() -> None:
    series = (Series("best", [0.5, 0.4], [0, 1], error=[0.1, None]), Series("a seed", [0.62], [0]))
    figure = Figure("i", "answer", "p", "intervals", "t", "x", "", series, rows=["a", "b"], chance=0.2)
    low, high = drawing.plotly(figure)["layout"]["xaxis"]["range"]
    assert 0.15 < low < 0.2
    assert 0.62 < high < 0.65


def test_an_interval_reaches_as_far_down_as_it_says() -> None:
    series = (Series("best", [0.98, 0.4], [0, 1], error=[0.02, 0.1], below=[0.3, None]),)
    figure = Figure("i", "answer", "p", "intervals", "t", "x", "", series, rows=["a", "b"])
    drawn = drawing.plotly(figure)
    error = drawn["data"][0]["error_x"]
    assert (error["symmetric"], error["array"], error["arrayminus"]) == (False, [0.02, 0.1], [0.3, 0])
    assert drawn["layout"]["xaxis"]["range"] == pytest.approx([0.4 - 0.04 * 0.6, 1 + 0.04 * 0.6])
