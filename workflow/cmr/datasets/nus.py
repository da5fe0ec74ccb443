"""The raw files of NUS-WIDE, which two data sets are made from.

Established (the laboratory's page, and public code that checked the order of the rows): ``Imagelist.txt``, a picture a
line (``actor\\0001_2124494179.jpg``); ``All_Tags.txt``, in the same order, the number in the picture's name and the
user's tags; ``Groundtruth/AllLabels/Labels_{concept}.txt``, 0 or 1 a line, in the same order, for 81 concepts;
``TrainImagelist.txt`` and ``TestImagelist.txt``, the official parts; the pictures in ``Flickr/``, after an agreement.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from cmr.data import TEST, TRAIN
from cmr.datasets.downloads import Downloaded
from cmr.errors import UserError

LISTS = {TRAIN: "TrainImagelist.txt", TEST: "TestImagelist.txt"}


class NusWideFiles(Downloaded):
    """A data set made of NUS-WIDE; all of them share one folder of raw files."""

    def raw_files(self) -> list[str]:
        return ["Groundtruth.zip", "Imagelist.txt", *LISTS.values(), "All_Tags.txt", "Flickr"]

    def root(self) -> Path:
        return self.raw

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """All pictures (image, text, part; the text is null without tags) and their 0/1 labels by concept."""
        images = self._lines("Imagelist.txt")
        tags = self._tags(images)
        parts = {image: part for part, name in LISTS.items() for image in self._lines(name)}
        table = pd.DataFrame({"image": [f"Flickr/{image}" for image in images], "text": tags})
        table["part"] = [parts.get(image, "") for image in images]
        return table, self._labels(len(images))

    def _lines(self, name: str) -> list[str]:
        """Paths, with slashes whatever the system they were written on."""
        with open(self.existing(name), encoding="utf-8", errors="replace") as lines:
            return [line.strip().replace("\\", "/") for line in lines if line.strip()]

    def _tags(self, images: list[str]) -> list[str | None]:
        lines = [line.split() for line in self._lines("All_Tags.txt")]
        if len(lines) != len(images):
            raise UserError(f"{self.raw}: All_Tags.txt has {len(lines)} lines, Imagelist.txt {len(images)}")
        for row, (image, (number, *_)) in enumerate(zip(images, lines, strict=True), 1):
            if Path(image).stem.rpartition("_")[2] != number:
                raise UserError(f"{self.raw}: line {row}: All_Tags.txt has the picture {number}, Imagelist.txt {image}")
        return [" ".join(tags) or None for _, *tags in lines]

    def _labels(self, n: int) -> pd.DataFrame:
        folder = next((path for path in self.unpacked("Groundtruth.zip").rglob("AllLabels")), None)
        files = sorted(folder.glob("Labels_*.txt")) if folder else []
        if not files:
            raise UserError(f"{self.raw / 'Groundtruth.zip'}: no AllLabels/Labels_*.txt in it")
        labels = {}
        for file in files:
            column = np.array(file.read_text().split(), np.uint8)
            if len(column) != n:
                raise UserError(f"{file}: {len(column)} lines, expected {n}")
            labels[file.stem.removeprefix("Labels_")] = column
        return pd.DataFrame(labels)


def exclusive(labels: pd.DataFrame, concepts: list[str], among: list[str]) -> np.ndarray:
    """The one concept (n,) of ``concepts`` that a picture has, '' unless it has no other of those in ``among``."""
    single = labels[among].sum(axis=1).to_numpy() == 1
    chosen = labels[concepts].to_numpy(bool)
    names = np.array([*concepts, ""])
    return np.where(single & chosen.any(axis=1), names[np.where(chosen.any(axis=1), chosen.argmax(axis=1), -1)], "")
