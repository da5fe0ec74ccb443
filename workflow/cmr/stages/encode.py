"""Dictionary coefficients of all rows: the joint objective's for training rows, the transform's for the others."""

from collections.abc import Mapping

from cmr import create
from cmr.data import TRAIN, Items, Split, View, among, paired
from cmr.dictionary.base import Dictionary
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording
from cmr.row_source import CHOOSING, read_features
from cmr.store import Rows, write_groups


def make(result: Result, machine: Machine) -> None:
    entry, seed = result.settings["dictionary"], result.settings["seed"]
    with recording(result, machine) as made:
        items, split = Items.read(result.source("prepare").files[0]), Split.read(result.source("split").files[0])
        trainings = {"": split.ids(TRAIN)} | ({} if split.has_validation else {CHOOSING: split.selection_train})
        groups: dict[str, Rows] = {}
        for group, training in trainings.items():
            matrices = read_features(result.sources("extract"), items, group)
            dictionary = create.dictionary(entry, tuple(matrices), seed)
            codes = encode_rows(dictionary, matrices, training, items)
            groups |= {f"{group}/{modality}": rows for modality, rows in codes.items()}
            if not group:
                state = dictionary.state()
                made.facts = {"iterations": len(state["objective"]) - 1, "converged": dictionary.converged}
        attributes = {"dictionary": entry["dictionary"], "params": dict(entry["params"]), "seed": seed}
        write_groups(result.files[0], "features", groups, attributes | {"identity": made.origin.identity}, state)


def encode_rows(
    dictionary: Dictionary, matrices: Mapping[str, Rows], training: set[str], items: Items
) -> dict[str, Rows]:
    """Fits a dictionary on the training rows; coefficients of all rows by modality, in the matrices' order."""
    everything = {m: View(x.ids, x.values, groups=items.groups_of(x.ids)) for m, x in matrices.items()}
    train = {m: view.rows(among(view.ids, training)) for m, view in everything.items()}
    for modality, view in train.items():
        if len(set(view.groups)) < len(view):
            raise UserError(
                f"a dictionary takes one {modality} an item, and some items have several; leave the dictionary out"
            )
    views = paired(train, dictionary.modalities)
    fitted = dictionary.fit(dict(zip(dictionary.modalities, views, strict=True)))
    coded = {}
    for modality, pairs in zip(dictionary.modalities, views, strict=True):
        view, row_of = everything[modality], {item: row for row, item in enumerate(pairs.ids)}
        codes = dictionary.transform(modality, view.features)
        for row, item in enumerate(view.ids):
            if item in row_of:
                codes[row] = fitted[modality][row_of[item]]
        coded[modality] = Rows(view.ids, codes)
    return coded
