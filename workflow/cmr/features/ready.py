"""Features that come with a data set: its authors' own, or those that a user has computed elsewhere.

No work is done on them, so the content of an item is the vector, or the set, itself: `Ready.contents` takes the place
of the data set's in the extraction.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import Items
from cmr.errors import UserError
from cmr.features.base import Extractor, Source
from cmr.info import IN_WORDS, SET, VECTOR, ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.sets import Sets, form
from cmr.vectors import Vectors

INFO = ExtractorInfo(
    title="Ready features of the data set",
    modality="any",
    kind="fixed",
    gives="any",
)


class Params(BaseParams):
    name: str = Field("", description="name of the features within the data set; empty: the only ones there are")
    gives: Literal["vector", "set", "sequence"] = Field(
        "vector", description="what they are of each item; a sequence is a set of vectors whose order counts"
    )


class Ready(Extractor[np.ndarray]):
    params: Params

    # Rows are all that is asked of a sequence of contents, but are none to Python's types.
    def contents(self, dataset: Source, items: Items, modality: str) -> np.ndarray | Vectors | Sets:  # type: ignore[override]
        """The vectors (n, d), or the sets, of the items that have ``modality``, in the items' order."""
        rows = dataset.features(modality, self.params.name)
        named = f"{self.params.name!r} of {modality!r}" if self.params.name else f"of {modality!r}"
        wanted = items.having(modality)["id"]
        index = pd.Index(rows.ids).get_indexer(wanted)
        if (index < 0).any():
            missing = wanted.iloc[int(np.argmax(index < 0))]
            raise UserError(f"the ready features {named} lack the item {missing!r}")
        found, wanted_form = form(rows.values), VECTOR if self.params.gives == VECTOR else SET
        if found != wanted_form:
            raise UserError(
                f"the ready features {named} give {IN_WORDS[found]} an item, and "
                f"params.gives is {self.params.gives}; say gives: {found}"
            )
        in_order = len(index) == len(rows.ids) and (index == np.arange(len(index))).all()
        values = rows.values if in_order else rows.values[index]  # which copies all of them
        return values if isinstance(values, Sets | Vectors) else np.asarray(values, np.float32)

    def transform(self, contents: Sequence[np.ndarray] | Vectors | Sets) -> np.ndarray | Sets:
        """The contents, which are features already."""
        if isinstance(contents, Sets):
            return contents
        if not isinstance(contents, Vectors) and len(contents) and np.ndim(contents[0]) == 0:
            raise UserError("ready features come with a data set; they cannot be computed from texts or files")
        return np.asarray(contents, np.float32)
