"""Runs an extractor over the items of a data set, chunk after chunk, into one features file.

Features are computed into a partial file first. What it holds survives a kill: the next run goes on after the last
chunk that was finished. The features file appears at the end, in one piece, and is the same bit for bit however
often the run was interrupted, since chunks always start at the same rows.

Of a large data set several jobs extract a shard each, and one more joins what they made.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

import h5py
import numpy as np
from tqdm import tqdm

from cmr import store
from cmr.errors import BadContent, UserError
from cmr.features.base import Content, Extractor, Gap
from cmr.frozen import checked
from cmr.params import canonical
from cmr.provenance import went_on_after
from cmr.sets import Sets, joined
from cmr.shards import CHUNK

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task(Generic[Content]):
    """``contents`` (n,) with their item ``ids`` (n,), and what a fitted extractor is fitted on: ``training`` (row
    numbers or a mask; None for a fixed one) and the ``labels`` (rows, c) of these, where it uses labels. ``hashes``:
    sha256 of the contents that are files.
    """

    extractor: Extractor[Content]
    contents: Sequence[Content]
    ids: np.ndarray
    training: np.ndarray | None = None
    labels: np.ndarray | None = None
    hashes: Mapping[Path, str] = field(default_factory=dict)

    @property
    def training_contents(self) -> list[Content]:
        rows = [] if self.training is None else np.arange(len(self.ids))[self.training]
        return [self.contents[row] for row in rows]


def extract(
    task: Task[Content],
    path: str | Path,
    attributes: Mapping[str, Any],
    partial: str | Path,
    key: str,
    chunk: int | None = None,
    choosing: Task[Content] | None = None,
) -> dict[str, Any]:
    """Writes the features of the task's contents to ``path``; returns what the extractor resolved.

    ``choosing``: the same with an extractor of its own that does not see the held-out rows, where it learns from
    labels. Methods choose on its features, which stand under ``/selection``.

    ``attributes`` are stored with the features, as is what the extractor resolved (its precision, say). ``partial`` is
    the file for unfinished work, ``key`` names the extractor with its code, parameters and weights: of another one,
    unfinished work is of no use.

    Raises `UserError` that names the item whose content cannot be decoded or whose features are not finite; what
    was finished before stays in ``partial``, and counts once the content is mended.
    """
    if not len(task.contents):
        raise UserError(f"{path}: there are no items to extract features from")
    tasks = {"/": task} | ({store.SELECTION: choosing} if choosing else {})
    with ExitStack() as unfinished:
        files = {
            group: unfinished.enter_context(computed(one, path, f"{partial}{group.strip('/')}", key, chunk))
            for group, one in tasks.items()
        }
        resolved = task.extractor.resolved() | told(task.extractor.gaps(task.contents))
        values = {group: features_in(file) for group, file in files.items()}
        publish(path, task.ids, values, attributes, resolved, store.state_in(files["/"]))
    return resolved


def publish(
    path: str | Path,
    ids: np.ndarray,
    values: Mapping[str, Any],
    attributes: Mapping[str, Any],
    resolved: Mapping[str, Any],
    state: Mapping[str, np.ndarray],
) -> None:
    """Writes the file of features: ``values`` of each group, of the items ``ids`` (n,), and the extractor's state."""
    rows = {group: store.Rows(ids, of_group) for group, of_group in values.items()}
    store.write_groups(path, "features", rows, {**attributes, "resolved": resolved}, state)


def learn(task: Task[Content], path: str | Path) -> dict[str, np.ndarray]:
    """The state of the task's extractor after its fit; ``path``: what is made, for messages."""
    training = _training(task, path)
    with _naming_items(task.contents, task.ids):
        task.extractor.fit(training, task.labels)
    return task.extractor.state()


def extract_shard(
    tasks: Mapping[str, Task], path: str | Path, key: str, chunk: int | None = None
) -> tuple[dict[str, Any], dict[str, Gap]]:
    """Computes some rows of features, whose extractors have learned what they learn, into an unfinished file.

    ``tasks``: by the group that the features are of. What the file holds already of the same ``key`` and contents is
    kept, in a file that was finished too. Returns what the extractor resolved, and what the features leave out.
    """
    task = tasks["/"]
    chunk = chunk or CHUNK[task.extractor.device]
    with store.kept(path, _key(task, key, chunk)) as file:
        for group, one in tasks.items():
            with _naming_items(one.contents, one.ids):
                _transform(one, file.require_group(group), path, chunk)
    return task.extractor.resolved(), task.extractor.gaps(task.contents)


def transformed(extractor: Extractor[Content], contents: Sequence[Content]) -> np.ndarray | Sets:
    """Features (n, d) float32, or `Sets`, in memory, of the same chunks as `extract` takes."""
    size = CHUNK[extractor.device]
    starts = range(0, len(contents), size)
    return joined([_features(extractor, contents[start : start + size]) for start in starts])


