"""Pretrained networks at the machine's speed: inference mode, channels-last, half precision where it is asked for."""

import pickle
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cmr.boundary import check_zip, plain
from cmr.device import torch_threads
from cmr.errors import UserError
from cmr.features.base import Extractor
from cmr.features.feeding import Feed
from cmr.features.images import Preprocessing
from cmr.sets import Sets

GPU_BATCH = 256


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .pt, .pth or .safetensors file; nothing in it is executed."""
    try:
        check_zip(plain(file))
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)  # torch adds advice to load it unsafely
        raise UserError(
            f"{file}: not a file of weights that can be loaded safely ({reason}); save network.state_dict(), by "
            "torch.save or as safetensors"
        ) from None


class Float32(nn.Module):
    """A layer that stays in float32 in a network that computes in bfloat16, since rounding it costs accuracy."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self.layer(images.float())


def prepare(network: nn.Module, device: str, precision: str) -> nn.Module:
    """The network on its device for inference, convolutions channels-last.

    With ``bf16`` the weights of convolutions and linear layers are cast once, to be computed in bfloat16 under
    `computing`; normalisations, embeddings and what is wrapped in `Float32` stay in float32.
    """
    network = network.eval().requires_grad_(False)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares no such call
    if precision == "bf16":
        kept = {layer for wrapper in network.modules() if isinstance(wrapper, Float32) for layer in wrapper.modules()}
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module not in kept:
                module.to(torch.bfloat16)
    return network


def computing(device: str, precision: str) -> torch.autocast:
    """The context that a network is called in: bf16 products where ``precision`` says so."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def batch_size(device: str, on_cpu: int, item_bytes: int) -> int:
    """Items a batch: on a GPU as many as fit in half of its memory, 256 at most."""
    if device == "cpu":
        return on_cpu
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(1, min(GPU_BATCH, memory // 2 // item_bytes))


def as_input(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Normalised pixels (b, 3, h, w) from (b, h, w, 3) uint8; channels-last, as they lie in memory already."""
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return pixels.permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)


class ImageNetwork(Extractor[Path]):
    """An extractor that is a network on preprocessed pictures; its ``Params`` have ``precision``."""

    params: Any
    cpu_batch: ClassVar[int] = 32
    item_bytes: ClassVar[int] = 128 * 2**20  # memory that one picture's activations take, generously

    @property
    def preprocessing(self) -> Preprocessing:
        """What pictures go through: a constant of the class, or a property where weights name it."""
        return Preprocessing()

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with its weights: (b, 3, crop, crop) normalised pixels → (b, d) features."""

    @cached_property
    def network(self) -> nn.Module:
        return prepare(self.build(), self.device, self.params.precision)

    @cached_property
    def feed(self) -> Feed:
        return Feed(self.preprocessing, self.device, self.threads)

    def transform(self, contents: Sequence[Path]) -> np.ndarray | Sets:
        return self.outputs(contents)

    def outputs(self, contents: Sequence[Path]) -> np.ndarray:
        """What the network makes of the pictures, float32."""
        size = batch_size(self.device, self.cpu_batch, self.item_bytes)
        rows = []
        with torch_threads(self.threads), torch.inference_mode(), computing(self.device, self.params.precision):
            for pixels in self.feed(contents, size):
                rows.append(self.network(as_input(pixels, self.preprocessing)).float().cpu())
        return torch.cat(rows).numpy()

    def resolved(self) -> dict[str, Any]:
        return {"precision": self.params.precision}
