"""Wikipedia: sections of featured articles, each with its picture (Rasiwasia et al. 2010).

Established from the authors' archive: ``raw_features.mat`` (I_tr 2173×128, I_te 693×128 SIFT bags of visual words;
T_tr, T_te LDA topics, 10-d; rows sum to 1), ``trainset_txt_img_cat.list`` and ``testset_txt_img_cat.list`` (text id,
image id, class from 1, tab-separated, in the row order of the matrices), ``categories.list``. From public readers of
the archive: ``texts/{text id}.xml`` with a ``<text>`` element, ``images/{category}/{image id}.jpg``.

SDML's file: see `cmr.datasets.sdml`; VGG-19 fc7 (4096-d) and Doc2Vec (300-d). ACMR's (pickles in a zip; names from
its public loader): {train,test}_{img_feats,txt_vecs,labels}.pkl, 4096-d VGG and 5000-d bag of words. The order of the
rows of both against the authors' lists is unproven, so their items have ids of their own.
"""

import html
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets import sdml
from cmr.datasets.downloads import Downloaded, holding
from cmr.datasets.matrices import Block, Reference, matrix, ready_items, ready_rows
from cmr.datasets.rounding import as_float32
from cmr.datasets.splitting import expect_sizes, sized
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.provenance import file_hash
from cmr.store import Rows

INFO = DatasetInfo(
    title="Wikipedia",
    paper="Rasiwasia et al., A new approach to cross-modal multimedia retrieval, ACM MM 2010",
    modalities=("image", "text"),
    splits={
        "2173_693": "the authors' (DLA-CMR)",
        "2173_231_462": "validation: the first 231 of the 693 test rows in the file's order (SDML, DRSL)",
        "2173_231": "test: the validation rows of 2173_231_462; the other 462 take no part (SDML's Fig. 5)",
        "2292_574": "of all 2,866, stratified, seeded (SMCR; the paper does not say how it drew)",
        "drawn_2173_693": "sizes of the authors' split, drawn afresh, stratified, seeded: nothing was chosen on it",
        "as_distributed": "training and test rows as the file has them, whatever their number (for ACMR's file)",
    },
    items="2,866 pairs",
    classes="10 categories of articles",
    licence="not stated by the authors; Wikipedia text is CC BY-SA",
    source="http://www.svcl.ucsd.edu/projects/crossmodal/",
    raw="wikipedia",
)

VALIDATION_ROWS = 231
AUTHORS = {TRAIN: 2173, TEST: 693}
DRAWN = {"2292_574": ({TRAIN: 2292, TEST: 574}, 0), "drawn_2173_693": (AUTHORS, 1)}
"""Split → sizes of its parts, and the seed."""
LISTS = {TRAIN: "trainset_txt_img_cat.list", TEST: "testset_txt_img_cat.list"}
MATRICES = {("image", "sift"): ("I_tr", "I_te"), ("text", "lda"): ("T_tr", "T_te")}
READY = {"sdml": sdml.NAMES, "acmr": {"image": "vgg", "text": "bow"}}
ARCHIVE, SDML, ACMR = "wikipedia_dataset.zip", "wiki_deep_doc2vec_data_corr_ae.h5py", "acmr_wikipedia_dataset.zip"


class Params(BaseParams):
    content: Literal["features", "raw", "sdml", "acmr"] = Field(
        "features",
        description="features: the authors' SIFT (sift) and LDA (lda); raw: pictures and texts, and these features; "
        "sdml: SDML's VGG-19 (vgg19_fc7) and Doc2Vec (doc2vec); acmr: ACMR's VGG (vgg) and bag of words (bow)",
    )
    trust: bool = Field(False, description="load ACMR's files, which are Python pickles and can execute code")


