"""NUS-WIDE: pictures that belong to exactly one of its 10 largest classes, with their tags as text (SDML).

SDML's text leaves open what 'largest' and 'exclusively' mean. Four readings are tried, and the one that gives the
printed numbers is taken: classes by all their pictures or by those of no other class, exclusive among the ten or
among all 81 concepts. Pictures without tags are left out (assumed). The training part is the official one, validation
the first 5,000 of the official test part (as in SDML's public loader). Raw files: see `cmr.datasets.nus`; SDML's
features: `cmr.datasets.sdml`.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets import sdml
from cmr.datasets.matrices import ready_items, ready_rows
from cmr.datasets.nus import NusWideFiles, exclusive
from cmr.datasets.splitting import expect_sizes
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.store import Rows

INFO = DatasetInfo(
    title="NUS-WIDE, 10 largest exclusive classes",
    paper="Chua et al., NUS-WIDE: a real-world web image database, CIVR 2009",
    modalities=("image", "text"),
    splits={"42941_5000_23661": "official training part; validation: the first 5,000 of the official test part (SDML)"},
    items="71,602 pairs",
    classes="10 concepts",
    licence="pictures on request, research only; annotations: not stated",
    source="https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html",
    raw="nus_wide",
)

CLASSES = 10
SIZES = {TRAIN: 42941, TEST: 28661}
VALIDATION_ROWS = 5000
SDML = "nus_wide_deep_doc2vec_data_42941.h5py"


class Params(BaseParams):
    content: Literal["raw", "sdml"] = Field(
        "raw", description="raw: pictures and tags; sdml: SDML's VGG-19 (vgg19_fc7) and Doc2Vec (doc2vec)"
    )


class NusWide(NusWideFiles):
    params: Params

    def files(self) -> list[str]:
        return [SDML] if self.params.content == "sdml" else self.raw_files()

    def prepare(self) -> Items:
        if self.params.content == "sdml":
            return ready_items(sdml.blocks(self.existing(SDML)), ("image", "text"))
        table, labels = self.read()
        found = []
        for name, classes in readings(labels):
            chosen = (classes != "") & table["text"].notna().to_numpy() & (table["part"] != "").to_numpy()
            sizes = table["part"][chosen].value_counts().to_dict()
            if sizes == SIZES:
                return as_items(table[chosen], classes[chosen])
            found.append(f"{name}: {sizes}")
        raise UserError(f"{self.raw}: no reading of the protocol gives {SIZES} pairs; found " + "; ".join(found))

    def features(self, modality: str, name: str) -> Rows:
        if self.params.content == "raw":
            return super().features(modality, name)
        sdml.check_name(modality, name)
        return ready_rows(sdml.blocks(self.existing(SDML)), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        parts = expect_sizes(items.table["part"].to_numpy("U10"), SIZES, "these are not the protocol's files")
        parts[np.flatnonzero(parts == TEST)[:VALIDATION_ROWS]] = VALIDATION
        return parts


def readings(labels: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """The classes (n,) of all pictures, '' for those left out, under each reading of the protocol."""
    everything = labels.columns.tolist()
    alone = labels[labels.sum(axis=1) == 1]
    for size, counts in (("all pictures", labels.sum()), ("exclusive pictures", alone.sum())):
        largest = counts.sort_values(ascending=False, kind="stable").index[:CLASSES].tolist()
        for scope, among in (("the ten", largest), ("all concepts", everything)):
            yield f"largest by {size}, exclusive among {scope}", exclusive(labels, largest, among)


def as_items(table: pd.DataFrame, classes: np.ndarray) -> Items:
    ids = table["image"].str.replace(r"^Flickr/|\.\w+$", "", regex=True).str.replace("/", "_")
    made = table.assign(id=ids)
    made["labels"] = [[name] for name in classes]
    return Items(
        made[["id", "image", "text", "labels", "part"]].reset_index(drop=True), {"image": "image", "text": "text"}
    )
