"""The worked examples that `cmr new` copies: names set, nothing overwritten."""

import ast
from pathlib import Path

import numpy as np
import pytest

from cmr import cli, registry, templates
from cmr.errors import UserError
from cmr.metrics.base import Ranking
from own_plugins import forget

every = pytest.mark.parametrize("template", list(templates.KINDS))


@pytest.fixture(autouse=True)
def _as_a_new_process():
    forget()
    yield
    forget()


@every
def test_names_are_set_and_the_rest_is_the_template(template, tmp_path):
    file = templates.new(template, "my_2nd_try", tmp_path)
    assert file == tmp_path / templates.KINDS[template] / "my_2nd_try.py"
    text = file.read_text()
    assert not any(name in text for name in templates.EXAMPLES[template])
    classes = {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    assert ("My2ndTry" in classes) == (template != "metric")
    assert f"cmr new {template} my_2nd_try --to my/" in text
    registry.use(tmp_path)
    assert registry.info(templates.KINDS[template], "my_2nd_try").title == "My 2nd try"
    original = (registry.PACKAGE.parent / "templates" / f"{template}.py").read_text()
    assert templates.named(template, templates.EXAMPLES[template][0]) == original


@every
def test_it_is_short(template):
    assert len((registry.PACKAGE.parent / "templates" / f"{template}.py").read_text().splitlines()) < 80


def test_nothing_is_overwritten(tmp_path):
    file = templates.new("method", "mine", tmp_path)
    file.write_text("precious")
    with pytest.raises(UserError, match=r"methods/mine\.py: it is there already, and is not overwritten"):
        templates.new("method", "mine", tmp_path)
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-method", r"'my-method': a name is letters, digits and '_', 40 at most, such as 'class_means'"),
        ("../mine", r"'\.\./mine': a name is letters"),
        ("2nd", r"'2nd': a name is letters"),
        ("cca", r"methods/cca\.py: there is a method 'cca' already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name, said, tmp_path):
    with pytest.raises(UserError, match=said):
        templates.new("method", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_folder_is_the_configurations_unless_another_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["new", "metric", "mine"])
    assert "--to names the folder of plug-ins" in capsys.readouterr().err
    (tmp_path / "my").mkdir()
    Path("my/my.yaml").write_text("plugins: .\n")
    cli.main(["new", "metric", "mine", "--config", "my/my.yaml"])
    cli.main(["new", "metric", "mine", "--to", "other"])
    assert capsys.readouterr().out == "my/metrics/mine.py\nother/metrics/mine.py\n"


def test_the_metrics_chance_is_that_of_the_whole_gallery(tmp_path):
    """Rankings end at the greatest depth of the metrics, once a copy says how deep it looks."""
    templates.new("metric", "mine", tmp_path)
    registry.use(tmp_path)
    metric = registry.module("metrics", "mine")
    ranking = Ranking(np.ones((2, 5), np.uint8), np.zeros(2, bool), np.zeros((2, 1), int), None, np.array([10, 20]), 40)
    assert list(metric.chance(ranking, metric.Params())) == [0.25, 0.5]
