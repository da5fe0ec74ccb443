"""INRIA Web Queries ('INRIA-Websearch'): pictures that a search engine found, with the words around them.

Established from the authors' page: ``labels.txt`` (query, document, 1 if relevant), ``queries_en_trans.txt`` (query,
words), ``images/query_{q}_document_{d}_imagethumb.jpg``, ``metadata/query_{q}_document_{d}_textmeta.xml`` with the
elements before, after (up to ten words each), ptitle and alt. 71,478 pictures of 353 queries.
From Wei et al. (2017), who made the protocol: only relevant pairs, of the 100 queries that have most of them. Their
14,698 pairs and DLA-CMR's 10,332/4,366 need the training part of each class to be rounded up, which is assumed here.
Also assumed: the text is alt, title, the words before and the words after; a pair without any of them has no text.

Wei's features (MATLAB; keys from public loaders): tr_img, tr_txt, tr_img_lab and the same of val and te; 9,000, 1,332
and 4,366 pairs, 4096-d CNN and 1000-d LDA.
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
from cmr.datasets.matrices import Block, Reference, ready_items, ready_rows
from cmr.datasets.splitting import class_ranks, expect_sizes
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.store import Rows

INFO = DatasetInfo(
    title="INRIA-Websearch",
    paper="Krapac et al., Improving web image search results using query-relative classifiers, CVPR 2010",
    modalities=("image", "text"),
    splits={
        "10332_4366": "70/30 % of each class, training rounded up; raw: seeded, wei: as in the file (DLA-CMR)",
        "9000_1332_4366": "training, validation and test rows of Wei's file",
    },
    items="14,698 pairs",
    classes="100 queries",
    licence="not stated",
    source="https://lear.inrialpes.fr/~krapac/webqueries/webqueries.html",
    raw="inria_websearch",
)

CLASSES = 100
SIZES = {TRAIN: 10332, TEST: 4366}
SEED = 0
FEATURES = "INRIA-Websearch.mat"
PREFIX = {TRAIN: "tr", VALIDATION: "val", TEST: "te"}
NAMES = {"image": "cnn", "text": "lda"}
ELEMENTS = ("alt", "ptitle", "before", "after")


class Params(BaseParams):
    content: Literal["raw", "wei"] = Field(
        "raw", description="raw: pictures and the words around them; wei: Wei's CNN (cnn) and LDA (lda) features"
    )


class InriaWebsearch(Downloaded):
    params: Params

    def files(self) -> list[str]:
        return ["webqueries"] if self.params.content == "raw" else [FEATURES]

    def prepare(self) -> Items:
        """Raises `UserError` for a picture or metadata file that is missing."""
        if self.params.content == "wei":
            return ready_items(self._blocks(), ("image", "text"))
        folder = self.root()
        labels = pd.read_csv(folder / "labels.txt", sep=r"\s+", names=["query", "document", "relevant"])
        relevant = labels[labels["relevant"] == 1]
        largest = relevant["query"].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
        chosen = relevant[relevant["query"].isin(largest.index[:CLASSES])]
        names = self._queries()
        rows = [
            {"id": f"{q}_{d}", **content(folder, q, d), "labels": [names[q]]}
            for q, d in zip(chosen["query"], chosen["document"], strict=True)
        ]
        return Items(pd.DataFrame(rows), {"image": "image", "text": "text"})

    def root(self) -> Path:
        return holding(self.existing("webqueries"), "labels.txt")

    def also_read(self, items: Items) -> list[str]:
        if self.params.content == "wei":
            return []
        stems = (name.split("_") for name in items.table["id"])
        return ["labels.txt", "queries_en_trans.txt", *(metadata(int(q), int(d)) for q, d in stems)]

    def features(self, modality: str, name: str) -> Rows:
        if self.params.content == "raw":
            return super().features(modality, name)
        sdml.check_name(modality, name, NAMES)
        return ready_rows(self._blocks(), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        if self.params.content == "raw":
            if name == "9000_1332_4366":
                raise UserError("the split 9000_1332_4366 is of Wei's file; take 10332_4366, or content: wei")
            ranks, sizes = class_ranks(items.strata, SEED)
            parts = np.where(ranks < -(-7 * sizes // 10), TRAIN, TEST)
        else:
            parts = items.table["part"].to_numpy("U10")
            if name == "9000_1332_4366":
                return parts
            parts[parts == VALIDATION] = TRAIN
        return expect_sizes(parts, SIZES, "these are not the protocol's pairs, or a reading of it here is wrong")

    def _queries(self) -> dict[int, str]:
        """Query → English words; the number is added where two queries have the same."""
        lines = (self.root() / "queries_en_trans.txt").read_text("utf-8").splitlines()
        pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
        names = {int(number): words.strip().strip('"') for number, words in pairs}
        counts = pd.Series(names).value_counts()
        return {number: words if counts[words] == 1 else f"{words} ({number})" for number, words in names.items()}

    def _blocks(self) -> list[Block]:
        file = self.existing(FEATURES)
        return [
            Block(
                part,
                part,
                Reference(file, f"{prefix}_img_lab"),
                {"image": Reference(file, f"{prefix}_img"), "text": Reference(file, f"{prefix}_txt")},
            )
            for part, prefix in PREFIX.items()
        ]


def metadata(query: int, document: int) -> str:
    """The file with the words around a search result."""
    return f"metadata/query_{query}_document_{document}_textmeta.xml"


def content(folder: Path, query: int, document: int) -> dict[str, str | None]:
    """Picture and text of one search result."""
    image, words_around = f"images/query_{query}_document_{document}_imagethumb.jpg", metadata(query, document)
    for file in (image, words_around):
        if not (folder / file).exists():
            raise UserError(f"{folder / file}: no such file")
    xml = (folder / words_around).read_text("utf-8", errors="replace")
    words = [html.unescape(w) for e in ELEMENTS for w in re.findall(rf"<{e}>(.*?)</{e}>", xml, re.DOTALL)]
    return {"image": image, "text": " ".join(" ".join(words).split()) or None}
