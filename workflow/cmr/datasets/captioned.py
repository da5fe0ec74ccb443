"""Pictures with several captions each, in the layouts that Flickr8k, Flickr30k and MS-COCO are given out in.

Established (the data sets' own readme files, and the public code of the papers that evaluate on them):

- token files: a line a caption, ``1000268201_693b08cb0e.jpg#0`` and the caption, with a tab between;
- lists of a part: the name of a picture a line, with or without ``.jpg``;
- JSON of Karpathy and Fei-Fei (CVPR 2015): images, each with filename, sentences (raw), split, and for MS-COCO
  filepath. The parts are train, val and test; MS-COCO has restval too, the rest of val2014, which papers train on.

Each picture is one item, with its first caption; its other captions are items of the same group. Papers count five
captions a picture. A few pictures of MS-COCO have six or seven: what is beyond five is left out.
"""

import json
import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from cmr.boundary import plain
from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets.downloads import Downloaded
from cmr.datasets.splitting import expect_sizes
from cmr.errors import UserError

CAPTIONS = 5
PARTS = {"train": TRAIN, "restval": TRAIN, "val": VALIDATION, "test": TEST}
TOKEN = re.compile(r"(\S+)#\d+\t(.*)")
ROW = re.compile(r"([^|]+?)\s*\|\s*\d+\s*\|?\s+(.*)")
"""``1000092795.jpg| 0| Two young guys …``; one row of the published table lacks its second bar."""


@dataclass(frozen=True)
class Picture:
    """``file``: as its list names it. ``labels``: none where the data have no classes."""

    file: str
    captions: list[str]
    part: str
    labels: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return Path(self.file).stem


class CaptionedPictures(Downloaded):
    """``sizes``: split → part → number of pictures."""

    sizes: ClassVar[Mapping[str, Mapping[str, int]]]

    @abstractmethod
    def pictures(self) -> list[Picture]:
        """The pictures, with the part that they have under `own_split`."""

    @property
    @abstractmethod
    def own_split(self) -> str:
        """The split that comes with the captions that the parameters name."""

    @abstractmethod
    def place(self, file: str) -> Path:
        """Where a picture lies."""

    def root(self) -> Path:
        return self.raw

    def prepare(self) -> Items:
        """Raises `UserError` for a picture without a caption or a file."""
        rows = [row for picture in self.pictures() for row in self._rows(picture)]
        table = pd.DataFrame(rows, columns=["id", "image", "text", "labels", "part", "group"])
        return Items(table, {"image": "image", "text": "text"})

    def parts(self, items: Items, name: str) -> np.ndarray:
        if name != self.own_split:
            raise UserError(
                f"the split {name} is not of these captions, which come with {self.own_split}: params.captions decides"
            )
        parts = items.table["part"].to_numpy(str)
        expect_sizes(parts[items.table["image"].notna()], dict(self.sizes[name]), "these are not the protocol's files")
        return parts

    def _rows(self, picture: Picture) -> Iterator[tuple[Any, ...]]:
        path = self.place(picture.file)
        if Path(picture.file).is_absolute() or ".." in Path(picture.file).parts:
            raise UserError(
                f"{self.raw}: the picture {picture.file} leaves the folder of the pictures; place the original"
            )
        if not picture.captions:
            raise UserError(f"{self.raw}: the picture {picture.file} has no caption")
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file, though {picture.file} has captions; place all pictures there")
        image = str(path.relative_to(self.raw))
        for number, caption in enumerate(picture.captions[:CAPTIONS], 1):
            first = number == 1
            item = picture.id if first else f"{picture.id}-{number}"
            yield item, image if first else None, caption, list(picture.labels), picture.part, picture.id


def one_line(text: str) -> str:
    return " ".join(text.split())


def karpathy(file: Path) -> list[Picture]:
    """The pictures of one of Karpathy's files, in its order, which the folds of MS-COCO's test part follow."""
    try:
        images = json.loads(plain(file).read_text("utf-8"))["images"]
        return [_of_karpathy(image) for image in images]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file}: not one of Karpathy's lists of pictures: {error!r}; place the original") from None


def _of_karpathy(image: Mapping[str, Any]) -> Picture:
    sentences = [one_line(sentence["raw"]) for sentence in image["sentences"]]
    return Picture(str(Path(image.get("filepath", ""), image["filename"])), sentences, PARTS[image["split"]])


def captions_of(file: Path, form: re.Pattern[str], header: int = 0) -> dict[str, list[str]]:
    """Picture → its captions, of a file with a line a caption of the ``form``, below ``header`` lines."""
    found: dict[str, list[str]] = {}
    for number, line in _lines(file):
        if number <= header or not line.strip():
            continue
        match = form.fullmatch(line)
        if not match:
            raise UserError(f"{file}: line {number}: not a picture, a number and a caption: {line[:60]!r}")
        found.setdefault(match[1], []).append(one_line(match[2]))
    return found


def parts_of_lists(lists: Mapping[str, Path]) -> dict[str, str]:
    """Picture without its suffix → part, of a list for each part. Raises `UserError` for a picture in two of them."""
    found: dict[str, str] = {}
    for part, file in lists.items():
        for number, line in _lines(file):
            name = line.strip().removesuffix(".jpg")
            if name and found.setdefault(name, part) != part:
                raise UserError(f"{file}: line {number}: {name} is in the part {found[name]} too")
    return found


def in_parts(captions: Mapping[str, list[str]], parts: Mapping[str, str]) -> list[Picture]:
    """The pictures that are in a part; token files name a few that are in none."""
    named = ((file, own, parts.get(file.removesuffix(".jpg"), "")) for file, own in captions.items())
    return [Picture(file, own, part) for file, own, part in named if part]


def _lines(file: Path) -> Iterable[tuple[int, str]]:
    """Numbers, from 1, and lines."""
    try:
        return list(enumerate(plain(file).read_text("utf-8").split("\n"), 1))
    except ValueError as error:
        raise UserError(f"{file}: not UTF-8 ({error}); place the original") from None
