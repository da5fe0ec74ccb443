"""Flickr30k: 31,783 pictures with five captions each and no classes.

The layout is that of `cmr.datasets.captioned`: ``results_20130124.token`` of the data set's own archive, or the same
captions as a table with bars, ``results.csv`` (header ``image_name| comment_number| comment``), both with the lists
train.txt, val.txt and test.txt of Flickr30k Entities; or ``dataset_flickr30k.json`` of Karpathy's, which has 31,014 of
the pictures and the split that papers on retrieval print. The pictures lie in a folder ``flickr30k-images``.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION
from cmr.datasets.captioned import (
    ROW,
    TOKEN,
    CaptionedPictures,
    Picture,
    captions_of,
    in_parts,
    karpathy,
    parts_of_lists,
)
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="Flickr30k",
    paper="Young, Lai, Hodosh and Hockenmaier, From image descriptions to visual denotations, TACL 2, 2014",
    modalities=("image", "text"),
    splits={
        "karpathy": "29,000/1,014/1,000 pictures of Karpathy's file (captions: karpathy)",
        "entities": "29,783/1,000/1,000 pictures of Flickr30k Entities (captions: token or csv)",
    },
    items="31,783 pictures, 158,915 captions",
    classes="none",
    licence="pictures: Flickr terms; captions: research only, after a form",
    source="https://shannon.cs.illinois.edu/DenotationGraph/",
    raw="flickr30k",
)

PICTURES = "flickr30k-images"
KARPATHY = "dataset_flickr30k.json"
TOKENS, TABLE = "results_20130124.token", "results.csv"
LISTS = {TRAIN: "train.txt", VALIDATION: "val.txt", TEST: "test.txt"}

SIZES = {
    "karpathy": {TRAIN: 29000, VALIDATION: 1014, TEST: 1000},
    "entities": {TRAIN: 29783, VALIDATION: 1000, TEST: 1000},
}


class Params(BaseParams):
    captions: Literal["karpathy", "token", "csv"] = Field(
        "karpathy", description="karpathy: dataset_flickr30k.json; token: results_20130124.token; csv: results.csv"
    )


class Flickr30k(CaptionedPictures):
    params: Params
    sizes = SIZES

    def files(self) -> list[str]:
        if self.params.captions == "karpathy":
            return [PICTURES, KARPATHY]
        return [PICTURES, TOKENS if self.params.captions == "token" else TABLE, *LISTS.values()]

    @property
    def own_split(self) -> str:
        return "karpathy" if self.params.captions == "karpathy" else "entities"

    def pictures(self) -> list[Picture]:
        if self.params.captions == "karpathy":
            return karpathy(self.existing(KARPATHY))
        if self.params.captions == "token":
            captions = captions_of(self.existing(TOKENS), TOKEN)
        else:
            captions = captions_of(self.existing(TABLE), ROW, header=1)
        return in_parts(captions, parts_of_lists({part: self.existing(name) for part, name in LISTS.items()}))

    def place(self, file: str) -> Path:
        return self.raw / PICTURES / file