class Wikipedia(Downloaded):
    params: Params

    def files(self) -> list[str]:
        if self.params.content == "sdml":
            return [SDML]
        if self.params.content == "acmr":
            return [ACMR]
        authors = ["raw_features.mat", "categories.list", *LISTS.values()]
        return [ARCHIVE, *authors] if self.params.content == "raw" else authors

    def prepare(self) -> Items:
        if self.params.content in READY:
            return ready_items(self._blocks(), ("image", "text"))
        table = self._lists()
        if self.params.content == "features":
            return Items(table, {"image": "ready", "text": "ready"})
        folder = self.root()
        categories = [labels[0] for labels in table["labels"]]
        table["image"] = [f"images/{c}/{image}.jpg" for c, image in zip(categories, table["image"], strict=True)]
        table["text"] = [article_text(folder / f"texts/{text}.xml") for text in table["text"]]
        missing = [path for path in table["image"] if not (folder / path).exists()]
        if missing:
            raise UserError(f"{folder / missing[0]}: no such picture ({len(missing)} of {len(table)} are missing)")
        return Items(table, {"image": "image", "text": "text"})

    def root(self) -> Path:
        return holding(self.unpacked(ARCHIVE), "texts") if self.params.content == "raw" else self.folder

    def also_read(self, items: Items) -> list[str]:
        return [f"texts/{name}.xml" for name in items.table["id"]] if self.params.content == "raw" else []

    def features(self, modality: str, name: str) -> Rows:
        if self.params.content in READY:
            sdml.check_name(modality, name, READY[self.params.content])
            return ready_rows(self._blocks(), modality)
        found = [keys for (m, n), keys in MATRICES.items() if m == modality and name in ("", n)]
        if not found:
            raise UserError(f"wikipedia: no features {name!r} of {modality!r}; known: image sift, text lda")
        file = self.existing("raw_features.mat")
        values = np.concatenate([matrix(Reference(file, key)) for key in found[0]])
        return Rows(self._lists()["id"].to_numpy(str), as_float32(values, modality))

    def parts(self, items: Items, name: str) -> np.ndarray:
        if name in DRAWN:
            return sized(items.strata, *DRAWN[name])
        parts = items.table["part"].to_numpy("U10")
        if name == "as_distributed":
            return parts
        expect_sizes(parts, AUTHORS, "take the split as_distributed")
        test = np.flatnonzero(parts == TEST)
        if name == "2173_231_462":
            parts[test[:VALIDATION_ROWS]] = VALIDATION
        if name == "2173_231":
            parts[test[VALIDATION_ROWS:]] = ""
        return parts

    def _lists(self) -> pd.DataFrame:
        """The authors' lists as items; image and text columns hold the ids of the files."""
        categories = self.existing("categories.list").read_text("utf-8").split()
        tables = []
        for part, name in LISTS.items():
            table = pd.read_csv(self.existing(name), sep="\t", names=["text", "image", "class"], dtype=str)
            table["labels"] = [[categories[int(number) - 1]] for number in table["class"]]
            tables.append(table.assign(id=table["text"], part=part))
        return pd.concat(tables, ignore_index=True)[["id", "image", "text", "labels", "part"]]

    def _blocks(self) -> list[Block]:
        if self.params.content == "sdml":
            return sdml.blocks(self.existing(SDML))
        folder = holding(self.unpacked(ACMR), "train_labels.pkl")
        return [
            Block(
                part,
                part,
                self._pickle(folder / f"{part}_labels.pkl"),
                {
                    "image": self._pickle(folder / f"{part}_img_feats.pkl"),
                    "text": self._pickle(folder / f"{part}_txt_vecs.pkl"),
                },
            )
            for part in (TRAIN, TEST)
        ]

    def _pickle(self, file: Path) -> Reference:
        """The download has checked the archive; trust is the user's to give."""
        return Reference(file, "", file_hash(file) if self.params.trust else "")


def article_text(file: Path) -> str:
    """The ``<text>`` of an article's section; the files are not always well-formed XML."""
    found = re.search(r"<text>(.*?)</text>", file.read_text("utf-8", errors="replace"), re.DOTALL)
    text = " ".join(html.unescape(found[1]).split()) if found else ""
    if not text:
        raise UserError(f"{file}: no text in it")
    return text
