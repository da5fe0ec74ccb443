"""Rows that belong together, as a picture and its captions do: what is one item, and whose labels it has."""

import logging
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain

import pandas as pd

from cmr.store import Rows

log = logging.getLogger(__name__)


def each_content_once(rows: pd.DataFrame, modalities: Sequence[str]) -> pd.DataFrame:
    """Of rows that belong together by their ``group``, each content stands in the first of them.

    So a picture that stands beside each of its captions is one item of the gallery. ``rows``: columns group, labels and
    one a modality; null where a row lacks it. Rows that are left with nothing go.
    """
    rows = rows.copy()
    for modality in modalities:
        rows.loc[rows.duplicated(["group", modality]), modality] = None
    return with_labels_of_groups(rows[rows[list(modalities)].notna().any(axis=1)])


def with_labels_of_groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Each row with the labels of all rows of its group, in their order.

    Where rows have one label at most, groups that get several are warned of: their rows contradict each other.
    """
    labels = rows.groupby("group", sort=False)["labels"].agg(lambda lists: list(dict.fromkeys(chain(*lists))))
    several = labels[labels.map(len) > 1]
    if len(several) and rows["labels"].map(len).max() == 1:
        log.warning(
            "%d of %d groups hold rows of different labels, and each row has all of them; the first: %r, with %s",
            len(several), len(labels), several.index[0], ", ".join(several.iloc[0]),
        )  # fmt: skip
    return rows.assign(labels=pd.Series([labels[group] for group in rows["group"]], rows.index, object))


def first_equal(rows: Rows) -> list[str]:
    """The id (n,) of the first row that is equal to each."""
    first: dict[bytes, str] = {}
    return [
        first.setdefault(blake2b(row.tobytes()).digest(), str(item))
        for item, row in zip(rows.ids, rows.values, strict=True)
    ]
