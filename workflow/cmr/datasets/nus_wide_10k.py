"""NUS-WIDE-10K: 1,000 pictures of each of 10 classes of NUS-WIDE that belong to no other concept (Feng et al. 2014).

Established: the ten classes (a public copy of the authors' list of categories) and the sizes of the parts (DRSL). The
authors' list of the 10,000 pictures could not be established, so 1,000 pictures with tags are drawn from each class
with a fixed seed: results are comparable among runs here, and only roughly with those in print. Raw files: see
`cmr.datasets.nus`.
"""

import numpy as np

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets.nus import NusWideFiles, exclusive
from cmr.datasets.nus_wide import as_items
from cmr.datasets.splitting import class_ranks, stratified
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="NUS-WIDE-10K",
    paper="Feng et al., Cross-modal retrieval with correspondence autoencoder, ACM MM 2014",
    modalities=("image", "text"),
    splits={
        "8000_1000_1000": "800/100/100 of each class, seeded (DRSL); equal pictures and tags in one part, "
        "so a class may be off by a few"
    },
    items="10,000 pairs, drawn here with a fixed seed",
    classes="10 concepts, 1,000 pairs each",
    licence="pictures on request, research only; annotations: not stated",
    source="https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html",
    raw="nus_wide",
)

CLASSES = ["animal", "clouds", "flowers", "food", "grass", "person", "sky", "toy", "water", "window"]
PER_CLASS = 1000
SHARES = {TRAIN: 0.8, VALIDATION: 0.1, TEST: 0.1}
SEED = 0


class Params(BaseParams):
    pass


class NusWide10K(NusWideFiles):
    params: Params

    def files(self) -> list[str]:
        return self.raw_files()

    def prepare(self) -> Items:
        """Raises `UserError` where a class has fewer pictures than are drawn from it."""
        table, labels = self.read()
        missing = [name for name in CLASSES if name not in labels]
        if missing:
            raise UserError(f"{self.raw}: no labels of the class {missing[0]!r}")
        classes = exclusive(labels, CLASSES, labels.columns.tolist())
        classes[table["text"].isna()] = ""
        table, classes = table[classes != ""], classes[classes != ""]
        ranks, sizes = class_ranks(classes, SEED)
        if sizes.min(initial=PER_CLASS) < PER_CLASS or set(classes) != set(CLASSES):
            raise UserError(f"{self.raw}: a class has fewer than {PER_CLASS} exclusive pictures with tags")
        chosen = ranks < PER_CLASS
        return as_items(table[chosen].assign(part=""), classes[chosen])

    def parts(self, items: Items, name: str) -> np.ndarray:
        return stratified(items.strata, SHARES, SEED, self.groups(items))
