"""Multi-view deep network: view-specific networks, a common one on top, and Fisher's criterion over all views.

Kan, Shan and Chen, "Multi-view deep network for cross-view classification", CVPR 2016. The objective is Fisher's
criterion, a Rayleigh quotient, of the outputs z of a batch of b rows, all views together as in `mvda`,

    S_W = 1/b Σ_c Σ_{z of c} (z − μ_c)(z − μ_c)ᵀ,   S_B = 1/b Σ_c n_c (μ_c − μ)(μ_c − μ)ᵀ.

The abstract says no more, the paper's equation is not at hand, and of several dimensions the quotient has two forms:

    ratio_trace   max tr (S_W + r I)⁻¹ S_B, the sum of the eigenvalues that `mvda` and `mvldan` maximise,
    trace_ratio   min tr S_W / tr S_B.

The second is least where all outputs lie on the one direction that separates classes best, and training goes there. To
the first a direction counts by how well it separates, whatever its length, so that the outputs keep several. The ridge
is ours; it and the default form are those that were best on held-out rows. The paper's layers are those of its face
data, the sizes here are ours. An item with several labels counts in part for each.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import feed_forward, shares_of

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
    memory="block of rows",
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="width of each modality's own layer, tanh")
    common: int = Field(512, ge=1, description="width of the common layer, tanh")
    dimension: int = Field(64, ge=1, description="dimensions of the output, linear")
    criterion: Literal["ratio_trace", "trace_ratio"] = Field("ratio_trace", description="form of Fisher's criterion")
    regularisation: float = Field(0.1, gt=0, description="ridge r on S_W; of the ratio trace")
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
        within, between = scatters(torch.cat(self.embed_all(inputs)), labels.repeat(len(inputs), 1))
        if self.params.criterion == "trace_ratio":
            return {"fisher": within.trace() / between.trace().clamp(min=1e-12)}
        return {"fisher": -ratio_trace(within, between, self.params.regularisation)}


def scatters(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """S_W and S_B (k, k) of rows (b, k), both divided by the number of rows."""
    shares = shares_of(labels)
    centred = outputs - outputs.mean(0)
    sums, counts = shares.T @ centred, shares.sum(0).clamp(min=1e-6)
    between = (sums / counts[:, None]).T @ sums / len(outputs)
    return centred.T @ centred / len(outputs) - between, between


def ratio_trace(within: Tensor, between: Tensor, ridge: float) -> Tensor:
    """tr (S_W + ridge I)⁻¹ S_B."""
    eye = torch.eye(len(within), device=within.device)
    return torch.linalg.solve(within + ridge * eye, between).trace()
