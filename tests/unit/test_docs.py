"""The documentation: what is generated is up to date, pages build without a warning, and none needs the net."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cmr.config import validate
from cmr.plan import Plan

ROOT = Path(__file__).parents[2]


def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_generated_is_up_to_date():
    files = generate().files()
    stale = [file for file, text in files.items() if not file.exists() or file.read_text("utf-8") != text]
    left = set((ROOT / "docs/reference").rglob("*.md")) - set(files)
    named = sorted(str(file.relative_to(ROOT)) for file in {*stale, *left})
    assert named == [], "run `python docs/generate.py` (or `make docs`) and commit"


def test_every_method_has_a_page_that_the_index_links():
    files = {
        str(file.relative_to(ROOT / "docs/reference")): text
        for file, text in generate().files().items()
        if file.is_relative_to(ROOT / "docs/reference")
    }
    names = [name for name, _ in generate().plugins("methods")]
    assert len(names) > 30
    for name in names:
        assert f"({'methods/' + name}.md)" in files["methods.md"]
        assert f"`{name}`, in `workflow/cmr/methods/{name}.py`" in files[f"methods/{name}.md"]


def test_a_readme_without_a_marker_is_refused():
    text = (ROOT / "README.md").read_text("utf-8")
    with pytest.raises(SystemExit, match="expected one <!-- datasets -->"):
        generate().filled(text.replace("<!-- datasets -->", ""))


def test_the_readme_names_only_files_that_are_there():
    text = (ROOT / "README.md").read_text("utf-8")
    linked = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    assert len(linked) > 5
    assert [link for link in sorted(linked) if not (ROOT / link).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="sphinx is not installed (make env)")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", f"{out}/trees", "docs", f"{out}/html"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


@pytest.mark.slow
def test_pages_load_nothing_from_the_net(site):
    loads = re.compile(
        r"""<(?:script|link|img|iframe)\b[^>]*(?:src|href)=["'](https?:)?//[^>]*>|@import|url\(['"]?https?:"""
    )
    files = [file for file in site.rglob("*") if file.suffix in (".html", ".css")]
    assert len(files) > 20
    assert {str(file): found[0] for file in files if (found := loads.search(file.read_text("utf-8")))} == {}


@pytest.mark.slow
def test_every_page_is_built(site):
    sources = [file for file in (ROOT / "docs").rglob("*.md") if "_build" not in file.parts]
    assert [s for s in sources if not (site / s.relative_to(ROOT / "docs").with_suffix(".html")).exists()] == []


def test_a_table_of_measured_results_is_of_the_rows_that_match(tmp_path):
    page = "before\n<!-- measured emoji.csv metric=map@all inputs=lite0+bert id=c* -->\nold\n<!-- end -->\nafter\n"
    written = generate().with_measured(page)
    lines = written.splitlines()
    assert lines[:2] == page.splitlines()[:2]
    assert lines[-2:] == ["<!-- end -->", "after"]
    assert lines[2].startswith("| method | image→text | text→image | average |")
    assert [line.split("|")[1].strip() for line in lines[4:-2]] == ["`cca`", "chance"]
    with pytest.raises(generate().choice.UserError, match="no method matches 'x'"):
        generate().with_measured(page.replace("id=c*", "id=x"))


def test_a_table_beside_printed_numbers_has_the_methods_that_the_paper_prints():
    wanted = ["split=2173_693", "metric=map@all", "printed=dla_cmr/2/sift+lda"]
    head, _, *lines = generate().measured_table("wikipedia.csv", wanted).strip().splitlines()
    assert head.endswith("| printed |")
    printed = {line.split("`")[1]: line.rsplit("|", 2)[1].strip() for line in lines}
    assert printed == {
        "cca_3v": "0.228, 0.205, 0.217",
        "jfssl": "0.306, 0.228, 0.267",
        "mdcr": "0.287, 0.225, 0.256",
        "acmr": "0.351, 0.245, 0.298",
    }


def test_a_table_by_parameters_has_a_cell_for_every_value():
    wanted = ["experiment=smcr_variants", "metric=map@50"]
    head, _, *lines = generate().measured_table("smcr.csv", [*wanted, "by=alpha/beta"]).strip().splitlines()
    assert head == "| `alpha` | `beta` 0 | `beta` 0.1 | `beta` 1 |"
    cells = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines}
    assert cells["1"] == ["0.298 ± 0.008", "", "0.288 ± 0.007"]
    only = [*wanted, "id=without_constraint", "by=alpha"]
    head, _, *lines = generate().measured_table("smcr.csv", only).strip().splitlines()
    assert head == "| `alpha` | image→text | text→image | average |"
    assert [line.split(" | ")[0] for line in lines] == ["| 0.1", "| 1"]
    of_one_seed = ["experiment=scaling", "method=drsl", "metric=map@all", "by=scale"]
    *_, line = generate().measured_table("readings.csv", of_one_seed).strip().splitlines()
    assert line == "| standardise | 0.328 | 0.262 | 0.295 |"
    with pytest.raises(AssertionError, match="two figures of alpha 0"):
        generate().measured_table("smcr.csv", [*wanted, "by=alpha"])


def test_runs_that_pages_name_are_runs_of_the_default():
    """A grid or a default that changes gives a run another name."""
    default = Plan(validate(yaml.safe_load((ROOT / "config.yaml").read_text())))
    runs = {"/".join((run.data, run.split, "+".join(run.inputs), run.method)) for run in default.runs}
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.ipynb")]
    named = {
        name
        for page in pages
        for name in re.findall(r"runs/(emoji/default/lite0\+bert/[a-z_]+-[0-9a-f]{6})", page.read_text())
    }
    assert named
    assert named <= runs
