"""The features of every item that has the extractor's modality."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmr import content, create, paths, provenance, registry
from cmr.data import TRAIN, Items, Split
from cmr.errors import UserError
from cmr.features.extraction import Task, extract
from cmr.machine import Machine
from cmr.params import canonical_hash
from cmr.plan import Result
from cmr.publish import read_json
from cmr.recording import Recording, recording


def make(result: Result, machine: Machine) -> None:
    (output,) = result.files
    entry, items = result.settings["feature"], result.source("prepare")
    info = registry.info("extractors", entry["extractor"])
    with recording(result, machine) as made:
        table = Items.read(items.files[0])
        ids = table.having(entry["modality"])["id"].to_numpy(str)
        extractor = create.extractor(entry, machine)
        dataset = create.dataset(result.settings["data"], items.folder, machine)
        contents = extractor.contents(dataset, table, entry["modality"])
        hashes = _checked_hashes(contents, items.files[1], dataset.root(), made)
        training = _training_rows(result, ids)
        labels = table.labels(ids[training]) if info.uses_labels and training is not None else None
        weights = [read_json(source.record)["weights"] for source in result.sources("weights")]
        made.facts = {"weights": weights[0] if weights else {}, "resolved": {}}
        attributes = {
            "extractor": entry["extractor"],
            "modality": entry["modality"],
            "params": dict(entry["params"]),
            "weights": made.facts["weights"],
            "versions": provenance.versions(),
            "identity": made.origin.identity,
        }
        task = Task(extractor, contents, ids, training, labels, hashes)
        key = canonical_hash([made.origin.code, entry["params"], made.facts["weights"]])
        made.facts["resolved"] = extract(task, output, attributes, paths.partial(output), key)


def _training_rows(result: Result, ids: np.ndarray) -> np.ndarray | None:
    """A mask of the rows that a fitted extractor is fitted on; None for a fixed one."""
    splits = result.sources("split")
    return np.isin(ids, list(Split.read(splits[0].files[0]).ids(TRAIN))) if splits else None


def _checked_hashes(contents: Sequence[object], listed: str, root: Path, made: Recording) -> dict[Path, str]:
    """sha256 of the pictures and sounds; raises `UserError` for one that is another than when items were prepared."""
    known = {root / name: value for name, value in content.read_list(listed)}
    files = [file for file in contents if isinstance(file, Path)] if known else []
    hashes = dict(zip(files, made.hashes.of_all(files), strict=True))
    for file, found in hashes.items():
        if known.get(file, found) != found:
            raise UserError(f"{file}: it changed since the items were prepared; run again")
    return hashes
