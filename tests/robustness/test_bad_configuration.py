"""Configurations that are wrong in every way: a line a mistake, never another exception, never an endless message."""

import copy
import string

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmr import config
from cmr.cli import main
from cmr.errors import UserError
from cmr.plan import Plan

GENERATED = 60
GOOD = {
    "title": "T",
    "datasets": [{"id": "mine", "dataset": "table", "params": {"file": "my.csv", "image": "picture"}}],
    "features": [{"id": "lite0", "extractor": "efficientnet_lite0"}, {"id": "bow", "params": {"vocabulary": 50}}],
    "dictionaries": [{"id": "coupled", "params": {"atoms": [8, 8]}}],
    "metrics": [{"id": "map@50", "metric": "mean_average_precision", "params": {"at": 50}}],
    "experiments": [
        {
            "id": "main",
            "data": ["mine"],
            "inputs": [["lite0", "bow"]],
            "methods": [{"id": "dla", "method": "dla_cmr", "dictionary": "coupled", "tune": {"margin": [0.1]}}, "cca"],
            "seeds": 2,
        }
    ],
}


def places(value, path=()):
    """The path of every value in a configuration."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, one in inner for place in places(one, (*path, key))]


def replaced(path, value):
    changed = copy.deepcopy(GOOD)
    if not path:
        return value
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=20)
    | st.dates()
    | st.sampled_from(["..", "a/b", "a" * 300, "main\n", "‮abc", "~", "NaN", "1e999", "-", "+", "lite0+bow"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def told(call, *arguments):
    """What a `UserError` says; '' where there is none. Any other exception fails the test."""
    try:
        call(*arguments)
    except UserError as error:
        return str(error)
    return ""


def is_short(message):
    return len(message) < 5000 and all(len(line) < 1000 for line in message.splitlines())


def planned(value, source="config.yaml"):
    plan = Plan(config.validate(value, source))
    for run in plan.runs[:10]:
        for part in run.folder.split("/"):
            assert part not in ("", ".", "..")
            assert len(part.encode()) <= 255, part


@pytest.mark.mended("ids could be longer than a file's name may be, and the run failed half-way")
@pytest.mark.mended("`seeds: 100000000000` planned until the memory was full; 10,000 are the most now")
@pytest.mark.mended("a mistake's message repeated the whole value that was found, however long")
def test_any_value_anywhere(cases):
    cases(GENERATED)

    @settings(max_examples=GENERATED, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(st.sampled_from(places(GOOD)), values)
    def tried(path, value):
        changed = replaced(path, value)
        if isinstance(changed, dict):
            assert is_short(told(planned, changed))

    tried()


@given(st.binary(max_size=60) | st.text(alphabet=string.printable, max_size=60).map(str.encode))
@settings(max_examples=GENERATED, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
def any_bytes_as_file(folder, content):
    file = folder / "c.yaml"
    file.write_bytes(content)
    told(config.load, file)
    told(lambda: config.data_base(config.read_all([file])))


def test_any_bytes_as_a_file(tmp_path, cases):
    cases(GENERATED)
    any_bytes_as_file(tmp_path)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.mended("a configuration with a number as a key was a stack trace")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "no YAML: line 1, column 2"),
        ("- list", "expected keys and values"),
        ("just words", "expected keys and values"),
        ("", "experiments: required, but missing"),
        ("a: !!python/object/apply:os.system [touch x]", "could not determine a constructor"),
        ("a: &a [*a]", "a: unknown key"),
        (BOMB, "a0: unknown key"),
        (BOMB.replace("a8:", "title:"), "title: expected"),
        ("[" * 5000, "cannot be read"),
        ("title: {1: 2}", "title: expected"),
        ("1: 2", "Keys should be strings"),
        ("experiments: {}\ntitle: \x00", "cannot be read"),
    ],
)
def test_hand_written_files(tmp_path, text, expected):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    message = told(config.load, file)
    assert expected in message
    assert str(file) in message
    assert is_short(message)
    assert not (tmp_path / "x").exists()


@pytest.mark.mended("a configuration that cannot be read was a stack trace in `cmr search` and `cmr list`")
@pytest.mark.parametrize("content", [b"{", b"- list", b"\xff\xfe\x00", b"cache: [1]\n"])
def test_the_command_line_says_it_in_a_line(tmp_path, capsys, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes(content)
    for command in (["list", "datasets"], ["doctor"], ["prune", "."]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert "config.yaml" in line


@pytest.mark.mended("a sweep of many values of several parameters planned until the memory was full")
@pytest.mark.parametrize("key", ["sweep", "tune"])
def test_grids_have_an_end(key):
    grid = {"components": list(range(1, 201)), "regularisation": list(range(1, 201))}
    said = told(planned, {**GOOD, "experiments": [{**GOOD["experiments"][0], "methods": [{"id": "cca", key: grid}]}]})
    assert "40,000 combinations; 10,000 are the most" in said


def test_the_good_one_is_good():
    planned(yaml.safe_load(yaml.safe_dump(GOOD)))
