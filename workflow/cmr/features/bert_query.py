"""BERT's forward pass for one text in NumPy (Devlin et al. 2019, section 3; post-layer-norm, absolute positions).

A query of ``cmr search`` needs it once. The libraries that networks are made with take longer to import than that.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erf
from tokenizers import Tokenizer

from cmr.store import read_arrays

WEIGHTS, TOKENIZER, UNKNOWN = "model.safetensors", "tokenizer.json", "[UNK]"


class QueryBert:
    """A BERT model of a folder of the transformers library. `fits` says whether there is such a one."""

    def __init__(self, folder: Path, max_length: int):
        self.config = _config(folder)
        arrays = read_arrays(folder / WEIGHTS)
        self.weights = {name.removeprefix("bert."): array.astype(np.float32) for name, array in arrays.items()}
        self.tokenizer = _tokenizer(folder)
        self.tokenizer.enable_truncation(max_length)

    @staticmethod
    def fits(folder: Path) -> bool:
        """Whether the folder holds a plain BERT with safetensors and a fast tokenizer."""
        config = _config(folder)
        plain = config.get("model_type") == "bert" and config.get("hidden_act") == "gelu"
        absolute = config.get("position_embedding_type", "absolute") == "absolute"
        return plain and absolute and all((folder / name).exists() for name in (WEIGHTS, TOKENIZER))

    def states(self, text: str) -> np.ndarray:
        """The last hidden states (tokens, d) of a text, [CLS] and [SEP] included."""
        tokens = self.tokenizer.encode(text).ids
        embedded = self._array("embeddings.word_embeddings")[tokens]
        embedded = embedded + self._array("embeddings.position_embeddings")[: len(tokens)]
        states = self._normalised(embedded + self._array("embeddings.token_type_embeddings")[0], "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            states = self._layer(states, f"encoder.layer.{number}")
        return states

    def _layer(self, states: np.ndarray, name: str) -> np.ndarray:
        mixed = self._linear(self._attention(states, f"{name}.attention.self"), f"{name}.attention.output.dense")
        states = self._normalised(mixed + states, f"{name}.attention.output.LayerNorm")
        inner = self._linear(states, f"{name}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2, dtype=np.float32))) / 2  # GELU
        return self._normalised(self._linear(inner, f"{name}.output.dense") + states, f"{name}.output.LayerNorm")

    def _attention(self, states: np.ndarray, name: str) -> np.ndarray:
        heads, tokens = self.config["num_attention_heads"], len(states)
        query, key, value = (
            self._linear(states, f"{name}.{part}").reshape(tokens, heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[2], dtype=np.float32)
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        return (weights @ value).transpose(1, 0, 2).reshape(tokens, -1)

    def _linear(self, rows: np.ndarray, name: str) -> np.ndarray:
        return rows @ self._array(name).T + self._array(name, "bias")

    def _normalised(self, rows: np.ndarray, name: str) -> np.ndarray:
        centred = rows - rows.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + self.config["layer_norm_eps"])
        return centred / deviation.astype(np.float32) * self._array(name) + self._array(name, "bias")

    def _array(self, name: str, kind: str = "weight") -> np.ndarray:
        return self.weights[f"{name}.{kind}"]


class BareTokenizer:
    """What `cmr.features.text_networks.TextNetwork.gaps` asks of a tokenizer of the transformers library."""

    def __init__(self, folder: Path):
        self.tokenizer = _tokenizer(folder)
        self.tokenizer.no_truncation()

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        """Tokens of whole texts, without [CLS] and [SEP]."""
        return {"input_ids": [found.ids for found in self.tokenizer.encode_batch(texts, add_special_tokens=False)]}

    def num_special_tokens_to_add(self) -> int:
        return self.tokenizer.num_special_tokens_to_add(is_pair=False)

    def decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=False)

    @property
    def unk_token_id(self) -> int | None:
        return self.tokenizer.token_to_id(UNKNOWN)


def _tokenizer(folder: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(folder / TOKENIZER))
    found.no_padding()
    return found


def _config(folder: Path) -> Mapping[str, Any]:
    return json.loads((folder / "config.json").read_text("utf-8"))
