"""What is read by key out of a file that holds several arrays."""

from collections.abc import Iterable, Mapping
from typing import Any


class NoKey(LookupError):
    """There is nothing under a key; ``names``: what there is."""

    def __init__(self, names: Iterable[str]):
        super().__init__("no such key")
        self.names = [name for name in names if name]


def member(held: Mapping[str, Any], key: str) -> Any:
    """What the key names, or the only thing that is held where there is no key. Raises `NoKey`."""
    if not key and len(held) == 1:
        return next(iter(held.values()))
    if key not in held:
        raise NoKey(map(str, held))
    return held[key]
