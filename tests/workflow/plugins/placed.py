"""Numbers in a file, and a folder, that the user places among the raw files: a data set with raw files."""

import numpy as np
import pandas as pd

from cmr.data import Items
from cmr.datasets.base import Dataset
from cmr.datasets.splitting import stratified
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.provenance import file_hash

INFO = DatasetInfo(
    title="Placed",
    modalities=("image", "text"),
    splits={"default": "60/20/20"},
    items="the lines",
    classes="3",
    licence="none",
    source="placed by hand",
    raw="placed_raw",
)


class Params(BaseParams):
    pass


class Placed(Dataset):
    def download(self) -> dict[str, str]:
        if not (self.raw / "numbers.csv").exists():
            raise UserError(f"place numbers.csv in {self.raw}")
        return {"numbers.csv": file_hash(self.raw / "numbers.csv"), "folder": ""}

    def prepare(self) -> Items:
        table = pd.read_csv(self.raw / "numbers.csv", dtype=str)
        table["labels"] = [[label] for label in table["labels"]]
        return Items(table, {"image": "text", "text": "text"})

    def parts(self, items: Items, name: str) -> np.ndarray:
        return stratified(
            [labels[0] for labels in items.table["labels"]], {"train": 0.6, "validation": 0.2, "test": 0.2}, 0
        )
