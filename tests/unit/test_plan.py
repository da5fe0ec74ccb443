"""The plan: components and their digests, the fits of a run, and what changes a path."""

import re

import pytest
from test_config import GOOD, changed

from cmr import config
from cmr.config import DEFAULT_METRICS, FeatureEntry, MethodEntry, MetricEntry
from cmr.errors import UserError
from cmr.params import canonical, component, digest
from cmr.plan import FitName, Plan, RunName, shards_of
from cmr.recorded import plan_of


def plan(configuration=GOOD) -> Plan:
    return Plan(config.validate(configuration))


def test_canonical_parameters_do_not_depend_on_their_order():
    assert canonical({"b": [1, 2], "a": None}) == '{"a":null,"b":[1,2]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert re.fullmatch(r"lda-[0-9a-f]{6}", component("lda", {"topics": 100}))
    assert component("lda", {}) == "lda"


def test_runs_are_one_a_seed_and_one_where_nothing_is_drawn():
    runs = plan().runs
    assert [r.seed for r in runs if r.method == "cca"] == [0]
    assert [r.seed for r in runs if r.method.startswith("dla-")] == [0, 1, 2]
    assert runs[0].folder == "results/runs/emoji/default/lite0+bow/cca/0"


def test_defaults_written_out_keep_the_path_and_other_values_change_it():
    written_out = changed("features", 1, "params", value={"vocabulary": 5000})
    assert plan(written_out).runs[0].inputs == ("lite0", "bow")
    other = plan(changed("features", 1, "params", value={"vocabulary": 3000})).runs[0].inputs[1]
    assert re.fullmatch(r"bow-[0-9a-f]{6}", other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("experiments", 0, "methods", 1, "tune"), {"margin": [0.1]}),
        (("experiments", 0, "methods", 1, "params"), {"label_weight": 200}),
        (("dictionaries", 0, "params", "atoms"), [8, 9]),
    ],
)
def test_what_changes_a_result_changes_its_path(path, value):
    def method(p):
        return next(r.method for r in p.runs if r.method.startswith("dla"))

    assert method(plan()) != method(plan(changed(*path, value=value)))


def rows_of(fit):
    """The files that a fit takes its rows from."""
    return [file for source in fit.sources("extract", "encode") for file in source.files]


def test_files_of_a_fit_and_a_run():
    p = plan()
    dla = next(r for r in p.runs if r.method.startswith("dla-"))
    (fit,) = p.fits(dla)
    (codes,) = (file for source in p.rows_of(fit) for file in source.files)
    assert re.fullmatch(r"results/codes/emoji/default/lite0\+bow/coupled-[0-9a-f]{6}/0.h5", codes)
    assert rows_of(p.fit(fit)) == [codes]
    cca = FitName("emoji", "default", ("lite0", "bow"), "cca", 0)
    assert rows_of(p.fit(cca)) == ["results/features/emoji/all/lite0.h5", "results/features/emoji/default/bow.h5"]
    assert p.run_files(p.runs[0])["metrics"] == "results/runs/emoji/default/lite0+bow/cca/0/metrics.json"


def of_stage(p, stage):
    return [result for result in p.results() if result.stage == stage]


def test_each_seed_is_another_fit_and_another_dictionary():
    for stage, number in (("fit", 1 + 3), ("encode", 3)):
        told = [canonical(result.identifying) for result in of_stage(plan(), stage)]
        assert len(set(told)) == len(told) == number


def test_names_of_metrics_and_the_number_of_queries_tell_evaluations_apart():
    metric = {"id": "map", "metric": "mean_average_precision"}
    told = {
        canonical(of_stage(plan(GOOD | changes), "evaluate")[0].identifying)
        for changes in (
            {"metrics": [metric]},
            {"metrics": [metric | {"id": "other"}]},
            {"metrics": [metric], "queries": 50},
            {"metrics": [metric], "queries": 60},
        )
    }
    assert len(told) == 4


def test_the_code_of_a_result_is_that_of_all_plugins_that_its_job_runs():
    p = plan(GOOD | {"metrics": ["mean_average_precision", "recall_at_k"]})
    data, metrics = ("datasets", "openmoji"), (("metrics", "mean_average_precision"), ("metrics", "recall_at_k"))
    assert [r.plugins for r in of_stage(p, "prepare")] == [(data,)]
    assert {r.plugins for r in of_stage(p, "extract")} == {
        (("extractors", "efficientnet_lite0"), data),
        (("extractors", "bow"), data),
    }
    assert {r.plugins for r in of_stage(p, "evaluate")} == {
        (("methods", "cca"), *metrics),
        (("methods", "dla_cmr"), *metrics),
    }


def test_features_are_made_from_the_files_of_the_extractor_and_of_the_data():
    table = {"id": "emoji", "dataset": "table", "params": {"file": "my.csv", "image": "picture", "text": "caption"}}
    words = {"id": "bow", "modality": "text", "extractor": "word2vec_cnn", "params": {"vectors": "my.bin"}}
    p = plan(GOOD | {"datasets": [table], "features": [GOOD["features"][0], words]})
    files = {r.settings["feature"]["id"]: r.own_files for r in of_stage(p, "extract")}
    assert files == {"lite0": ("my.csv",), "bow": ("my.bin", "my.csv")}


def test_shards_are_of_more_rows_than_one_job_takes_and_each_is_told_by_its_rows():
    features = of_stage(plan(GOOD | {"device": "cpu", "rows_per_job": 256}), "extract")[0]
    assert shards_of(features, 256) == ()
    shards = shards_of(features, 257)
    assert [shard.settings["rows"] for shard in shards] == [[0, 256], [256, 257]]
    assert len({canonical(shard.identifying) for shard in shards}) == 2


