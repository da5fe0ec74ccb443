"""PKU XMedia: five modalities of 20 classes, as the authors' ready features.

Established (keys from SDML's public loader of ``XMediaFeatures.mat``): {I,T,A,d3,V}_{tr,te} with the suffixes _CNN
(image, video) and _BOW (text), labels {tr,te}{Img,Txt,Aud,3d,Vid}Cat; image 4096-d CNN, text 3000-d bag of words, audio
29-d MFCC, 3D 4700-d LightField, video 4096-d C3D. The numbers of the classes are kept, as their names' order is not
established.
Assumed: row i of image and text is a pair, where their labels agree in every row (else they are not paired).
"""

import numpy as np

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets import sdml
from cmr.datasets.downloads import Downloaded
from cmr.datasets.matrices import Block, Reference, label_names, ready_items, ready_rows
from cmr.datasets.splitting import sized
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.store import Rows

INFO = DatasetInfo(
    title="PKU XMedia",
    paper="Zhai et al., Learning cross-media joint representation with sparse and semisupervised regularization, "
    "IEEE TCSVT 2014",
    modalities=("image", "text", "audio", "3d", "video"),
    splits={
        "sdml": "test: the first half of the authors' test rows of each modality, validation: the second "
        "(4000/500/500 images and texts, 800/100/100 audio, 400/50/50 3D, 969/87/87 video)",
        "4000_700": "image and text alone: 700 of the 1,000 test pairs, stratified, seeded (GPLDAN does not say which)",
        "authors": "the authors' training and test rows",
    },
    items="5,000 images and texts, 1,143 videos, 1,000 audio clips, 500 3D models",
    classes="20",
    licence="after the authors' release agreement",
    source="https://www.icst.pku.edu.cn/mipl/lwsjjxz/dataset",
    raw="xmedia",
)

FILE = "XMediaFeatures.mat"
KEYS = {"image": "I_{}_CNN", "text": "T_{}_BOW", "audio": "A_{}", "3d": "d3_{}", "video": "V_{}_CNN"}
LABELS = {"image": "{}ImgCat", "text": "{}TxtCat", "audio": "{}AudCat", "3d": "{}3dCat", "video": "{}VidCat"}
NAMES = {"image": "cnn", "text": "bow", "audio": "mfcc", "3d": "lightfield", "video": "c3d"}
PREFIX = {TRAIN: "tr", TEST: "te"}
TEST_PAIRS = 700
SEED = 0


class Params(BaseParams):
    pass


class XMedia(Downloaded):
    params: Params

    def files(self) -> list[str]:
        return [FILE]

    def prepare(self) -> Items:
        return ready_items(self._blocks(), INFO.modalities)

    def features(self, modality: str, name: str) -> Rows:
        sdml.check_name(modality, name, NAMES)
        return ready_rows(self._blocks(), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        parts = items.table["part"].to_numpy("U10")
        if name == "sdml":
            for modality in INFO.modalities:
                rows = np.flatnonzero((parts != TRAIN) & items.table[modality].notna())
                parts[rows[: len(rows) // 2]], parts[rows[len(rows) // 2 :]] = TEST, VALIDATION
        if name == "4000_700":
            parts[items.table["image"].isna() & items.table["text"].isna()] = ""
            for rows in self._test_rows(items, parts):
                labels = [items.table["labels"][row][0] for row in rows]
                chosen = sized(labels, {TEST: TEST_PAIRS, "": len(rows) - TEST_PAIRS}, SEED)
                parts[rows] = chosen
        return parts

    @staticmethod
    def _test_rows(items: Items, parts: np.ndarray) -> list[np.ndarray]:
        """Test rows of pairs, or of images and of texts where they are not paired."""
        own = [np.flatnonzero((parts == TEST) & items.table[m].notna().to_numpy()) for m in ("image", "text")]
        return own[:1] if np.array_equal(own[0], own[1]) else own

    def _blocks(self) -> list[Block]:
        file = self.existing(FILE)

        def labels(part: str, modality: str) -> Reference:
            return Reference(file, LABELS[modality].format(PREFIX[part]))

        def block(part: str, *modalities: str) -> Block:
            matrices = {m: Reference(file, KEYS[m].format(PREFIX[part])) for m in modalities}
            return Block(f"{part}-{'+'.join(modalities)}", part, labels(part, modalities[0]), matrices)

        blocks = []
        for part in PREFIX:
            paired = label_names(labels(part, "image")) == label_names(labels(part, "text"))
            bundles = [("image", "text")] if paired else [("image",), ("text",)]
            blocks += [block(part, *bundle) for bundle in [*bundles, ("audio",), ("3d",), ("video",)]]
        return blocks
