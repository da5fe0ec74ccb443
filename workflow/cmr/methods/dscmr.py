"""Deep supervised cross-modal retrieval.

Zhen, Hu, Wang and Peng, "Deep supervised cross-modal retrieval", CVPR 2019; sizes, weights and the optimiser's values
as in the authors' public code. A ReLU layer a modality, then one linear layer into the common space and one linear
classifier that both share. With u, v the common representations of a pair and P the classifier,

    min  mean ‖P u − y‖ + mean ‖P v − y‖                                                    (labels, unsquared)
       + λ mean_{ij} Σ over uu, uv, vv of log(1 + e^θᵢⱼ) − Sᵢⱼ θᵢⱼ,  θᵢⱼ = ½ cos, Sᵢⱼ shared labels  (discrimination)
       + η mean ‖u − v‖                                                                     (invariance, unsquared).

The public code reports the test epoch that is best; here the epoch is chosen on held-out rows. Also different from it:
inputs are standardised and batches are shuffled; the code does neither.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import total

INFO = MethodInfo(
    title="DSCMR",
    paper="Zhen, Hu, Wang and Peng, Deep supervised cross-modal retrieval, CVPR 2019",
    bibtex="""@inproceedings{zhen2019deep,
  author = {Zhen, Liangli and Hu, Peng and Wang, Xu and Peng, Dezhong},
  title = {Deep Supervised Cross-modal Retrieval},
  booktitle = {CVPR},
  pages = {10394--10403},
  year = {2019}
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
    hidden: int = Field(2048, ge=1, description="width of each modality's ReLU layer")
    dimension: int = Field(1024, ge=1, description="dimensions of the common space")
    discrimination: float = Field(1e-3, ge=0, description="λ: weight of the pairwise likelihoods")
    invariance: float = Field(0.1, ge=0, description="η: weight of the distance of a pair")
    learning_rate: float = Field(1e-4, gt=0, description="step of Adam with β₁ = 0.5")
    epochs: int = Field(500, ge=1, description="epochs at most; the best is chosen on held-out rows")


class DSCMR(DeepMethod):
    info = INFO
    replayed = True
    betas = (0.5, 0.999)
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        shared = nn.Linear(p.hidden, p.dimension)
        own = {m: nn.Sequential(nn.Linear(d, p.hidden), nn.ReLU(), shared) for m, d in dimensions.items()}
        return Networks(own, label=nn.Linear(p.dimension, classes))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        u, v = self.embed_all(inputs)
        shared_labels = labels @ labels.T
        pairs = ((u, u), (u, v), (v, v))
        return {
            "label": total((self.network.label(out) - labels).norm(dim=1).mean() for out in (u, v)),
            "discrimination": self.params.discrimination * total(likelihood(a, b, shared_labels) for a, b in pairs),
            "invariance": self.params.invariance * (u - v).norm(dim=1).mean(),
        }


def likelihood(a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
    """Negative log-likelihood of ``similar`` (n, m), mean over the pairs of rows of a and b."""
    theta = functional.normalize(a, eps=1e-6) @ functional.normalize(b, eps=1e-6).T / 2
    return (functional.softplus(theta) - similar * theta).mean()
