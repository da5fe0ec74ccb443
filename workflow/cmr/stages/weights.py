"""The weights of an extractor into the cache; what they are into a record."""

from collections.abc import Mapping
from typing import Any

from cmr import create
from cmr.machine import Machine
from cmr.params import canonical_hash
from cmr.plan import Result
from cmr.recording import recording


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine) as made:
        found = create.extractor(result.settings["feature"], machine).fetch()
        made.facts = {"weights": found}
        made.contents = canonical_hash(without_origin(found)) if found else ""


def without_origin(weights: Mapping[str, Any]) -> dict[str, Any]:
    """What weights are, wherever they came from."""
    return {name: value for name, value in weights.items() if name != "source"}
