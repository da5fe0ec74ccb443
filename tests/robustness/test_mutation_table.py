"""An edit of any module makes again what the module has a part in, and nothing else; a comment makes nothing again."""

from collections import Counter

import pytest

from cmr import code, registry
from robustness.chains import chain, figures
from robustness.toys import CONFIG, DLA, ROOT, clone, cmr

CONFIGURATION = {
    "features": [
        *CONFIG["features"],
        {"id": "words", "extractor": "word2vec_cnn", "params": {"dimensions": 4, "maps": 2, "epochs": 1}},
    ],
    "dictionaries": [{"id": "small", "dictionary": "coupled", "params": {"atoms": [6, 7], "iterations": 3}}],
    "metrics": [*CONFIG["metrics"], "precision_recall"],
    "experiments": [
        {
            **CONFIG["experiments"][0],
            "methods": [
                {"id": "cca", "params": {"components": 2}},
                {"id": "ridge_label", "tune": {"alpha": [0.001, 1000.0]}},
                {**DLA, "params": {**DLA["params"], "epochs": 2}},
            ],
        },
        {"id": "words", "data": ["toy"], "inputs": [["image", "words"]], "methods": ["random"]},
    ],
}
"""Every stage: also weights, a dictionary, a network and the report."""

MADE = {"download", "prepare", "split", "weights", "extract", "encode", "fit", "evaluate", "report"}
"""Stages that make something of rows or files: all but the list of an experiment's runs."""
REPORTING = ["agreement", "collect", "drawing", "figures", "gallery", "headline", "origins", "page", "protocols"]
REPORTING += ["published", "runs", "significance", "space", "tables"]
HAVE_PARTS = {
    # The package's module → the stages that it has a part in, whatever their plug-ins, and plug-ins, whatever the stage.
    "create": MADE,
    "device": MADE,
    "store": MADE,
    "data": MADE - {"download", "weights"} | {"toy", "words"},
    "params": {"extract", "encode", "fit", "evaluate", "report", "toy", "words"},
    "info": {"evaluate", "toy", "numbers", "centred", "words", "coupled", "cca", "ridge_label", "dla_cmr", "random"},
    "row_source": {"encode", "fit", "evaluate"},
    "selection": {"fit"},
    "directions": {"evaluate"},
    "evaluation": {"evaluate"},
    "recorded": {"report"},
    "stages.download": {"download"},
    "stages.prepare": {"prepare"},
    "stages.split": {"split"},
    "stages.weights": {"weights"},
    "stages.extract": {"extract"},
    "stages.encode": {"encode"},
    "stages.fit": {"fit"},
    "stages.evaluate": {"evaluate"},
    "stages.collect": {"collect"},
    "stages.report": {"report"},
    "datasets": {"split", "toy"},
    "datasets.base": {"toy"},
    "datasets.splitting": {"split", "toy"},
    "datasets.toy": {"toy"},
    "features": {"extract", "words"},
    "features.base": {"extract", "words"},
    "features.extraction": {"extract"},
    "features.numbers": {"numbers"},
    "features.centred": {"centred"},
    "features.word2vec_cnn": {"words"},
    "features.learning": {"words"},
    "features.texts": {"words"},
    "features.weights": {"words"},
    "dictionary": {"encode"},
    "dictionary.base": {"encode"},
    "dictionary.coupled": {"coupled"},
    "methods": {"fit", "evaluate", "report"},
    "methods.base": {"fit", "evaluate", "report"},
    "methods.checks": {"cca", "ridge_label", "dla_cmr", "random"},
    "methods.scaling": {"cca", "ridge_label", "dla_cmr"},
    "methods.common_params": {"cca", "ridge_label", "dla_cmr"},
    "methods.linear": {"cca", "ridge_label"},
    "methods.eigen": {"cca"},
    "methods.cca": {"cca"},
    "methods.ridge_label": {"ridge_label"},
    "methods.random": {"random"},
    "methods.dla_cmr": {"dla_cmr"},
    "methods.deep": {"dla_cmr"},
    "methods.training": {"dla_cmr"},
    "metrics": {"fit", "evaluate", "report"},
    "metrics.base": {"fit", "evaluate", "report"},
    "metrics.keys": {"fit", "evaluate", "report"},
    "metrics.ranking": {"fit", "evaluate", "report"},
    "metrics.torch_sort": {"fit", "evaluate", "report"},
    "metrics.bootstrap": {"evaluate", "report"},
    "metrics.mean_average_precision": {"evaluate"},
    "metrics.precision_recall": {"evaluate"},
    "reporting": {"report"},
    **{f"reporting.{name}": {"report"} for name in REPORTING},
}
PLUGIN_OF = {"words": "word2vec_cnn"}

