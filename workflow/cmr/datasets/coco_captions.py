"""MS-COCO 2014 by instance: each picture with five captions, each caption an item of its own.

`ms_coco` is the same data by class, with the captions of a picture as one text. Captions are those of
Karpathy's ``dataset_coco.json`` (layout: `cmr.datasets.captioned`), with the split that papers print, or MS-COCO's own
(layout: `cmr.datasets.coco`). Figures of the split ``karpathy`` are those that papers call 5k. Those that they call 1k
are means over five folds of 1,000 test pictures, in the file's order: these are the figures of ``karpathy_1k``.

With ``labels: objects`` the categories of the objects in a picture are its classes. A picture without any is of the
class ``no object``, so that the protocol's pictures stay complete.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION, Items, Split
from cmr.datasets.captioned import CaptionedPictures, Picture, karpathy
from cmr.datasets.coco import ANNOTATIONS, annotations, objects, sentences
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="MS-COCO captions 2014",
    paper="Chen et al., Microsoft COCO captions: data collection and evaluation server, arXiv 1504.00325, 2015",
    modalities=("image", "text"),
    splits={
        "karpathy": "113,287/5,000/5,000 pictures of Karpathy's file, restval in training (captions: karpathy); 5k",
        "karpathy_1k": "the same, the test pictures in five folds of 1,000 with a gallery each; 1k",
        "as_distributed": "training: train2014, 82,783 pictures; test: val2014, 40,504 (captions: coco)",
    },
    items="123,287 pictures, five captions each",
    classes="none, or 80 objects, several a picture",
    licence="annotations CC BY 4.0; pictures: Flickr terms",
    source="https://cocodataset.org",
    raw="ms_coco",
)

KARPATHY = "dataset_coco.json"
ARCHIVES = {TRAIN: "train2014", TEST: "val2014"}
SIZES = {
    "karpathy": {TRAIN: 113287, VALIDATION: 5000, TEST: 5000},
    "as_distributed": {TRAIN: 82783, TEST: 40504},
}
NO_OBJECT = "no object"
IN_FOLDS = "karpathy_1k"
FOLD = 1000


class Params(BaseParams):
    captions: Literal["karpathy", "coco"] = Field(
        "karpathy", description="karpathy: dataset_coco.json; coco: captions_train2014.json and captions_val2014.json"
    )
    labels: Literal["none", "objects"] = Field(
        "none", description="objects: the categories of instances_*.json are classes, beside the pairs"
    )


class CocoCaptions(CaptionedPictures):
    params: Params
    sizes = SIZES

    def files(self) -> list[str]:
        by_coco = self.params.captions == "coco"
        lists = [KARPATHY] if not by_coco else []
        return [*lists, *([ANNOTATIONS] if by_coco or self._labelled else []), *(f"{a}.zip" for a in ARCHIVES.values())]

    @property
    def own_split(self) -> str:
        return "karpathy" if self.params.captions == "karpathy" else "as_distributed"

    def pictures(self) -> list[Picture]:
        if self.params.captions == "karpathy":
            found = karpathy(self.existing(KARPATHY))
        else:
            found = [picture for part in ARCHIVES for picture in self._of_coco(part)]
        if not self._labelled:
            return found
        classes = self._classes()
        return [replace(p, labels=tuple(sorted(classes.get(number_of(p.file), {NO_OBJECT})))) for p in found]

    def place(self, file: str) -> Path:
        return self.raw / f"{Path(file).parent}.zip.unpacked" / file

    def prepare(self) -> Items:
        for archive in ARCHIVES.values():
            self.unpacked(f"{archive}.zip")
        return super().prepare()

    def parts(self, items: Items, name: str) -> np.ndarray:
        return super().parts(items, "karpathy" if name == IN_FOLDS else name)

    def split(self, items: Items, name: str) -> Split:
        table = super().split(items, name).table
        if name != IN_FOLDS:
            return Split(table)
        tests = table["id"][table["part"] == TEST].to_numpy(str)
        numbers = pd.factorize(items.groups_of(tests))[0] // FOLD + 1
        return Split(table.assign(fold=table["id"].map(dict(zip(tests, numbers.astype(str), strict=True))).fillna("")))

    @property
    def _labelled(self) -> bool:
        return self.params.labels == "objects"

    def _of_coco(self, part: str) -> list[Picture]:
        captions = annotations(self.existing(ANNOTATIONS), f"captions_{ARCHIVES[part]}.json")
        own = sentences(captions)
        return [
            Picture(f"{ARCHIVES[part]}/{image['file_name']}", own.get(image["id"], []), part)
            for image in captions["images"]
        ]

    def _classes(self) -> dict[int, set[str]]:
        """Number of a picture → the categories of its objects."""
        found: dict[int, set[str]] = {}
        for archive in ARCHIVES.values():
            found |= objects(annotations(self.existing(ANNOTATIONS), f"instances_{archive}.json"))
        return found


def number_of(file: str) -> int:
    """MS-COCO's number of a picture, which its file's name ends with: ``COCO_val2014_000000391895.jpg``."""
    return int(Path(file).stem.rpartition("_")[2])
