"""The image tower of SigLIP or SigLIP 2 (768-d with the default model).

See `cmr.features.dual_encoders`.
"""

from typing import Literal

from pydantic import Field

from cmr.features.dual_encoders import ImageTower
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="SigLIP, pictures",
    paper="Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023; SigLIP 2: Tschannen et al., 2025",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("model",),
)


class Params(BaseParams):
    model: str = Field(
        "google/siglip2-base-patch16-224", description="a local folder or a name on the Hugging Face hub"
    )
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of linear layers, convolutions and attention")


class SigLIPImage(ImageTower):
    params: Params
