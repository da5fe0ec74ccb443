"""Printed numbers beside measured ones, on hand-made runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

from cmr.reporting import costs, page, published, significance, tables
from cmr.reporting.collect import Collection, load
from cmr.reporting.protocols import protocols
from cmr.reporting.published import Line, Quote, Table
from cmr.reporting.runs import Run
from reporting_tree import write_experiment, write_items, write_run

FULL = "triplet_weight: 0.02, dictionary: null"
WITHOUT = "triplet_weight: 0, dictionary: null"


def quote(**changed: str) -> Quote:
    row = {"paper": "dla_cmr", "table": "Table 2", "dataset": "openmoji", "split": "default", "features": "sift+lda"}
    row |= {"method": "cca", "params": "", "query": "image", "gallery": "text", "metric": "map@all"}
    return row | {"value": "0.369", "note": ""} | changed


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    results = tmp_path_factory.mktemp("printed") / "results"
    items = write_items(results, "shapes", 48)
    runs = [write_run(results, items, "shapes", "lite0+bert", "cca", 0)]
    runs += [write_run(results, items, "shapes", "lite0+bert", "dla", seed) for seed in range(3)]
    runs += [write_run(results, items, "shapes", "lite0+bert", "dla", s, {"triplet_weight": 0.0}) for s in range(2)]
    write_experiment(results, "main-aaaaaa", runs)
    return load(results)


def compared(collection: Collection, *quotes: Quote) -> list[Table]:
    return published.compare(quotes, protocols(collection), collection.united_rows())


def lines_of(collection: Collection, *quotes: Quote) -> list[Line]:
    return [line for table in compared(collection, *quotes) for line in table.lines]


def with_features(*features: dict) -> Run:
    run = Run(Path(), "runs/d/s/i/m/0", "")
    run.__dict__["record"] = {"fits": [{"features": list(features)}]}
    return run


def feature(modality: str, extractor: str, identity: str = "mine", **params: object) -> dict:
    return {"id": identity, "modality": modality, "extractor": extractor, "params": params}


VGG, DOC = feature("image", "vgg19_fc7"), feature("text", "doc2vec")


@pytest.mark.parametrize(
    ("run", "printed", "same"),
    [
        (with_features(VGG, DOC), "vgg19_fc7+doc2vec", True),
        (with_features(DOC, VGG), "vgg19_fc7+doc2vec", True),  # the order of a run's inputs is the user's
        (with_features(VGG, feature("text", "doc2vec", dimensions=100)), "vgg19_fc7+doc2vec", False),
        (with_features(VGG, DOC), "vgg19_finetuned+doc2vec", False),
        (with_features(VGG), "vgg19_fc7+doc2vec", False),
        (with_features(VGG, VGG, DOC), "vgg19_fc7+doc2vec", True),  # one a modality, whatever the fits
        (with_features(VGG, DOC, feature("audio", "mfcc")), "vgg19_fc7+doc2vec", False),
        (
            with_features(feature("image", "vgg19_finetuned"), feature("text", "word2vec_cnn")),
            "vgg19_finetuned+word2vec_cnn",
            True,
        ),
        (with_features(VGG, feature("text", "bert", model="bert-large-uncased")), "vgg19_fc7+bert_large", True),
        (with_features(VGG, feature("text", "bert")), "vgg19_fc7+bert_large", False),
        (
            with_features(feature("image", "ready", name="sift"), feature("text", "ready", "lda10", name="lda")),
            "sift+lda",
            True,
        ),
        (with_features(feature("image", "ready", "sift"), feature("text", "ready", "lda")), "sift+lda", True),
        (with_features(feature("image", "ready", "sift"), feature("text", "lda")), "sift+lda", False),
        (with_features(feature("image", "ready", name="cnn"), feature("text", "ready", name="lda")), "cnn+lda_1000", True),
        (with_features(feature("image", "ready", name="vgg"), feature("text", "ready", name="bow")), "vgg_4096+bow_5000", True),
        (with_features(feature("image", "ready", name="vgg"), feature("text", "bow")), "vgg_4096+bow_5000", True),
        (with_features(feature("image", "ready", name="vgg"), feature("text", "bow")), "vgg_4096+bow_6500", False),
        (
            with_features(
                feature("text", "ready", name="bow"),
                *(feature(m, "ready", name=n) for m, n in (("image", "cnn"), ("audio", "mfcc"), ("3d", "lightfield"))),
                feature("video", "ready", name="c3d"),
            ),
            "cnn+bow_3000+mfcc+lightfield+c3d",
            True,
        ),
    ],
)  # fmt: skip
def test_features_are_compared_by_what_they_are(run: Run, printed: str, same: bool) -> None:
    assert published.same_features(run, printed) is same


def row_of(collection: Collection, identity: str, seeds: int, query: str = "image") -> dict:
    wanted = ("map@all", identity, seeds, query)
    (row,) = (r for r in collection.united_rows() if (r["metric"], r["id"], r["seeds"], r["query"]) == wanted)
    return row


def test_same_method_and_direction_stand_side_by_side(collection: Collection) -> None:
    there, average = lines_of(collection, quote(), quote(query="average", gallery="average", value="0.5"))
    row = row_of(collection, "cca", 1)
    assert there.row == row
    assert there.measured == f"{row['mean']:.3f}"
    assert there.difference == f"{row['mean'] - 0.369:+.3f}"
    assert (there.features, there.same_features) == ("EfficientNet-Lite0+BERT", False)
    assert (there.direction, there.method, there.reason) == ("image→text", "CCA", "")
    assert average.row == row_of(collection, "cca", 1, "average")


def test_like_for_like_is_told_wherever_the_two_stand_side_by_side(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page a difference between other features is grey, in the CSV file a column says it."""
    like, unlike = quote(features="efficientnet_lite0+bert"), quote(features="sift+lda", table="Table 3")
    assert [line.same_features for line in lines_of(collection, like, unlike)] == [True, False]
    monkeypatch.setattr(published, "read", lambda: [like, unlike])
    text = page.build(collection.results, tmp_path / "out").read_text("utf-8")
    section = text.partition('id="published"')[2]
    assert len(re.findall(r'<td class="number">[+−-]0\.\d{3}</td>', section)) == 1
    assert len(re.findall(r'<td class="number apart">[+−-]0\.\d{3}</td>', section)) == 1
    files = sorted((tmp_path / "out/tables").glob("published--*.csv"))
    assert [pd.read_csv(file)["same features"][0] for file in files] == [True, False]


