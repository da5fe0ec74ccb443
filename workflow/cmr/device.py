"""Which device a job computes on, and with how many threads. Torch is imported only when it is asked."""

import ctypes
import os
from pathlib import Path

from cmr.errors import UserError


def resolve(device: str) -> str:
    """The torch device's name: ``cpu``, ``cuda``, or for ``auto`` ``cuda`` where there is one, else ``cpu``.

    Raises `UserError` with the reason where ``cuda`` was asked for and cannot be used.
    """
    if device == "cpu":
        return "cpu"
    import torch  # 2 seconds, which a job on the CPU without torch need not spend

    if torch.cuda.is_available():
        return "cuda"
    if device == "auto":
        return "cpu"
    raise UserError(f"device: cuda cannot be used: {_why_no_cuda()}; set device: cpu (or auto)")


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all GPUs from this job"
    return "torch finds no GPU and driver on this machine"


def gpu_is_here() -> bool:
    """Whether this machine has an NVIDIA GPU with a driver, told without importing torch."""
    return Path("/dev/nvidia0").exists()


def set_threads(threads: int) -> None:
    """Lets torch use ``threads`` cores: the job's, not the machine's."""
    import torch

    torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Lets this process keep the memory that it frees, as a training step asks for the same again.

    glibc gives large blocks back to the system each time and has every page of the next one cleared, which is a quarter
    of a step with layers of 30 MB and more. Elsewhere than on Linux with glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped on its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap's free end stays
