"""Colour layout: a picture as a small grid of mean colours.

    cmr new extractor colour_layout --to my/

The file's name is the extractor's. A picture is shrunk to g × g cells, whatever the ratio of its sides; a cell is the
mean of its pixels, each channel in [0, 1]: 3g² numbers, row by row.

The source stands here: paper, equation, and how each was read where the paper leaves a choice.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.pictures import read_rgb

INFO = ExtractorInfo(title="Colour layout", modality="image", kind="fixed")


class Params(BaseParams):  # each a default and a description; in a configuration: params
    grid: int = Field(8, ge=1, description="cells on a side")


class ColourLayout(Extractor[Path]):  # Extractor[str] for texts, which come as they are
    params: Params

    def transform(self, contents: Sequence[Path]) -> np.ndarray:
        """One row a picture, a function of that picture alone. `read_rgb` names a file that cannot be decoded."""
        return np.stack([self._cells(read_rgb(path)) for path in contents])

    def _cells(self, picture: Image.Image) -> np.ndarray:
        side = self.params.grid
        small = picture.resize((side, side), Image.Resampling.BOX)
        return np.asarray(small, np.float32).ravel() / 255


# One that learns from training rows says kind="fitted" and has, besides `transform`: fit(contents, labels),
# state() -> arrays by name, and load_state(state). See cmr/features/bow.py. One with weights has fetch(): see
# cmr/features/vgg19_fc7.py.
