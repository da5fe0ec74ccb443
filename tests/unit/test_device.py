import os
import platform
import subprocess
import sys

import pytest
import torch

from cmr import device
from cmr.errors import UserError


def test_cpu_is_taken_as_it_is():
    assert device.resolve("cpu") == "cpu"


def test_auto_takes_a_gpu(with_gpu):
    assert device.resolve("auto") == "cuda"


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve("auto") == "cpu"


@pytest.mark.parametrize(
    ("built_for", "visible", "reason"),
    [(None, None, "without CUDA"), ("13.0", "", "CUDA_VISIBLE_DEVICES"), ("13.0", "0", "no GPU")],
)
def test_cuda_that_is_not_there_is_refused_with_the_reason(monkeypatch, built_for, visible, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match=reason):
        device.resolve("cuda")


@pytest.fixture
def with_gpu(monkeypatch):
    """A process that finds a GPU, with torch's own settings before and after."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    filled = torch.utils.deterministic.fill_uninitialized_memory
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, value in zip(backends, before, strict=True):
        backend.allow_tf32 = value
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = filled
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_float32_is_float32_on_a_gpu(with_gpu, asked):
    device.resolve(asked)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_gpu_repeats_its_bits_where_it_can_and_warns_where_not(with_gpu):
    device.resolve("auto")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_the_cpu_is_left_as_it_is(with_gpu):
    device.resolve("cpu")
    assert torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("dev/nvidia0", True),
        ("dev/nvidia3", True),
        ("usr/lib/wsl/lib/libcuda.so.1", True),
        ("dev/nvidiactl", False),
        ("dev/kfd", False),  # AMD's, which processors have too; these packages compute on NVIDIA's alone
        ("dev/dxg", False),  # of Windows' subsystem for Linux with any GPU
    ],
)
def test_a_gpu_is_told_by_its_files(tmp_path, name, here):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    assert device.gpu_is_here(tmp_path) == here


def test_cores_are_those_that_the_process_is_bound_to_or_the_machines(monkeypatch):
    assert device.cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert device.cores() == os.cpu_count()


def test_threads_are_those_of_the_job_and_the_callers_again_after_it():
    before = torch.get_num_threads()
    with device.torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_kept_memory_is_not_cleared_again():
    count = """
import ctypes, resource, sys
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a fault a page of 4 KiB, whatever huge pages are free
import numpy as np
from cmr.process import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    np.empty(2**23).fill(1)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def faults(mode: str) -> int:
        return int(subprocess.run([sys.executable, "-c", count, mode], capture_output=True, check=True).stdout)

    assert faults("keep") < faults("return") / 4
