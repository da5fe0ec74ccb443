"""Chooses on held-out rows, fits on training rows, and publishes the model and its history."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cmr import code, create, paths, registry, sets
from cmr.data import TrainingData
from cmr.info import MethodInfo
from cmr.machine import Machine
from cmr.params import canonical, of_dictionary
from cmr.plan import Result
from cmr.publish import read_json, write_table
from cmr.recording import recording
from cmr.row_source import RowSource
from cmr.selection import select_and_fit
from cmr.store import write_arrays


def make(result: Result, machine: Machine) -> None:
    model, history_file = result.files
    entry = result.settings["method"]
    info = registry.info("methods", entry["method"])
    partial = Path(paths.partial(result.folder))
    with recording(result, machine) as made:
        rows = _Rows(RowSource.of(result), info)
        modalities = tuple(dict.fromkeys(feature["modality"] for feature in result.settings["features"]))
        create_method = create.methods(result.settings, modalities, machine, partial / made.key)
        method, history, selection = select_and_fit(create_method, entry["tune"], info.chooses, rows.data_for)
        data = rows.data_for(selection["chosen"])
        write_arrays(model, method.state())
        write_table(history_file, history.rows)
        fitted_by = code.without_method("fit", result.plugins)
        made.facts = {"modalities": list(modalities), "drawn_pairs": data.drawn_pairs}
        made.facts |= {"codes": rows.codes(selection["chosen"]), "selection": selection, "fitted_by": fitted_by}
        dimensions = {modality: sets.dimensions(view.features) for modality, view in data.train.items()}
        made.facts |= {"dimensions": dimensions, "classes": rows.source.items.classes}
    shutil.rmtree(partial, ignore_errors=True)


@dataclass
class _Rows:
    """The rows of each candidate: the same for all, but where a parameter of the dictionary is tuned."""

    source: RowSource
    info: MethodInfo
    read: dict[str, TrainingData] = field(default_factory=dict)

    def data_for(self, tuned: Mapping[str, Any]) -> TrainingData:
        """Those of the last candidate are kept, so that candidates with one dictionary read them once."""
        key = canonical(of_dictionary(tuned))
        if key not in self.read:
            data = self.source.training_data(self.info.labels, tuned)
            unlabelled = self.source.test_rows(with_labels=False, tuned=tuned) if self.info.transductive else None
            self.read = {key: replace(data, unlabelled=unlabelled)}
        return self.read[key]

    def codes(self, tuned: Mapping[str, Any]) -> dict[str, Any]:
        """What the record of the codes says of how their dictionary was learned; empty where features are taken."""
        if self.source.fit.settings["dictionary"] is None:
            return {}
        record = read_json(self.source.codes(tuned).record)
        return {key: record[key] for key in ("iterations", "converged")}
