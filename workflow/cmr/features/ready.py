"""Features that come with a data set: its authors' own, or those that a user has computed elsewhere.

No work is done on them, so the content of an item is the vector itself: `Ready.contents` takes the place of
the data set's in the extraction.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.data import Items
from cmr.errors import UserError
from cmr.features.base import Extractor, Source
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="Ready features of the data set",
    modality="any",
    kind="fixed",
)


class Params(BaseParams):
    name: str = Field("", description="name of the features within the data set; empty: the only ones there are")


class Ready(Extractor[np.ndarray]):
    params: Params

    # An array of vectors is all that is asked of a sequence of them, but is none to NumPy's types.
    def contents(self, dataset: Source, items: Items, modality: str) -> np.ndarray:  # type: ignore[override]
        """The vectors (n, d) of the items that have ``modality``, in the items' order."""
        rows = dataset.features(modality, self.params.name)
        wanted = items.having(modality)["id"]
        index = pd.Index(rows.ids).get_indexer(wanted)
        if (index < 0).any():
            missing = wanted.iloc[int(np.argmax(index < 0))]
            raise UserError(f"the ready features {self.params.name!r} of {modality!r} lack the item {missing!r}")
        return np.asarray(rows.values[index], np.float32)

    def transform(self, contents: Sequence[np.ndarray]) -> np.ndarray:
        """The contents, which are vectors already."""
        if len(contents) and np.ndim(contents[0]) == 0:
            raise UserError("ready features come with a data set; they cannot be computed from texts or files")
        return np.asarray(contents, np.float32)
