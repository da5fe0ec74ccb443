"""An edit of any module of the package makes again what is made with it, and nothing else; `cmr verify` names the same."""

import ast
import json
import os
import subprocess
import sys

import pytest

from cmr import code, registry
from robustness.toys import WHOLE, cmr
from toy_clones import clone

EVERY = sorted(
    str(file.relative_to(registry.PACKAGE))
    for file in registry.PACKAGE.rglob("*.py")
    if "project" not in file.parts[-3:]
)
NUMERIC = {"numpy", "scipy", "torch", "sklearn", "pandas", "h5py", "gensim", "transformers", "torchvision"}
READ_TO_CHECK = {
    "cmr.stages",
    "cmr.info",
    "cmr.methods",
    "cmr.methods.common_params",
    "cmr.shards",
    "cmr.datasets.keyed",
}
"""What a configuration is checked with; for what a method does with it, it is the method's."""
SEMANTIC = {  # file: what stands there, and what makes every figure another
    "selection.py": ("score > best[0]", "score < best[0]"),
    "row_source.py": (
        "self._part(choosing, split.held_out, with_labels)",
        "self._part(final, split.ids(TEST), with_labels)",
    ),
    "evaluation.py": ("mean(axis=-1)", "mean(axis=-1) / 2"),
    "methods/base.py": ("return rows @ columns", "return -rows @ columns"),
    "metrics/bootstrap.py": ("def ", "MUTATED = 1\n\n\ndef "),
    "metrics/ranking.py": ("def average_precision(", "MUTATED = 1\n\n\ndef average_precision("),
    "datasets/splitting.py": ("HELD_OUT_SEED = 0", "HELD_OUT_SEED = 1"),
    "data.py": ("HELD_OUT_SHARE = 0.1", "HELD_OUT_SHARE = 0.2"),
    "features/extraction.py": ("[rows] = values", "[rows] = 2 * values"),
    "shards.py": ('"cpu": 256', '"cpu": 255'),
    "methods/dla_cmr.py": ("class Params", "MUTATED = 1\n\n\nclass Params"),
}
ASK = """
import json
from cmr import config, expected, code, sharing, config as c
from cmr.machine import Machine
from cmr.plan import Plan
plan, machine = Plan(config.load("config.yaml")), Machine(base=c.data_base(c.read_all(["config.yaml"])))
results = list(plan.results())
print(json.dumps({
    "stale": [found.result.record for found in expected.Expected(machine).stale(results)],
    "modules": {r.record: sorted(code.modules(r.stage, r.plugins)) for r in results},
    "made_from": {r.record: [source.record for source in r.made_from] for r in results},
    "stages": {r.record: r.stage for r in results},
}))
"""


def asked(made):
    """What the clone's own code says of its results, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(made.root / "workflow")}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, cwd=made.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished clone with every stage, and what it says of itself. Each test takes its edits back."""
    made = clone(tmp_path_factory.mktemp("mutations") / "clone")
    made.configure(**WHOLE)
    made.snakemake()
    said = asked(made)
    assert said["stale"] == []
    return made, said


def following(said, records):
    """Records, and those of all that is made from them."""
    found: dict[str, None] = {}
    for record, sources in said["made_from"].items():  # sources come first
        if record in records or any(source in found for source in sources):
            found[record] = None
    return list(found)


def expectation(said, file):
    module = "cmr." + file.removesuffix(".py").replace("/", ".").removesuffix("__init__").removesuffix(".")
    module = module.rstrip(".")
    return following(said, {record for record, modules in said["modules"].items() if module in modules})


class Edited:
    """The file of a clone with another text, as long as the block lasts."""

    def __init__(self, made, file, text):
        self.path, self.text = made.root / "workflow" / "cmr" / file, text

    def __enter__(self):
        self.before = self.path.read_text("utf-8")
        self.path.write_text(self.text(self.before), "utf-8")

    def __exit__(self, *_):
        self.path.write_text(self.before, "utf-8")


