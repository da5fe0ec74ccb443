"""New items into one file of embeddings, by a finished run: from a folder or list of pictures, or a file of texts."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from cmr import code, new_items, store
from cmr.content import Hashes
from cmr.data import Items
from cmr.datasets.delimited import decoded
from cmr.errors import UserError, texts_told
from cmr.features.extraction import Task, computed, features_in
from cmr.machine import Machine
from cmr.params import canonical_hash
from cmr.paths import ITEMS
from cmr.pictures import FORMATS
from cmr.publish import check_no_file
from cmr.recorded import check
from cmr.reporting.runs import Run

log = logging.getLogger(__name__)

IMAGE, TEXT = "image", "text"
ROWS_AT_ONCE = 4096
ENDINGS = (".h5", ".hdf5")


@dataclass(frozen=True)
class NewItems:
    """``ids`` (n,) and ``contents`` (n,) of one modality: paths of pictures, or texts."""

    modality: str
    ids: tuple[str, ...]
    contents: tuple[Any, ...]


def pictures(source: Path) -> NewItems:
    """All pictures below a folder, by name; or those that a list names, a path a line, relative to the list's folder.

    Ids are the paths as they stand. Raises `UserError` where there is none, and for those that are not there.
    """
    Image.init()
    endings = {ending for ending, form in Image.registered_extensions().items() if form in FORMATS}
    if source.is_dir():
        files = [file for file in sorted(source.rglob("*")) if file.suffix.lower() in endings and file.is_file()]
        names, folder = [str(file.relative_to(source)) for file in files], source
    elif source.suffix.lower() in endings:
        raise UserError(f"{source}: a picture; name its folder, or a list with a path a line")
    else:
        names, folder = [name for _, name in _lines(source)], source.parent
    if not names:
        raise UserError(f"{source}: no pictures in it")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{source}: {len(missing)} of {len(names)} files are not there, the first is {missing[0]}")
    return NewItems(IMAGE, tuple(names), tuple(folder / name for name in names))


def texts(source: Path) -> NewItems:
    """A text a line; ids are ``queries.txt:1`` and so on. Raises `UserError` for an empty line."""
    numbered = list(_lines(source))
    return NewItems(
        TEXT, tuple(f"{source.name}:{number}" for number, _ in numbered), tuple(text for _, text in numbered)
    )


def _lines(source: Path) -> Iterator[tuple[int, str]]:
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    lines = decoded(source).replace("\r\n", "\n").rstrip("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(f"{source}: line {number} is empty; a line is an item")
        yield number, line


def embed(run: Run, items: NewItems, out: Path, machine: Machine) -> tuple[int, int]:
    """Writes ``/embeddings`` (n, k) and ``/ids`` (n,) to ``out``; returns n and k.

    Where fits of several pairs of modalities embed this one, a group for each, such as ``/image+text``. Features are
    extracted chunk after chunk into a file beside ``out``: a killed command goes on after the last chunk. Raises
    `UserError` for content that cannot be decoded, and where ``out`` is there or is named as another form.
    """
    if out.suffix not in ENDINGS:
        raise UserError(f"{out}: embeddings are written as HDF5; name the file {out.stem}.h5")
    check_no_file(out)
    check(run.record, machine, str(run.file("run.json")))
    new_items.check_modality(run, items.modality, Items.read(run.place(ITEMS.format(data=run.data))).kinds)
    extractor, record = new_items.extractor(run, items.modality, machine)
    plugins = tuple((kind, name) for kind, name in record["plugins"])
    key = canonical_hash([record["identity"], code.of_stage("extract", plugins)])
    files = [content for content in items.contents if isinstance(content, Path)]
    hashes = dict(zip(files, Hashes(machine.cache).of_all(files), strict=True))
    ids = np.array(items.ids)
    task = Task(extractor, items.contents, ids, hashes=hashes)
    with texts_told(out), computed(task, out, out.with_name(f".{out.name}.partial"), key) as file:
        groups = {
            group: store.Rows(ids, _embedded(run, number, items.modality, file, machine))
            for group, number in _fits(run, items.modality).items()
        }
        attributes = {"modality": items.modality, "run": run.path, "run_identity": run.record["identity"]}
        store.write_groups(out, "embeddings", groups, attributes)
        columns = next(iter(groups.values())).values.shape[1]
    for gap in extractor.gaps(items.contents).values():
        log.warning("%s: %s", out, gap)
    return len(ids), columns


def _fits(run: Run, modality: str) -> dict[str, int]:
    """Group of the file → number of the fit that embeds the modality."""
    held = [record["modalities"] for record in run.fits]
    having = [number for number, modalities in enumerate(held) if modality in modalities]
    return {"/" if len(having) == 1 else "+".join(held[number]): number for number in having}


def _embedded(run: Run, number: int, modality: str, file: h5py.File, machine: Machine) -> h5py.Dataset:
    """The embeddings (n, k) by the run's fit ``number``, written beside the features that they are made of: neither
    ever stands in memory as a whole.
    """
    fitted, features, name = new_items.fitted(run, number, machine), features_in(file), f"embedded/{number}"
    file.pop(name, None)  # of a command that was killed
    for start in range(0, len(features), ROWS_AT_ONCE):
        block = fitted.embed(modality, features[start : start + ROWS_AT_ONCE])
        written = file.require_dataset(name, (len(features), block.shape[1]), np.float32)
        written[start : start + len(block)] = block
    return written
