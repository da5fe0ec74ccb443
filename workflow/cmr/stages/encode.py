"""Dictionary coefficients of all rows: the joint objective's for training rows, the transform's for the others."""

from collections.abc import Mapping

import h5py
import numpy as np
import pandas as pd

from cmr import create, paths
from cmr.data import TRAIN, Items, Split, View, among, paired
from cmr.dictionary.base import Dictionary
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording
from cmr.row_source import in_memory, read_features
from cmr.store import SELECTION, Rows, resumable, write_groups
from cmr.vectors import blocks


def make(result: Result, machine: Machine) -> None:
    entry, seed, (output,) = result.settings["dictionary"], result.settings["seed"], result.files
    with recording(result, machine) as made, resumable(paths.partial(output), made.key) as unfinished:
        items = Items.read(result.source("prepare").files[0], contents=False)
        split = Split.read(result.source("split").files[0])
        trainings = {"": split.ids(TRAIN)} | ({} if split.has_validation else {SELECTION: split.selection_train})
        groups: dict[str, Rows] = {}
        for group, training in trainings.items():
            matrices = read_features(result.sources("extract"), items, group, by_the_block=True)
            dictionary = create.dictionary(entry, tuple(matrices), seed)
            codes = encode_rows(dictionary, matrices, training, items, unfinished.require_group(f"codes{group}"))
            groups |= {f"{group}/{modality}": rows for modality, rows in codes.items()}
            if not group:
                state = dictionary.state()
                made.facts = {"iterations": len(state["objective"]) - 1, "converged": dictionary.converged}
        attributes = {"dictionary": entry["dictionary"], "params": dict(entry["params"]), "seed": seed}
        write_groups(output, "features", groups, attributes | {"identity": made.origin.identity}, state)


def encode_rows(
    dictionary: Dictionary, matrices: Mapping[str, Rows], training: pd.Series, items: Items, unfinished: h5py.Group
) -> dict[str, Rows]:
    """Fits a dictionary on the training rows; coefficients of all rows by modality, in the matrices' order.

    The coefficients stay in a dataset of ``unfinished`` for each modality.
    """
    everything = {m: View(x.ids, x.values, groups=items.groups_of(x.ids)) for m, x in matrices.items()}
    train = {m: view.rows(among(view.ids, training)) for m, view in everything.items()}
    for modality, view in train.items():
        if len(set(view.groups)) < len(view):
            raise UserError(
                f"a dictionary takes one {modality} an item, and some items have several; leave the dictionary out"
            )
    views = [in_memory(view) for view in paired(train, dictionary.modalities)]
    fitted = dictionary.fit(dict(zip(dictionary.modalities, views, strict=True)))
    coded = {}
    for modality, pairs in zip(dictionary.modalities, views, strict=True):
        view = everything[modality]
        unfinished.pop(modality, None)  # of a job that was killed
        codes = unfinished.create_dataset(modality, (len(view), fitted[modality].shape[1]), np.float32)
        for rows in blocks(len(view), 4 * max(codes.shape[1], view.features.shape[1])):
            block = dictionary.transform(modality, np.asarray(view.features[rows]))
            of_pair = pd.Index(pairs.ids).get_indexer(view.ids[rows])
            block[of_pair >= 0] = fitted[modality][of_pair[of_pair >= 0]]
            codes[rows] = block
        coded[modality] = Rows(view.ids, codes)
    return coded
