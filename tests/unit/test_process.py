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


def test_the_log_of_a_job_is_utf8_whatever_the_locale(tmp_path):
    """Logs name directions: image→text."""
    script = "import logging, sys; from cmr.job import job\nwith job(sys.argv[1]): logging.info('image\\u2192text')"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], env=environment, check=True)
    assert "image→text" in (tmp_path / "log").read_text("utf-8")
