"""The registry reads plug-ins without importing them; time and memory are measured; torch is imported where needed."""

import os
import subprocess
import sys

import pytest

from cmr import provenance, registry
from cmr.errors import UserError
from cmr.params import Params

EVERY = [(kind, name) for kind in registry.FOLDERS for name in registry.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_what_is_read_without_importing_is_what_the_file_holds(kind, name):
    assert registry.info(kind, name).title
    if getattr(registry.info(kind, name), "implementation", "") == "quoted":
        return
    model = registry.params_model(kind, name)
    assert issubclass(model, Params)
    assert model().changed() == {}
    plugin = registry.module(kind, name)
    assert model.model_json_schema() == plugin.Params.model_json_schema()
    assert registry.info(kind, name) == plugin.INFO
    undocumented = [key for key, field in model.model_fields.items() if not field.description]
    assert undocumented == []


def test_listing_and_validating_import_neither_torch_nor_the_plugins():
    code = (
        "import sys; from cmr import config, registry; config.load('config.yaml'); "
        "print([m for m in sys.modules if m in ('torch', 'sklearn', 'transformers', 'pandas', 'cmr.methods.cca')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plugin_is_given_parameters_of_its_own_class():
    plugin = registry.module("methods", "ridge_label")
    assert type(registry.params("methods", "ridge_label", {"alpha": 2.0})) is plugin.Params


def test_an_unknown_plugin_names_the_nearest():
    with pytest.raises(UserError, match="unknown method 'rigde_label'; did you mean 'ridge_label'"):
        registry.info("methods", "rigde_label")


BROKEN = {  # a file of a method: what is said of it
    "INFO = {}\nclas Mine: pass\n": "line 2: invalid syntax",
    "INFO = {'title': 'Mine'}\n": r"INFO: expected MethodInfo\(\.\.\.\) with keywords",
    "INFO = DatasetInfo(title='Mine')\n": r"INFO: expected MethodInfo\(\.\.\.\) with keywords",
    "INFO = MethodInfo(title=str('Mine'))\n": r"INFO: title: expected a value as it stands, such as 'text' or True, not str\('Mine'\)",
    "INFO = MethodInfo(title='Mine', modalities=2, labels=True, stochastic=0.5, gpus=1)\n": (
        "INFO: implementation: Field required; stochastic: .*; gpus: Extra inputs are not permitted"
    ),
    "INFO = MethodInfo(title='Mine', implementation='own', modalities=2, labels=True, stochastic=False)\n"
    "import numpy as np\nfrom cmr.params import Params as Base\nclass Params(Base):\n    angle: float = np.pi\n": (
        "Params: name 'np' is not defined; it may use what comes from cmr.methods.common_params, cmr.params, pydantic"
    ),
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
def test_a_broken_plugin_is_one_line_with_its_file(tmp_path, monkeypatch, text, said):
    cached = (registry.names, registry.parsed, registry._info, registry.params_model)
    file = tmp_path / "methods/mine.py"
    file.parent.mkdir()
    file.write_text(text)
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    for function in cached:
        function.cache_clear()
    try:
        with pytest.raises(UserError, match=f"^{file}: {said}") as raised:
            _ = registry.info("methods", "mine"), registry.params_model("methods", "mine")
        assert "\n" not in str(raised.value)
    finally:
        for function in cached:
            function.cache_clear()


def test_measured_gives_time_and_memory():
    with provenance.used() as usage:
        sum(range(1000))
    assert usage["seconds"] >= 0
    assert 10 < usage["peak_memory_mb"] < 100_000


def test_memory_is_that_of_the_program_and_not_of_what_became_it():
    """As `bash -c` becomes the job that Snakemake starts by it."""
    code = "import os, sys; b'x' * 2**28; os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    told = "from cmr.provenance import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code, told], capture_output=True, text=True, check=True)
    assert 10 < float(done.stdout) < 200


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with code in it that is told to be this project's, and how to call git there."""
    package = tmp_path / "clone" / "workflow" / "cmr"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(registry, "PACKAGE", package)

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(tmp_path / "clone"), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    return package, git


def test_the_commit_is_that_of_a_checkout_of_this_code_with_its_edits(checkout):
    package, git = checkout
    assert provenance.project().commit is None  # not a commit yet
    git("add", ".")
    git("commit", "-q", "-m", "x")
    committed = provenance.project()
    assert (committed.commit, committed.changed) == (git("rev-parse", "HEAD"), False)
    (package / "__init__.py").write_text("edited = True")
    assert provenance.project() == committed.model_copy(update={"changed": True})


def test_a_repository_that_this_code_only_lies_in_is_not_its_own(checkout):
    package, git = checkout
    (package / ".gitignore").write_text("*")
    git("commit", "-q", "--allow-empty", "-m", "of somebody's project, with an environment in its folder")
    assert provenance.project().commit is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_checkout_of_somebody_else_has_its_commit(checkout):
    package, git = checkout
    git("add", ".")
    git("commit", "-q", "-m", "x")
    commit = git("rev-parse", "HEAD")
    for path in (package.parents[1], *package.parents[1].rglob("*")):
        os.chown(path, 1234, 1234)
    assert (provenance.project().commit, provenance.project().changed) == (commit, False)


def test_a_checkout_whose_edits_take_too_long_to_find_has_its_commit(checkout, monkeypatch):
    _, git = checkout
    git("add", ".")
    git("commit", "-q", "-m", "x")
    run = subprocess.run

    def slow(command, **options):
        if "status" in command:
            raise subprocess.TimeoutExpired(command, 10)
        return run(command, **options)

    commit = git("rev-parse", "HEAD")
    monkeypatch.setattr(subprocess, "run", slow)
    assert (provenance.project().commit, provenance.project().changed) == (commit, None)
    assert str(provenance.project()).endswith(f"commit {commit[:10]}, with changes or not")


@pytest.mark.slow
def test_torch_is_imported_by_what_uses_a_gpu_and_nothing_else():
    """Jobs would else wait for it: preparing, indexing, the report, and all methods in closed form.

    Dictionaries are left out: the coupled ones compute with torch on the CPU.
    """
    code = (
        "import importlib, pkgutil, sys, cmr.job, cmr.expected, cmr.sharing, cmr.reporting.page, cmr.stages\n"
        "from cmr import registry\n"
        "for stage in pkgutil.iter_modules(cmr.stages.__path__):\n"
        "    importlib.import_module(f'cmr.stages.{stage.name}')\n"
        "assert 'torch' not in sys.modules, 'a stage'\n"
        "for kind in set(registry.FOLDERS) - {'dictionaries'}:\n"
        "    for name in registry.names(kind):\n"
        "        if not getattr(registry.info(kind, name), 'gpu', False):\n"
        "            registry.module(kind, name)\n"
        "            assert 'torch' not in sys.modules, f'{kind} {name}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
