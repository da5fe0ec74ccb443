"""What a job or a command sets for its own process before it computes. Importing the package sets nothing."""

import ctypes
import io
import logging
import os
import sys
from pathlib import Path

from cmr.errors import Printable

CPU_INFO = Path("/proc/cpuinfo")


def prepare() -> None:
    """Called before numpy is imported."""
    print_anything()
    avoid_slow_sort()
    keep_freed_memory()
    wait_asleep()


def print_anything() -> None:
    """A terminal that lacks a character shows it escaped, as in \\u2192; so does every one a control character."""
    if logging.lastResort:
        logging.lastResort.setFormatter(Printable())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def avoid_slow_sort() -> None:
    """On AMD Zen 4 numpy sorts three times faster without AVX-512, which it must be told before it is imported.

    numpy's sort compresses to memory, which that processor does in microcode. A setting of
    the user's own is left alone, and so is a numpy that has been imported already.
    """
    if "numpy" in sys.modules or not CPU_INFO.exists():
        return
    facts = {name.strip(): value for name, _, value in (line.partition(":") for line in CPU_INFO.open())}
    family, flags = facts.get("cpu family", "").strip(), facts.get("flags", "").split()
    if "AuthenticAMD" in facts.get("vendor_id", "") and family == "25" and "avx512f" in flags:
        os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4")


def wait_asleep() -> None:
    """Lets threads that wait for others sleep, where GNU's OpenMP, which torch uses, would have them spin.

    On a machine that others use too, a thread that spins takes the core that the one it waits for needs, and training
    takes many times as long: tests/benchmarks/waiting.py prints how many. A setting of the user's own is left alone.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def keep_freed_memory() -> None:
    """Lets this process keep the memory that it frees, as a training step asks for the same again.

    glibc gives large blocks back to the system each time and has every page of the next one cleared, which is a quarter
    of a step with layers of 30 MB and more. Elsewhere than on Linux with glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped on its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap's free end stays
