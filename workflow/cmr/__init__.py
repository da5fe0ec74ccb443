"""Cross-modal retrieval: data sets, features, methods, metrics and reports. Knows nothing of Snakemake."""

import os
import sys
from pathlib import Path

__version__ = "0.1.0"

CPU_INFO = Path("/proc/cpuinfo")


def _avoid_slow_sort() -> None:
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


_avoid_slow_sort()