def _features(extractor: Extractor[Content], contents: Sequence[Content]) -> np.ndarray | Sets:
    """`Extractor.transform`. Raises `UserError` where a plug-in gives something else than a row, or a set, of each."""
    found, n = extractor.transform(contents), len(contents)
    source = f"extractor {type(extractor).__module__.rpartition('.')[2]!r}: transform"
    if not isinstance(found, Sets):
        return checked(source, found, (n, None))
    checked(f"{source}: starts", found.starts, (n,))
    checked(f"{source}: lengths", found.lengths, (n,))
    if not (found.lengths > 0).all():
        raise UserError(f"{source} gave an empty set for content {int(np.argmin(found.lengths > 0))}")
    return found


@contextmanager
def computed(
    task: Task[Content], path: str | Path, partial: str | Path, key: str, chunk: int | None = None
) -> Iterator[h5py.File]:
    """The file of unfinished work with all `features_in` it of a task; it goes when the block ends without an error.

    ``path``: what is made, for messages.
    """
    chunk = chunk or CHUNK[task.extractor.device]
    training = _training(task, path)
    with store.resumable(partial, _key(task, key, chunk)) as file:
        with _naming_items(task.contents, task.ids):
            if training:
                _fit(task.extractor, training, task.labels, file)
            _transform(task, file, path, chunk)
        yield file


def _training(task: Task[Content], path: str | Path) -> list[Content]:
    training = task.training_contents
    if task.training is not None and not training:
        raise UserError(f"{path}: the split has no training rows to fit the extractor on")
    return training


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
    task: Task[Content],
    file: h5py.Group,
    path: str | Path,
    chunk: int,
) -> None:
    """Fills the partial file, or a group of it; ``done`` holds the fingerprint of each finished chunk."""
    contents, ids = task.contents, task.ids
    starts = range(0, len(ids), chunk)
    done = file.require_dataset("done", (len(starts),), "S64")
    before, began = float(file.attrs.get("seconds", 0)), time.monotonic()
    went_on_after(before)
    with tqdm(total=len(ids), desc=Path(path).stem, unit=" items") as bar:
        for number, start in enumerate(starts):
            rows = slice(start, min(start + chunk, len(ids)))
            fingerprint = _fingerprint(contents[rows], task.hashes)
            if done[number] != fingerprint:
                values = _features(task.extractor, contents[rows])
                store.check_finite(path, ids[rows], values)
                done[number] = b""  # what a kill leaves of the chunk is none that was finished
                file.file.flush()
                _keep(file, values, rows, len(ids))
                file.file.flush()
                done[number] = fingerprint
                file.attrs["seconds"] = before + time.monotonic() - began
                file.file.flush()
            bar.update(rows.stop - rows.start)


def _keep(file: h5py.Group, values: np.ndarray | Sets, rows: slice, n: int) -> None:
    """Writes a chunk's features into the partial file of ``n`` items.

    Elements of sets are appended, and ``/starts`` and ``/lengths`` say where each item's are: of a chunk that is
    computed again, because its contents changed, the old ones stay behind unused.
    """
    if not isinstance(values, Sets):
        file.require_dataset("features", (n, values.shape[1]), np.float32)[rows] = values
        return
    if "lengths" not in file:
        file.create_dataset("features", (0, values.dimension), values.values.dtype, maxshape=(None, values.dimension))
        file.create_dataset("starts", (n,), np.int64)
        file.create_dataset("lengths", (n,), np.int64)
    elements, begin = file["features"], len(file["features"])
    elements.resize(begin + int(values.lengths.sum()), axis=0)
    elements[begin:] = values.elements()
    file["starts"][rows] = begin + values.offsets[:-1]
    file["lengths"][rows] = values.lengths


def features_in(file: h5py.Group) -> h5py.Dataset | Sets:
    """The features of a partial file that is complete: (n, d), or sets whose elements are read as they are needed."""
    if "lengths" not in file:
        return file["features"]
    return Sets(file["features"], file["starts"][()], file["lengths"][()])


def told(gaps: Mapping[str, Gap]) -> dict[str, Any]:
    """What the features leave out, for the file; the log says it too."""
    for gap in gaps.values():
        log.warning("%s", gap.with_remedy())
    return {"gaps": {name: asdict(gap) for name, gap in gaps.items()}} if gaps else {}


@contextmanager
def _naming_items(contents: Sequence[object], ids: np.ndarray) -> Iterator[None]:
    try:
        yield
    except BadContent as error:
        listed = list(contents)
        if error.content not in listed:  # a plug-in may name another file, whose message says which
            raise
        raise UserError(f"item {str(ids[listed.index(error.content)])!r}: {error}") from error


def _key(task: Task, key: str, chunk: int) -> str:
    """Names the work: all but the contents, which count chunk by chunk, and those that the extractor is fitted on."""
    digest = hashlib.sha256(canonical([key, list(map(str, task.ids)), task.extractor.device, chunk]).encode())
    digest.update(_fingerprint(task.training_contents, task.hashes))
    if task.labels is not None:
        digest.update(np.ascontiguousarray(task.labels).tobytes())
    return digest.hexdigest()


def _fingerprint(contents: Sequence[object], hashes: Mapping[Path, str]) -> bytes:
    """Tells whether contents have changed: texts and vectors by themselves, files by their hash."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            content = hashes.get(content, str(content))
        if isinstance(content, np.ndarray):
            digest.update(f"{content.shape}\0".encode() + content.tobytes())
        else:
            digest.update(f"{content}\0".encode())
    return digest.hexdigest().encode()
