"""Tables of the report and the summary: never two protocols, splits or ways to count in one column, nothing quoted as measured."""

import csv
import json
import random
import shutil
from itertools import pairwise

import pytest

from cmr import registry
from cmr.cli import main
from cmr.data import Items
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.reporting import headline, published, significance, tables
from cmr.reporting.collect import load
from cmr.reporting.protocols import protocols
from cmr.reporting.summary import table
from cmr.sharing import verify
from reporting_tree import write_experiment, write_items, write_run, write_tree

RELEVANT = {"map@all": {"at": None, "normalise": "relevant"}}
GENERATED = 60


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Runs that look alike: the same ids on two variants of the data, of the inputs and of the split, AP in two ways."""
    results = tmp_path_factory.mktemp("mixed") / "results"
    runs, relevant = [], []
    for data in ("shapes", "shapes-aaaaaa", "wikipedia"):
        items = write_items(results, data, 24)
        shutil.copy(results / f"data/{data}/splits/default.csv", results / f"data/{data}/splits/other.csv")
        for inputs in ("lite0+bert", "lite0-bbbbbb+bert"):
            runs += [write_run(results, items, data, inputs, method, 0) for method in ("cca", "ridge")]
        relevant += [write_run(results, items, data, "lite0+bert", "cca", 0, digest="cccccc", options=RELEVANT)]
    other = results / runs[0].replace("/default/", "/other/")
    shutil.copytree(results / runs[0], other)
    runs.append(str(other.relative_to(results)))
    runs.append(of_a_paper(results, items))
    write_experiment(results, "main-aaaaaa", runs)
    write_experiment(results, "relevant-bbbbbb", relevant, "cccccc")
    return load(results)


def of_a_paper(results, items):
    """A run that stands for one of DLA-CMR's table: the paper's data set, split and parameters."""
    run = results / write_run(results, items, "wikipedia", "lite0+bert", "dla", 0)
    moved = results / "runs/wikipedia/2173_693/lite0+bert/dla/0"
    moved.parent.mkdir(parents=True)
    run.rename(moved)
    record = json.loads((moved / "run.json").read_text())
    record["fits"][0]["data"]["dataset"] = "wikipedia"
    (moved / "run.json").write_text(json.dumps(record))
    return str(moved.relative_to(results))


def key(row):
    return (row["dataset"], row["split"], row["inputs"], row["metric"])


@pytest.mark.mended(
    "`cmr summary` and results.csv put runs on two variants of a data set, or of features, under one name and in one "
    "column, where only parameters told them apart"
)
@pytest.mark.parametrize("rows", ["rows", "united_rows"])
def test_a_name_stands_for_one_protocol_and_one_way_to_count(mixed, rows):
    meant = {}
    for row in getattr(mixed, rows)():
        protocol = row["group"].rpartition("/")[0]
        assert meant.setdefault(key(row), (protocol, row["plugin"], str(row["params"]))) == (
            protocol,
            row["plugin"],
            str(row["params"]),
        )
    assert len({protocol for protocol, *_ in meant.values()}) == 8


def test_the_summary_has_a_block_a_protocol_and_metric(mixed):
    heading, *lines = (line for line in table(mixed.united_rows()).splitlines() if line)
    assert heading.startswith("method")
    starts = [number for number, line in enumerate(lines) if " · " in line]
    heads = [lines[start] for start in starts]
    assert len(heads) == len(set(heads)) == 8 * 2 + 3
    assert sum("normalise=relevant" in head for head in heads) == 3
    for start, end in pairwise([*starts, len(lines)]):
        names = [line.split()[0] for line in lines[start + 1 : end]]
        assert len(names) == len(set(names)) > 1


def test_the_reports_blocks(mixed):
    rows = mixed.united_rows()
    found = headline.blocks(protocols(mixed), rows, significance.weigh(mixed, rows))
    titles = [(block.protocol.label, block.metric) for block in found]
    assert len(titles) == len(set(titles)) == 8 * 2 + 3
    assert len({block.slug for block in found}) == len(found)
    for block in found:
        options = {"at": None if "all" in block.metric else 5}
        options["normalise"] = "relevant" if "relevant" in block.metric else "retrieved"
        assert block.options == options
        assert {line.kind for line in block.lines} <= {headline.MEASURED, headline.CHANCE}
        of_block = {row["group"] for row in rows if row["metric"] == block.metric}
        own = {group.key for group in block.protocol.groups} & of_block
        assert len([line for line in block.lines if line.kind == headline.MEASURED]) == len(own)


def test_nothing_quoted_is_among_what_was_measured(mixed):
    quoted = {n for n in registry.names("methods") if registry.info("methods", n).implementation == "quoted"}
    rows = mixed.united_rows()
    assert quoted
    assert not quoted & {row["method"] for row in rows}
    values = {row["mean"] for row in rows}
    compared = published.compare(published.read(), protocols(mixed), rows)
    assert compared
    measured = 0
    for printed in compared:
        frame = tables.printed_beside_measured(printed)
        assert "printed" in frame.columns
        assert "measured mean" in frame.columns
        assert set(frame["measured mean"].dropna()) <= values
        for line in printed.lines:
            latex = tables.printed_latex(printed)
            assert all(cell.startswith(r"\textit{") for cell in latex["Printed"])
            if line.row is None:
                assert line.measured == ""
                assert line.reason
            else:
                measured += 1
                assert line.row["params"]["normalise"] == "retrieved"
                assert (line.row["query"], line.row["gallery"]) == (line.quote["query"], line.quote["gallery"])
    assert measured
    assert "not measured here" in tables.PRINTED_KEY


# Damaged results ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "results", n=16, seeds=1, methods=("cca",))


def damaged(value, generator):
    """A JSON value with one place of it taken out or replaced; JSON that does not parse is tried elsewhere."""
    value = json.loads(value)
    places = [(holder, key) for holder in containers(value) for key in keys(holder)]
    holder, key = generator.choice(places)
    if generator.random() < 0.5:
        del holder[key]
    else:
        holder[key] = generator.choice([None, [], "x", {}, -1])
    return json.dumps(value)


def keys(holder):
    return list(holder) if isinstance(holder, dict) else range(len(holder))


def containers(value):
    if isinstance(value, dict | list):
        yield value
        for key in keys(value):
            yield from containers(value[key])


@pytest.mark.mended("metrics or records that lack a part were a stack trace in `cmr summary`")
@pytest.mark.slow
def test_damaged_results_are_said(tree, cases, capsys):
    cases(GENERATED)
    generator = random.Random(0)
    files = sorted(tree.rglob("metrics*.json")) + sorted(tree.rglob("run*.json")) + sorted(tree.glob("experiments/*"))
    for number in range(GENERATED):
        file = files[number % len(files)]
        good = file.read_text()
        file.write_text(bad := damaged(good, generator))
        codes = {}
        for command in ("summary", "verify"):
            try:
                main([command, str(tree)])
                codes[command] = 0
            except SystemExit as ended:
                codes[command] = ended.code
        file.write_text(good)
        assert set(codes.values()) <= {0, 1}
        told = "".join(capsys.readouterr())
        assert "its files do not fit together" not in told, "what is told where nothing knows what is wrong"
        if file.name.startswith("metrics") and bad != good:
            assert codes["verify"] == 1, "its hash is in the record"
            assert file.parent.relative_to(tree).as_posix() in told


@pytest.mark.parametrize("what", ["items.parquet", "embeddings/image.h5", "curves.h5"])
def test_results_of_something_else(tree, what):
    (file,) = (path for path in tree.rglob(what.rpartition("/")[2]) if str(path).endswith(what))
    file.write_bytes(b"something else")
    if what == "items.parquet":
        with pytest.raises(UserError, match="items"):
            Items.read(file)
    else:
        run = load(tree).runs[0]
        with pytest.raises(UserError, match="truncated or not an HDF5 file"):
            _ = run.tasks if what == "curves.h5" else run.embeddings(("image", "text"))
    with pytest.raises(UserError, match="no runs"):
        verify(tree / "data", Machine())


def test_results_csv_names_what_differs(mixed, tmp_path):
    rows = mixed.united_rows()
    tables.write_all(tmp_path, rows, significance.weigh(mixed, rows), [], None, [], [])
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(
        {(r["dataset"], r["split"], r["inputs"], r["id"], r["metric"], r["query"], r["gallery"]) for r in rows}
    ) == len(rows)
