"""Where a result comes from: code hashes, file hashes, versions, hardware, time and memory."""

import ast
import hashlib
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from cmr import registry

CODE_SUFFIXES = {".py", ".html", ".css", ".js"}
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "torchvision", "transformers", "gensim", "h5py", "snakemake")


@cache  # asked for every job, and the same for all jobs of a plug-in
def code_hash(kind: str, *names: str) -> str:
    """Hash of plug-ins' code: their files and what these import of their own folder, less comments and docstrings.

    Part of each rule's parameters, so that an edited method reruns its own runs and nothing else, and an edited
    comment nothing. The store and the command line are left out on purpose.
    """
    files: set[Path] = set()
    for name in names:
        _collect(registry.path(kind, name), registry.path(kind, name).parent, files)
    return _hash(files)


def folder_hash(folder: str) -> str:
    """Hash of all code and templates of one folder of the package, such as ``reporting``."""
    return _hash({path for path in (registry.PACKAGE / folder).rglob("*") if path.suffix in CODE_SUFFIXES})


def _hash(files: set[Path]) -> str:
    text = "\n".join(f"{file.name}\n{_bare_code(file)}" for file in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _collect(file: Path, folder: Path, files: set[Path]) -> None:
    files.add(file)
    for imported in _imported(file, folder):
        if imported not in files:
            _collect(imported, folder, files)


@cache
def _imported(file: Path, folder: Path) -> list[Path]:
    """The files of ``folder`` that ``file`` imports, in any of the three forms of an import."""
    package = f"cmr.{folder.name}"
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {a.name.removeprefix(f"{package}.") for a in node.names if a.name.startswith(f"{package}.")}
        elif isinstance(node, ast.ImportFrom) and (node.module == package or (node.level and not node.module)):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith(f"{package}.")):
            modules.add((node.module or "").removeprefix(f"{package}."))
    return [folder / f"{module}.py" for module in sorted(modules) if (folder / f"{module}.py").exists()]


@cache
def _bare_code(file: Path) -> str:
    if file.suffix != ".py":
        return file.read_text("utf-8")
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def file_hash(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
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
def measured() -> Iterator[dict[str, float]]:
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
