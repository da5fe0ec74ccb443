"""The text tower of CLIP (512-d with the default model); texts are cut after 77 tokens.

See `cmr.features.dual_encoders`.
"""

from typing import Literal

from pydantic import Field

from cmr.features.dual_encoders import TextTower
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="CLIP, texts",
    paper="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
    modality="text",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("model",),
)


class Params(BaseParams):
    model: str = Field("openai/clip-vit-base-patch32", description="a local folder or a name on the Hugging Face hub")
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of linear layers, convolutions and attention")


class CLIPText(TextTower):
    params: Params
