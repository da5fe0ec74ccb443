"""Any image network of the timm library by name: its pooled features before the classifier.

Weights (safetensors) come from the timm organisation on the Hugging Face hub, or from a local folder in its form;
the preprocessing is the one that the model's configuration names.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import timm
from PIL import Image
from pydantic import Field
from timm.data.config import resolve_data_config
from torch import nn

from cmr.features.images import Preprocessing
from cmr.features.networks import ImageNetwork
from cmr.features.pretrained import describe_model, model_folder
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="timm backbone",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("model",),
)


class Params(BaseParams):
    model: str = Field("timm/resnet50.a1_in1k", description="a local folder or a name on the Hugging Face hub")
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and linear layers")


class TimmBackbone(ImageNetwork):
    params: Params

    @cached_property
    def folder(self) -> Path:
        return model_folder(self.params.model, self.params.revision, self.cache)

    def fetch(self) -> dict[str, Any]:
        return describe_model(self.params.model, self.params.revision, self.folder)

    def build(self) -> nn.Module:
        return timm.create_model(f"local-dir:{self.folder}", pretrained=True, num_classes=0)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        says = resolve_data_config(model=self.network)
        crop = says["input_size"][1]
        resize = (crop, crop) if says["crop_mode"] == "squash" else math.floor(crop / says["crop_pct"])
        interpolation = Image.Resampling[says["interpolation"].upper()]
        return Preprocessing(resize, crop, interpolation, tuple(says["mean"]), tuple(says["std"]))

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": "pooled features"}
