"""Any classification network of torchvision by name: the input of its last linear layer, the classifier.

Weights and preprocessing are torchvision's best ones for the network (``DEFAULT``). Weights of one's own, of a network
that was trained further say, take their place by ``weights``; the preprocessing stays. Their classifier may be of any
number of classes.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from PIL import Image
from pydantic import Field
from torch import nn

from cmr.errors import UserError, nearest
from cmr.features import weights
from cmr.features.images import Preprocessing
from cmr.features.networks import ImageNetwork
from cmr.features.states import load_state
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="torchvision backbone",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("weights",),
)


class Params(BaseParams):
    model: str = Field("resnet50", description="name in torchvision.models, classification networks")
    weights: str | None = Field(
        None,
        description="a file (.pt, .pth, .safetensors) with a state of the network of your own; none: torchvision's",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and linear layers")


class TorchvisionBackbone(ImageNetwork):
    params: Params

    @cached_property
    def pretrained(self) -> torchvision.models.WeightsEnum:
        known = torchvision.models.list_models(module=torchvision.models)
        if self.params.model not in known:
            raise UserError(f"params.model: unknown network {self.params.model!r}{nearest(self.params.model, known)}")
        return torchvision.models.get_model_weights(self.params.model).DEFAULT

    @cached_property
    def preprocessing(self) -> Preprocessing:
        says = self.pretrained.transforms()
        interpolation = Image.Resampling[says.interpolation.name]
        return Preprocessing(says.resize_size[0], says.crop_size[0], interpolation, tuple(says.mean), tuple(says.std))

    def file(self) -> Path:
        """One's own weights, or those where torch looks for them, named by their sha256's first digits."""
        if self.params.weights:
            return weights.local(self.params.weights)
        url = self.pretrained.url
        return weights.download(url, Path(url).stem.rsplit("-", 1)[1], self.cache / "weights" / "checkpoints")

    def fetch(self) -> dict[str, Any]:
        url = self.pretrained.url  # an unknown network is told before its file
        return weights.describe(self.file(), "local file" if self.params.weights else url)

    def build(self) -> nn.Module:
        if self.params.weights:
            return self.with_own_weights()
        torch.hub.set_dir(self.file().parent.parent)
        return without_classifier(
            torchvision.models.get_model(self.params.model, weights=self.pretrained, progress=False)
        )

    def with_own_weights(self) -> nn.Module:
        network = torchvision.models.get_model(self.params.model, weights=None, **self.options())
        load_state(network, self.file(), left_out=[classifier(network)])
        return without_classifier(network)

    def options(self) -> dict[str, Any]:
        """What torchvision builds with its own weights, where that is not what it builds without."""
        if self.params.model in ("googlenet", "inception_v3"):
            return {"transform_input": True}
        if self.params.model.startswith("vit_"):
            return {"image_size": self.pretrained.meta["min_size"][0]}
        return {}

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": "input of the classifier"}


def without_classifier(network: nn.Module) -> nn.Module:
    """The network with its last linear layer replaced by the identity."""
    parent, _, child = classifier(network).rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network


def classifier(network: nn.Module) -> str:
    """The name of the network's last linear layer."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError("params.model: this network ends without a linear layer; choose another")
    return linear[-1]
