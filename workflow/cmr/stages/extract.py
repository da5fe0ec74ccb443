"""The features of every item that has the extractor's modality: from one job, or joined from shards."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr import content, create, paths, provenance, store
from cmr.data import TRAIN, Items, Split, among
from cmr.errors import UserError
from cmr.features import joining, weights
from cmr.features.base import Extractor, Gap
from cmr.features.extraction import Task, extract, publish, told
from cmr.machine import Machine
from cmr.params import canonical_hash
from cmr.plan import Result, shards_of
from cmr.publish import read_json
from cmr.recording import Recording, check, recording
from cmr.shards import count


def make(result: Result, machine: Machine) -> None:
    entry = result.settings["feature"]
    with recording(result, machine) as made:
        made.facts = {"weights": weights_of(result)}
        attributes = {
            "extractor": entry["extractor"],
            "modality": entry["modality"],
            "params": dict(entry["params"]),
            "weights": made.facts["weights"],
            "versions": provenance.versions(),
            "identity": made.origin.identity,
        }
        shards = shards_of(result, count(result.source("prepare").files[0], entry["modality"]))
        _join(result, shards, made, attributes) if shards else _extract(result, machine, made, attributes)
    shutil.rmtree(paths.shards(result.files[0]), ignore_errors=True)


def _extract(result: Result, machine: Machine, made: Recording, attributes: Mapping[str, Any]) -> None:
    (output,), entry = result.files, result.settings["feature"]
    contents = Contents.of(result, machine, made)
    trainings = trainings_of(result)
    final, *choosing = [contents.task(create.extractor(entry, machine), ids) for ids in trainings.values()]
    key, partial = key_of(result, made), paths.partial(output)
    made.facts["resolved"] = extract(final, output, attributes, partial, key, choosing=next(iter(choosing), None))


def _join(result: Result, shards: Sequence[Result], made: Recording, attributes: Mapping[str, Any]) -> None:
    """What the shards hold, as one job would have written it. Raises `UserError` where they do not fit together."""
    (output,), files = result.files, [Path(shard.files[0]) for shard in shards]
    for shard in shards:
        check(shard, made)
    records = [read_json(shard.record) for shard in shards]
    resolved, *others = [{**record["resolved"], "device": record["device"]} for record in records]
    if any(other != resolved for other in others):
        raise UserError(f"{files[0].parent}: shards of unlike machines (CPU and GPU, say); delete it and run again")
    del resolved["device"]
    items = Items.read(result.source("prepare").files[0], contents=False)
    ids = items.ids[items.has(result.settings["feature"]["modality"])]
    gaps = joining.gaps([{name: Gap(**gap) for name, gap in r["gaps"].items()} for r in records], len(ids))
    learned = [read_json(source.record) for source in shards[0].sources("learn")]
    made.facts |= {"resolved": resolved | told(gaps), **joint_usage([*records, *learned]), "shards": len(records)}
    states = learned_states(shards[0])
    values = {group: joining.features(files, group) for group in states}
    publish(output, ids, values, attributes, made.facts["resolved"], states["/"])


def joint_usage(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For the record: seconds of all jobs together, the most memory of one, and the hardware of the first."""
    usages = [record["usage"] for record in records]
    most = {key: max(usage.get(key, 0) for usage in usages) for key in usages[0]}
    seconds = sum(usage["seconds"] for usage in usages)
    return {"usage": most | {"seconds": seconds}, "hardware": records[0]["hardware"]}


def learned_states(shard: Result) -> dict[str, dict[str, np.ndarray]]:
    """What the extractor of a shard learned before, by the group of the features; {} of a fixed one."""
    for source in shard.sources("learn"):
        with store.open_hdf5(source.files[0]) as file:
            return {group: store.state_in(file[group]) for group in ("/", store.SELECTION) if group in file}
    return {"/": {}}


def weights_of(result: Result) -> dict[str, Any]:
    found = [read_json(source.record)["weights"] for source in result.sources("weights")]
    return found[0] if found else {}


def key_of(result: Result, made: Recording) -> str:
    """Names unfinished work by the extractor: its code, parameters, weights and, for a shard, what it has learned."""
    learned = [made.input_hashes[source.files[0]] for source in result.sources("learn")]
    return canonical_hash([made.origin.code, result.settings["feature"]["params"], weights_of(result), *learned])


def trainings_of(result: Result) -> dict[str, pd.Series | None]:
    """The ids that the extractor is fitted on, by the group of its features: all training rows; where it learns from
    labels and the split has no validation rows, then those without the held-out ones, for choices. None for a fixed
    extractor.
    """
    splits = result.sources("split")
    if not splits:
        return {"/": None}
    split = Split.read(splits[0].files[0])
    apart = create.learns_from_labels(result.settings["feature"]) and not split.has_validation
    return {"/": split.ids(TRAIN), **({store.SELECTION: split.selection_train} if apart else {})}


@dataclass(frozen=True)
class Contents:
    """Items that have the extractor's modality: table, ids, contents, and the hashes of those that are files.

    ``all_items``: the whole table, which says which classes there are.
    """

    all_items: Items
    ids: np.ndarray
    contents: Sequence[Any]
    hashes: Mapping[Path, str]
    labelled: bool

    @classmethod
    def of(cls, result: Result, machine: Machine, made: Recording, rows: slice = slice(None)) -> "Contents":
        """``rows``: which of the items that have the modality."""
        entry, prepared = result.settings["feature"], result.source("prepare")
        items = Items.read(prepared.files[0])
        some = Items(items.having(entry["modality"]).iloc[rows], items.kinds)
        dataset = create.dataset(result.settings["data"], prepared.folder, machine)
        extractor = create.extractor(entry, machine)
        for source in result.sources("weights"):
            weights.expect(weights_of(result), extractor.fetch(), source.record, "delete it and run again")
        contents = extractor.contents(dataset, some, entry["modality"])
        hashes = _checked_hashes(contents, prepared.files[1], dataset.root(), made)
        return cls(items, some.ids, contents, hashes, create.learns_from_labels(entry))

    def task(self, extractor: Extractor, fitted_on: pd.Series | None) -> Task:
        training = None if fitted_on is None else among(self.ids, fitted_on)
        labels = self.all_items.labels(self.ids[training]) if self.labelled and training is not None else None
        if labels is not None and not labels.shape[1]:
            raise UserError("this extractor learns from labels, and the data have none; choose another")
        return Task(extractor, self.contents, self.ids, training, labels, self.hashes)


def _checked_hashes(contents: Sequence[object], listed: str, root: Path, made: Recording) -> dict[Path, str]:
    """sha256 of the pictures and sounds; raises `UserError` for one that is another than when items were prepared."""
    files = [file for file in contents if isinstance(file, Path)] if os.path.getsize(listed) else []
    hashes = dict(zip(files, made.hashes.of_all(files), strict=True))
    known = {file: value for name, value in content.read_list(listed) if (file := root / name) in hashes}
    for file, found in hashes.items():
        if known.get(file, found) != found:
            raise UserError(f"{file}: it changed since the items were prepared; run again")
    return hashes
