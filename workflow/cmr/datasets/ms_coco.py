"""MS-COCO 2014: pictures with about five captions each and the objects in them as labels (multi-label).

The layout is that of `cmr.datasets.coco`, with the pictures in an archive a part. SDML leaves out pictures without
objects, which gives its 82,081 and 40,137. Which 10,000 of the latter serve for validation is not printed: drawn with a
fixed seed; SDML's own file takes its first 10,000 rows (public loader). The captions of a picture are joined into one
text; in `coco_captions` each is an item of its own.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets import sdml
from cmr.datasets.coco import ANNOTATIONS, annotations, objects, sentences
from cmr.datasets.downloads import Downloaded
from cmr.datasets.matrices import ready_items, ready_rows
from cmr.datasets.splitting import expect_sizes
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.store import Rows

INFO = DatasetInfo(
    title="MS-COCO 2014",
    paper="Lin et al., Microsoft COCO: common objects in context, ECCV 2014",
    modalities=("image", "text"),
    splits={"82081_10000_30137": "training: train2014; validation: 10,000 of val2014, seeded; test: the rest (SDML)"},
    items="122,218 pairs",
    classes="80 objects, several a picture",
    licence="annotations CC BY 4.0; pictures: Flickr terms",
    source="https://cocodataset.org",
    raw="ms_coco",
)

ARCHIVES = {TRAIN: "train2014", TEST: "val2014"}
SDML = "MSCOCO_deep_doc2vec_data.h5py"
SIZES = {TRAIN: 82081, TEST: 40137}
VALIDATION_ROWS = 10000
SEED = 0


class Params(BaseParams):
    content: Literal["raw", "sdml"] = Field(
        "raw", description="raw: pictures and captions; sdml: SDML's VGG-19 (vgg19_fc7) and Doc2Vec (doc2vec)"
    )


class MsCoco(Downloaded):
    params: Params

    def files(self) -> list[str]:
        return [SDML] if self.params.content == "sdml" else [ANNOTATIONS, *(f"{a}.zip" for a in ARCHIVES.values())]

    def prepare(self) -> Items:
        """Raises `UserError` for a picture that has objects but no caption or no file."""
        if self.params.content == "sdml":
            return ready_items(sdml.blocks(self.existing(SDML)), ("image", "text"))
        tables = [self._read(part) for part in ARCHIVES]
        return Items(pd.concat(tables, ignore_index=True), {"image": "image", "text": "text"})

    def root(self) -> Path:
        return self.raw

    def features(self, modality: str, name: str) -> Rows:
        if self.params.content == "raw":
            return super().features(modality, name)
        sdml.check_name(modality, name)
        return ready_rows(sdml.blocks(self.existing(SDML)), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        parts = expect_sizes(items.table["part"].to_numpy("U10"), SIZES, "these are not the protocol's files")
        rows = np.flatnonzero(parts == TEST)
        if self.params.content == "raw":
            rows = np.random.default_rng(SEED).permutation(rows)
        parts[rows[:VALIDATION_ROWS]] = VALIDATION
        return parts

    def _read(self, part: str) -> pd.DataFrame:
        archive = ARCHIVES[part]
        instances = annotations(self.existing(ANNOTATIONS), f"instances_{archive}.json")
        captions = sentences(annotations(self.existing(ANNOTATIONS), f"captions_{archive}.json"))
        labels = objects(instances)
        folder = self.unpacked(f"{archive}.zip") / archive
        rows = []
        for image in instances["images"]:
            number, file = image["id"], folder / image["file_name"]
            if number not in labels:
                continue
            if number not in captions or not file.exists():
                raise UserError(f"{file}: no such file" if number in captions else f"picture {number} has no caption")
            path = str(file.relative_to(self.raw))
            rows.append((str(number), path, " ".join(captions[number]), sorted(labels[number]), part))
        return pd.DataFrame(rows, columns=["id", "image", "text", "labels", "part"])