def test_a_fit_that_tunes_its_dictionary_takes_the_coefficients_of_each_that_it_tries():
    tune = {"margin": [0.1, 1], "dictionary.lambda1": [0.01, 0.1], "dictionary.lambda2": [1, 2]}
    p = plan(changed("experiments", 0, "methods", 1, "tune", value=tune))
    dla = next(r for r in p.runs if r.method.startswith("dla-"))
    (fit,) = p.fits(dla)
    tried = [source.settings["dictionary"]["params"] for source in p.rows_of(fit)]
    assert [(t["lambda1"], t["lambda2"]) for t in tried] == [(0.01, 1), (0.01, 2), (0.1, 1), (0.1, 2)]
    for source in p.rows_of(fit):
        assert p.result_at(source.record) is source


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [(1, [("a",), ("b",), ("c",)]), (2, [("a", "b"), ("a", "c"), ("b", "c")]), ("any", [("a", "b", "c")])],
)
def test_the_fits_of_a_run_are_its_inputs_taken_so_many_at_a_time(monkeypatch, modalities, expected):
    p = plan()
    info = p.methods["cca"].info.model_copy(update={"modalities": modalities})
    monkeypatch.setattr(MethodEntry, "info", info)
    p.features |= {name: FeatureEntry(id=name, extractor="ready", modality=name) for name in "abc"}
    assert [fit.inputs for fit in p.fits(RunName("d", "s", ("a", "b", "c"), "cca", 0))] == expected


def test_other_metrics_have_other_file_names():
    other = plan(GOOD | {"metrics": ["precision_recall"]})
    assert plan().metrics_digest == ""
    names = [path.rsplit("/", 1)[1] for path in other.run_files(other.runs[0]).values()]
    mark = other.metrics_digest
    assert names == [f"metrics-{mark}.json", f"curves-{mark}.h5", f"run-{mark}.json", f"embeddings-{mark}"]


def test_a_default_that_is_written_out_makes_no_other_files():
    def mark(*metrics):
        return plan(GOOD | {"metrics": metrics}).metrics_digest

    default = [{"id": "map@all", "metric": "mean_average_precision"}, {"id": "map@50", "metric": "mean_average_precision", "params": {"at": 50}}]  # fmt: skip
    assert mark(default[0] | {"params": {"at": None}}, default[1]) == mark(*default)
    assert mark(default[0] | {"params": {"at": 7}}, default[1]) != mark(*default)
    written_out = [entry.model_dump() for entry in map(MetricEntry.model_validate, DEFAULT_METRICS)]
    for entry in written_out:
        entry["params"] = MetricEntry.model_validate(entry).parameters().model_dump(mode="json")
    assert written_out != [MetricEntry.model_validate(entry).model_dump() for entry in DEFAULT_METRICS]
    assert mark(*written_out) == ""


def test_one_id_for_two_plugins_is_refused():
    clash = changed("features", value=[{"id": "bert", "extractor": "bow"}, GOOD["features"][0]])
    clash["experiments"][0]["inputs"] = [["lite0", "bert"]]
    assert plan(clash)  # one meaning within one configuration
    clash["experiments"].append(
        {**GOOD["experiments"][0], "id": "other", "methods": [{"id": "cca", "method": "ridge_label"}]}
    )
    clash["experiments"][0]["methods"] = ["cca"]
    with pytest.raises(UserError, match="the id 'cca' stands for both 'cca' and 'ridge_label'; rename one"):
        plan(clash)


def test_two_points_of_one_digest_are_refused():
    assert digest({"regularisation": 0.1582}) == digest({"regularisation": 0.2276})
    methods = [{"id": "cca", "sweep": {"regularisation": [0.1582, 0.2276]}}]
    with pytest.raises(UserError, match="'cca-d060d9' would be the name of two entries of other parameters"):
        plan(changed("experiments", 0, "methods", value=methods))


def test_an_experiment_on_other_parameters_of_an_input_has_another_name():
    """Else its index would replace the other's, and its page too."""
    other = plan(changed("features", 1, "params", value={"vocabulary": 3000}))
    assert set(other.runs_of).isdisjoint(plan().runs_of)
    assert other.identity != plan().identity


def test_a_method_of_two_modalities_needs_two_inputs():
    with pytest.raises(UserError, match="'cca' needs two modalities, the inputs lite0 have one"):
        plan(changed("experiments", 0, "inputs", value=[["lite0"]]))


def test_a_record_leads_to_the_folder_of_its_run_in_whatever_order_inputs_are_named():
    asked = changed("experiments", 0, "inputs", value=[["lite0", "bow", "grid", "words"]])
    asked["experiments"][0]["methods"] = ["attention_pool"]
    asked["features"] += [
        {"id": "grid", "modality": "image", "extractor": "efficientnet_lite0_grid"},
        {"id": "words", "modality": "text", "extractor": "bert_tokens"},
    ]
    there = plan(asked)
    run = there.runs[0]
    assert run.inputs == ("lite0", "grid", "bow", "words")
    record = {"fits": [there.fit_configuration(fit) for fit in there.fits(run)], "metrics": [{"id": "mean_rank"}]}
    assert plan_of(record, "run.json")[1].folder == run.folder


def test_inputs_of_one_modality_have_nothing_to_retrieve():
    plan().check_directions()
    alone = changed("experiments", 0, "inputs", value=[["lite0", "bow"], ["bow"]])
    alone["experiments"][0]["methods"] = ["ridge_label"]
    with pytest.raises(UserError, match=r"^inputs: 'bow': of one modality; name features of two or more$"):
        plan(alone).check_directions()


def test_hundreds_of_runs_are_planned_in_no_time():
    many = changed("experiments", 0, "seeds", value=500)
    assert len(plan(many).runs) == 501
