"""What is written where the user says, and what is printed: nothing of his is lost, nothing of theirs is obeyed."""

import csv
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cmr import boundary, cli, errors
from cmr.data import Items
from cmr.errors import UserError
from cmr.publish import atomic
from cmr.reporting import drawing
from cmr.reporting.figures import Figure
from cmr.reporting.gallery import Catalogue
from cmr.sharing import prune
from reporting_tree import write_tree

RUN = "runs/shapes/default/lite0+bert/cca/0"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("theirs") / "results", methods=["cca"], n=16)


def told(capsys, *arguments):
    """The line that a command ends with."""
    with pytest.raises(SystemExit):
        cli.main([str(argument) for argument in arguments])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.mended("`cmr export --to npy --out FOLDER` replaced a folder with all that was in it")
@pytest.mark.parametrize("form", ["npy", "csv"])
def test_no_folder_of_the_users_is_replaced(tree, tmp_path, capsys, monkeypatch, form):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("years of work")
    (tmp_path / "link").symlink_to(thesis, target_is_directory=True)
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(thesis)
    for out in (thesis, tmp_path / "link", tmp_path / "file", "."):
        assert "stands there already" in told(capsys, "export", tree / RUN, "--to", form, "--out", out)
    assert (thesis / "chapter.tex").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for new in ("empty", "new"):
        cli.main(["export", str(tree / RUN), "--to", form, "--out", str(tmp_path / new)])
        assert any((tmp_path / new).iterdir())


@pytest.mark.mended("a file that was written in the place of a device or a pipe replaced it: of root's, /dev/null too")
def test_no_file_takes_the_place_of_what_is_none(tree, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("pipe.npz", "folder.npz"):
        place = tmp_path / name
        before = place.lstat().st_mode
        with pytest.raises(UserError, match="name a file"), atomic(place) as temporary:
            temporary.write_text("x")
        assert "name a file" in told(capsys, "export", tree / RUN, "--to", "npz", "--out", place)
        assert place.lstat().st_mode == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.npz", "pipe.npz"]


@pytest.mark.mended("a pipe or a link named .in_use in somebody's results was waited for, or followed out of them")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parents[1] / "elsewhere")])
def test_what_tells_who_works_in_a_folder_is_a_file_of_its_own(tmp_path, make):
    results = write_tree(tmp_path / "results", methods=["cca"], n=16)
    make(results / boundary.IN_USE)
    with pytest.raises(UserError, match="remove it"), boundary.in_use(results):
        pass
    with pytest.raises(UserError, match="remove it"):
        prune(results, [], remove=True)
    assert not (tmp_path / "elsewhere").exists()


# What is printed --------------------------------------------------------------------------------------------------------

OBEYED = "\x1b]0;owned\x07\x1b[2J\x9b31m\rall is well"
SHOWN = "\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m\\u000dall is well"


def test_control_characters_are_shown():
    assert errors.printable(f"a{OBEYED}\n\tb → é") == f"a{SHOWN}\n\tb → é"
    assert json.loads(errors.printable(json.dumps([OBEYED], ensure_ascii=False))) == [OBEYED]


@pytest.mark.mended("commands printed control characters of somebody's texts and records, which a terminal obeys")
def test_no_command_prints_control_characters(tmp_path, capsys):
    results = write_tree(tmp_path / "results", methods=["cca"], n=16)
    file = results / "data/shapes/items.parquet"
    items = Items.read(file)
    items.table["labels"] = [[f"{label}{OBEYED}" for label in labels] for labels in items.table["labels"]]
    items.write(file)
    for name in ("run.json", "metrics.json"):
        text = (results / RUN / name).read_text()
        (results / RUN / name).write_text(text.replace('"numpy', json.dumps(f"{OBEYED}numpy")[:-1]))
    for command in (["compare", results / RUN, results / RUN], ["verify", results], ["summary", results]):
        for form in ([], ["--json"]):
            with pytest.raises(SystemExit) if command[0] == "verify" else boundary.reading(results):
                cli.main([*map(str, command), *form])
            said = capsys.readouterr()
            assert "\x1b" not in said.out + said.err
            assert "\x9b" not in said.out + said.err
            assert (SHOWN in said.out) == (command[0] == "compare" and not form)
    assert "\x1b" not in told(capsys, "verify", tmp_path / OBEYED)
    cli.process.prepare()
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s", (OBEYED,), None)
    assert logging.lastResort.format(record) == SHOWN


