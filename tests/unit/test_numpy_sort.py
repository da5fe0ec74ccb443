"""numpy is told to sort without AVX-512 on AMD Zen 4 and nowhere else."""

import os
import subprocess
import sys

import pytest

import cmr
from cmr import process

ZEN4 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: fpu avx2 avx512f\n\n"


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What a process on a machine with this cpuinfo comes to set."""
    monkeypatch.delenv("NPY_DISABLE_CPU_FEATURES", raising=False)
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    monkeypatch.setattr(process, "CPU_INFO", tmp_path / "cpuinfo")

    def call(text: str | None) -> str | None:
        if text is not None:
            process.CPU_INFO.write_text(text)
        process.avoid_slow_sort()
        return os.environ.get("NPY_DISABLE_CPU_FEATURES")

    return call


def test_zen_4_is_told(told):
    assert told(ZEN4) == "X86_V4"


@pytest.mark.parametrize(
    "text",
    [ZEN4.replace("AuthenticAMD", "GenuineIntel"), ZEN4.replace("25", "26"), ZEN4.replace(" avx512f", ""), "", None],
    ids=["Intel", "Zen 5", "Zen 3", "no facts", "no file"],
)
def test_other_processors_are_left_alone(told, text):
    assert told(text) is None


def test_a_setting_of_the_users_own_is_left_alone(told, monkeypatch):
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512_ICL")
    assert told(ZEN4) == "AVX512_ICL"


def test_a_numpy_that_is_there_already_is_left_alone(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", object())
    assert told(ZEN4) is None


def test_numpy_takes_the_setting_without_a_warning():
    code = "from cmr import process; process.prepare(); import numpy._core._multiarray_umath as m; print(m.__cpu_features__['X86_V4'])"
    run = [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(cmr.__path__[0]), "NPY_DISABLE_CPU_FEATURES": "X86_V4"}
    found = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_importing_the_package_sets_nothing_and_is_quick():
    code = "import os, sys; before = dict(os.environ); import cmr; assert dict(os.environ) == before; assert not {'numpy', 'torch', 'pydantic'} & set(sys.modules)"
    run = [sys.executable, "-S", "-c", code]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(cmr.__path__[0])}
    subprocess.run(run, env=environment, check=True, capture_output=True)