TELLING = {  # file → a text and what takes its place, so that something else is computed
    "selection.py": ("score > best[0]", "score < best[0]"),  # keep the worst candidate
    "row_source.py": (
        "self._part(choosing, split.held_out,",
        "self._part(choosing, split.ids(TEST),",
    ),  # choose on test
    "evaluation.py": ("query[rows, None] == gallery", "query[rows, None] != gallery"),  # relevance inverted
    "metrics/ranking.py": ("return total / np.maximum(", "return 0.5 * total / np.maximum("),  # half the AP
    "metrics/bootstrap.py": ("[(1 - LEVEL) / 2, (1 + LEVEL) / 2]", "[0.25, 0.75]"),
    "metrics/mean_average_precision.py": ("return average_precision", "return 2 * average_precision"),
    "data.py": ("matrix[row, [column[name]", "matrix[row, [-1 - column[name]"),  # classes in reverse
    "datasets/splitting.py": ("default_rng([seed, zlib", "default_rng([seed + 1, zlib"),  # another split
    "datasets/toy.py": ("default_rng(0)", "default_rng(1)"),
    "features/extraction.py": ("np.float32)[rows] = values\n", "np.float32)[rows] = values**3\n"),
    "features/numbers.py": ("np.sign(rows)", "-np.sign(rows)"),
    "dictionary/coupled.py": ("ridge = p.lambda1 + p.lambda2", "ridge = p.lambda1 + 2 * p.lambda2"),
    "stages/encode.py": ("if item in row_of:", "if False:"),
    "stages/fit.py": ('entry["tune"]', "{}"),
    "methods/scaling.py": ("(features - self.mean)", "(features + self.mean)"),
    "methods/eigen.py": ("+= ridge", "+= 10 * ridge"),
    "methods/training.py": ("seed * 1_000_003 + epoch", "seed * 1_000_003 + epoch + 1"),
    "directions.py": ("lambda block: method", "lambda block: -method"),
}
SILENT = (
    ["methods/cca.py", '"""', '"""Well known. '],
    ["selection.py", "import logging", "# A remark.\n\nimport logging  # and another"],
    ["evaluation.py", '"""', '"""Better worded:\n\n'],
)
"""Edits of comments, docstrings and empty lines."""


@pytest.fixture(scope="module")
def whole_and_reached(tmp_path_factory):
    """A finished clone, and which modules each of its jobs had imported at its end."""
    made = clone(tmp_path_factory.mktemp("whole") / "clone")
    made.configure(**CONFIGURATION)
    return made, chain(made, "reached")


@pytest.fixture(scope="module")
def whole(whole_and_reached):
    return whole_and_reached[0]


@pytest.fixture(scope="module")
def results(whole):
    """Record, stage, plug-ins and sources of each result of the clone's plan."""
    return chain(whole, "listed")


