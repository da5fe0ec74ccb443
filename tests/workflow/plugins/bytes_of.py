"""How often each kind of byte stands in a file: a fixed extractor of pictures that are no pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmr.errors import BadContent
from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="Bytes of files",
    modality="image",
    kind="fixed",
)


class Params(BaseParams):
    pass


class BytesOf(Extractor[Path]):
    def transform(self, contents: Sequence[Path]) -> np.ndarray:
        return np.array([self.counts(file) for file in contents], np.float32)

    @staticmethod
    def counts(file: Path) -> np.ndarray:
        try:
            values = np.frombuffer(file.read_bytes(), np.uint8)
        except OSError as error:
            raise BadContent(file, str(error)) from None
        return np.bincount(values >> 4, minlength=16)
