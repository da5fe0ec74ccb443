"""What a process sets for itself before it computes."""

import os
import subprocess
import sys

import pytest

SCRIPT = "from cmr import process; process.prepare(); import torch; torch.ones(2) @ torch.ones(2)"


@pytest.mark.parametrize(("own", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(own, policy):
    """As the library says that it will do."""
    environment = os.environ | {"OMP_DISPLAY_ENV": "true"}
    environment.pop("OMP_WAIT_POLICY", None)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment | own, capture_output=True, text=True)
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
