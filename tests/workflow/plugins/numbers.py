"""Reads vectors that are written as numbers: a fixed extractor without heavy imports."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from cmr.errors import BadContent
from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="Numbers",
    modality="image",
    kind="fixed",
)


class Params(BaseParams):
    power: float = Field(1.0, description="exponent, to have a parameter")


class Numbers(Extractor):
    def transform(self, contents: Sequence[str]) -> np.ndarray:
        rows = []
        for content in contents:
            try:
                rows.append([float(word) for word in content.split()])
            except ValueError as error:
                raise BadContent(content, str(error)) from None
        return np.sign(rows) * np.abs(rows) ** self.params.power
