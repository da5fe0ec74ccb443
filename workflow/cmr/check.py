"""Looks at a configuration and its data before a run: the first stages, in a folder that is gone afterwards.

Plug-ins of the user's own that the configuration names are imported. Only data sets of the user's own files are looked
at. They are prepared and split as the workflow does it, but bad rows are left out and listed all at once, and pictures
are decoded. Of some items the features are extracted, which tells what all of them take; texts are counted that a
pretrained model would cut or does not know. What fitted extractors give is found out by fitting them, which is left to
the run.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from cmr import create, registry
from cmr.config import Config, DatasetEntry
from cmr.data import PARTS, Items, Split
from cmr.device import resolve
from cmr.errors import UserError
from cmr.evaluation import measurable
from cmr.features.base import Extractor
from cmr.machine import Machine
from cmr.metrics.configured import ConfiguredMetric
from cmr.plan import Plan, Result
from cmr.progress import duration
from cmr.recording import without_folders
from cmr.records import recorded_warnings
from cmr.sets import Sets, columns_in_words, dimensions
from cmr.stages import download, prepare, split
from cmr.warned import warnings_of

OK, WARNING, ERROR = "ok", "warning", "error"
SHOWN = 10  # bad rows of one data set
SAMPLE = 24  # items whose features are extracted
STRICT = "strict"


@dataclass(frozen=True)
class Finding:
    """``kind``: ok, warning or error. ``what``: the data set, its split or its feature."""

    kind: str
    what: str
    text: str


def check(config: Config, machine: Machine) -> list[Finding]:
    """One finding a line of what there is, of what is odd, and of what would stop a run."""
    base, cache, root = os.path.abspath(machine.base), os.path.abspath(machine.cache), machine.data_root
    here = replace(machine, device="cpu", base=base, cache=cache, data_root=root and os.path.abspath(root))
    with TemporaryDirectory() as folder, chdir(folder), warnings_of():
        return list(dict.fromkeys([*_device(machine), *_findings(config, here)]))


def _device(machine: Machine) -> Iterator[Finding]:
    """No error: a cluster's nodes may have what the machine that looks has not."""
    try:
        resolve(machine.device)
    except UserError as error:
        yield Finding(WARNING, "on this machine", str(error))


def _findings(config: Config, machine: Machine) -> Iterator[Finding]:
    own = {entry.id: entry for entry in config.datasets if entry.own_files()}
    plan = Plan(config.model_copy(update={"datasets": [_lenient(entry) for entry in config.datasets]}))
    yield from _own_plugins(plan)
    for entry in plan.datasets.values():
        if entry.id not in own:
            yield Finding(OK, entry.id, "not of files of your own; its data are not looked at")
    failed: set[str] = set()
    for result in plan.results():
        look = LOOKS.get(result.stage)
        if look is None or result.settings["data"]["id"] not in own:
            continue
        if failed.intersection(source.record for source in result.made_from):
            failed.add(result.record)
            continue
        what = _name(result)
        try:
            for kind, text in look(result, machine, own[result.settings["data"]["id"]]):
                yield Finding(kind, what, text)
        except UserError as error:
            failed.add(result.record)
            yield Finding(ERROR, what, _without_folders(str(error), machine))
        except Exception as error:  # of a file that no reader foresaw; what is after it is still looked at
            failed.add(result.record)
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            yield Finding(ERROR, what, f"of a form that is not foreseen, or a mistake of the program: {told}")
    for items in plan.results():
        if items.stage == "prepare" and items.settings["data"]["id"] in own and items.record not in failed:
            yield from _lack_of_classes(plan, items)


def _own_plugins(plan: Plan) -> Iterator[Finding]:
    """What would stop as soon as a plug-in of the user's own is imported, of those that the configuration names."""
    for kind, name in dict.fromkeys(plugin for result in plan.results() for plugin in result.plugins):
        if name in registry.own_plugins(kind):
            try:
                registry.module(kind, name)
            except UserError as error:
                yield Finding(ERROR, name, str(error))


def _lack_of_classes(plan: Plan, items: Result) -> Iterator[Finding]:
    """What would stop for it, of all that is made from a data set's items."""
    data, classes = items.settings["data"]["id"], len(Items.read(items.files[0]).classes)
    for result in plan.results() if classes < 2 else ():
        if items in result.made_from:
            try:
                _check_classes(result, classes)
            except UserError as error:
                name = result.settings.get("method", result.settings.get("feature", {})).get("id", "metrics")
                yield Finding(ERROR, f"{data}, {name}", str(error))


def _check_classes(result: Result, classes: int) -> None:
    """Raises `UserError` where a result cannot be made from data of so few classes."""
    if result.stage == "evaluate":
        measurable([ConfiguredMetric.from_entry(metric) for metric in result.settings["metrics"]], classes > 0)
    if result.stage == "extract" and not classes and create.learns_from_labels(result.settings["feature"]):
        raise UserError("this extractor learns from labels, and the data have none; choose another")
    if result.stage == "fit":
        method = result.settings["method"]
        if registry.info("methods", method["method"]).labels:
            raise UserError(f"this method learns from labels of two classes or more, the data have {classes}")
        if method["pairing"] != "ids" and not classes:
            raise UserError(f"pairing: {method['pairing']} draws pairs within a class, and the data have no labels")


