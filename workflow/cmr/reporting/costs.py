"""Times and memory of runs, in the words of the papers' tables of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from cmr.provenance import MB
from cmr.publish import read_json
from cmr.reporting.runs import Run

TRAINING, TESTING = "seconds of training", "seconds of testing"
DICTIONARY, ADVERSARIAL, BOTH = "seconds of dictionary learning", "seconds of adversarial learning", "seconds"
GPU_MEMORY = "MiB of GPU memory"
PARALLEL, JOINT = "parallel", "joint"
"""Fits of one modality each, all at the same time: the longest counts, and memory adds up. Or one fit of all. Else one
fit comes after the other."""


def cost(run: Run, what: str, modality: str = "", strategy: str = "") -> float | None:
    """What a run of one seed took: seconds on the clock, choosing included; or MiB, None where no GPU was used.

    ``modality``: of the fit of this modality alone. ``strategy``: how fits follow each other, one after the other, or
    `PARALLEL`. Raises KeyError for a word that no table has.
    """
    fits = [fit for fit in run.fits if not modality or fit["modalities"] == [modality]]
    if not fits:
        return None
    at_once = strategy == PARALLEL and len(fits) > 1
    fitting = (max if at_once else sum)(_usage(fits, "seconds"))
    if what == GPU_MEMORY:
        memory = _usage(fits, "peak_gpu_memory_mb")
        return (sum if at_once else max)(memory) * MB / 2**20 if len(memory) == len(fits) else None
    if what in (TRAINING, ADVERSARIAL):
        return fitting
    if what == TESTING:
        return float(run.record["usage"]["seconds"])
    coding = sum(record["usage"]["seconds"] for record in map(read_json, run.codes_records))
    return {DICTIONARY: coding, BOTH: coding + fitting}[what]


def processor_of(fit: Mapping[str, Any]) -> str:
    """What a fit was computed on, by its record: the GPU's name, or the processor's."""
    hardware = fit["hardware"]
    return hardware.get("gpu") or hardware["processor"]


def _usage(fits: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [fit["usage"][key] for fit in fits if key in fit["usage"]]