@pytest.mark.parametrize(("alpha", "beta", "meant"), [(1, 1, True), (0.1, 0.1, True), (0.1, 1, False), (10, 10, False)])
def test_one_of_the_readings_of_a_printed_variant_is_enough(alpha: float, beta: float, meant: bool) -> None:
    run = recorded({"alpha": alpha, "beta": beta})
    run.method["method"] = "smcr"
    printed = quote(method="smcr", params="alpha: 1, beta: 1 | alpha: 0.1, beta: 0.1")
    assert published._agrees(run, printed, {"alpha", "beta"}) is meant


def test_a_variant_stands_beside_its_own_numbers_alone(collection: Collection) -> None:
    full = quote(method="dla_cmr", params=FULL)
    without = quote(method="dla_cmr without triplets", params=WITHOUT)
    first, second = lines_of(collection, full, without)
    assert first.row == row_of(collection, "dla", 3)
    assert second.row == row_of(collection, "dla", 2)
    assert second.method == "DLA-CMR without triplets"
    assert first.measured == f"{first.row['mean']:.3f} ± {first.row['std']:.3f}"
    coded = quote(method="dla_cmr", params="dictionary: coupled")
    (line, _) = lines_of(collection, coded, full)
    assert (line.row, line.reason) == (None, "not run with dictionary: coupled")


def test_all_runs_of_one_variant_are_shown(collection: Collection) -> None:
    """No printed number of the method names a parameter, so both sets of parameters are the printed method."""
    (table,) = compared(collection, quote(method="dla_cmr"))
    assert [line.row["seeds"] for line in table.lines] == [3, 2]
    assert [line.group.name for line in table.lines] == ["dla (triplet_weight 0.02)", "dla (triplet_weight 0)"]
    assert (table.numbers, table.measured_numbers) == (1, 1)


