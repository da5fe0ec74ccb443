"""Tables of the user's own that are broken or hostile, through the stages that read them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmr.data import Items
from cmr.errors import UserError
from toy_plan import Project, experiment

GENERATED = 60
HEADER = "name,caption,class\n"
ROWS = "".join(f"n{number},a text {number},{'ab'[number % 2]}\n" for number in range(12))
GOOD = (HEADER + ROWS).encode()


def prepared(folder, content, suffix=".csv", **params):
    """The items that the stages make of a table; raises `UserError` where they refuse it."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / f"my{suffix}").write_bytes(content)
    params = {"file": f"my{suffix}", "id": "name", "text": "caption", "label": "class"} | params
    data = {"datasets": [{"id": "made", "dataset": "table", "params": params}]}
    project = Project(folder, {**data, **experiment(["bow"], "random")})
    split = project.make(project.only("split"))
    return Items.read(project.path(split.source("prepare").files[0]))


def check_whole_or_refused(folder, content, suffix, **params):
    """Items that keep their promises, or a short message that names the file, and nothing written."""
    try:
        items = prepared(folder, content, suffix, **params)
    except UserError as error:
        assert 0 < len(str(error)) < 2000  # noqa: PT017
    else:
        items.check("items")
        assert len(items.table)
    assert not list((folder / "results").rglob("*.tmp"))


def test_the_good_one_is_good(tmp_path):
    assert len(prepared(tmp_path, GOOD).table) == 12


@pytest.mark.mended("a column that stands twice in a table's header was read from the first without a word")
@pytest.mark.mended("JSON that is nested too deeply, or holds half of a surrogate pair, was a stack trace")
@pytest.mark.mended("a key that stands twice in a line of JSON was read from the last without a word")
@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (".csv", b"", "cannot be read: "),
        (".csv", b"\n\n\n", "cannot be read: "),
        (".csv", HEADER.encode(), "no usable row"),
        (".csv", b"\xff\xfe\x00\x01", "no column 'name'"),
        (".csv", GOOD + b"n99,\xff\xfe,a\n", "line 14: not UTF-8 at 'n99,"),
        (".csv", GOOD.decode().encode("utf-16")[:-1], "not UTF-16"),
        (".csv", GOOD + b"n99,a,b,too many\n", "cannot be read: "),
        (".csv", GOOD + b'n99,"never, closed,a\n', "row 14: a quotation mark opens a cell and does not close it"),
        (".csv", GOOD + b"n1,again,a\n", "row 14: id 'n1' stands on row 3 too"),
        (".csv", GOOD + b",no id,a\n", "row 14: empty id"),
        (".csv", GOOD + b"n99,,a\n", "row 14: empty text"),
        (".csv", GOOD + b"n99,only one of its class,z\n", "class 'z' has only 1"),
        (".csv", GOOD.replace(b"caption", b"class"), "'class' stands twice"),
        (".csv", b"caption,class\na,b\n", "no column 'name'"),
        (".csv", bytes(range(256)) * 40, "line 2: not UTF-8"),
        (".tsv", GOOD.replace(b"name", b"nom"), "no column 'name'"),
        (".xlsx", GOOD, "expected one of "),
        (".parquet", b"PAR1 not at all PAR1", "cannot be read: "),
        (".parquet", GOOD, "cannot be read: "),
        (".jsonl", b"[" * 100_000, "row 1"),
        (".jsonl", b"{}\n[1]\n", "row 2: expected an object, found list"),
        (".jsonl", b'{"name": "a", "caption": "b", "class": "c"', "row 1"),
        (".jsonl", b'{"name": "\\ud800", "caption": "b", "class": "c"}\n', "row 1"),
        (".jsonl", b'{"name": "a", "name": "b", "caption": "b", "class": "c"}\n', "row 1: the key 'name' stands twice"),
        (".jsonl", b'{"name": ' + b"9" * 5000 + b', "caption": "b", "class": "c"}\n', "row 1"),
        (".jsonl", b"\xff", "line 1: not UTF-8"),
    ],
)
def test_hand_written_tables(tmp_path, suffix, content, expected):
    with pytest.raises(UserError) as told:
        prepared(tmp_path, content, suffix)
    assert expected in str(told.value)
    assert f"my{suffix}" in str(told.value) or "class 'z'" in str(told.value)
    assert not list(tmp_path.glob("results/data/*/splits"))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.png", "a/../../secret.png", "..", "", "\x00", "a\nb", "~/x"]
)
def test_paths_that_leave_the_folder_or_are_none(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "data").mkdir()
    rows = [{"name": f"n{i}", "caption": f"t{i}", "class": "ab"[i % 2], "picture": name} for i in range(12)]
    content = "\n".join(map(json.dumps, rows)).encode()
    with pytest.raises(UserError, match="row 1: "):
        prepared(tmp_path / "data", content, ".jsonl", image="picture")


texts = st.text(max_size=12) | st.sampled_from(["", "NaN", "None", "1.0", "‮", "\x00", '"', ",", "\r", "a" * 5000])
cells = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts, max_size=3)


def test_generated_bytes(tmp_path, cases):
    cases(GENERATED)

    @settings(max_examples=GENERATED, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(st.integers(0, len(GOOD)), st.integers(0, 40), st.binary(max_size=20))
    def tried(start, length, inserted):
        check_whole_or_refused(tmp_path, GOOD[:start] + inserted + GOOD[start + length :], ".csv")

    tried()


@pytest.mark.mended("a JSON cell that is a mapping was taken for its keys, and bytes in parquet for numbers")
@pytest.mark.slow
def test_generated_json_lines(tmp_path, cases):
    cases(GENERATED)
    with pytest.raises(UserError, match=r"row 1: .*expected text, found dict"):
        prepared(tmp_path, b'{"name": "a", "caption": {"x": 1}, "class": {"y": 2}}', ".jsonl")

    @settings(max_examples=GENERATED, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(st.lists(st.fixed_dictionaries({"name": cells, "caption": cells, "class": cells}), max_size=4))
    def tried(rows):
        whole = [{"name": f"n{i}", "caption": f"t{i}", "class": "ab"[i % 2]} for i in range(12)] + rows
        content = "\n".join(json.dumps(row) for row in whole).encode()
        check_whole_or_refused(tmp_path, content, ".jsonl")

    tried()


def test_a_parquet_file_with_odd_columns(tmp_path):
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(12)], "class": list("ab") * 6})
    frame["caption"] = [np.nan] * 12
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="row 1: empty text"):
        prepared(tmp_path, (tmp_path / "a.parquet").read_bytes(), ".parquet")
    frame["caption"] = pd.to_datetime("2020-01-01")
    frame.to_parquet(tmp_path / "a.parquet")
    check_whole_or_refused(tmp_path, (tmp_path / "a.parquet").read_bytes(), ".parquet")
    frame["caption"] = b"bytes"
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="row 1: caption: expected text, found bytes"):
        prepared(tmp_path, (tmp_path / "a.parquet").read_bytes(), ".parquet")
