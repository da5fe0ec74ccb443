"""Raw files into the cache; what they are into ``raw.json``."""

from cmr import create
from cmr.content import joint_hash
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine) as made:
        dataset = create.dataset(result.settings["data"], result.folder, machine)
        files = dataset.download()
        made.contents = joint_hash(files.items()) if files else ""
        made.facts = {"files": files, "root": machine.anchored(dataset.raw) if files else ""}