def recorded(params: dict, tune: dict | None = None, dictionary: str | None = None) -> Run:
    run = Run(Path(), "runs/d/s/i/m/0", "")
    method = {"id": "x", "method": "dla_cmr", "params": params, "tune": tune or {}}
    coded = {"id": "y", "dictionary": dictionary} if dictionary else None
    run.__dict__["record"] = {"fits": [{"method": method, "dictionary": coded}]}
    return run


@pytest.mark.parametrize(
    ("run", "full", "without"),
    [
        (recorded({}, dictionary="coupled"), True, False),
        (recorded({"margin": 0.0001, "epochs": 3}, dictionary="coupled"), True, False),
        (recorded({}), False, False),
        (recorded({"margin": 1.0}, dictionary="coupled"), False, False),
        (recorded({}, {"margin": [0.0001, 1.0]}, "coupled"), True, False),
        (recorded({}, {"margin": [0.1, 1.0]}, "coupled"), False, False),
        (recorded({"triplet_weight": 0}, dictionary="coupled"), False, True),
        (recorded({"triplet_weight": 0}, {"epochs": [3, 4]}, "coupled"), False, True),
    ],
)
def test_parameters_that_tell_variants_apart_must_agree(run: Run, full: bool, without: bool) -> None:
    telling = {"triplet_weight", "margin", "dictionary"}
    assert published._agrees(run, quote(params="margin: 0.0001, dictionary: coupled"), telling) is full
    assert published._agrees(run, quote(params="triplet_weight: 0, dictionary: coupled"), telling) is without


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"method": "cr_cdsl"}, "quoted: its objective"),
        ({"method": "mdcr"}, "not run"),
        ({"metric": "map@50"}, "map@50 was not computed"),
        ({"split": "other"}, "no run on the split other"),
        ({"dataset": "scitechdaily"}, "no run on SciTechDaily; source: https://scitechdaily.com"),
        ({"query": "", "gallery": "", "metric": "MiB of GPU memory"}, "not recorded: no GPU was used"),
        ({"query": "", "gallery": "", "metric": "seconds", "params": "components: 7"}, "not run with components: 7"),
    ],
)
def test_where_nothing_was_measured_the_reason_stands(collection: Collection, changed: dict, reason: str) -> None:
    (table,) = compared(collection, quote(**changed))
    (line,) = table.lines
    assert line.row is None
    assert line.reason.startswith(reason)
    assert (line.measured, line.difference, line.features) == ("", "", "")
    assert table.measured_numbers == 0
    assert table.reason == ("" if reason.startswith("quoted") else line.reason)


@pytest.mark.parametrize(
    ("metric", "method", "expected"),
    [
        ("seconds of training", "dla_cmr", [1.5 + 3, 2.5 + 3, 3.5 + 3]),
        ("seconds of testing", "dla_cmr", [0.4] * 3),
        ("seconds of dictionary learning", "dla_cmr", [0.0] * 3),
        ("seconds", "cca", [1.5 + 3]),
    ],
)
def test_times_stand_beside_printed_ones_without_a_difference(
    collection: Collection, metric: str, method: str, expected: list[float]
) -> None:
    printed = quote(method=method, params="dictionary: null" * (method != "cca"), query="", gallery="", metric=metric)
    line = lines_of(collection, printed, quote(method="dla_cmr", params="triplet_weight: 0"))[0]
    assert line.row is not None
    assert (line.row["mean"], line.row["seeds"]) == (pytest.approx(sum(expected) / len(expected)), len(expected))
    assert (line.row["std"] is None) == (len(expected) == 1)
    assert line.difference == ""
    assert line.features.startswith("EfficientNet-Lite0+BERT, ")


def test_fits_of_modalities_in_parallel_take_as_long_as_the_longest_and_the_memory_of_all() -> None:
    fits = [
        {"modalities": [m], "usage": {"seconds": s, "peak_gpu_memory_mb": g * 2**20 / 1e6}}
        for m, s, g in (("image", 5.0, 700), ("text", 3.0, 600))
    ]
    run = Run(Path(), "runs/d/s/i/m/0", "")
    run.__dict__["record"] = {"fits": [fit | {"made_from": []} for fit in fits], "usage": {"seconds": 1.0}}
    found = {
        s: [costs.cost(run, w, strategy=s) for w in (costs.TRAINING, costs.GPU_MEMORY)] for s in ("serial", "parallel")
    }
    assert found == {"serial": [8.0, pytest.approx(700)], "parallel": [5.0, pytest.approx(1300)]}, "the paper has MiB"
    assert costs.cost(run, costs.TRAINING, "text") == 3.0
    assert costs.cost(run, costs.TRAINING, "audio") is None


