"""Flickr8k: pictures of people and animals, with five captions each and no classes.

The layout is that of `cmr.datasets.captioned`: ``Flickr8k.token.txt`` and the lists ``Flickr_8k.trainImages.txt``,
``…devImages.txt``, ``…testImages.txt`` of the data set's own archive of texts, or ``dataset_flickr8k.json`` of
Karpathy's. The pictures lie in a folder that is called ``Flicker8k_Dataset``. The token file has captions of 92
pictures that are in no list, one of them without a file: they are left out.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION
from cmr.datasets.captioned import TOKEN, CaptionedPictures, Picture, captions_of, in_parts, karpathy, parts_of_lists
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams

INFO = DatasetInfo(
    title="Flickr8k",
    paper="Hodosh, Young and Hockenmaier, Framing image description as a ranking task, JAIR 47, 2013",
    modalities=("image", "text"),
    splits={
        "karpathy": "6,000/1,000/1,000 pictures of Karpathy's file (captions: karpathy)",
        "as_distributed": "6,000/1,000/1,000 pictures of the data set's own lists (captions: token)",
    },
    items="8,000 pictures, 40,000 captions",
    classes="none",
    licence="pictures: Flickr terms; captions: research only, after a form",
    source="https://hockenmaier.cs.illinois.edu/8k-pictures.html",
    raw="flickr8k",
)

PICTURES = "Flicker8k_Dataset"
KARPATHY = "dataset_flickr8k.json"
TOKENS = "Flickr8k.token.txt"
LISTS = {part: f"Flickr_8k.{name}Images.txt" for part, name in ((TRAIN, "train"), (VALIDATION, "dev"), (TEST, "test"))}
SIZES = {split: {TRAIN: 6000, VALIDATION: 1000, TEST: 1000} for split in ("karpathy", "as_distributed")}


class Params(BaseParams):
    captions: Literal["karpathy", "token"] = Field(
        "karpathy", description="karpathy: dataset_flickr8k.json; token: the data set's own token file and lists"
    )


class Flickr8k(CaptionedPictures):
    params: Params
    sizes = SIZES

    def files(self) -> list[str]:
        return [PICTURES, *([KARPATHY] if self.params.captions == "karpathy" else [TOKENS, *LISTS.values()])]

    @property
    def own_split(self) -> str:
        return "karpathy" if self.params.captions == "karpathy" else "as_distributed"

    def pictures(self) -> list[Picture]:
        if self.params.captions == "karpathy":
            return karpathy(self.existing(KARPATHY))
        parts = parts_of_lists({part: self.existing(name) for part, name in LISTS.items()})
        return in_parts(captions_of(self.existing(TOKENS), TOKEN), parts)

    def place(self, file: str) -> Path:
        return self.raw / PICTURES / file
