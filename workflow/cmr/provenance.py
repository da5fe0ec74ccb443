"""Where a result comes from: the project's version and commit, packages, hardware, time and memory; file hashes."""

import hashlib
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from cmr import __version__, registry
from cmr.boundary import plain
from cmr.records import Project

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "torchvision", "transformers", "gensim", "h5py", "snakemake")
SECONDS = 10  # a large checkout on a slow file system


def project() -> Project:
    """The version of this code, and where it is a checkout its commit and whether it was edited since."""
    try:
        commit = _git("rev-parse", "HEAD")
        return Project(version=__version__, commit=commit, changed=bool(_git("status", "--porcelain", "--", ".")))
    except (OSError, subprocess.SubprocessError):
        return Project(version=__version__)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(registry.PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()


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
    """Processor, and the GPU where torch is loaded and sees one."""
    found: dict[str, Any] = {"machine": platform.machine(), "processor": _processor(), "system": platform.system()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


@contextmanager
def used() -> Iterator[dict[str, float]]:
    """Yields a dictionary that holds, after the block, wall seconds and the process's (and GPU's) peak memory."""
    usage: dict[str, float] = {}
    start = time.perf_counter()
    try:
        yield usage
    finally:
        usage["seconds"] = round(time.perf_counter() - start, 3)
        usage["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            usage["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
