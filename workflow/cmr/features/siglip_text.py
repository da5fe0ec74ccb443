"""The text tower of SigLIP or SigLIP 2 (768-d with the default model); texts are cut after 64 tokens.

All texts are padded to the full length and padding is not masked, as in training.

See `cmr.features.dual_encoders`.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from cmr.features.base import Gap
from cmr.features.dual_encoders import TextTower
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="SigLIP, texts",
    paper="Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023; SigLIP 2: Tschannen et al., 2025",
    modality="text",
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


class SigLIPText(TextTower):
    params: Params
    padding = "max_length"

    def tokens(self, texts: Sequence[str], **options: Any) -> Any:
        return super().tokens(lower(texts), return_attention_mask=False, **options)

    def gaps(self, contents: Sequence[str]) -> dict[str, Gap]:
        return super().gaps(lower(contents))


def lower(texts: Sequence[str]) -> list[str]:
    """As in training; not all of the models' tokenizers do it."""
    return [text.lower() for text in texts]
