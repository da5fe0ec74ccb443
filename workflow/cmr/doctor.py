"""What is missing on this machine for a configuration, and how to get it. Downloads nothing."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cmr import config, settings
from cmr.create import extractor
from cmr.device import resolve
from cmr.errors import UserError


def findings(config_files: Sequence[str]) -> list[dict[str, Any]]:
    """``what``, whether it is ``there``, and in ``text`` what to do where it is not."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # look, do not download
    names = ", ".join(settings.files_of(config_files))
    configuration = config.validate(settings.merged(config_files), names or settings.DEFAULT)
    machine = replace(settings.machine(config_files), device="cpu")
    found = [_finding("configuration", True, names)]
    for entry in configuration.features:
        try:
            weights = extractor(entry.model_dump(mode="json"), machine).fetch()
        except UserError as error:
            found.append(_finding(f"weights of {entry.id}", False, str(error)))
            continue
        if weights:
            found.append(_finding(f"weights of {entry.id}", True, f"{weights['name']} ({weights['source']})"))
    device = resolve("auto")
    without = "none found; methods run on the CPU (device: auto)"
    found.append(_finding("GPU", device == "cuda", device if device == "cuda" else without))
    sbatch = shutil.which("sbatch")
    found.append(_finding("sbatch", bool(sbatch), sbatch or "not found; only needed for --profile slurm"))
    return found


def _finding(what: str, there: bool, text: str) -> dict[str, Any]:
    return {"what": what, "there": there, "text": text}
