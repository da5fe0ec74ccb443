"""SMCR: semantics-adversarial and media-adversarial cross-media retrieval.

Li, Du, Xue et al., 2022 (arXiv 2203.08615). A Base-Net a medium maps features to S_V = f_V(V) and S_T = f_T(T); a
Refine-Net a medium, of the same structure, maps those to S′_V and S′_T. With n pairs in a batch the networks minimise
L_imd + α·L_imi + β·L_con − L_adv (eqs. 8 and 10), all means over the pairs:

- L_imd (eq. 1): −l·(log p̂(v) + log p̂(t)), the cross-entropy of softmax classifiers of the labels l;
- L_imi (eqs. 2 to 4): ‖l_v − l_t‖₂ + ‖S_V − S_T‖₂, semantic consistency before and after the mapping;
- L_con (eqs. 5 to 7): max(0, ‖S′_V − S_T‖₂ − ‖S′_V − S_V‖₂) + max(0, ‖S′_T − S_V‖₂ − ‖S′_T − S_T‖₂);
- L_adv (eq. 9): −(log D(v) + log(1 − D(t))), the cross-entropy of a media discriminator of three layers. It minimises
  L_adv with a step of λ times the networks', after every k steps of theirs (Algorithm 1).

The ablations of Tables 3 and 4 are ``alpha`` 0 (without L_imi) and ``beta`` 0 (without L_con).

Readings. l₂ of whole matrices (eq. 3) is taken row by row, 'in each sample', unsquared, as Algorithm 1 divides by the
size of the batch. Open in the paper, hence options, their defaults chosen on held-out training rows:

- l_v and l_t 'before mapping' (``semantics_before``). The labels of a pair are one vector, so with them eq. 2 is 0
  (none). A distribution computed from the features alone has no gradient in the mapping; so 'predicted' takes the
  classifier's p̂(v) and p̂(t), which do.
- Where the softmax layer 'at the end of each feature map network' stands (``labelled``), what the discriminator sees
  (``discriminated``) and what retrieval compares (``retrieved``): S of the Base-Nets or S′ of the Refine-Nets. Where
  both are labelled there are two L_imd, so α and β weigh half as much against it.
- α and β: §6.3 prints −1 for both as the best on average, for Wikipedia, where 1 or 0.1 may be meant. The defaults
  are 1, for SciTechDaily too, of which it prints nothing.

Items are compared by the cosine; the paper names no measure. A classifier is shared by the media, as eq. 1's θ_imd and
ACMR's, which eq. 1 is from. Algorithm 1 descends plain gradients; Adam is used, on standardised inputs (``scale``), of
which the paper says nothing. Not given in the paper, hence chosen on held-out training rows: layers, activation (tanh,
which keeps −L_adv bounded), step, batch, epochs, λ and k.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.adversarial import discriminator_loss
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod
from cmr.methods.dla_cmr import label_loss
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, ByModality, apply, feed_forward, total

INFO = MethodInfo(
    title="SMCR",
    paper="Li, Du, Xue, Xu, Jiang, Kou, Xu, Scientific and technological information oriented semantics-adversarial "
    "and media-adversarial cross-media retrieval, 2022",
    bibtex="""@article{li2022scientific,
  author = {Li, Ang and Du, Junping and Xue, Zhe and Xu, Xin and Jiang, Yang and Kou, Feifei and Xu, Mingying},
  title = {Scientific and technological information oriented semantics-adversarial and media-adversarial cross-media
           retrieval},
  journal = {arXiv preprint arXiv:2203.08615},
  year = {2022}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    alpha: float = Field(1.0, ge=0, description="α, weight of the consistency L_imi; 0.1, 1, 10 or 100 in Fig. 2")
    beta: float = Field(1.0, ge=0, description="β, weight of the constraint L_con; 0.1, 1, 10 or 100 in Fig. 2")
    semantics_before: Literal["predicted", "none"] = Field("predicted", description="reading of l_v and l_t in eq. 2")
    labelled: Literal["base", "refined", "both"] = Field("both", description="outputs whose labels are predicted")
    discriminated: Literal["base", "refined", "both"] = Field("base", description="outputs the discriminator sees")
    retrieved: Literal["base", "refined"] = Field("base", description="outputs that retrieval compares")
    hidden: int = Field(512, ge=1, description="width inside the mapping networks, not given in the paper")
    dimension: int = Field(128, ge=1, description="of S and S′, not given in the paper")
    discriminator_layers: tuple[PositiveInt, PositiveInt] = Field(
        (64, 32), description="inner layers, not given in the paper"
    )
    discriminator_rate: float = Field(1.0, ge=0, description="λ: the discriminator's step over the networks'")
    mapping_steps: int = Field(1, ge=1, description="k: steps of the mapping networks for one of the discriminator")
    batch_size: int = Field(64, ge=2, description="not given in the paper")
    learning_rate: float = Field(1e-4, gt=0, description="μ, Adam's step, not given in the paper")


Spaces = dict[str, tuple[Tensor, Tensor]]
"""The outputs of both media, (b, s) each, by ``base`` and ``refined``."""


class Network(nn.Module):
    """The mapping networks of both media, the label classifiers and the media discriminator."""

    def __init__(self, dimensions: Mapping[str, int], classes: int, p: Params):
        super().__init__()
        inner = (p.hidden, p.dimension)
        self.base = ByModality({m: feed_forward((d, *inner), nn.Tanh, nn.Tanh) for m, d in dimensions.items()})
        self.refine = ByModality({m: feed_forward((inner[1], *inner), nn.Tanh, nn.Tanh) for m in dimensions})
        self.label = ByModality({space: nn.Linear(p.dimension, classes) for space in spaces_of(p.labelled)})
        self.discriminator = feed_forward((p.dimension, *p.discriminator_layers, 1), nn.Tanh)

    def mapping_parameters(self) -> list[nn.Parameter]:
        return [w for name, w in self.named_parameters() if not name.startswith("discriminator")]

    def forward(self, inputs: Mapping[str, Tensor]) -> Spaces:
        base = {m: self.base[m](x) for m, x in inputs.items()}
        refined = {m: self.refine[m](s) for m, s in base.items()}
        return {"base": tuple(base.values()), "refined": tuple(refined.values())}


class SMCR(DeepMethod):
    info = INFO
    replayed = True
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions, classes, self.params)

    def updates(self) -> list[Update]:
        p = self.params
        mapping = Adam(self.network.mapping_parameters(), p.learning_rate)
        rate = p.learning_rate * p.discriminator_rate
        discrimination = Adam(self.network.discriminator.parameters(), rate)
        steps = [Update(mapping, self.batch_terms)] * p.mapping_steps
        return [*steps, Update(discrimination, lambda rows: self.discriminator_terms([x[rows] for x in self.inputs]))]

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """The weighted terms that the mapping networks minimise."""
        p = self.params
        spaces = self._spaces(inputs)
        predicted = [[classify(s) for s in spaces[space]] for space, classify in self.network.label.items()]
        consistency = distance(*spaces["base"]).mean()
        if p.semantics_before == "predicted":
            consistency = consistency + distance(*(torch.softmax(logits, 1) for logits in predicted[0])).mean()
        return {
            "label": total(label_loss(logits, labels) for media in predicted for logits in media),
            "consistency": p.alpha * consistency,
            "constraint": p.beta * constraint(spaces["base"], spaces["refined"]),
            "adversarial": -self._media_loss(spaces),
        }

    def discriminator_terms(self, inputs: list[Tensor]) -> Terms:
        """Eq. 9, which the discriminator minimises."""
        with torch.no_grad():
            spaces = self._spaces(inputs)
        return {"media": self._media_loss(spaces)}

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        def mapped(x: Tensor) -> Tensor:
            base = self.network.base[modality](x)
            return base if self.params.retrieved == "base" else self.network.refine[modality](base)

        return apply(mapped, self.scaling[modality](features, np.float32), self.device)

    def _spaces(self, inputs: list[Tensor]) -> Spaces:
        with self.mixed_precision():
            spaces = self.network(dict(zip(self.modalities, inputs, strict=True)))
        return {space: (v.float(), t.float()) for space, (v, t) in spaces.items()}

    def _media_loss(self, spaces: Spaces) -> Tensor:
        """Eq. 9 of each of the outputs that the discriminator sees."""
        seen = spaces_of(self.params.discriminated)
        return total(discriminator_loss(self.network.discriminator, *spaces[space]) for space in seen)


def spaces_of(option: str) -> tuple[str, ...]:
    return ("base", "refined") if option == "both" else (option,)


def distance(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_i‖₂ (b,), unsquared; its gradient at 0 is 0."""
    return torch.linalg.vector_norm((x - y).float(), dim=1)


def constraint(base: tuple[Tensor, Tensor], refined: tuple[Tensor, Tensor]) -> Tensor:
    """Eqs. 5 to 7, mean over the pairs: a refined row nearer to the other medium's base row than to its own."""
    (v, t), (refined_v, refined_t) = base, refined
    of_v = functional.relu(distance(refined_v, t) - distance(refined_v, v))
    of_t = functional.relu(distance(refined_t, v) - distance(refined_t, t))
    return (of_v + of_t).mean()