JOB = """
import logging, sys
from cmr.errors import UserError
from cmr.job import job
with job(sys.argv[1]):
    logging.warning("%s", sys.argv[2])
    raise (UserError if sys.argv[3] == "told" else KeyError)(sys.argv[2])
"""


@pytest.mark.parametrize("error", ["told", "unforeseen"])
def test_no_job_prints_or_logs_control_characters(tmp_path, error):
    """Snakemake shows the logs of jobs that failed."""
    command = [sys.executable, "-c", JOB, str(tmp_path / "log"), OBEYED, error]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 1
    logged = (tmp_path / "log").read_bytes()
    assert logged.count(b"owned") >= 2
    for text in (done.stdout + done.stderr, logged):
        assert b"owned" in text
        assert not {0x1B, 0x07, 0x0D} & set(text)


@pytest.mark.mended("`cmr summary --csv` and `cmr export --to csv` wrote cells that spreadsheets take for formulas")
def test_no_cell_of_a_table_is_a_formula(tmp_path, capsys):
    results = write_tree(tmp_path / "results", methods=["cca"], n=16)
    for name in ("run.json", "fit.json"):
        for file in results.rglob(name):
            file.write_text(file.read_text().replace('"version": "', '"version": "=1+'))
    items = Items.read(results / "data/shapes/items.parquet")
    items.table["labels"] = [[f"@{label}" for label in labels] for labels in items.table["labels"]]
    items.write(results / "data/shapes/items.parquet")
    cli.main(["export", str(results / RUN), "--to", "csv", "--out", str(tmp_path / "exported")])
    cli.main(["summary", str(results), "--csv"])
    texts = [capsys.readouterr().out, *(file.read_text() for file in (tmp_path / "exported").glob("*.csv"))]
    assert len(texts) == 3
    for text in texts:
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        assert any(cell.startswith(("'=", "'@")) for cell in cells)
        assert [cell for cell in cells if errors.inert(cell) != cell] == []


@pytest.mark.mended("`cmr compare` ended in stack traces where a run's files do not fit together")
@pytest.mark.parametrize(
    "change",
    [
        lambda metrics: metrics["tasks"].pop(),
        lambda metrics: metrics["tasks"][0]["metrics"]["map@all"].update(value="x"),
        lambda metrics: metrics["tasks"][0].pop("metrics"),
        lambda metrics: metrics.update(tasks=[3]),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, capsys, change):
    results = write_tree(tmp_path / "results", methods=["cca"], n=16)
    file = results / RUN / "metrics.json"
    metrics = json.loads(file.read_text())
    change(metrics)
    file.write_text(json.dumps(metrics))
    assert "do not fit together" in told(capsys, "compare", results / RUN, results / RUN)
    for short in ("/0", "0", "/"):
        told(capsys, "compare", short, short)


# Pages ------------------------------------------------------------------------------------------------------------------


@pytest.mark.mended("class names of many letters, or many classes, kept `cmr report` busy without end")
def test_drawings_and_pages_of_odd_classes_are_finite():
    names = ["a" * 200_000, "b" * 200_000, "short"]
    figure = Figure(
        "x", "classes", "p", "heat", "t" * 200_000, "x", "y", rows=names, columns=names, heat=[[0.5] * 3] * 3
    )
    assert len(drawing.static(figure)["svg"]) < 100_000
    many = [f"class {number}" for number in range(20_000)]
    wide = Figure("x", "classes", "p", "heat", "t", "x", "y", rows=["m"], columns=many, heat=[[0.5] * len(many)])
    svg = drawing.static(wide)["svg"].decode()
    assert sum(f">{name}<" in svg for name in many) == drawing.NAMES
    items = Items(pd.DataFrame({"id": ["a"], "text": ["b"], "labels": [many]}), {"text": "text"})
    catalogue = Catalogue(items, Path(), Path())
    catalogue.number("a")
    shown = catalogue.columns()
    assert [shown["classes"][number] for number in shown["labels"][0]] == many
