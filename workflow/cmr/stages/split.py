"""One named split of the items."""

from cmr import create
from cmr.data import Items
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine):
        items = result.source("prepare")
        dataset = create.dataset(result.settings["data"], items.folder, machine)
        dataset.split(Items.read(items.files[0]), result.settings["split"]).write(result.files[0])
