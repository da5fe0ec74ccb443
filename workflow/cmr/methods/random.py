"""Random embeddings: the level that a method must leave behind.

The embedding of a row is Gaussian noise seeded by the seed, the modality and the row's own bytes, so that it is a
function of the row as every method's is, and says nothing of its class.
"""

import zlib
from collections.abc import Mapping

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.checks import training_views
from cmr.params import Params as BaseParams

INFO = MethodInfo(
    title="Random",
    implementation="own",
    modalities=1,
    labels=False,
    pairs=False,
    stochastic=True,
    memory="block of rows",
)


class Params(BaseParams):
    components: int = Field(64, ge=1, description="dimensions of the embedding")


class Random(Method):
    """State: ``seed``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        training_views(INFO, self.modalities, train)
        return History()

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(features, np.float32)
        embedded = np.empty((len(rows), self.params.components), np.float32)
        for target, row in zip(embedded, rows, strict=True):
            generator = np.random.default_rng([self.seed, zlib.crc32(modality.encode()), zlib.crc32(row.tobytes())])
            generator.standard_normal(out=target, dtype=np.float32)
        return embedded

    def state(self) -> dict[str, np.ndarray]:
        return {"seed": np.array([self.seed])}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.seed = int(state["seed"][0])
