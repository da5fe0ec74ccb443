"""Ridge regression in steps that take a while and are checkpointed: a method whose jobs can be watched and killed.

Each step is recorded with the SLURM job that made it, the GPUs that job saw, and when it began and ended.
"""

import os
import time
from typing import Literal

import numpy as np
from pydantic import Field

from cmr import publish
from cmr.data import Part, paired
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.linear import LinearMethod, ridge
from cmr.params import Params as BaseParams

INFO = MethodInfo(
    title="Steady",
    paper="made up",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
)


class Params(BaseParams):
    scale: Literal["standardise", "centre"] = Field("centre", description="as for every linear method")
    steps: int = Field(3, ge=1, description="steps of a fit")
    megabytes: int = Field(1, description="memory that a fit takes")


class Steady(LinearMethod):
    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        taken = np.ones(self.params.megabytes * 2**20, np.uint8)
        rows = publish.read_json(self.checkpoint) if self.checkpoint.exists() else []
        for step in range(len(rows), self.params.steps):
            began = time.time()
            time.sleep(float(os.environ.get("STEADY_SECONDS", "1")))
            job, gpus = (os.environ.get(name, "none") for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"))
            rows.append({"step": step, "job": job, "gpus": gpus, "began": began, "ended": time.time()})
            publish.write_json(self.checkpoint, rows)
        views = paired(train, self.modalities)
        self.learn([view.features for view in views], views[0].labels * taken[0])
        return History(rows)

    def solve(self, features: list[np.ndarray], labels: np.ndarray) -> list[np.ndarray]:
        return [ridge(f, labels - labels.mean(axis=0), 1.0 + self.seed) for f in features]
