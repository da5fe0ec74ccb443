"""Features in the layout of SDML's files, which several data sets come with.

HDF5, keys from SDML's public loader and its descendants: {train,test}_imgs_deep, {train,test}_text (or _texts),
{train,test}_imgs_labels (integers or multi-hot), {train,test}_texts_labels (the same). Image and text rows are pairs.
"""

from pathlib import Path

import h5py

from cmr.boundary import plain
from cmr.data import TEST, TRAIN
from cmr.datasets.matrices import Block, Reference
from cmr.errors import UserError

NAMES = {"image": "vgg19_fc7", "text": "doc2vec"}


def blocks(file: Path) -> list[Block]:
    """The training and the test pairs of a file."""
    try:
        with h5py.File(plain(file), "r") as opened:
            text = "texts" if f"{TRAIN}_texts" in opened else "text"
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    return [
        Block(
            part,
            part,
            Reference(file, f"{part}_imgs_labels"),
            {"image": Reference(file, f"{part}_imgs_deep"), "text": Reference(file, f"{part}_{text}")},
        )
        for part in (TRAIN, TEST)
    ]


def check_name(modality: str, name: str, names: dict[str, str] = NAMES) -> None:
    """Raises `UserError` where ``name`` is not what the features of ``modality`` are called ('' always is)."""
    if name and names.get(modality) != name:
        raise UserError(f"no ready features {name!r} of {modality!r}; known: {names}")
