"""Pascal Sentence: 1,000 pictures of the Pascal VOC 2008 kit, 50 of each of 20 classes, with about five sentences.

Established: the page of the data set is a table; a cell with ``<img src="aeroplane/2008_000716.jpg">`` (folder = class)
is followed by a table with one sentence a cell (public readers of the page); 996 pictures have 5 sentences, 3 have 4,
one has 6. The sentences of a picture are joined into one text.

DSCMR's files (MATLAB; keys are the files' names, from its public loader): train_img, train_txt, train_img_lab and the
same of test, from a VGG-19 and a sentence CNN fine-tuned on the labels: even a CCA on them has seen labels.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field
from tqdm import tqdm

from cmr.data import TEST, TRAIN, VALIDATION, Items
from cmr.datasets import sdml
from cmr.datasets.downloads import Downloaded, bring, sources
from cmr.datasets.matrices import Block, Reference, ready_items, ready_rows
from cmr.datasets.splitting import stratified
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.store import Rows

INFO = DatasetInfo(
    title="Pascal Sentence",
    paper="Rashtchian et al., Collecting image annotations using Amazon's Mechanical Turk, NAACL workshop 2010",
    modalities=("image", "text"),
    splits={
        "800_100_100": "40/5/5 of each class, seeded, equal pictures and texts in one part (DRSL)",
        "600_400": "60/40 % of each class, seeded, equal pictures and texts in one part (DLA-CMR)",
        "as_distributed": "training and test rows of DSCMR's files",
    },
    items="1,000 pairs",
    classes="20 objects, 50 pairs each",
    licence="pictures: Flickr terms; sentences: not stated",
    source="http://vision.cs.uiuc.edu/pascal-sentences/",
    raw="pascal_sentence",
)

SEED = 0
SHARES = {"800_100_100": {TRAIN: 0.8, VALIDATION: 0.1, TEST: 0.1}, "600_400": {TRAIN: 0.6, TEST: 0.4}}
PAGE = "pascal-sentences.html"
PICTURE = re.compile(r"[\w-]+/[\w.-]*\w")
NAMES = {"image": "vgg19_finetuned", "text": "sentence_cnn"}


class Params(BaseParams):
    content: Literal["raw", "dscmr"] = Field(
        "raw", description="raw: pictures and sentences; dscmr: DSCMR's features (vgg19_finetuned, sentence_cnn)"
    )


class PascalSentence(Downloaded):
    params: Params

    def files(self) -> list[str]:
        if self.params.content == "raw":
            return [PAGE]
        return [f"{part}_{kind}.mat" for part in (TRAIN, TEST) for kind in ("img", "txt", "img_lab")]

    def download(self) -> dict[str, str]:
        found = super().download()
        if self.params.content == "raw":
            address = sources("pascal_sentence", PAGE)[0].address
            for picture in tqdm(self._read(), desc="pascal_sentence", unit=" pictures"):
                if not (self.raw / picture).exists():
                    bring(address + picture, self.raw / picture)
        return found

    def prepare(self) -> Items:
        """One text an item, its sentences joined. Raises `UserError` for a picture without sentences or file."""
        if self.params.content == "dscmr":
            return ready_items(self._blocks(), ("image", "text"))
        rows = []
        for picture, sentences in self._read().items():
            if not sentences:
                raise UserError(f"{self.raw / PAGE}: {picture} has no sentences")
            path = Path(self.existing(picture).relative_to(self.raw))
            rows.append({"id": path.stem, "image": picture, "text": " ".join(sentences), "labels": [path.parts[0]]})
        return Items(pd.DataFrame(rows), {"image": "image", "text": "text"})

    def root(self) -> Path:
        return self.raw

    def features(self, modality: str, name: str) -> Rows:
        if self.params.content == "raw":
            return super().features(modality, name)
        sdml.check_name(modality, name, NAMES)
        return ready_rows(self._blocks(), modality)

    def parts(self, items: Items, name: str) -> np.ndarray:
        if name == "as_distributed":
            if self.params.content == "raw":
                raise UserError("the split as_distributed is of DSCMR's files; take 800_100_100 or 600_400")
            return items.table["part"].to_numpy(str)
        return stratified(items.strata, SHARES[name], SEED, self.groups(items))

    def _read(self) -> dict[str, list[str]]:
        """Picture → sentences, in the page's order."""
        page = Page()
        page.feed(self.existing(PAGE).read_text("utf-8", errors="replace"))
        if not page.sentences:
            raise UserError(f"{self.raw / PAGE}: no pictures in it; it is not the page of the data set")
        for picture in page.sentences:  # which are written where the page says
            if not PICTURE.fullmatch(picture):
                raise UserError(
                    f"{self.raw / PAGE}: {picture!r} is no class/name.jpg; it is not the page of the data set"
                )
        return page.sentences

    def _blocks(self) -> list[Block]:
        def reference(part: str, kind: str) -> Reference:
            return Reference(self.existing(f"{part}_{kind}.mat"), f"{part}_{kind}")

        return [
            Block(p, p, reference(p, "img_lab"), {"image": reference(p, "img"), "text": reference(p, "txt")})
            for p in (TRAIN, TEST)
        ]


class Page(HTMLParser):
    """Collects the cells with text that follow each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: dict[str, list[str]] = {}
        self._picture = self._cell = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self._picture = dict(attrs).get("src") or ""
            self.sentences[self._picture] = []
        if tag == "td":
            self._cell = ""

    def handle_data(self, data: str) -> None:
        self._cell += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            sentence = " ".join(self._cell.split())
            if sentence and self._picture:
                self.sentences[self._picture].append(sentence)
            self._cell = ""
