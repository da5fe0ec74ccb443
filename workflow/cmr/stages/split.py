"""One named split of the items."""

import logging

from cmr import create
from cmr.data import TEST, TRAIN, Items
from cmr.datasets.splitting import separated
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
        for modality in items.kinds:
            having = split.table["part"][split.table["id"].isin(items.having(modality)["id"])]
            for part in (TRAIN, TEST):
                if part not in set(having):
                    log.warning("no %s item has the modality %s, so methods that need it will stop", part, modality)
        parts = split.table.set_index("id")["part"].reindex(items.ids, fill_value="")
        made.facts = {"separated": separated(dataset.groups(items), parts.to_numpy(str))}
        for pair, count in made.facts["separated"].items():
            first, second = pair.split(", ")
            log.warning("%d %s items share a picture, a text or a vector with %s items", count, second, first)
