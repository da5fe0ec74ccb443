"""Zero-shot retrieval: the cosine of features that already share a space, such as those of CLIP or SigLIP.

Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021. Nothing is fitted,
so the training rows have no say. A head trained on the same features is any other method on the same inputs:
`ridge_label` and `semantic_matching` are linear ones.
"""

from collections.abc import Mapping

import numpy as np

from cmr.data import Part
from cmr.errors import UserError
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.checks import training_views
from cmr.params import Params as BaseParams

INFO = MethodInfo(
    title="Zero-shot",
    paper="Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    bibtex="""@inproceedings{radford2021learning,
  author = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
            Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and
            Krueger, Gretchen and Sutskever, Ilya},
  title = {Learning Transferable Visual Models From Natural Language Supervision},
  booktitle = {ICML},
  pages = {8748--8763},
  year = {2021}
}""",
    implementation="own",
    modalities=1,
    labels=False,
    pairs=False,
    stochastic=False,
    memory="block of rows",
)


class Params(BaseParams):
    """None: the features are taken as they are."""


class ZeroShot(Method):
    """State: ``dimension`` of the features."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        (view,) = training_views(INFO, self.modalities, train)
        self.dimension = view.features.shape[1]
        return History()

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        return np.asarray(features, np.float32)

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        """Raises `UserError` where the two modalities' features do not even have the same dimensions."""
        if query.shape[1] != gallery.shape[1]:
            raise UserError(
                f"Zero-shot: {query_modality} has {query.shape[1]} features and {gallery_modality} {gallery.shape[1]}; "
                "give it inputs of one dual encoder, such as clip_image and clip_text"
            )
        return super().similarity(query_modality, query, gallery_modality, gallery)

    def state(self) -> dict[str, np.ndarray]:
        return {"dimension": np.array([self.dimension])}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.dimension = int(state["dimension"][0])
