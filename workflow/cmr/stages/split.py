"""One named split of the items."""

import logging

import numpy as np

from cmr import create
from cmr.data import TEST, TRAIN, Items
from cmr.datasets.splitting import separated
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording

log = logging.getLogger(__name__)


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine) as made:
        prepared = result.source("prepare")
        items = Items.read(prepared.files[0])
        dataset = create.dataset(result.settings["data"], prepared.folder, machine)
        split = dataset.split(items, result.settings["split"])
        split.write(result.files[0])
        parts = np.full(len(items.table), "", "U10")
        parts[items.rows(split.table["id"].to_numpy(object))] = split.table["part"]
        check_parts(parts)
        for modality in items.kinds:
            having = np.unique(parts[items.has(modality)])
            for part in (TRAIN, TEST):
                if part not in having:
                    log.warning("no %s item has the modality %s, so methods that need it will stop", part, modality)
        tell_untested(items, parts)
        made.facts = {"separated": separated(dataset.groups(items), parts)}
        for pair, count in made.facts["separated"].items():
            first, second = pair.split(", ")
            log.warning("%d %s items share a picture, a text or a vector with %s items", count, second, first)


def tell_untested(items: Items, parts: np.ndarray) -> None:
    """Warns of classes that the test figures say nothing of."""
    tested = {label for labels in items.table["labels"][parts == TEST] for label in labels}
    if untested := [name for name in items.classes if name not in tested]:
        log.warning(
            "no test item has the class %s%s: the figures are of the other %d of %d classes",
            repr(untested[0]), f", nor {len(untested) - 1} more" if len(untested) > 1 else "",
            len(items.classes) - len(untested), len(items.classes),
        )  # fmt: skip


def check_parts(parts: np.ndarray) -> None:
    """Raises `UserError` where no item is to learn from, or none to be ranked."""
    there = ", ".join(sorted(set(parts) - {""})) or "none"
    for part in (TRAIN, TEST):
        if part not in parts:
            raise UserError(f"no item is in the part {part}, there are {there}: say in the data set's params which are")
