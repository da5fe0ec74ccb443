"""Semantic matching: a classifier a modality, and the cosine of the class posteriors.

Rasiwasia et al., "A new approach to cross-modal multimedia retrieval", ACM Multimedia 2010, section 4.2 (SM):
multi-class logistic regression maps each modality to the simplex of class posteriors, where any two can be compared.
The regression is scikit-learn's (lbfgs). A row with several labels counts once for each, with weight 1 / their number.
α is chosen by the likelihood of held-out rows.
"""

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from cmr.data import Part
from cmr.errors import UserError
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.scaling import Scaling

INFO = MethodInfo(
    title="Semantic matching",
    paper="Rasiwasia et al., A new approach to cross-modal multimedia retrieval, ACM Multimedia 2010",
    bibtex="""@inproceedings{rasiwasia2010new,
  author = {Rasiwasia, Nikhil and Costa Pereira, Jose and Coviello, Emanuele and Doyle, Gabriel and
            Lanckriet, Gert R. G. and Levy, Roger and Vasconcelos, Nuno},
  title = {A New Approach to Cross-Modal Multimedia Retrieval},
  booktitle = {ACM Multimedia},
  pages = {251--260},
  year = {2010},
  doi = {10.1145/1873951.1873987}
}""",
    implementation="library",
    modalities=1,
    labels=True,
    pairs=False,
    stochastic=False,
)
ABSENT = -1e30  # log-odds of a class without training rows: its posterior is 0


class Params(LinearParams):
    alpha: float = Field(0.01, gt=0, description="weight α of ‖W‖²/2 against the mean log-loss of a row")
    iterations: int = Field(1000, ge=1, description="most iterations of lbfgs")


class SemanticMatching(Method):
    """State: ``weights`` (d, c), ``offset`` (c,), ``{modality}.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        (view,) = training_views(INFO, self.modalities, train)
        self.scaling = Scaling.fit(view.features, self.params.scale)
        labels = labels_of(view)
        rows, classes = np.nonzero(labels)
        model = LogisticRegression(C=1 / (self.params.alpha * len(view)), max_iter=self.params.iterations)
        model.fit(self.scaling(view.features)[rows], classes, 1 / labels.sum(axis=1)[rows])
        weights, offset = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps the log-odds of the second class alone
            weights, offset = np.vstack([0 * weights, weights]), np.append(0, offset)
        self.weights = np.zeros((view.features.shape[1], labels.shape[1]))
        self.weights[:, model.classes_] = weights.T
        self.offset = np.full(labels.shape[1], ABSENT)
        self.offset[model.classes_] = offset
        return History()

    def validation_score(self, validation: Part) -> float:
        """Mean log posterior of the classes of held-out rows, of classes that training rows have.

        Posteriors of two modalities can be compared where each says how sure it is. The mAP within a modality does not
        see that: it is as high where one modality's posteriors are flat and the other's all but certain.
        """
        (view,) = validation.values()
        known = labels_of(view) * (self.offset > ABSENT)
        if not known.any():
            raise UserError(f"{self.modalities[0]}: no held-out row is of a class that training rows have")
        weights = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
        return float((weights * log_softmax(self._log_odds(view.features), axis=1)).sum() / weights.sum())

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        return softmax(self._log_odds(features), axis=1).astype(np.float32)

    def _log_odds(self, features: np.ndarray) -> np.ndarray:
        return self.scaling(features) @ self.weights + self.offset

    def state(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, "offset": self.offset} | self.scaling.state(self.modalities[0])

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.weights, self.offset = np.asarray(state["weights"]), np.asarray(state["offset"])
        self.scaling = Scaling.from_state(state, self.modalities[0])