def mutated(text):
    return text + "\n\nMUTATED = True\n"


def commented(text):
    """Another comment at the end, and another docstring of the module."""
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    return (text.replace(docstring, f"{docstring} Said otherwise.", 1) if docstring else text) + "\n# A remark.\n"


@pytest.mark.parametrize("file", list(SEMANTIC))
@pytest.mark.slow
def test_an_edit_that_changes_figures_makes_again_what_is_made_with_the_module(whole, file):
    made, said = whole
    old, new = SEMANTIC[file]

    def text(before):
        assert old in before, f"{file} no longer holds {old!r}"
        return before.replace(old, new, 1)

    with Edited(made, file, text):
        assert asked(made)["stale"] == expectation(said, file) != []
        planned = made.planned()
    stages = [said["stages"][record] for record in expectation(said, file)]
    rules = {"report": "page"}
    assert planned == {rules.get(stage, stage): stages.count(stage) for stage in set(stages)}


@pytest.mark.long
@pytest.mark.parametrize("file", EVERY)
def test_any_edit_of_any_module(whole, file, cases):
    made, said = whole
    cases(3)
    with Edited(made, file, commented):
        assert asked(made)["stale"] == []
    with Edited(made, file, mutated):
        stale = asked(made)["stale"]
        assert stale == expectation(said, file)
        verified = cmr(made, "verify", "--json")
    named = {finding["path"] for finding in json.loads(verified.stdout) if "the code that" in finding["reason"]}
    direct = {record for record, modules in said["modules"].items() if f"cmr.{file[:-3].replace('/', '.')}" in modules}
    from_runs = {record for record in direct if said["stages"][record] not in ("collect", "report")}
    assert named == (from_runs if not file.endswith("__init__.py") else named)


@pytest.mark.slow
def test_what_a_job_imports_is_its_code_or_left_out(whole):
    """Without it a module could change a figure unseen: an import that is not found by reading."""
    made, said = whole
    run = """
import importlib, json, sys
from cmr import job
plan, machine = job.read(sys.argv[1], 1)
result = plan.result_at(sys.argv[2])
importlib.import_module(f"cmr.stages.{result.stage}").make(result, machine)
print(json.dumps([name for name in sys.modules if name == "cmr" or name.startswith("cmr.")]))
"""
    (plan,) = (made.root / ".snakemake/cmr").glob("*.json")
    environment = os.environ | {"PYTHONPATH": str(made.root / "workflow")}
    one_of_each = {said["stages"][record]: record for record in reversed(said["stages"])}
    for stage, record in one_of_each.items():
        command = [sys.executable, "-c", run, str(plan), record]
        done = subprocess.run(command, cwd=made.root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        imported = set(json.loads(done.stdout.splitlines()[-1]))
        assert imported - seen(said, record) - set(code.LEFT_OUT) - READ_TO_CHECK == set(), stage


def seen(said, record):
    """The modules whose edit makes a result again: its own, and those of what it is made from."""
    return set(said["modules"][record]).union(*(seen(said, source) for source in said["made_from"][record]))


def for_types(node):
    """Whether a statement is run by checkers of types alone."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("module", code.LEFT_OUT)
def test_what_is_left_out_holds_no_numbers(module):
    """It hands on names, paths and checked entries, which are part of an identity themselves. No array goes through it."""
    file = code._file(module)
    assert file is not None, f"{module} is gone; take it out of LEFT_OUT"
    nodes = list(ast.walk(ast.Module([node for node in ast.parse(file.read_text()).body if not for_types(node)], [])))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} & NUMERIC == set()
    ours = {name for name in names if name.startswith("cmr.")}
    of_results = {"cmr.params", "cmr.info", "cmr.shards", "cmr.memory", "cmr.datasets.keyed"}
    assert ours <= {*code.LEFT_OUT, *of_results}  # which are the code of what they change
