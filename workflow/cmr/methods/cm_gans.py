"""CM-GANs: cross-modal generative adversarial networks.

Peng and Qi, TOMM 2019. An autoencoder a modality makes of an input x the common representation c = f(x) and the
reconstruction r = g(c); the last layer of the two encoders is shared. Discriminators tell what is real: D of a modality
real inputs from reconstructions, and E of a modality, which sees a common representation beside an input of that
modality, the own one from another modality's and from another item's. With binary cross-entropies ℓ₁(p) = −log p and
ℓ₀(p) = −log(1 − p), means over the rows of a batch, v images, t texts, w the image of an item of another class,

    D, E minimise   ℓ₁(D(v)) + ℓ₀(D(r_v)) + ℓ₁(E(c_v, v)) + ½ ℓ₀(E(c_t, v)) + ½ ℓ₀(E(c_w, w))
    f, g minimise   ℓ₁(D(r_v)) + ℓ₁(E(c_t, v)) + cross-entropy of the label by a linear classifier of c_v

and the same with images and texts exchanged. For each step of the discriminators the autoencoders take five. Common
representations are compared by the cosine, after standardising them.

This is the form of the authors' public code, github.com/PKU-ICST-MIPL/CM-GANS_TOMM2019, which takes one vector an image
and one a text (there of VGG-19 and of a sentence CNN). From it are layers, steps and sizes: encoders d-1024-1024,
decoders 1024-1024-d, E with 512 hidden units, D linear, batch normalisation and LeakyReLU with slope 0.2 after all
layers but the last, Adam's step 0.001 with β₁ = 0.5, halved every 100 epochs, batches of 64.

Readings. The paper and the text of the code share the last layer of the encoders. What the code runs does not: torch
copies weights where it gathers a network's parameters, so the two layers only start alike. Here they are shared, and
the batch normalisation after it has each modality's own statistics.

Different from the code: the last of 2,000 epochs counts there, here the best on held-out rows. An epoch takes every
item once; there classes are drawn alike often, and items of a class at random. The item of another class is one of the
batch, and a row whose batch has none goes without this term; there it is drawn from all. The autoencoders' five steps
are of both at once; there each takes its own in turn, which is the same where they share nothing. Codes are
standardised by the training rows' mean and variance; there by the test rows', and where the gallery is of one modality,
the queries' alone. Inputs are standardised (``scale``); there they stay as they are. A layer before a batch
normalisation has no bias: it would be taken away again, and Adam would move it by what rounding makes of a gradient of
0.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import ScaledCodesMethod
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, ByModality, shares_of, total

INFO = MethodInfo(
    title="CM-GANs",
    paper="Peng and Qi, CM-GANs: cross-modal generative adversarial networks, TOMM 2019",
    bibtex="""@article{peng2019cmgans,
  author = {Peng, Yuxin and Qi, Jinwei},
  title = {{CM-GANs}: Cross-modal Generative Adversarial Networks for Common Representation Learning},
  journal = {ACM Transactions on Multimedia Computing, Communications, and Applications},
  volume = {15},
  number = {1},
  pages = {22:1--22:24},
  year = {2019},
  doi = {10.1145/3284750}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="width of the encoders' and the decoders' inner layers")
    dimension: int = Field(1024, ge=1, description="dimensions of the common representation")
    discriminator_hidden: int = Field(512, ge=1, description="hidden units of E")
    generator_steps: int = Field(5, ge=1, description="steps of the autoencoders for one of the discriminators")
    batch_size: int = Field(64, ge=2, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="step of Adam with β₁ = 0.5, at the start")
    halving: int = Field(100, ge=1, description="the step is halved at each epoch that this divides")
    epochs: int = Field(2000, ge=1, description="epochs at most; the best is chosen on held-out rows")
    code_scale: Literal["standardise", "centre", "none"] = Field(
        "standardise", description="scaling of the codes compared"
    )


class Generator(nn.Module):
    """Of each modality: ``embed`` is f, ``decode`` is g, ``label`` the classifier."""

    def __init__(self, dimensions: Mapping[str, int], classes: int, p: Params):
        super().__init__()
        shared, norm = nn.Linear(p.hidden, p.dimension, bias=False), nn.BatchNorm1d(p.dimension)

        def encoder(d: int) -> nn.Module:
            return nn.Sequential(*layer(d, p.hidden), shared, sharing(norm), leaky())

        def decoder(d: int) -> nn.Module:
            return nn.Sequential(*layer(p.dimension, p.hidden), nn.Linear(p.hidden, d))

        self.embed = ByModality({m: encoder(d) for m, d in dimensions.items()})
        self.decode = ByModality({m: decoder(d) for m, d in dimensions.items()})
        self.label = ByModality({m: nn.Linear(p.dimension, classes) for m in dimensions})


