"""The towers of dual encoders (CLIP, SigLIP): pictures and texts into one space, pretrained on pairs.

Features are the projected embeddings, not scaled to length one (a method's similarity does that).
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import AutoImageProcessor

from cmr.errors import UserError
from cmr.features.images import Preprocessing
from cmr.features.networks import ImageNetwork
from cmr.features.pretrained import loading
from cmr.features.text_networks import Pretrained, TextNetwork


class ImageTower(ImageNetwork, Pretrained[Path]):
    """Pictures are prepared as the model's own preprocessor configuration says. ``Params``: + ``precision``."""

    @cached_property
    def preprocessing(self) -> Preprocessing:
        with loading(self.folder, "image processor"):
            says = AutoImageProcessor.from_pretrained(self.folder, trust_remote_code=False, local_files_only=True)
        size: Any = says.size or {}
        crop = (says.crop_size if getattr(says, "do_center_crop", False) else size).get("height")
        resize = size.get("shortest_edge") or (size.get("height"), size.get("width"))
        if not crop or resize == (None, None):
            raise UserError(f"{self.folder}: its image processor gives pictures of several sizes; choose another model")
        return Preprocessing(
            resize, crop, Image.Resampling(says.resample), tuple(says.image_mean), tuple(says.image_std)
        )

    def build(self) -> nn.Module:
        return ImageFeatures(self.load())


class ImageFeatures(nn.Module):
    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.get_image_features(pixel_values=images).pooler_output


class TextTower(TextNetwork):
    """Texts are cut at the length that the model was trained with."""

    multilingual = "the extractor siglip_text, whose google/siglip2-base-patch16-224 is multilingual"

    @property
    def max_length(self) -> int:
        return self.network.config.text_config.max_position_embeddings

    def build(self) -> Any:
        return self.load()

    def embed(self, batch: Any) -> torch.Tensor:
        return self.network.get_text_features(**batch).pooler_output
