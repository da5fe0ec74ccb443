"""Methods that learn lower parts one after another, and then last layers upon them, as `ccl` and `cmdn` do."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.checks import labels_of, training_views
from cmr.methods.deep import DeepMethod
from cmr.methods.scaling import STANDARDISE, Scaling
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, apply, load_network, network_state, tensor, train


class TwoStages(Method):
    """``lower``: the parts that are learned first, with ``pretraining_rate`` and ``pretraining_epochs``; ``upper``: a
    method of its own upon what they make of features.

    Candidates that differ in nothing but ``OF_UPPER``, parameters that the lower parts do not know, share these.
    State: the lower parts' weights, ``{name}.input`` of each scaling, ``classes``, and the state of the upper part.
    """

    info: ClassVar[MethodInfo]
    OF_UPPER: ClassVar[frozenset[str]]
    UPPER: ClassVar[type[DeepMethod]]
    params: Any
    lower: Any
    _learned: nn.Module | None = None

    @abstractmethod
    def scale(self, features: Sequence[Any]) -> dict[str, Scaling]:
        """Scalings that are learned from the training rows of the modalities, by name."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The lower parts, of inputs as ``self.scaling`` has them and ``self.classes`` classes."""

    @abstractmethod
    def pretrain(self, rows: Mapping[str, Any], labels: Tensor) -> None:
        """Learns the lower parts one after another, each on all training rows as those below it represent them."""

    @abstractmethod
    def rows(self, modality: str, features: Any) -> Any:
        """Features in the form that `represent` takes."""

    @abstractmethod
    def represent(self, modality: str, rows: Any) -> Tensor:
        """What the lower parts make of rows, (n, u)."""

    def take_over(self, earlier: Method) -> None:
        if isinstance(earlier, TwoStages) and self._lower_params() == earlier._lower_params():
            self._learned = earlier.lower

    def _lower_params(self) -> dict[str, Any]:
        return self.params.model_dump(exclude=set(self.OF_UPPER))

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = dict(zip(self.modalities, training_views(self.info, self.modalities, train), strict=True))
        self.scaling = self.scale([view.features for view in views.values()])
        labels = labels_of(views[self.modalities[0]])
        self.classes = labels.shape[1]
        self._build()
        if self._learned is None:
            self.pretrain({m: self.rows(m, view.features) for m, view in views.items()}, tensor(labels, self.device))
        else:
            self.lower = self._learned
        represented = [view.embedded(self.represented(m, view.features)) for m, view in views.items()]
        held_out = validation and {m: v.embedded(self.represented(m, v.features)) for m, v in validation.items()}
        return self.upper.learn(represented, held_out)

    def embed(self, modality: str, features: Any) -> np.ndarray:
        return self.upper.embed(modality, self.represented(modality, features))

    def represented(self, modality: str, features: Any) -> np.ndarray:
        """What the lower parts make of features, (n, u)."""
        return apply(lambda given: self.represent(modality, given), self.rows(modality, features), self.device)

    def state(self) -> dict[str, np.ndarray]:
        state = self.upper.state() | network_state(self.lower, "lower.") | {"classes": np.array([self.classes])}
        for name, scaling in self.scaling.items():
            state |= scaling.state(f"{name}.input")
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.classes = int(state["classes"][0])
        self.scaling = {name: Scaling.from_state(state, f"{name}.input") for name in self.scaled_names()}
        self._build()
        load_network(self.lower, state, "lower.")
        self.upper.load_state(state)

    def scaled_names(self) -> Sequence[str]:
        """The names of the scalings."""
        return self.modalities

    def _build(self) -> None:
        torch.manual_seed(self.seed)
        self.lower = self.build().to(self.device)
        params = self.params.model_copy(update={"scale": STANDARDISE})
        self.upper = self.UPPER(params, self.modalities, self.seed, self.device, self.checkpoint)

    def learn_part(
        self, name: str, part: nn.Module, terms: Callable[[Tensor], Terms], rows: int, replayed: bool = False
    ) -> None:
        """``terms`` takes row numbers (b,) below ``rows``; ``name`` tells the part's checkpoint from the others'.

        ``replayed``: as of `DeepMethod`.
        """
        train(
            part,
            [Update(Adam(part.parameters(), self.params.pretraining_rate), terms)],
            rows=rows,
            epochs=self.params.pretraining_epochs,
            batch_size=self.params.batch_size,
            seed=self.seed,
            device=self.device,
            checkpoint=self.checkpoint and self.checkpoint.with_suffix(f".{name}.pt"),
            replayed=replayed,
        )


def on_rows(terms: Callable[[Tensor], Terms], rows: Tensor) -> Callable[[Tensor], Terms]:
    """Loss terms of rows (n, d) as `TwoStages.learn_part` asks for them: of some of their numbers."""
    return lambda index: terms(rows[index])