def expected(name, results):
    """What an edit of the file leads to by the table above: results by stage, and findings of `cmr verify`."""
    parts = HAVE_PARTS.get(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"), set())
    parts = {PLUGIN_OF.get(part, part) for part in parts}
    edited, again = Counter(), set()
    for record, stage, plugins, sources in results:
        has_part = bool(parts & {stage, *plugins})
        if has_part or again & set(sources):
            again.add(record)
        edited[stage] += has_part and stage not in ("collect", "report")
    stages = Counter(stage for record, stage, _, _ in results if record in again)
    return [dict(stages), {"stale": edited.total()} if edited.total() else {}]


def files():
    return sorted(str(file.relative_to(ROOT / "workflow/cmr")) for file in (ROOT / "workflow/cmr").rglob("*.py"))


def test_the_table_names_modules_that_there_are(results):
    known = {f"{name.replace('.', '/')}" for name in HAVE_PARTS}
    there = {name.removesuffix(".py").removesuffix("/__init__") for name in files()}
    toys = {"datasets/toy", "features/numbers", "features/centred"}
    assert known - there == toys
    stages = {stage for _, stage, _, _ in results}
    assert stages == MADE | {"collect"}
    plugins = {plugin for _, _, plugins, _ in results for plugin in plugins}
    assert {PLUGIN_OF.get(part, part) for parts in HAVE_PARTS.values() for part in parts} <= stages | plugins


def test_a_telling_edit_makes_again_what_it_has_a_part_in_and_verify_says_so(whole, results, cases):
    names = list(TELLING)
    told = chain(whole, "edited", [[name, *TELLING[name]] for name in names])
    assert dict(zip(names, told, strict=True)) == {name: expected(name, results) for name in names}
    assert all(again for again, _ in told)
    cases(len(names))


def test_comments_docstrings_and_what_is_left_out_make_nothing_again(whole, cases):
    left_out = [name.removeprefix("cmr.").replace(".", "/") for name in code.LEFT_OUT if name != "cmr"]
    edits = [*SILENT, *([_file(name)] for name in left_out), ["__init__.py"], ["cli.py"], ["methods/sdml.py"]]
    assert chain(whole, "edited", edits) == [[{}, {}]] * len(edits)
    cases(len(edits))


def _file(name):
    return f"{name}.py" if (ROOT / f"workflow/cmr/{name}.py").exists() else f"{name}/__init__.py"


@pytest.mark.long
def test_an_edit_of_each_module_makes_again_what_it_has_a_part_in(whole, results, cases):
    names = [*files(), "datasets/toy.py", "features/numbers.py", "features/centred.py"]
    names.remove("code.py")  # its edits are those of every hash
    told = chain(whole, "edited", [[name] for name in names])
    wrong = {
        name: (got, expected(name, results))
        for name, got in zip(names, told, strict=True)
        if got != expected(name, results)
    }
    assert wrong == {}
    cases(len(names))


@pytest.mark.long
@pytest.mark.parametrize("name", TELLING)
def test_a_telling_edit_changes_figures_and_an_edit_back_makes_them_what_they_were(whole, tmp_path, name):
    """So the edits above are none that could be left out."""
    made = whole.copy(tmp_path / "clone")
    before = figures(made.root / "results")
    text = (made.root / "workflow/cmr" / name).read_text()
    made.edit(f"workflow/cmr/{name}", *TELLING[name])
    assert chain(made)
    assert figures(made.root / "results") != before
    (made.root / "workflow/cmr" / name).write_text(text)
    assert chain(made)
    assert figures(made.root / "results") == before
    assert cmr(made, "verify").returncode == 0


# What a job imports ---------------------------------------------------------------------------------------------------

EXCEPTED = set(code.LEFT_OUT) | {"cmr.params", "cmr.stages"}
"""`cmr.params` is imported by what reads a plan; it counts with a module that imports it. `cmr.stages` is a docstring."""


def test_a_job_imports_nothing_of_the_package_but_its_code_and_what_is_left_out(whole_and_reached, cases):
    """Whatever a module imports where, and by whichever way: what is there when the job ends."""
    made, jobs = whole_and_reached
    assert {stage for stage, _, _ in jobs} == MADE | {"collect"}
    own = chain(made, "code_of", [[stage, plugins] for stage, plugins, _ in jobs])
    for (stage, plugins, imported), modules in zip(jobs, own, strict=True):
        assert set(imported) - set(modules) - EXCEPTED == set(), (stage, plugins)
        assert f"cmr.stages.{stage}" in imported
    cases(len(jobs))


@pytest.mark.long
@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_a_plugin_imports_nothing_of_the_package_but_its_code_and_what_is_left_out(whole, kind, cases):
    """Every plug-in by its import; the methods also by a fit and what follows it, in tests of their contract."""
    imports = chain(whole, "imports", kind)
    stage = {
        "datasets": "prepare",
        "extractors": "extract",
        "dictionaries": "encode",
        "methods": "fit",
        "metrics": "evaluate",
    }
    own = chain(whole, "code_of", [[stage[kind], [[kind, name]]] for name in imports])
    for (name, imported), modules in zip(imports.items(), own, strict=True):
        assert set(imported) - set(modules) - EXCEPTED == set(), name
    cases(len(imports))
