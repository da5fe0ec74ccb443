"""Generalized multiview LDA: an LDA a view, tied by the covariance of the views' class means.

Sharma, Kumar, Daume and Jacobs, "Generalized multiview analysis: a discriminative latent space", CVPR 2012. Over
stacked views the eigenproblem A w = λ B w with

    Aᵢᵢ = S_b(i),   Aᵢⱼ = α Zᵢᵀ Zⱼ,   Bᵢᵢ = γᵢ S_w(i) + r I,   Bᵢⱼ = 0,

S_b, S_w the between-class and within-class scatters of a view, γᵢ = tr S_w(1) / tr S_w(i) as in the authors' code,
which adds the ridge too. A view without scatter within its classes, such as classes' names, has the ridge alone. The
columns of Zᵢᵀ are exemplars that correspond across views: here the class means, scaled so that the cross blocks are the
scatter between views of the class means, weighted by the size of the classes. The paper's weight μ of the second view's
S_b is 1.

α here is not the α of the authors' code, whose example takes 10: there the class means are not weighted by the classes'
sizes, and the scatters beside them are sums over the rows. For c classes of one size in n rows its α is αc/n here, 0.05
on Wikipedia, which ties the views too loosely; choose α on held-out rows. Also different from that example: it reduces
the features to 95 % of their variance and leaves their scales as they are, its ridge is 10⁻⁶ on summed scatters, and it
keeps classes − 1 directions.
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
from cmr.methods.eigen import RANK_TOLERANCE, EigenMethod, with_ridge
from cmr.methods.scatter import class_sums, scatters

INFO = MethodInfo(
    title="GMLDA",
    paper="Sharma et al., Generalized multiview analysis: a discriminative latent space, CVPR 2012",
    bibtex="""@inproceedings{sharma2012generalized,
  author = {Sharma, Abhishek and Kumar, Abhishek and Daum{\\'e} III, Hal and Jacobs, David W.},
  title = {Generalized Multiview Analysis: A Discriminative Latent Space},
  booktitle = {CVPR},
  pages = {2160--2167},
  year = {2012},
  doi = {10.1109/CVPR.2012.6247923}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    pairs=False,
    stochastic=False,
)


class Params(LinearParams):
    components: int = Field(40, ge=1, description="directions, at most those with a positive eigenvalue")
    alpha: float = Field(10.0, gt=0, description="α: weight of the covariance between views")
    regularisation: float = Field(1.0, gt=0, description="ridge r on B; features have variance 1")


class GMLDA(EigenMethod):
    """``fit`` takes labelled rows of any modality. State: ``{modality}.map`` (d, k), ``.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views], *map(labels_of, views))
        return self.history()

    def matrices(self, features: list[np.ndarray], *labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        between, within = zip(*map(scatters, features, labels), strict=True)
        exemplars = np.hstack([self.exemplars(x, y) for x, y in zip(features, labels, strict=True)])
        cross = exemplars.T @ exemplars
        own = scipy.linalg.block_diag(*(np.ones_like(b, bool) for b in between))
        a = np.where(own, scipy.linalg.block_diag(*between), self.params.alpha * cross)
        b = scipy.linalg.block_diag(*of_equal_trace(within, between))
        return a, with_ridge(b, self.params.regularisation)

    @staticmethod
    def exemplars(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Class means (c, d), each times the root of its class's share of the rows."""
        sums, counts = class_sums(rows, labels)
        return sums / np.sqrt(np.maximum(counts, 1e-12) * len(rows))[:, None]


def of_equal_trace(within: Sequence[np.ndarray], between: Sequence[np.ndarray]) -> list[np.ndarray]:
    """γᵢ S_w(i) of each view; zeros of one that varies by rounding alone within its classes."""
    traces = np.array([np.trace(w) for w in within])
    varying = traces > RANK_TOLERANCE * (traces + np.array([np.trace(b) for b in between]))
    first = traces[varying.argmax()]
    return [w * (first / trace if varies else 0) for w, trace, varies in zip(within, traces, varying, strict=True)]
