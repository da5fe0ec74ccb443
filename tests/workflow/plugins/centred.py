"""Numbers less the training rows' mean: a fitted extractor without heavy imports."""

from collections.abc import Mapping, Sequence

import numpy as np

from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="Centred numbers",
    modality="text",
    kind="fitted",
)


class Params(BaseParams):
    pass


class Centred(Extractor):
    def fit(self, contents: Sequence[str], labels: np.ndarray | None = None) -> None:
        self.mean = np.mean([np.fromstring(c, sep=" ") for c in contents], axis=0)

    def transform(self, contents: Sequence[str]) -> np.ndarray:
        return np.array([np.fromstring(c, sep=" ") for c in contents]) - self.mean

    def state(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.mean = state["mean"]
