"""The weights of an extractor into the cache; what they are into a record."""

from cmr import create
from cmr.features.weights import without_origin
from cmr.machine import Machine
from cmr.params import canonical_hash
from cmr.plan import Result
from cmr.recording import recording


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine) as made:
        found = create.extractor(result.settings["feature"], machine).fetch()
        made.facts = {"weights": found}
        made.contents = canonical_hash(without_origin(found)) if found else ""
