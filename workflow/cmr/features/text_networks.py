"""What networks on texts share: a model of the transformers library, texts sorted by length into batches.

Batches of texts of like lengths compute little on padding. On a CPU they are small, which loses nothing there and
keeps the lengths in a batch close together.

The libraries of networks are imported when one is built: a query may do without.
"""

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cmr.device import torch_threads
from cmr.errors import UserError
from cmr.features.base import Content, Extractor, Gap
from cmr.features.pretrained import check_complete, check_shapes, describe_model, loading, model_folder
from cmr.sets import Sets

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

CPU_BATCH = 16
TEXTS_AT_ONCE = 4096  # whose tokens are counted together
TOKEN_BYTES = 2**17  # memory that one token's activations take in a large model, generously


class Pretrained(Extractor[Content]):
    """A model of the transformers library. ``Params`` have ``model`` and ``revision``."""

    params: Any

    def fetch(self) -> dict[str, Any]:
        return describe_model(self.params.model, self.params.revision, self.folder)

    @cached_property
    def folder(self) -> Path:
        return model_folder(self.params.model, self.params.revision, self.cache)

    def load(self, unused: tuple[str, ...] = ()) -> Any:
        """The model in float32, of a class that its configuration names.

        Weights may be missing only where their names start as one of ``unused``.
        """
        import torch
        from transformers import AutoModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of the weights, which is gone before one reads it
        with loading(self.folder, "model"):
            network, loaded = AutoModel.from_pretrained(
                self.folder,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, by name
            )
        check_shapes(self.folder, loaded["mismatched_keys"])
        check_complete(self.folder, loaded["missing_keys"], unused)
        return network


class TextNetwork(Pretrained[str]):
    """An extractor that is a network on tokens; its ``Params`` have ``precision`` too."""

    padding: ClassVar[bool | str] = True  # as the tokenizer's option: to the longest of the batch
    multilingual: ClassVar[str]  # what to take instead for texts that a model does not know

    @property
    @abstractmethod
    def max_length(self) -> int:
        """The number of tokens that texts are cut after."""

    @abstractmethod
    def build(self) -> Any:
        """The network with its weights, as `load` gives it or around it."""

    @abstractmethod
    def embed(self, batch: Any) -> "torch.Tensor":
        """Features (b, d) of the tokenizer's output for b texts."""

    @cached_property
    def network(self) -> Any:
        from cmr.features.networks import prepare

        return prepare(self.build(), self.device, self.params.precision)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from transformers import AutoTokenizer

        with loading(self.folder, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False, local_files_only=True)
        if len(tokenizer) <= len(tokenizer.all_special_ids):  # what the library makes of a folder without a vocabulary
            raise UserError(
                f"{self.folder}: its tokenizer knows no words; expected tokenizer.json or a vocabulary in it"
            )
        return tokenizer

    def tokens(self, texts: Sequence[str], **options: Any) -> Any:
        return self.tokenizer(list(texts), truncation=True, max_length=self.max_length, **options)

    def transform(self, contents: Sequence[str]) -> np.ndarray | Sets:
        outputs, _, order = self.outputs(contents)
        return outputs[np.argsort(order)]

    def outputs(self, contents: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `embed` makes of the texts, float32, in the order in which they were taken.

        And of these, their numbers of tokens (n,) and their rows (n,) among ``contents``.
        """
        import torch

        from cmr.features.networks import batch_size, computing

        size = batch_size(self.device, CPU_BATCH, self.max_length * TOKEN_BYTES)
        lengths = np.array([len(ids) for ids in self.tokens(contents)["input_ids"]])
        order = np.argsort(-lengths, kind="stable")
        found = []
        with torch_threads(self.threads), torch.inference_mode(), computing(self.device, self.params.precision):
            for rows in np.split(order, range(size, len(contents), size)):
                batch = self.tokens([contents[row] for row in rows], padding=self.padding, return_tensors="pt")
                found.append(self.embed(batch.to(self.device)).float().cpu())
        return torch.cat(found).numpy(), lengths[order], order

    @cached_property
    def counting_tokenizer(self) -> Any:
        """What `gaps` counts tokens with."""
        return self.tokenizer

    def gaps(self, contents: Sequence[str]) -> dict[str, Gap]:
        """How many texts are cut, and how many are mostly unknown tokens or single letters to the model."""
        cut = unknown = 0
        room = self.max_length - self.counting_tokenizer.num_special_tokens_to_add()
        for start in range(0, len(contents), TEXTS_AT_ONCE):
            texts = list(contents[start : start + TEXTS_AT_ONCE])
            rows = self.counting_tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            tells = {token: self._tells(token) for token in set().union(*rows)}
            cut += sum(len(row) > room for row in rows)
            unknown += sum(2 * sum(tells[token] for token in row) < len(row) for row in rows)
        found = {
            "cut": Gap(cut, len(contents), f"texts are cut after {self.max_length} tokens"),
            "unknown_tokens": Gap(
                unknown,
                len(contents),
                "texts are mostly unknown tokens or single letters to the model",
                remedy=f"take {self.multilingual}",
            ),
        }
        return {name: gap for name, gap in found.items() if gap.count}

    def _tells(self, token: int) -> bool:
        """Whether a token is known and more than a letter: texts in a language that a model knows are mostly that."""
        text = str(self.counting_tokenizer.decode([token])).strip(" #")
        part_of_letter = "\N{REPLACEMENT CHARACTER}" in text  # where tokens are bytes
        letter = len(text) == 1 and text.isalpha() and "CJK" not in unicodedata.name(text, "")  # these can be words
        return not (token == self.counting_tokenizer.unk_token_id or part_of_letter or letter)

    def resolved(self) -> dict[str, Any]:
        return {"precision": self.params.precision}
