"""Counts the cases that were tried, into the file that `--counts` names where all survived; fixtures."""

import json
from pathlib import Path

import pytest

from cmr import code
from toy_clones import finished, finished_once, fresh

__all__ = ["finished", "finished_once", "fresh"]
HERE = Path(__file__).parent

_counted = {"cases": 0, "mended": []}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the long part too")
    parser.addoption("--counts", type=Path, help="write how many cases were tried, and what was mended, into this file")


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
    if report.when == "call" and report.passed:
        _counted["cases"] += sum(value for name, value in report.user_properties if name == "cases") or 1
        found = [value for name, value in report.user_properties if name == "mended"]
        _counted["mended"] += [what for what in found if what not in _counted["mended"]]


def pytest_sessionfinish(session, exitstatus):
    file = session.config.getoption("--counts", None)
    if file and exitstatus == 0 and not hasattr(session.config, "workerinput"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_counted), "utf-8")


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
