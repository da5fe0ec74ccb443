"""Sum of recall@K by instance over several K, in percent: the rsum of Flickr30k and MS-COCO, of one direction.

Σ_K 100·δ(best rank of a pair ≤ K) a query; not defined (NaN) for a query without a pair in the gallery. Papers print
the sum over both directions, which is twice the average over them. Tie rule: that of `cmr.metrics.ranking`.
"""

import numpy as np
from pydantic import Field, PositiveInt

from cmr.info import MetricInfo
from cmr.metrics import recall_at_k
from cmr.metrics.base import Ranking, cut_note
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Sum of recall@K by instance, percent",
    paper="Karpathy & Fei-Fei, Deep Visual-Semantic Alignments for Generating Image Descriptions (CVPR 2015)",
    gives="number",
    paired=True,
    range="[0, ∞)",
)


class Params(Base):
    ks: list[PositiveInt] = Field([1, 5, 10], min_length=1, description="The numbers of results, each from 1.")


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """0 to 100 × number of K (q,), NaN without a pair."""
    return 100 * np.sum([recall_at_k.compute(ranking, recall_at_k.Params(k=k)) for k in params.ks], axis=0)


def depth(params: Params) -> int:
    return 0


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """The sum (q,) of the chances of recall@K."""
    return 100 * np.sum([recall_at_k.chance(ranking, recall_at_k.Params(k=k)) for k in params.ks], axis=0)


def note(params: Params, gallery_size: int) -> str:
    return cut_note(max(params.ks), gallery_size)
