"""Runs an extractor over the items of a data set, chunk after chunk, into one features file.

Features are computed into a partial file first. What it holds survives a kill: the next run goes on after the last
chunk that was finished. The features file appears at the end, in one piece, and is the same bit for bit however
often the run was interrupted, since chunks always start at the same rows.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from cmr import store
from cmr.errors import UserError
from cmr.features.base import BadContent, Content, Extractor
from cmr.params import canonical

log = logging.getLogger(__name__)

CHUNK = {"cpu": 256, "cuda": 4096}  # a minute of VGG-19 on two cores; a GPU would starve between small chunks


def extract(
    extractor: Extractor[Content],
    contents: Sequence[Content],
    ids: ArrayLike,
    path: str | Path,
    attributes: Mapping[str, Any],
    partial: str | Path,
    train_rows: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    chunk: int | None = None,
) -> None:
    """Writes the features of ``contents`` (n,) with their item ``ids`` (n,) to ``path``.

    ``train_rows`` (row numbers or a mask) are those that a fitted extractor is fitted on, None for a fixed one;
    ``train_labels`` (rows, c) their labels where the extractor uses labels. ``attributes`` are stored with the
    features, as is what the extractor resolved (its precision, say). ``partial`` is the file for unfinished work.

    Raises `UserError` that names the item whose content cannot be decoded or whose features are not finite; what
    was finished before stays in ``partial``, and counts once the content is mended.
    """
    if not len(contents):
        raise UserError(f"{path}: there are no items to extract features from")
    ids = np.asarray(ids, str)
    chunk = chunk or CHUNK[extractor.device]
    training = [] if train_rows is None else [contents[row] for row in np.arange(len(ids))[train_rows]]
    if train_rows is not None and not training:
        raise UserError(f"{path}: the split has no training rows to fit the extractor on")
    key = _key(ids, attributes, extractor.device, chunk, _fingerprint(training), train_labels)
    with store.resumable(partial, key) as file, _naming_items(contents, ids):
        if training:
            _fit(extractor, training, train_labels, file)
        _transform(extractor, contents, ids, file, path, chunk)
        resolved = {"resolved": extractor.resolved() | _gaps(extractor, contents, path)}
        store.write_matrix(path, "features", ids, file["features"], {**attributes, **resolved}, store.state_in(file))


def _fit(
    extractor: Extractor[Content], training: Sequence[Content], labels: np.ndarray | None, file: h5py.File
) -> None:
    """Fits, or takes the state of a fit that an interrupted run finished."""
    if "fitted" in file.attrs:
        extractor.load_state(store.state_in(file))
        return
    extractor.fit(training, labels)
    file.pop("state", None)
    store.write_state(file, extractor.state())
    file.flush()
    file.attrs["fitted"] = True
    file.flush()


def _transform(
    extractor: Extractor[Content],
    contents: Sequence[Content],
    ids: np.ndarray,
    file: h5py.File,
    path: str | Path,
    chunk: int,
) -> None:
    """Fills ``/features`` of the partial file; ``/done`` holds the fingerprint of each finished chunk."""
    starts = range(0, len(ids), chunk)
    done = file.require_dataset("done", (len(starts),), "S64")
    with tqdm(total=len(ids), desc=Path(path).stem, unit=" items") as bar:
        for number, start in enumerate(starts):
            rows = slice(start, min(start + chunk, len(ids)))
            fingerprint = _fingerprint(contents[rows])
            if done[number] != fingerprint:
                values = extractor.transform(contents[rows])
                store.check_finite(path, ids[rows], values)
                file.require_dataset("features", (len(ids), values.shape[1]), np.float32)[rows] = values
                file.flush()
                done[number] = fingerprint
                file.flush()
            bar.update(rows.stop - rows.start)


def _gaps(extractor: Extractor[Content], contents: Sequence[Content], path: str | Path) -> dict[str, Any]:
    """What the features leave out, for the file; the log says it too."""
    gaps = extractor.gaps(contents)
    for gap in gaps.values():
        log.warning("%s: %s", path, gap)
    return {"gaps": {name: asdict(gap) for name, gap in gaps.items()}} if gaps else {}


@contextmanager
def _naming_items(contents: Sequence[object], ids: np.ndarray) -> Iterator[None]:
    try:
        yield
    except BadContent as error:
        row = list(contents).index(error.content)
        raise UserError(f"item {str(ids[row])!r}: {error}") from error


def _key(
    ids: np.ndarray,
    attributes: Mapping[str, Any],
    device: str,
    chunk: int,
    training: bytes,
    labels: np.ndarray | None,
) -> str:
    """Identifies the work: unfinished work with another key is of no use."""
    digest = hashlib.sha256("\n".join(ids).encode())
    digest.update(canonical([dict(attributes), device, chunk]).encode() + training)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels).tobytes())
    return digest.hexdigest()


def _fingerprint(contents: Sequence[object]) -> bytes:
    """Tells whether contents have changed: texts and vectors by themselves, files by name, size and time."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path) and content.exists():
            status = content.stat()
            content = f"{content} {status.st_size} {status.st_mtime_ns}"
        digest.update(content.tobytes() if isinstance(content, np.ndarray) else f"{content}\0".encode())
    return digest.hexdigest().encode()
