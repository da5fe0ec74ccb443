"""The contract of a dictionary: features → coefficients that a method takes in the features' place.

A dictionary is one file in this folder with ``INFO`` (see `cmr.info.DictionaryInfo`), ``Params`` and one
subclass of `Dictionary`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from cmr.data import Part
from cmr.params import Params


class Dictionary(ABC):
    """``modalities``: the modalities it couples, in the order of the inputs.

    ``converged``: set by `fit`, whether it ended because its objective hardly fell any more.
    """

    converged: bool

    def __init__(self, params: Params, modalities: tuple[str, ...], seed: int = 0):
        self.params = params
        self.modalities = modalities
        self.seed = seed

    @abstractmethod
    def fit(self, train: Part) -> dict[str, np.ndarray]:
        """Learns the dictionaries; returns modality → coefficients (n, k) float32 of the training rows.

        The rows are those of `cmr.data.paired`: items that have every modality.
        """

    @abstractmethod
    def transform(self, modality: str, features: np.ndarray) -> np.ndarray:
        """Coefficients (n, k) float32 of rows that were not trained on."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """What `fit` learned, and ``objective``: its value after each iteration."""

    @abstractmethod
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Makes `transform` work as after the `fit` that ``state`` comes from."""


BASE = Dictionary
