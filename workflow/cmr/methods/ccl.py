"""CCL: cross-modal correlation learning with multigrained fusion, an item's parts beside the whole.

Peng, Qi, Huang and Yuan, TMM 2018. An item has a vector of the whole and a set of its parts, patches of an image or
sentences of a text. One thing is learned upon the other, the first three without labels:

1. of each modality and grain, whole and parts, two restricted Boltzmann machines (`cmr.methods.rbm`), the first with
   Gaussian units or, for counts of words, a replicated softmax; an item's parts are represented by the mean of theirs;
2. of each grain the correspondence autoencoder of `corr_ae` on both modalities, with logistic codes and outputs:
   ½ (0.3 (‖x̂ − x‖² + ‖ŷ − y‖²) + 0.7 ‖f(x) − g(y)‖²);
3. of each modality a machine with 2048 units on its two codes, [whole; parts];
4. of each modality a classifier of three ReLU layers (cross-entropy), whose last layer, standardised, is kept;
5. of each modality two logistic layers, u of an image and v of a text, and a linear classifier of what goes into the
   second logistic function. Over all pairs of an image i and a text j of a batch of b rows each,

       min  1/b Σ { ‖uᵢ − vⱼ‖² of one class; [m − ‖uᵢ − vⱼ‖]₊² of two }  +  cross-entropies of images and of texts.

Items are compared by the cosine of u and v, standardised.

Forms, layers and penalties are those of the authors' public code, github.com/PKU-ICST-MIPL/CCL_TMM2018, which prints
half of the sum over pairs and descends the whole.

Different from the code: each part of it descends gradients with momentum for a fixed number of steps, 50,000 of a
machine or a classifier, 10,000 of an autoencoder, 20,000 of the last layers. Here it is Adam, for
``pretraining_epochs`` in each of 1 to 4, and the last layers learn until the epoch that is best on held-out rows.
Contrastive divergence is of one step all along (of more and more there), and the units of counts are not drawn.
Sparsity is the Kullback-Leibler divergence from the target, of a batch's mean activity. There the mean is a running
one, the gradient leaves out the units' derivative, and the sparsity of the images' first machine weighs ten times as
much. What goes into the last layers is turned round there with probability ½, last number first, of images and of texts
apart, in training and when test rows are embedded: a setting for pictures that was left on. A step on parts takes all
parts of as many items as one on wholes does; there it takes as many parts. Where items have several labels, those that
share one are of one class. Parts 1 to 4 compute in float32 whatever ``precision`` says. u and v are standardised by the
training rows' mean and variance; there by the test rows'.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.batches import ScaledVectorsAndSets, SetBatch, scaled
from cmr.methods.checks import check_counts
from cmr.methods.common_params import DeepParams
from cmr.methods.contrastive import LastLayers
from cmr.methods.penalties import decay
from cmr.methods.rbm import RBM, Units, stacked
from cmr.methods.scaling import NONE, Scaling, fit_each, of_sets
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, apply, feed_forward, shares_of, tensor, total
from cmr.methods.two_stages import TwoStages, on_rows
from cmr.sets import VectorsAndSets

INFO = MethodInfo(
    title="CCL",
    paper="Peng, Qi, Huang and Yuan, CCL: cross-modal correlation learning with multigrained fusion, TMM 2018",
    bibtex="""@article{peng2018ccl,
  author = {Peng, Yuxin and Qi, Jinwei and Huang, Xin and Yuan, Yuxin},
  title = {{CCL}: Cross-modal Correlation Learning With Multigrained Fusion by Hierarchical Network},
  journal = {IEEE Transactions on Multimedia},
  volume = {20},
  number = {2},
  pages = {405--420},
  year = {2018}
}""",
    implementation="own",
    modalities=2,
    takes=("both",),
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)
JOINT_DECAY, AUTOENCODER_DECAY, CLASSIFIER_DECAY = 0.0001, 0.0001, 0.001
WHOLE, PARTS = "whole", "parts"


class Params(DeepParams):
    first_layers: tuple[PositiveInt, PositiveInt] = Field(
        (2048, 1024), description="units of the first modality's machines (image)"
    )
    second_layers: tuple[PositiveInt, PositiveInt] = Field(
        (1024, 1024), description="units of the second modality's machines (text)"
    )
    first_units: Literal["gaussian", "counts"] = Field("gaussian", description="what the first modality's features are")
    second_units: Literal["gaussian", "counts"] = Field(
        "gaussian", description="the second modality's; counts of words, as the paper's texts and sentences have"
    )
    draws: int = Field(100, ge=1, description="what counts are scaled to add up to")
    code: int = Field(1024, ge=1, description="units of the correspondence autoencoders' codes")
    correspondence: float = Field(0.7, gt=0, lt=1, description="weight of the codes' distance against 1 − it")
    joint_units: int = Field(2048, ge=1, description="units of the machines above both grains")
    layers: tuple[PositiveInt, ...] = Field(
        (1024, 1024, 1024), min_length=1, description="layers of the classifiers, ReLU"
    )
    hidden: int = Field(1024, ge=1, description="units of the layer before u and v")
    dimension: int = Field(1024, ge=1, description="units of u and v")
    margin: float = Field(1.0, gt=0, description="m")
    sparsity_cost: float = Field(0.01, ge=0, description="of the mean activities of the machines of 1")
    weight_decay: float = Field(0.004, ge=0, description="of the last layers")
    batch_size: int = Field(80, ge=2, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step of the last layers")
    epochs: int = Field(200, ge=1, description="epochs of these at most; the best is chosen on held-out rows")
    pretraining_epochs: int = Field(50, ge=1, description="epochs of each part of 1 to 4")
    pretraining_rate: float = Field(1e-3, gt=0, description="Adam's step of these parts")
    code_scale: Literal["standardise", "centre", "none"] = Field(
        "standardise", description="scaling of what is compared"
    )


class Grain(nn.Module):
    """The two machines of a modality and grain, one upon the other. ``counts``: what rows are scaled to add up to."""

    def __init__(self, size: int, layers: tuple[int, int], units: Units, p: Params):
        super().__init__()
        self.machines = stacked(size, layers, units, p.sparsity_cost, p.draws)
        self.machine = nn.ModuleList(self.machines)
        self.draws = p.draws if units == "counts" else 0

    def seen(self, rows: Tensor, by: int) -> Tensor:
        """What the machine number ``by`` sees of rows (n, d), vectors or parts."""
        if self.draws:
            rows = self.draws * rows / rows.sum(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
        for machine in self.machines[:by]:
            rows = machine(rows)
        return rows

    def forward(self, rows: Tensor) -> Tensor:
        return self.seen(rows, len(self.machines))

    def terms(self, number: int, items: ScaledVectorsAndSets, grain: str, index: Tensor) -> Terms:
        """Of the machine ``number``, on the vectors or on all parts of the items ``index`` (b,)."""
        vectors, sets = items[index]
        with torch.no_grad():
            below = self.seen(vectors if grain == WHOLE else sets.elements[sets.mask], number)
        return self.machines[number].terms(below)


class Correspondence(nn.Module):
    """The autoencoders of both modalities, whose codes of one item are close."""

    def __init__(self, sizes: Mapping[str, int], p: Params):
        super().__init__()
        self.encode = ByModality({m: nn.Linear(size, p.code) for m, size in sizes.items()})
        self.decode = ByModality({m: nn.Linear(p.code, size) for m, size in sizes.items()})
        self.correspondence = p.correspondence

    def forward(self, modality: str, rows: Tensor) -> Tensor:
        return torch.sigmoid(self.encode[modality](rows))

    def terms(self, items: Mapping[str, Tensor], index: Tensor) -> Terms:
        """Of the items ``index`` (b,)."""
        rows = {m: x[index] for m, x in items.items()}
        codes = {m: self(m, x) for m, x in rows.items()}
        errors = [torch.sigmoid(self.decode[m](codes[m])) - x for m, x in rows.items()]
        first, second = codes.values()
        return {
            "reconstruction": (1 - self.correspondence) / 2 * total(e.square().sum(1).mean() for e in errors),
            "correspondence": self.correspondence / 2 * (first - second).square().sum(1).mean(),
            "decay": decay(self, AUTOENCODER_DECAY),
        }


class Classifier(nn.Module):
    """ReLU layers, kept, and a classifier of the last."""

    def __init__(self, size: int, classes: int, p: Params):
        super().__init__()
        self.below = feed_forward((size, *p.layers), nn.ReLU, nn.ReLU)
        self.label = nn.Linear(p.layers[-1], classes)

    def forward(self, rows: Tensor) -> Tensor:
        return self.below(rows)

    def terms(self, rows: Tensor, share: Tensor, index: Tensor) -> Terms:
        """Of the items ``index`` (b,), labels ``share`` (n, c) that add up to 1."""
        return {
            "label": functional.cross_entropy(self.label(self(rows[index])), share[index]),
            "decay": decay(self, CLASSIFIER_DECAY),
        }


class Lower(nn.Module):
    """What is learned before the last layers, of all modalities."""

    def __init__(self, dimensions: Mapping[str, int], classes: int, p: Params):
        super().__init__()
        self.modalities = tuple(m for m in dimensions if of_sets(m) in dimensions)
        kinds = (p.first_layers, p.first_units), (p.second_layers, p.second_units)
        sides = dict(zip(self.modalities, kinds, strict=True))
        self.grains = {
            (m, grain): Grain(dimensions[m if grain == WHOLE else of_sets(m)], *side, p)
            for m, side in sides.items()
            for grain in (WHOLE, PARTS)
        }
        self.grain = ByModality({f"{m}_{grain}": made for (m, grain), made in self.grains.items()})
        tops = {m: layers[1] for m, (layers, _) in sides.items()}
        self.correspondences = {grain: Correspondence(tops, p) for grain in (WHOLE, PARTS)}
        self.correspondence = ByModality(self.correspondences)
        self.joints = {m: RBM(2 * p.code, p.joint_units, decay=JOINT_DECAY) for m in self.modalities}
        self.joint = ByModality(self.joints)
        self.classifiers = {m: Classifier(p.joint_units, classes, p) for m in self.modalities}
        self.classifier = ByModality(self.classifiers)

    def of_grain(self, modality: str, grain: str, given: tuple[Tensor, SetBatch]) -> Tensor:
        """What the machines of 1 make of items (b, t): of their vectors, or the mean of their parts."""
        vectors, sets = given
        machines = self.grains[modality, grain]
        if grain == WHOLE:
            return machines(vectors)
        own = machines(sets.elements[sets.mask])
        spread = own.new_zeros(*sets.mask.shape, own.shape[1]).masked_scatter(sets.mask[:, :, None], own)
        return spread.sum(1) / sets.mask.sum(1, keepdim=True)

    def codes(self, modality: str, given: tuple[Tensor, SetBatch]) -> Tensor:
        """Of both grains side by side, (b, 2c)."""
        grains = ((grain, self.of_grain(modality, grain, given)) for grain in (WHOLE, PARTS))
        return torch.cat([self.correspondences[grain](modality, rows) for grain, rows in grains], dim=1)

    def kept(self, modality: str, given: tuple[Tensor, SetBatch]) -> Tensor:
        """The last layer of the classifier, (b, l)."""
        return self.classifiers[modality](self.joints[modality](self.codes(modality, given)))


class CCL(TwoStages):
    """The scaling's names are those of the modalities, of vectors, and ``{modality}:set``, of their parts."""

    info = INFO
    UPPER = LastLayers
    OF_UPPER = frozenset(
        {"learning_rate", "weight_decay", "hidden", "dimension", "margin", "epochs", "patience", "code_scale"}
    )
    lower: Lower

    def scale(self, features: Sequence[VectorsAndSets]) -> dict[str, Scaling]:
        found: dict[str, Scaling] = {}
        for m, rows in zip(self.modalities, features, strict=True):
            self._check(m, rows)
            found |= fit_each([m], [rows], NONE if self._counts(m) else self.params.scale)
        return found

    def scaled_names(self) -> Sequence[str]:
        return [name for m in self.modalities for name in (m, of_sets(m))]

    def build(self) -> Lower:
        dimensions = {name: len(scaling.mean) for name, scaling in self.scaling.items()}
        return Lower(dimensions, self.classes, self.params)

    def represent(self, modality: str, rows: tuple[Tensor, SetBatch]) -> Tensor:
        return self.lower.kept(modality, rows)

    def embed(self, modality: str, features: VectorsAndSets) -> np.ndarray:
        self._check(modality, features)
        return super().embed(modality, features)

    def rows(self, modality: str, features: VectorsAndSets) -> ScaledVectorsAndSets:
        return scaled(modality, features, self.scaling, self.device)

    def pretrain(self, rows: Mapping[str, ScaledVectorsAndSets], labels: Tensor) -> None:
        lower, n = self.lower, len(labels)
        for (m, grain), machines in lower.grains.items():
            for number, machine in enumerate(machines.machines):
                terms = partial(machines.terms, number, rows[m], grain)
                self.learn_part(f"{m}.{grain}{number}", machine, terms, n)
        for grain, learned in lower.correspondences.items():
            of_grain = {m: self._all(partial(lower.of_grain, m, grain), x) for m, x in rows.items()}
            self.learn_part(grain, learned, partial(learned.terms, of_grain), n, replayed=True)
        share = shares_of(labels)
        for m, x in rows.items():
            joint, classifier = lower.joints[m], lower.classifiers[m]
            codes = self._all(partial(lower.codes, m), x)
            self.learn_part(f"{m}.joint", joint, on_rows(joint.terms, codes), n, replayed=True)
            with torch.no_grad():
                fused = joint(codes)
            self.learn_part(f"{m}.classifier", classifier, partial(classifier.terms, fused, share), n, replayed=True)

    def _all(self, function: Callable[[Any], Tensor], rows: ScaledVectorsAndSets) -> Tensor:
        return tensor(apply(function, rows, self.device), self.device)

    def _counts(self, modality: str) -> bool:
        units = self.params.first_units, self.params.second_units
        return units[self.modalities.index(modality)] == "counts"

    def _check(self, modality: str, features: VectorsAndSets) -> None:
        if self._counts(modality):
            check_counts(INFO, modality, features.vectors)
            check_counts(INFO, modality, features.sets)
