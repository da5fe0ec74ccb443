"""The weights of an extractor into the cache; what they are into a record."""

from cmr import create
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine) as made:
        made.facts = {"weights": create.extractor(result.settings["feature"], machine).fetch()}
