"""What the methods with a network a modality share: scaling, training on pairs, embedding, state."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cmr.data import Part, View
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.batches import ScaledVectors, scaled
from cmr.methods.checks import training_views
from cmr.methods.scaling import Scaling, fit_each, of_sets
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, ByModality, apply, load_network, network_state, tensor, train


class DeepMethod(Method):
    """Embeds a modality by ``self.network.embed[modality]``. Networks may share layers.

    A subclass gives its ``INFO``, `build` and `terms`; what the paper does otherwise, it overrides.
    ``state``: the weights, the number of classes, and each modality's ``.mean`` and ``.scale`` (d,), also of its sets.
    """

    info: MethodInfo
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)  # of Adam
    replayed: ClassVar[bool] = False
    """Whether `terms` are the same operations for any rows, whatever was computed before: no ``if`` on what a tensor
    holds, nothing that is remembered outside of the network, and no number that `each_epoch` sets but an optimiser's.
    A GPU is then given a whole step at once."""
    params: Any
    network: Any

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(self.info, self.modalities, train)
        if not self.info.labels:
            views = [view.without_labels() for view in views]
            validation = validation and {m: view.without_labels() for m, view in validation.items()}
        return self.learn(views, validation)

    def learn(self, views: Sequence[View], validation: Part | None) -> History:
        """Trains on ``views``, row i of each one item; with ``validation`` the best epoch's weights are kept."""
        self.scaling = fit_each(self.modalities, [view.features for view in views], self.params.scale)
        self.inputs = [
            scaled(m, v.features, self.scaling, self.device) for m, v in zip(self.modalities, views, strict=True)
        ]
        labels = views[0].labels
        self.labels = tensor(np.empty((len(views[0]), 0)) if labels is None else labels, self.device)
        self.classes = self.labels.shape[1]
        torch.manual_seed(self.seed)
        self.network = self._network()
        history = train(
            self.network,
            self.updates(),
            rows=len(views[0]),
            epochs=self.params.epochs,
            batch_size=self.params.batch_size,
            seed=self.seed,
            device=self.device,
            patience=self.params.patience,
            validate=None if validation is None else lambda: self.score(validation),
            checkpoint=self.checkpoint,
            each_epoch=self.each_epoch,
            announce=self.announce,
            replayed=self.replayed and all(isinstance(x, Tensor) for x in self.inputs),
        )
        self.finish()
        del self.inputs, self.labels
        return history

    @abstractmethod
    def build(self, dimensions: Mapping[str, int], classes: int) -> nn.Module:
        """The networks, `Networks` or a module of the method's own.

        ``dimensions``: features of each modality, and those of an element of its sets under the name `of_sets`;
        ``classes``: 0 where the method takes no labels.
        """

    @abstractmethod
    def terms(self, inputs: list[Any], labels: Tensor) -> Terms:
        """The weighted loss terms of a batch: ``inputs`` (b, d) of each modality, ``labels`` (b, classes).

        Of a modality with sets, a `SetBatch`; with vectors too, a tuple of both.
        """

    def updates(self) -> list[Update]:
        """One step of Adam on everything."""
        optimizer = Adam(self.network.parameters(), self.params.learning_rate, betas=self.betas)
        return [Update(optimizer, self.batch_terms)]

    def batch_terms(self, rows: Tensor) -> Terms:
        """The terms of some rows."""
        return self.terms([x[rows] for x in self.inputs], self.labels[rows])

    def announce(self, rows: Tensor) -> None:
        """Called before a batch with the rows of the next one."""
        for x in self.inputs:
            if isinstance(x, ScaledVectors):
                x.announce(rows)

    def each_epoch(self, epoch: int) -> None:
        """Called before an epoch starts, with its number from 1."""

    def finish(self) -> None:
        """Called when the weights are final, and before each validation: what is computed from all training rows."""

    def score(self, validation: Part) -> float:
        self.finish()
        return self.validation_score(validation)

    def embed_all(self, inputs: list[Any]) -> list[Tensor]:
        """Outputs of each modality's network, float32."""
        with self.mixed_precision():
            return [self.network.embed[m](x).float() for m, x in zip(self.modalities, inputs, strict=True)]

    def training_outputs(self) -> list[np.ndarray]:
        """Outputs (n, k) of each modality's network for all training rows, while it is fitted."""
        inputs = [x if isinstance(x, ScaledVectors) else x.cpu().numpy() for x in self.inputs]  # a block on the device
        return [apply(self.network.embed[m], x, self.device) for m, x in zip(self.modalities, inputs, strict=True)]

    def reconstruction_errors(self, codes: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        """What each modality's decoder makes of its code, minus its input (b, d)."""
        decoders = [self.network.decode[m] for m in self.modalities]
        return [decode(code) - x for decode, code, x in zip(decoders, codes, inputs, strict=True)]

    def mixed_precision(self) -> torch.autocast:
        """Within it, networks compute in bfloat16 where ``precision`` says so. Losses are formed outside of it."""
        device = torch.device(self.device).type
        return torch.autocast(device, torch.bfloat16, enabled=self.params.precision == "bf16")

    def embed(self, modality: str, features: Any) -> np.ndarray:
        if isinstance(features, np.ndarray):  # whose blocks alone are on the device
            return apply(self.network.embed[modality], self.scaling[modality](features, np.float32), self.device)
        return apply(self.network.embed[modality], scaled(modality, features, self.scaling, self.device), self.device)

    def state(self) -> dict[str, np.ndarray]:
        state = network_state(self.network) | {"classes": np.array([self.classes])}
        for name, scaling in self.scaling.items():
            state |= scaling.state(name)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.classes = int(state["classes"][0])
        names = [name for m in self.modalities for name in (m, of_sets(m)) if f"{name}.mean" in state]
        self.scaling = {name: Scaling.from_state(state, name) for name in names}
        self.network = self._network()
        load_network(self.network, state)

    def _network(self) -> nn.Module:
        dimensions = {name: len(scaling.mean) for name, scaling in self.scaling.items()}
        return self.build(dimensions, self.classes).to(self.device)


class HeadedMethod(DeepMethod):
    """Embeds by the network's output times a linear map that is solved for on all training rows."""

    @abstractmethod
    def head(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        """The map (o, k) of each modality, from centred outputs (n, o) float64 of the training rows."""

    def finish(self) -> None:
        outputs = [super(HeadedMethod, self).embed(m, self.rows[m]) for m in self.modalities]
        self.centres = {m: out.mean(axis=0, dtype=np.float64) for m, out in zip(self.modalities, outputs, strict=True)}
        centred = [out - self.centres[m] for m, out in zip(self.modalities, outputs, strict=True)]
        self.heads = dict(zip(self.modalities, self.head(centred), strict=True))

    def learn(self, views: Sequence[View], validation: Part | None) -> History:
        self.rows = {m: view.features for m, view in zip(self.modalities, views, strict=True)}
        history = super().learn(views, validation)
        del self.rows
        return history

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        output = super().embed(modality, features)
        return ((output - self.centres[modality]) @ self.heads[modality]).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        heads = {f"{m}.head": self.heads[m] for m in self.modalities}
        return super().state() | heads | {f"{m}.centre": self.centres[m] for m in self.modalities}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        super().load_state(state)
        self.heads, self.centres = (
            {m: np.asarray(state[f"{m}.{name}"]) for m in self.modalities} for name in ("head", "centre")
        )


class ScaledCodesMethod(DeepMethod):
    """Compares codes, the networks' outputs, after scaling them: ``code_scale`` of a modality's training codes.

    ``state``: besides, ``.code.mean`` and ``.code.scale`` of each modality.
    """

    def finish(self) -> None:
        codes = zip(self.modalities, self.training_outputs(), strict=True)
        self.code_scaling = {m: Scaling.fit(code, self.params.code_scale) for m, code in codes}

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        return self.code_scaling[modality](super().embed(modality, features), np.float32)

    def state(self) -> dict[str, np.ndarray]:
        state = super().state()
        for m in self.modalities:
            state |= self.code_scaling[m].state(f"{m}.code")
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        super().load_state(state)
        self.code_scaling = {m: Scaling.from_state(state, f"{m}.code") for m in self.modalities}


class Networks(nn.Module):
    """``embed``: a network a modality; and those of the others that a method needs."""

    embed: ByModality
    decode: ByModality
    label: nn.Linear
    modality: nn.Module

    def __init__(self, embed: Mapping[str, nn.Module], **others: nn.Module):
        super().__init__()
        self.embed = ByModality(embed)
        for name, module in others.items():
            self.add_module(name, module)