def test_average_precision_that_divides_otherwise_is_not_the_printed_metric(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    options = {"map@5": {"at": 5, "normalise": "relevant"}, "five": {"at": 5, "normalise": "retrieved"}}
    write_experiment(
        tmp_path, "main-a", [write_run(tmp_path, items, "shapes", "lite0+bert", "cca", 0, options=options)]
    )
    (line,) = lines_of(load(tmp_path), quote(metric="map@5"))
    assert line.row["key"] == "five"


def test_rows_of_a_table_hold_all_directions(collection: Collection) -> None:
    back = {"query": "text", "gallery": "image"}
    rows = [quote(), quote(**back), quote(method="mdcr"), quote(method="dla_cmr"), quote(method="dla_cmr", **back)]
    (table,) = compared(collection, *rows)
    assert table.directions == ["image→text", "text→image"]
    shown = [(next(iter(row.values())).method, list(row)) for row in table.rows]
    assert shown == [("CCA", table.directions), ("MDCR", ["image→text"]), *[("DLA-CMR", table.directions)] * 2]
    assert (table.numbers, table.measured_numbers) == (5, 4)


def test_tables_of_other_data_sets_and_methods_are_left_out(collection: Collection) -> None:
    own_method, own_data = quote(dataset="wikipedia"), quote(paper="sdml")
    neither = quote(paper="sdml", dataset="wikipedia")
    found = compared(collection, own_method, neither, own_data)
    assert [line.quote for table in found for line in table.lines] == [own_data, own_method]
    assert [table.title for table in found] == [
        "SDML, Table 2: OpenMoji, default",
        "DLA-CMR, Table 2: Wikipedia, default",
    ]


def test_notes_are_gathered(collection: Collection) -> None:
    note = "misprint: 0.546 in Table 3"
    rows = [
        quote(note=note),
        quote(query="text", gallery="image", note=note),
        quote(query="average", gallery="average"),
    ]
    (table,) = compared(collection, *rows)
    assert table.notes == {("CCA", note): ["image→text", "text→image"]}
    assert [line.misprint for line in table.lines] == [True, True, False]


def test_files_keep_printed_and_measured_apart(collection: Collection, tmp_path: Path) -> None:
    printed = compared(collection, quote(), quote(method="mdcr", value="0.287"))
    rows = collection.united_rows()
    tables.write_all(tmp_path, rows, significance.weigh(collection, rows), [], None, [], printed)
    frame = pd.read_csv(tmp_path / "published--dla_cmr--table-2--openmoji--sift+lda.csv")
    mean = row_of(collection, "cca", 1)["mean"]
    assert list(frame["printed"]) == [0.369, 0.287]
    assert list(frame["printed features"]) == ["sift+lda"] * 2
    assert frame["measured mean"][0] == pytest.approx(mean)
    assert frame["measured mean"].isna()[1]
    assert frame["reason"][1] == "not run"
    text = (tmp_path / "published--dla_cmr--table-2--openmoji--sift+lda.tex").read_text("utf-8")
    assert rf"\textit{{0.369}} & {mean:.3f} & ${mean - 0.369:+.3f}$ & EfficientNet-Lite0+BERT, cca" in text
    assert r"\textit{0.287} & -- & -- & --$^{a}$" in text
    assert "$^{a}$: not run." in text


def test_page_marks_every_printed_number(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [quote(value="0.8675309", note="misprint: of <b>"), quote(method="mdcr", value="0.23456781")]
    monkeypatch.setattr(published, "read", lambda: rows)
    text = page.build(collection.results, tmp_path / "out").read_text("utf-8")
    assert len(re.findall(r'<td class="number printed">0\.(8675309|23456781)', text)) == 2
    assert len(re.findall("8675309|23456781", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))) == 2
    assert "misprint: of &lt;b&gt;" in text
    assert 'href="#published"' in text
    assert "printed beside" not in text.partition('id="published"')[0].lower()
