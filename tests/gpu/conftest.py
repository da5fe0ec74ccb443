"""Tests of this folder need a GPU that torch can use: `make test-gpu`. Elsewhere each is skipped, with the reason."""

from pathlib import Path

import pytest

from cmr.device import resolve
from cmr.errors import UserError

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    try:
        resolve("cuda")
    except UserError as error:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason=str(error)))
