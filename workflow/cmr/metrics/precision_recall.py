"""Precision against recall, averaged over queries.

``points: 11`` is the classic curve at the recall levels 0, 0.1, …, 1: precision at the first rank that reaches the
level (level 0: at rank 1) or, interpolated, the highest precision at any rank that reaches it. ``points: all`` is a
point a rank: mean recall and mean precision of the first r results; interpolated, the precision at a rank is the
highest at that rank or a later one. Both in [0, 1]; 0 for a query with nothing relevant. Tie rule: that of
`cmr.metrics.ranking`.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Precision-recall curve",
    paper="Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 8.4",
    gives="curve",
    range="[0, 1]",
    x="recall",
    y="precision",
)


class Params(Base):
    points: Literal[11, "all"] = Field(11, description="The eleven standard recall levels, or a point a rank.")
    interpolated: bool = Field(True, description="Highest precision at this or a higher recall, as trec_eval has it.")


def compute(ranking: Ranking, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Recall (11,) or (q, n) and precision (q, 11) or (q, n)."""
    found = np.cumsum(ranking.relevance, axis=1, dtype=np.int32)
    precision = found / np.arange(1, found.shape[1] + 1)
    if params.interpolated:
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    relevant = ranking.relevant[:, None]
    if params.points == "all":
        return found / np.maximum(relevant, 1), precision
    tenths = np.arange(11)
    needed = -(-tenths * relevant // 10)
    first = np.stack([np.count_nonzero(found < level[:, None], axis=1) for level in needed.T], axis=1)
    return tenths / 10, np.take_along_axis(precision, first, axis=1)
