"""Multi-view discriminant analysis: one Fisher criterion over the embedded items of all views.

Kan, Shan, Zhang, Lao and Chen, "Multi-view discriminant analysis", ECCV 2012 and TPAMI 2016:

    max tr(Wᵀ D W)⁻¹ (Wᵀ S W)   over the stacked W, with blocks of views j, r

    Sⱼᵣ = Σᵢ nᵢⱼ nᵢᵣ/nᵢ μᵢⱼ μᵢᵣᵀ − 1/n (Σᵢ nᵢⱼ μᵢⱼ)(Σᵢ nᵢᵣ μᵢᵣ)ᵀ                      (between classes)
    Dⱼᵣ = [j = r] Σᵢₖ xᵢⱼₖ xᵢⱼₖᵀ − Σᵢ nᵢⱼ nᵢᵣ/nᵢ μᵢⱼ μᵢᵣᵀ                             (within classes)

with nᵢⱼ items of class i in view j, nᵢ = Σⱼ nᵢⱼ and μᵢⱼ their mean. A ridge r on D/n is ours, for collinear features.
An item with several labels counts in part for each.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import EigenMethod, with_ridge
from cmr.methods.scatter import class_sums

INFO = MethodInfo(
    title="MvDA",
    paper="Kan et al., Multi-view discriminant analysis, ECCV 2012",
    bibtex="""@inproceedings{kan2012multi,
  author = {Kan, Meina and Shan, Shiguang and Zhang, Haihong and Lao, Shihong and Chen, Xilin},
  title = {Multi-View Discriminant Analysis},
  booktitle = {ECCV},
  pages = {808--821},
  year = {2012}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    pairs=False,
    stochastic=False,
)


class Params(LinearParams):
    components: int = Field(40, ge=1, description="directions, at most the number of classes less one")
    regularisation: float = Field(0.1, gt=0, description="ridge r on the within-class scatter of a row")


class MvDA(EigenMethod):
    """``fit`` takes labelled rows of any modality. State: ``{modality}.map`` (d, k), ``.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views], *map(labels_of, views))
        return self.history()

    def matrices(self, features: list[np.ndarray], *labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        between, within = multiview_scatters(features, labels)
        return between, with_ridge(within, self.params.regularisation)


def multiview_scatters(features: list[np.ndarray], labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """S and D, each divided by the number n of rows of all views."""
    of_views, sizes = zip(*map(class_sums, features, labels), strict=True)
    sums, counts = np.hstack(of_views), np.sum(sizes, axis=0)
    n, total = counts.sum(), sums.sum(axis=0)
    class_part = (sums / np.maximum(counts, 1e-12)[:, None]).T @ sums
    own = scipy.linalg.block_diag(*(x.T @ x for x in features))
    return (class_part - np.outer(total, total) / n) / n, (own - class_part) / n
