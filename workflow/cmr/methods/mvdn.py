"""Multi-view deep network: view-specific networks, a common one on top, and Fisher's criterion over all views.

Kan, Shan and Chen, "Multi-view deep network for cross-view classification", CVPR 2016. The objective is the Rayleigh
quotient of the outputs z of a batch, all views together as in `mvda`,

    min tr S_W / tr S_B,   S_W = Σ_c Σ_{z of c} (z − μ_c)(z − μ_c)ᵀ,   S_B = Σ_c n_c (μ_c − μ)(μ_c − μ)ᵀ,

in its trace form. The paper's layers are those of its face data; the sizes here are ours. An item with several labels
counts in part for each.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.training import Terms, feed_forward

INFO = MethodInfo(
    title="MvDN",
    paper="Kan, Shan and Chen, Multi-view deep network for cross-view classification, CVPR 2016",
    bibtex="""@inproceedings{kan2016deep,
  author = {Kan, Meina and Shan, Shiguang and Chen, Xilin},
  title = {Multi-View Deep Network for Cross-View Classification},
  booktitle = {CVPR},
  pages = {4847--4855},
  year = {2016}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="width of each modality's own layer, tanh")
    common: int = Field(512, ge=1, description="width of the common layer, tanh")
    dimension: int = Field(64, ge=1, description="dimensions of the output, linear")
    batch_size: int = Field(400, ge=4, description="items a step; several of each class")


class MvDN(DeepMethod):
    """``fit`` takes the items that have every modality. State: the networks' weights, ``.mean``, ``.scale``."""

    info = INFO
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        common = feed_forward((p.hidden, p.common, p.dimension), nn.Tanh)
        return Networks({m: nn.Sequential(nn.Linear(d, p.hidden), nn.Tanh(), common) for m, d in dimensions.items()})

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        return {"fisher": fisher(torch.cat(self.embed_all(inputs)), labels.repeat(len(inputs), 1))}


def fisher(outputs: Tensor, labels: Tensor) -> Tensor:
    """tr S_W / tr S_B of rows (b, k)."""
    shares = labels / labels.sum(1, keepdim=True)
    centred = outputs - outputs.mean(0)
    counts = shares.sum(0).clamp(min=1e-6)
    between = ((shares.T @ centred).square().sum(1) / counts).sum()
    return (centred.square().sum() - between) / between.clamp(min=1e-12)