def _without_folders(error: str, machine: Machine) -> str:
    """The file that it begins with is named as the configuration does; a cell's path stays as it stands in the file."""
    file, colon, rest = error.partition(": ")
    return without_folders(file, machine) + colon + rest


def _lenient(entry: DatasetEntry) -> DatasetEntry:
    """The same data set with all bad rows left out, where it can."""
    if STRICT not in registry.params_model("datasets", entry.plugin).model_fields:
        return entry
    return entry.model_copy(update={"params": {**entry.params, STRICT: False}})


def _name(result: Result) -> str:
    settings = result.settings
    parts = [settings["data"]["id"], settings.get("split"), settings.get("feature", {}).get("id")]
    return ", ".join(filter(None, parts))


Lines = Iterator[tuple[str, str]]
"""Kind and text of findings."""


def _items(result: Result, machine: Machine, entry: DatasetEntry) -> Lines:
    for source in result.made_from:
        download.make(source, machine)
    prepare.make(result, machine)
    items = Items.read(result.files[0])
    having = ", ".join(f"{modality} {items.table[modality].notna().sum():,}" for modality in items.kinds)
    yield OK, f"{len(items.table):,} items: {having}"
    yield _classes(items)
    if "group" in items.table:
        yield OK, f"{len(set(items.groups)):,} groups of items that belong together"
    yield from _bad_rows(result, ERROR if getattr(entry.parameters(), STRICT, True) else WARNING)
    dataset = create.dataset(result.settings["data"], result.folder, machine)
    what = "groups" if "group" in items.table else "items"
    repeated = len(set(items.groups)) - len(set(dataset.groups(items)))
    if repeated:
        yield WARNING, f"{repeated:,} {what} share a picture, a sound, a text or a vector with an earlier one"
    yield from _warnings(result)


def _classes(items: Items) -> tuple[str, str]:
    if not items.has_classes:
        return OK, "no labels: figures by instance alone"
    sizes = Counter(label for labels in items.table["labels"] for label in labels)
    (most, large), (least, small) = sizes.most_common(1)[0], sizes.most_common()[-1]
    if len(sizes) == 1:
        return WARNING, f"all items are of one class, {most!r}: each ranking is perfect, and labels teach nothing"
    return OK, f"{len(sizes):,} classes of {small:,} ({least!r}) to {large:,} items ({most!r})"


def _bad_rows(result: Result, kind: str) -> Lines:
    file = os.path.join(result.folder, "skipped.csv")
    if not os.path.exists(file):
        return
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    for row in islice(rows.itertuples(), SHOWN):
        yield kind, f"row {row.row}: {row.problem}"
    if len(rows) > SHOWN:
        yield kind, f"{len(rows) - SHOWN:,} more rows have problems"


def _warnings(result: Result) -> Lines:
    """Those of the stage, less the count of bad rows, which are listed."""
    for line in recorded_warnings(result.record):
        if not line.endswith("skipped.csv"):
            yield WARNING, line


def _split(result: Result, machine: Machine, entry: DatasetEntry) -> Lines:
    split.make(result, machine)
    made, items = Split.read(result.files[0]), Items.read(result.source("prepare").files[0])
    sizes = Counter(made.table["part"])
    yield OK, ", ".join(f"{part} {sizes[part]:,}" for part in PARTS if sizes[part])
    unused = len(items.table) - len(made.table)
    if unused:
        yield WARNING, f"{unused:,} of {len(items.table):,} items are in no part"
    yield from _warnings(result)


def _features(result: Result, machine: Machine, entry: DatasetEntry) -> Lines:
    feature, prepared = result.settings["feature"], result.source("prepare")
    if registry.info("extractors", feature["extractor"]).kind != "fixed":
        return
    extractor = create.extractor(feature, machine)
    extractor.fetch()
    dataset = create.dataset(result.settings["data"], prepared.folder, machine)
    contents = extractor.contents(dataset, Items.read(prepared.files[0]), feature["modality"])
    yield from _sample(extractor, contents)
    if feature["modality"] == "text":
        for gap in extractor.gaps(contents).values():
            yield WARNING, gap.with_remedy()


def _sample(extractor: Extractor[Any], contents: Sequence[Any]) -> Lines:
    """Of some items, evenly drawn: what all features take, without the model's start, and whether they differ."""
    drawn = np.unique(np.linspace(0, len(contents) - 1, SAMPLE).round().astype(int))
    extractor.transform([contents[0]])
    start = time.perf_counter()
    features = extractor.transform([contents[row] for row in drawn])
    seconds = (time.perf_counter() - start) / len(drawn)
    values = features.values if isinstance(features, Sets) else features
    size, n = values.nbytes / len(drawn) * len(contents) / 1e6, len(contents)
    told = f"{columns_in_words(dimensions(features))}; all {n:,} are about {size:,.1f} MB in memory"
    yield OK, f"{told}, and {duration(seconds * n)} of extraction here"
    if len(drawn) > 1 and (values == values[0]).all():
        yield WARNING, f"{len(drawn)} items, evenly drawn, have the same features: nothing can be told apart by them"


LOOKS: dict[str, Callable[[Result, Machine, Any], Lines]] = {"prepare": _items, "split": _split, "extract": _features}
