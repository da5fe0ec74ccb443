"""Which device a job computes on, and with how many threads. Torch is imported only when it is asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmr.errors import UserError


def resolve(device: str) -> str:
    """The torch device's name: ``cpu``, ``cuda``, or for ``auto`` ``cuda`` where there is one, else ``cpu``.

    On ``cuda`` float32 is then computed in full, and the same input gives the same bits wherever CUDA can (`_settle`).
    Raises `UserError` with the reason where ``cuda`` was asked for and cannot be used.
    """
    if device == "cpu":
        return "cpu"
    import torch  # 2 seconds, which a job on the CPU without torch need not spend

    if torch.cuda.is_available():
        _settle()
        return "cuda"
    if device == "auto":
        return "cpu"
    raise UserError(f"device: cuda cannot be used: {_why_no_cuda()}; set device: cpu (or auto)")


def _settle() -> None:
    """For the process: float32 in full, and the same bits twice; torch warns where it has no such operation."""
    import torch

    # TF32 is a GPU's default for convolutions and recurrent layers; float32 shall mean the same on every device.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it finds mistakes, and costs time
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # fixed memory, and so a fixed order of sums


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all GPUs from this job"
    return "torch finds no GPU and driver on this machine"


def gpu_is_here(root: Path = Path("/")) -> bool:
    """Whether this machine has an NVIDIA GPU with a driver, told without importing torch.

    Of several GPUs a container may be given any one. Windows' subsystem for Linux has its driver's library instead.
    """
    return any(root.glob("dev/nvidia[0-9]*")) or (root / "usr/lib/wsl/lib/libcuda.so.1").exists()


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS, which binds no process to cores


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Lets torch use ``count`` cores inside the block, the job's and not the machine's; after it as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
