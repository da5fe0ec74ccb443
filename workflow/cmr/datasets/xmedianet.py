"""PKU XMediaNet, image and text: ready features.

The raw media are given out after an agreement; how they are laid out could not be established, so raw media are not
read here: list them in a `table`. Established (public loaders of ``xmedianet_deep_doc2vec_data.h5py``): the layout of
`cmr.datasets.sdml`. Loaders differ in where the 4,000 validation pairs are; the numbers tell: the last 4,000 of 36,000
training rows, or the first 4,000 of 8,000 test rows.
"""

import numpy as np

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets import sdml
from cmr.datasets.downloads import Downloaded
from cmr.datasets.matrices import ready_items, ready_rows
from cmr.datasets.splitting import expect_sizes
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.store import Rows

INFO = DatasetInfo(
    title="PKU XMediaNet",
    paper="Peng et al., An overview of cross-media retrieval, IEEE TCSVT 2018",
    modalities=("image", "text"),
    splits={"32000_4000_4000": "as in the file (DRSL)"},
    items="40,000 pairs",
    classes="200",
    licence="after the authors' release agreement",
    source="https://www.icst.pku.edu.cn/mipl/lwsjjxz/dataset",
    raw="xmedianet",
)

FILE = "xmedianet_deep_doc2vec_data.h5py"
SIZES = {TRAIN: 32000, VALIDATION: 4000, TEST: 4000}


class Params(BaseParams):
    pass


class XMediaNet(Downloaded):
    params: Params

    def files(self) -> list[str]:
        return [FILE]

    def prepare(self) -> Items:
        return ready_items(sdml.blocks(self.existing(FILE)), INFO.modalities)

    def features(self, modality: str, name: str) -> Rows:
        sdml.check_name(modality, name)
        return ready_rows(sdml.blocks(self.existing(FILE)), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        parts = items.table["part"].to_numpy("U10")
        train, test = np.flatnonzero(parts == TRAIN), np.flatnonzero(parts == TEST)
        if len(train) == SIZES[TRAIN] + SIZES[VALIDATION]:
            parts[train[SIZES[TRAIN] :]] = VALIDATION
        else:
            parts[test[: SIZES[VALIDATION]]] = VALIDATION
        return expect_sizes(parts, SIZES, "this is not the protocol's file")
