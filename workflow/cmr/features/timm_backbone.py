"""Any image network of the timm library by name: its pooled features before the classifier.

Weights (safetensors) come from the timm organisation on the Hugging Face hub, or from a local folder in its form;
the preprocessing is the one that the model's configuration names. A state of one's own takes their place by
``weights``; ``model`` then is the name of the architecture in timm, whose preprocessing it is.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import timm
from PIL import Image
from pydantic import Field
from timm.data.config import resolve_data_config
from torch import nn

from cmr.errors import UserError, nearest
from cmr.features import weights
from cmr.features.images import Preprocessing
from cmr.features.networks import ImageNetwork
from cmr.features.pretrained import check_complete, describe_model, loading, model_folder
from cmr.features.states import load_state
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="timm backbone",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("model", "weights"),
)


class Params(BaseParams):
    model: str = Field("timm/resnet50.a1_in1k", description="a local folder or a name on the Hugging Face hub")
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    weights: str | None = Field(
        None, description="a file (.pt, .pth, .safetensors) with a state of your own for timm's network named by model"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and linear layers")


class TimmBackbone(ImageNetwork):
    params: Params

    @cached_property
    def folder(self) -> Path:
        return model_folder(self.params.model, self.params.revision, self.cache)

    @cached_property
    def architecture(self) -> str:
        """timm's name of the network, where weights of one's own are given: the last part of ``model``."""
        name = self.params.model.rpartition("/")[2]
        if not timm.is_model(name):
            raise UserError(f"params.model: unknown network {name!r}{nearest(name, timm.list_models())}")
        return name

    def fetch(self) -> dict[str, Any]:
        if self.params.weights and self.architecture:
            return weights.describe(weights.local(self.params.weights), "local file")
        return describe_model(self.params.model, self.params.revision, self.folder)

    def build(self) -> nn.Module:
        if self.params.weights:
            return self.with_own_weights(weights.local(self.params.weights))
        with loading(self.folder, "model"), lacking() as missing:
            network = timm.create_model(f"local-dir:{self.folder}", pretrained=True, num_classes=0)
        check_complete(self.folder, missing)
        return network

    def with_own_weights(self, file: Path) -> nn.Module:
        network: Any = timm.create_model(self.architecture, pretrained=False)
        classifier = network.pretrained_cfg["classifier"]  # one name, or several
        load_state(network, file, left_out=[classifier] if isinstance(classifier, str) else classifier)
        network.reset_classifier(0)
        return network

    @cached_property
    def preprocessing(self) -> Preprocessing:
        says = resolve_data_config(model=self.network)
        crop = says["input_size"][1]
        side = math.floor(crop / says["crop_pct"])
        if says["crop_mode"] not in ("center", "squash"):
            raise UserError(f"params.model: crop mode {says['crop_mode']!r} is not known; choose another model")
        resize = (side, side) if says["crop_mode"] == "squash" else side
        interpolation = Image.Resampling[says["interpolation"].upper()]
        return Preprocessing(resize, crop, interpolation, tuple(says["mean"]), tuple(says["std"]))

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": "pooled features"}


@contextmanager
def lacking() -> Iterator[list[str]]:
    """The names of weights that what is loaded in the block has not: timm leaves them random, as it should for a
    classifier of another size, and says so in its log alone.
    """
    missing: list[str] = []
    load = nn.Module.load_state_dict

    def load_and_tell(network: nn.Module, *arguments: Any, **options: Any) -> Any:
        told = load(network, *arguments, **options)
        missing.extend(told.missing_keys)
        return told

    with mock.patch.object(nn.Module, "load_state_dict", load_and_tell):
        yield missing
