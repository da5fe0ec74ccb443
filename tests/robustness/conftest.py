"""Counts the cases that were tried, and writes them into docs/robustness.md when `--table` names that file; fixtures."""

from collections import Counter
from pathlib import Path

import pytest

from cmr import code
from robustness.toys import workflow

HERE = Path(__file__).parent
AREAS = {
    "test_kill": "SIGKILL at random moments of a whole run",
    "test_disk": "Full disk, read-only folder, no permission, vanishing files",
    "test_bad_configuration": "Configurations",
    "test_bad_tables": "Tables: CSV, JSON lines, parquet",
    "test_labels_everywhere": "Labels, by every way that they come in",
    "test_bad_matrices": "Ready features: .npy, .npz, .mat, .h5, pickles",
    "test_bad_images": "Pictures",
    "test_bad_texts": "Texts",
    "test_inputs": "Files as people bring them (docs/inputs.md)",
    "test_bad_archives": "Archives and weights",
    "test_bad_results": "Damaged results",
    "test_leakage": "Leakage",
    "test_reproducible": "Same bits again, other threads, `cmr rerun`",
    "test_honest_report": "Reports that could mislead",
    "test_markup": "Markup in texts and names",
    "test_lock": "The lock",
    "test_copies": "Copies, merges, clocks, profiles",
    "test_changed_data": "Data replaced, interruptions with other data or code",
    "test_mutations": "Edits of every module",
    "test_mixing": "Runs of other code, data or versions",
    "test_comparable": "Runs that cannot be compared",
    "test_accept_soundness": "What `cmr accept` must refuse",
    "test_strangers": "Results and files of strangers",
    "test_outputs": "What commands write, print and draw",
    "test_fuzz": "Results trees with something changed at random",
    "test_clones": "Clones in odd places",
    "test_machines": "Odd machines: homes, limits, locales, disks",
}
START, END = "<!-- figures: written by make test-robustness -->", "<!-- end of the figures -->"

finished_once, finished, fresh = workflow.finished_once, workflow.finished, workflow.fresh

_passed, _failed, _mended = Counter(), Counter(), {}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the long part too")
    parser.addoption("--table", type=Path, help="write the counted cases into this file")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: minutes; `make test-robustness` runs it")
    config.addinivalue_line("markers", "mended(what): what the project did wrong before this test")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long", False):
        left_out = [item for item in items if item.path.is_relative_to(HERE) and item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item):
    for mark in item.iter_markers("mended"):
        item.user_properties.append(("mended", mark.args[0]))


@pytest.fixture
def cases(record_property):
    """Called with the number of cases that a test tries, where it is not one."""
    return lambda count: record_property("cases", count)


def pytest_runtest_logreport(report):
    area = AREAS.get(Path(report.nodeid.partition("::")[0]).stem)
    if area is None or report.skipped or (report.when != "call" and report.passed):
        return
    counted = sum(value for name, value in report.user_properties if name == "cases") or 1
    (_passed if report.passed else _failed)[area] += counted
    for name, value in report.user_properties:
        if name == "mended":
            _mended[value] = area


def pytest_sessionfinish(session):
    file = session.config.getoption("--table")
    if file and not hasattr(session.config, "workerinput"):
        text, long = file.read_text("utf-8"), session.config.getoption("--long")
        before, _, rest = text.partition(START)
        _, found, after = rest.partition(END)
        assert found, f"{file} lacks the two comments between which the figures stand"
        file.write_text(f"{before}{START}\n\n{_table(long)}\n\n{END}{after}", "utf-8")


def _table(long):
    rows = ["The short part and the long one:" if long else "The short part:", ""]
    rows += ["| what | cases | survived | faults found and mended |", "| --- | ---: | ---: | ---: |"]
    for area in AREAS.values():
        tried, mended = _passed[area] + _failed[area], sum(area == other for other in _mended.values())
        if tried:
            rows.append(f"| {area} | {tried} | {_passed[area]} | {mended or ''} |")
    tried, survived = sum((_passed + _failed).values()), sum(_passed.values())
    rows.append(f"| all | {tried} | {survived} | {len(_mended)} |")
    order = {area: number for number, area in enumerate(AREAS.values())}
    found = sorted(_mended.items(), key=lambda pair: (order[pair[1]], pair[0]))
    listed = [f"- {what}" for what, _ in found]
    return "\n".join([*rows, "", "Found by this suite and mended:", "", *listed])


@pytest.fixture
def edited(monkeypatch):
    """As an edit of a module would: other code of some stages, with or without a plug-in, that computes what it did."""

    def edit(*stages, plugin=None, mark="x"):
        genuine = code.of_stage

        def of_stage(stage, plugins):
            found = genuine(stage, plugins)
            has_part = stage in stages and (plugin is None or plugin in [name for _, name in plugins])
            return f"{found[:-1]}{mark}" if has_part else found

        monkeypatch.setattr(code, "of_stage", of_stage)

    return edit