class Discriminator(nn.Module):
    """Of each modality: ``within`` is D, ``across`` is E of a common representation and an input, side by side."""

    def __init__(self, dimensions: Mapping[str, int], p: Params):
        super().__init__()
        width = p.discriminator_hidden

        def across(d: int) -> nn.Module:
            return nn.Sequential(*layer(p.dimension + d, width), nn.Linear(width, 1))

        self.within = ByModality({m: nn.Linear(d, 1) for m, d in dimensions.items()})
        self.across = ByModality({m: across(d) for m, d in dimensions.items()})


class Network(nn.Module):
    """Both sides of the game."""

    def __init__(self, dimensions: Mapping[str, int], classes: int, p: Params):
        super().__init__()
        self.generator = Generator(dimensions, classes, p)
        self.discriminator = Discriminator(dimensions, p)

    @property
    def embed(self) -> ByModality:
        return self.generator.embed


class CMGANs(ScaledCodesMethod):
    info = INFO
    replayed = True
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions, classes, self.params)

    def updates(self) -> list[Update]:
        discriminator, generator = self.optimizers = [
            Adam(side.parameters(), self.params.learning_rate, betas=(0.5, 0.999))
            for side in (self.network.discriminator, self.network.generator)
        ]
        first = Update(
            discriminator, lambda rows: self.discriminator_terms([x[rows] for x in self.inputs], self.labels[rows])
        )
        return [first, *[Update(generator, self.batch_terms)] * self.params.generator_steps]

    def each_epoch(self, epoch: int) -> None:
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = self.params.learning_rate * 0.5 ** (epoch // self.params.halving)

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """What the autoencoders minimise; the discriminators get no gradients, as they take no step."""
        generator, discriminator = self.network.generator, self.network.discriminator.requires_grad_(False)
        share = shares_of(labels)
        codes = self.embed_all(inputs)
        within, across, label = [], [], []
        with self.mixed_precision():
            for m, other, code, x in zip(self.modalities, self.modalities[::-1], codes, inputs[::-1], strict=True):
                within.append(real(discriminator.within[m](generator.decode[m](code))))
                across.append(real(discriminator.across[other](beside(code, x))))
                label.append(functional.cross_entropy(generator.label[m](code).float(), share))
        return {"deceive_within": total(within), "deceive_across": total(across), "label": total(label)}

    def discriminator_terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """What the discriminators minimise."""
        generator, discriminator = self.network.generator, self.network.discriminator.requires_grad_(True)
        wrong, found = rows_of_other_classes(labels)
        with torch.no_grad():
            codes, wrong_codes = self.embed_all(inputs), self.embed_all([x[wrong] for x in inputs])
        within, across = [], []
        with self.mixed_precision():
            for m, x, own, other, of_wrong in zip(
                self.modalities, inputs, codes, codes[::-1], wrong_codes, strict=True
            ):
                tell, tell_across = discriminator.within[m], discriminator.across[m]
                with torch.no_grad():
                    again = generator.decode[m](own)
                within += [real(tell(x)), fake(tell(again))]
                across.append(real(tell_across(beside(own, x))))
                across.append(fake(tell_across(beside(other, x))) / 2)
                across.append(fake(tell_across(beside(of_wrong, x[wrong])), found) / 2)
        return {"within": total(within), "across": total(across)}


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


def layer(inner: int, outer: int) -> tuple[nn.Module, ...]:
    """A linear layer with batch normalisation and LeakyReLU."""
    return nn.Linear(inner, outer, bias=False), nn.BatchNorm1d(outer), leaky()


def sharing(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    """A batch normalisation with the weights of ``norm`` and statistics of its own."""
    own = nn.BatchNorm1d(norm.num_features)
    own.weight, own.bias = norm.weight, norm.bias
    return own


def beside(code: Tensor, x: Tensor) -> Tensor:
    return torch.cat((code, x), dim=1)


def real(logits: Tensor) -> Tensor:
    """ℓ₁ of the sigmoid of logits (b, 1), mean over the rows."""
    return functional.softplus(-logits.float()).mean()


def fake(logits: Tensor, counted: Tensor | None = None) -> Tensor:
    """ℓ₀ of the sigmoid of logits (b, 1), mean over the rows, or over those ``counted`` (b,), 0 where none is."""
    losses = functional.softplus(logits.float())[:, 0]
    return losses.mean() if counted is None else (losses * counted).sum() / counted.sum().clamp(min=1)


def rows_of_other_classes(labels: Tensor, others: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """For each row of labels (b, c), a random row of ``others`` (n, c) that shares none, and whether there is one.

    ``others``: the same rows where they are not given.
    """
    other = labels @ (labels if others is None else others).T == 0
    drawn = torch.rand(other.shape, device=labels.device).masked_fill(~other, -1)
    return drawn.argmax(dim=1), other.any(dim=1)
