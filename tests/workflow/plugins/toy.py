"""Sixty items of three classes whose image, text and sound are written as numbers: a data set without heavy imports."""

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import Items
from cmr.datasets.base import Dataset
from cmr.datasets.splitting import stratified
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="Toy",
    modalities=("image", "text", "audio"),
    splits={"default": "60/20/20", "no_validation": "70/30"},
    items="60",
    classes="3",
    licence="none",
    source="made up",
)


class Params(BaseParams):
    smallest: int = Field(20, description="items of the last class")


class Toy(Dataset):
    def prepare(self) -> Items:
        generator = np.random.default_rng(0)
        sizes = (20, 20, self.params.smallest)
        classes = np.repeat(["a", "b", "c"], sizes)
        centres = {m: 2 * generator.normal(size=(3, 5)) for m in ("image", "text", "audio")}
        kinds = dict.fromkeys(centres, "text")
        table = pd.DataFrame({"id": [f"i{k:02}" for k in range(len(classes))], "labels": [[c] for c in classes]})
        for modality, centre in centres.items():
            values = centre[np.searchsorted(["a", "b", "c"], classes)]
            values = values + generator.normal(size=values.shape)
            table[modality] = [" ".join(f"{v:.3f}" for v in row) for row in values]
        return Items(table, kinds)

    def parts(self, items: Items, name: str) -> np.ndarray:
        shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
        if name == "no_validation":
            shares = {"train": 0.7, "test": 0.3}
        return stratified([labels[0] for labels in items.table["labels"]], shares, 0)
