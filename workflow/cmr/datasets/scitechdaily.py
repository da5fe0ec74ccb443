"""SciTechDaily: 5,217 pictures and texts of a news site on science and technology (SMCR).

SMCR's authors crawled it and did not publish it; neither the list of articles nor the eight classes' names are printed.
So there is nothing to download: who has the data (from the authors, or collected anew) places ``scitechdaily.csv`` with
the columns id, image (a path below the same folder), text and label. That layout is this project's.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from cmr.data import TEST, TRAIN, Items
from cmr.datasets.downloads import Downloaded
from cmr.datasets.files import as_text, column, located, read_rows
from cmr.datasets.splitting import sized
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="SciTechDaily",
    paper="Li et al., Scientific and technological information oriented semantics-adversarial and "
    "media-adversarial cross-media retrieval, 2022 (arXiv 2203.08615)",
    modalities=("image", "text"),
    splits={"4173_1044": "stratified, seeded (SMCR does not say how it drew)"},
    items="5,217 pairs",
    classes="8",
    licence="of the site",
    source="https://scitechdaily.com/news/technology (not published as a data set)",
    raw="scitechdaily",
)

FILE = "scitechdaily.csv"
SIZES = {TRAIN: 4173, TEST: 1044}
SEED = 0


class Params(BaseParams):
    pass


class SciTechDaily(Downloaded):
    params: Params

    def files(self) -> list[str]:
        return [FILE]

    def prepare(self) -> Items:
        file = self.existing(FILE)
        table = read_rows(file)
        cells = {
            name: [as_text(cell) for cell in column(table, name, file)] for name in ("id", "image", "text", "label")
        }
        rows = []
        for row, item, path, text, label in zip(table.index, *cells.values(), strict=True):
            image, problem = located(path, self.raw, self.data_root)
            if problem or not all((item, text, label)):
                raise UserError(f"{file}: row {row}: {problem or 'an empty cell'}")
            rows.append({"id": item, "image": image, "text": text, "labels": [label]})
        return Items(pd.DataFrame(rows), {"image": "image", "text": "text"})

    def root(self) -> Path:
        return self.raw

    def parts(self, items: Items, name: str) -> np.ndarray:
        return sized(items.strata, SIZES, SEED)
