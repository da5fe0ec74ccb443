"""What is read by key out of a file that holds several arrays."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

FORMATS = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".h5py", ".pkl", ".pickle", ".pt", ".pth", ".csv", ".tsv", ".txt")
"""Suffixes of the files that arrays are read from, by `cmr.datasets.formats`."""
REFERENCE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, FORMATS))}))(?::(.*))?", re.IGNORECASE | re.DOTALL)


def file_and_key(reference: str) -> tuple[str, str]:
    """The two of FILE:KEY; the key is '' where there is none.

    The colon follows a suffix of `FORMATS`. Others are of the name, such as that of ``10:30.csv``, or of the key.
    """
    found = REFERENCE.fullmatch(reference)
    return (found[1], found[2] or "") if found else (reference, "")


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
