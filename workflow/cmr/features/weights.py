"""Weights of pretrained networks: brought into the cache once, and checked before they are used."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmr import transfer
from cmr.errors import UserError
from cmr.mirror import on_mirror
from cmr.provenance import file_hash
from cmr.publish import alone, write_errors_told


def download(url: str, sha256: str, cache: Path) -> Path:
    """The file of ``url`` in the cache, downloaded if it is not there. ``sha256``: the full hash or its first digits.

    Raises `UserError` that says how to place the file where it cannot be downloaded. A file with another hash is
    kept aside under another name, never used and never taken for the right one.
    """
    file = cache / url.rsplit("/", 1)[-1]
    if not file.exists():
        with alone(file):
            _bring(url, file)
    found = file_hash(file)
    if not found.startswith(sha256):
        aside = file.with_name(f"{file.name}.wrong-{found[:8]}")
        os.replace(file, aside)
        raise UserError(
            f"{file}: its sha256 starts with {found[: len(sha256)]}, not {sha256}: a damaged or foreign file, kept as "
            f"{aside.name}; run again to download {url}, or place the right file there"
        )
    return file


def _bring(url: str, file: Path) -> None:
    """Unless another process has brought it while this one waited."""
    if file.exists():
        return
    try:
        if os.environ.get("HF_HUB_OFFLINE") == "1":  # the switch that transformers obeys too
            raise ConnectionError("HF_HUB_OFFLINE is set")
        part = file.with_name(f"{file.name}.part")
        with write_errors_told(part):
            transfer.resume(on_mirror(url), part)
            os.replace(part, file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{url} cannot be downloaded ({type(error).__name__}); download it on a machine with internet access and "
            f"place it as {file}"
        ) from error


def local(path: str, key: str = "weights") -> Path:
    """A file of the user's own, named by the parameter ``key``; its hash is recorded with the features.

    By its whole path, as `cmr.create` gives it: what lies in the working directory is not meant.
    """
    if not Path(path).is_absolute() or not Path(path).is_file():
        raise UserError(f"params.{key}: {path}: no such file; the path is relative to the configuration file")
    return Path(path)


def describe(file: Path, source: str) -> dict[str, Any]:
    """What a features file records of its weights."""
    return {"name": file.name, "sha256": file_hash(file), "source": source}


def without_origin(weights: Mapping[str, Any]) -> dict[str, Any]:
    """What weights are, wherever they came from."""
    return {name: value for name, value in weights.items() if name != "source"}


def expect(recorded: Mapping[str, Any], here: Mapping[str, Any], record: str | Path, remedy: str) -> None:
    """Raises `UserError` where the weights here have other hashes than those of a record, whatever their names are."""
    for name, value in without_origin(recorded).items():
        found = here.get(name)
        if name != "name" and found != value:
            raise UserError(f"{record}: made with weights of {name} {value}, here are others: {found}; {remedy}")
