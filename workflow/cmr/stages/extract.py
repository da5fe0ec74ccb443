"""The features of every item that has the extractor's modality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmr import content, create, paths, provenance
from cmr.data import TRAIN, Items, Split, among
from cmr.errors import UserError
from cmr.features.base import Extractor
from cmr.features.extraction import Task, extract
from cmr.machine import Machine
from cmr.params import canonical_hash
from cmr.plan import Result
from cmr.publish import read_json
from cmr.recording import Recording, recording


def make(result: Result, machine: Machine) -> None:
    (output,) = result.files
    entry = result.settings["feature"]
    with recording(result, machine) as made:
        rows = _Contents.of(result, machine, made)
        final, *choosing = [rows.task(create.extractor(entry, machine), wanted) for wanted in _trainings(result)]
        weights = [read_json(source.record)["weights"] for source in result.sources("weights")]
        made.facts = {"weights": weights[0] if weights else {}}
        attributes = {
            "extractor": entry["extractor"],
            "modality": entry["modality"],
            "params": dict(entry["params"]),
            "weights": made.facts["weights"],
            "versions": provenance.versions(),
            "identity": made.origin.identity,
        }
        key = canonical_hash([made.origin.code, entry["params"], made.facts["weights"]])
        partial = paths.partial(output)
        made.facts["resolved"] = extract(final, output, attributes, partial, key, choosing=next(iter(choosing), None))


def _trainings(result: Result) -> list[set[str] | None]:
    """The ids that the extractor is fitted on: all training rows; where it learns from labels and the split has no
    validation rows, then those without the held-out ones, for choices. None for a fixed extractor.
    """
    splits = result.sources("split")
    if not splits:
        return [None]
    split = Split.read(splits[0].files[0])
    apart = create.learns_from_labels(result.settings["feature"]) and not split.has_validation
    return [split.ids(TRAIN), *([split.selection_train] if apart else [])]


@dataclass(frozen=True)
class _Contents:
    """The items that have the extractor's modality: table, ids, contents, and the hashes of those that are files."""

    items: Items
    ids: np.ndarray
    contents: Sequence[Any]
    hashes: Mapping[Path, str]
    labelled: bool

    @classmethod
    def of(cls, result: Result, machine: Machine, made: Recording) -> "_Contents":
        entry, prepared = result.settings["feature"], result.source("prepare")
        items = Items.read(prepared.files[0])
        dataset = create.dataset(result.settings["data"], prepared.folder, machine)
        contents = create.extractor(entry, machine).contents(dataset, items, entry["modality"])
        hashes = _checked_hashes(contents, prepared.files[1], dataset.root(), made)
        ids = items.having(entry["modality"])["id"].to_numpy(str)
        return cls(items, ids, contents, hashes, create.learns_from_labels(result.settings["feature"]))

    def task(self, extractor: Extractor, fitted_on: set[str] | None) -> Task:
        training = None if fitted_on is None else among(self.ids, fitted_on)
        labels = self.items.labels(self.ids[training]) if self.labelled and training is not None else None
        return Task(extractor, self.contents, self.ids, training, labels, self.hashes)


def _checked_hashes(contents: Sequence[object], listed: str, root: Path, made: Recording) -> dict[Path, str]:
    """sha256 of the pictures and sounds; raises `UserError` for one that is another than when items were prepared."""
    known = {root / name: value for name, value in content.read_list(listed)}
    files = [file for file in contents if isinstance(file, Path)] if known else []
    hashes = dict(zip(files, made.hashes.of_all(files), strict=True))
    for file, found in hashes.items():
        if known.get(file, found) != found:
            raise UserError(f"{file}: it changed since the items were prepared; run again")
    return hashes
