"""The items table, from the raw files, and the list of the files that it names and of those that it is read from."""

import logging
from collections.abc import Sequence

from cmr import content, create
from cmr.data import Items
from cmr.errors import UserError, texts_told
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording

log = logging.getLogger(__name__)

INLINE = ("text", "ready")
"""Kinds of modalities whose content is no file of its own."""


def make(result: Result, machine: Machine) -> None:
    table, contents = result.files
    with recording(result, machine) as made:
        dataset = create.dataset(result.settings["data"], result.folder, machine)
        with texts_told(table):
            items = dataset.prepare()
            source = f"{dataset.named}: prepare"
            if not isinstance(items, Items):
                raise UserError(f"{source} gave {type(items).__name__}, expected Items")
            items.write(table, source)
            _tell_classes(items)
        names = sorted({*_files(items), *dataset.also_read(items)})
        root = dataset.root()
        pairs = list(zip(names, made.hashes.of_all([root / name for name in names]), strict=True))
        _check_there(pairs, f"{source}: {root}")
        content.write_list(contents, pairs)
        made.contents = content.joint_hash(pairs) if pairs else ""
        made.facts = {"root": machine.anchored(root) if pairs else ""}


def _tell_classes(items: Items) -> None:
    """Warns of classes that a modality lacks: their queries have no right answer there."""
    classes = set(items.classes)
    for modality in items.kinds:
        lacking = classes - items.classes_of(modality)
        if lacking:
            told = "%d of %d classes have no %s, the first: %s"
            log.warning(told, len(lacking), len(classes), modality, min(lacking))


def _check_there(pairs: Sequence[tuple[str, str]], source: str) -> None:
    """Raises `UserError` for files that are not there: a list of contents has no form for them."""
    missing = [name for name, found in pairs if found == content.ABSENT]
    if missing:
        raise UserError(f"{source}: {len(missing)} of {len(pairs)} files are not there, the first is {missing[0]}")


def _files(items: Items) -> set[str]:
    """The files of the table, as the table names them."""
    columns = [items.table[modality].dropna() for modality, kind in items.kinds.items() if kind not in INLINE]
    return {str(name) for column in columns for name in column}
