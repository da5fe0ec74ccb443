"""DLA-CMR without its second stage: the dictionaries' coefficients compared through the projections P₁ and P₂.

Shang, Zhang, Zhu, Sun, Neurocomputing 2019, §3.2; one reading of 'without adversarial learning' in Table 4, the
other being `dla_cmr` with ``reversal: 0``. With the coefficients A_V, A_T of the training rows, the last update of the
dictionary stage is

    P₁ = A_V A_Tᵀ (A_T A_Tᵀ + (λ₃/λ₂) I)⁻¹,  P₂ = A_T A_Vᵀ (A_V A_Vᵀ + (λ₃/λ₂) I)⁻¹,

and this method computes just that. The paper does not say how coefficients are compared; here an image a and a text b
score the mean of cos(a, P₁b) and cos(P₂a, b). Give it the configuration's ``dictionary``; on plain features it is a
ridge regression of each modality onto the other.
"""

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History, Method, unit_rows
from cmr.methods.checks import training_views
from cmr.methods.linear import ridge
from cmr.methods.scaling import warn_of_size
from cmr.params import Params as BaseParams

INFO = MethodInfo(
    title="DLA-CMR, dictionaries alone",
    paper="Shang, Zhang, Zhu, Sun, Adversarial cross-modal retrieval based on dictionary learning, 2019",
    bibtex="""@article{shang2019adversarial,
  author = {Shang, Fei and Zhang, Huaxiang and Zhu, Lei and Sun, Jiande},
  title = {Adversarial cross-modal retrieval based on dictionary learning},
  journal = {Neurocomputing},
  volume = {355},
  pages = {93--104},
  year = {2019}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=False,
)


class Params(BaseParams):
    ridge: float = Field(1.0, gt=0, description="λ₃/λ₂ of the dictionaries")


class CoupledProjections(Method):
    """State: ``{modality}.projection`` (k, k'), from the modality's coefficients to the other's."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        for modality, view in zip(self.modalities, views, strict=True):
            warn_of_size(modality, view.features)
        first, second = (view.features.astype(np.float64) for view in views)
        penalty = self.params.ridge / len(first)
        maps = ridge(first, second, penalty), ridge(second, first, penalty)
        self.projections = dict(zip(self.modalities, maps, strict=True))
        return History()

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        """The row and its projection, each of length one, in the order of the modalities."""
        own, projected = unit_rows(features), unit_rows(features @ self.projections[modality])
        both = (own, projected) if modality == self.modalities[0] else (projected, own)
        return np.concatenate(both, axis=1).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {f"{m}.projection": self.projections[m] for m in self.modalities}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.projections = {m: np.asarray(state[f"{m}.projection"]) for m in self.modalities}
