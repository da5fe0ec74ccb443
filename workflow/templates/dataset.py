"""Captioned folders: a folder a class; in it pictures, each with a text of its name beside it.

    cmr new dataset captioned_folders --to my/

The file's name is the data set's. ``animals/cat.jpg`` and ``animals/cat.txt`` are a pair of the class *animals*.

What was established about the files stands here, and where from.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets.base import Dataset
from cmr.datasets.splitting import stratified
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="Captioned folders",
    modalities=("image", "text"),
    splits={"default": "60/20/20 % train/validation/test, stratified, seeded, equal contents in one part"},
    items="the pictures",
    classes="the folders",
    licence="that of the pictures and texts",
    source="a folder of one's own",
    files=("folder",),  # parameters that name files: what they hold is part of the identity of all that is made
)

PICTURES = {".jpg", ".jpeg", ".png"}
SHARES = {TRAIN: 0.6, VALIDATION: 0.2, TEST: 0.2}
SEED = 0


class Params(BaseParams):  # each a default and a description; in a configuration: params
    folder: str = Field("", description="the folder of folders, relative to the configuration file")


class CaptionedFolders(Dataset):
    params: Params

    def root(self) -> Path:
        return self.base / self.params.folder

    def prepare(self) -> Items:
        """Raises `UserError` where there is no picture, and for a picture without a text."""
        root = self.root()
        pictures = sorted(file for file in root.glob("*/*") if file.suffix.lower() in PICTURES)
        if not self.params.folder or not pictures:
            raise UserError(f"params.folder: {root}: no pictures in folders of it; expected such as animals/cat.jpg")
        rows = []
        for picture in pictures:
            text = picture.with_suffix(".txt")
            if not text.exists():
                raise UserError(f"{picture}: no text beside it; expected {text.name}")
            name = picture.relative_to(root)
            row = {"id": str(name.with_suffix("")), "image": str(name), "text": text.read_text("utf-8").strip()}
            rows.append({**row, "labels": [picture.parent.name]})
        return Items(pd.DataFrame(rows), {"image": "image", "text": "text"})

    def parts(self, items: Items, name: str) -> np.ndarray:
        """The part of each item under ``default``."""
        return stratified(items.strata, SHARES, SEED, self.groups(items))


# A data set with raw files of its own names their folder in the cache, INFO's ``raw``, and has download(): see
# cmr/datasets/base.py. Where a published split is known, `parts` gives it, and `expect_sizes` checks it.
