"""Makes the helper modules of this folder importable: pytest puts the folder of a conftest on the path.

``pytest tests/contract --plugins=my/`` tests the plug-ins of a folder of one's own, and nothing else.
"""

import os

import pytest

from cmr import registry
from cmr.errors import UserError


def pytest_addoption(parser):
    parser.addoption("--plugins", dest="own_plugins", metavar="FOLDER", help="test the plug-ins of this folder alone")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: whole chains, and what else takes ten seconds or more; `make test-slow` runs them"
    )
    try:
        registry.use(config.getoption("own_plugins"))
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config, items):
    """With ``--plugins``, keeps the tests that are of a plug-in, and of one in the folder."""
    if registry.own_folder() is None:
        return
    names = {name for kind in registry.FOLDERS for name in registry.own_plugins(kind)}
    kept = [item for item in items if "callspec" in vars(item) and item.callspec.params.get("name") in names]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(autouse=True)
def environment_stays():
    """Commands set variables for their own process, which here is that of all tests."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"})
