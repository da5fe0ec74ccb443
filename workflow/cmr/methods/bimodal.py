"""What `cmdn` ends with: a classifier of layers a modality, and bimodal autoencoders one above the other."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmr.methods.deep import ScaledCodesMethod
from cmr.methods.penalties import decay
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, feed_forward, shares_of, total


class Level(nn.Module):
    """A bimodal autoencoder: j = σ(A x + B y + a), of which x̂ and ŷ are σ of linear maps; the classifier is linear."""

    def __init__(self, modalities: Sequence[str], size: int, hidden: int, classes: int):
        super().__init__()
        self.encode = ByModality({m: nn.Linear(size, hidden) for m in modalities})
        self.decode = ByModality({m: nn.Linear(hidden, size) for m in modalities})
        self.label = nn.Linear(hidden, classes)
        self.bias = nn.Parameter(torch.zeros(hidden))
        for encoder in self.encode.values():
            encoder.bias = self.bias

    def codes(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """j of each modality without the other, (n, h)."""
        return {m: torch.sigmoid(self.encode[m](x)) for m, x in inputs.items()}

    def joint(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """j (n, h) of both modalities."""
        alone = [self.encode[m](x) for m, x in inputs.items()]
        return torch.sigmoid(total(alone) - (len(alone) - 1) * self.bias)

    def terms(self, inputs: Mapping[str, Tensor], share: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction errors and label losses, mean over the rows of (x, 0), (0, y) and (x, y): all give x and y."""
        hidden = [*self.codes(inputs).values(), self.joint(inputs)]
        again = [(torch.sigmoid(self.decode[m](j)), x) for j in hidden for m, x in inputs.items()]
        errors = total((made - x).float().square().sum(1).mean() / 2 for made, x in again)
        labels = total(functional.cross_entropy(self.label(j).float(), share) for j in hidden)
        return errors / len(hidden), labels / len(hidden)


class Network(nn.Module):
    """``mlp``: ReLU layers of each modality, with a classifier ``label``; ``levels``: what each learns is detached."""

    def __init__(self, dimensions: Mapping[str, int], classes: int, p: Any):
        super().__init__()
        self.mlp = ByModality({m: feed_forward((d, *p.layers), nn.ReLU, nn.ReLU) for m, d in dimensions.items()})
        self.label = ByModality({m: nn.Linear(p.layers[-1], classes) for m in dimensions})
        sizes = pairwise((p.layers[-1], *p.levels))
        self.levels = [Level(tuple(dimensions), size, hidden, classes) for size, hidden in sizes]
        self.level = nn.ModuleList(self.levels)
        self.embed = ByModality({m: nn.Sequential(self.mlp[m], *self._above(m)) for m in dimensions})

    def _above(self, modality: str) -> list[nn.Module]:
        return [layer for level in self.levels for layer in (level.encode[modality], nn.Sigmoid())]


class BimodalAutoencoders(ScaledCodesMethod):
    """Codes of the last level, standardised. Takes from the parameters ``layers``, ``levels`` and ``weight_decay``."""

    replayed = True
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions, classes, self.params)

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        share = shares_of(labels)
        with self.mixed_precision():
            below = {m: self.network.mlp[m](x) for m, x in zip(self.modalities, inputs, strict=True)}
            label = total(functional.cross_entropy(self.network.label[m](x).float(), share) for m, x in below.items())
            errors, labels_above = [], []
            for level in self.network.levels:
                below = {m: x.detach() for m, x in below.items()}
                error, label_above = level.terms(below, share)
                errors.append(error)
                labels_above.append(label_above)
                below = level.codes(below)
        return {
            "label": label,
            "reconstruction": total(errors),
            "level_label": total(labels_above),
            "decay": decay(self.network, self.params.weight_decay),
        }
