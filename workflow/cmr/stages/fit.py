"""Chooses on held-out rows, fits on training rows, and publishes the model and its history."""

import shutil
from pathlib import Path
from typing import Any

from cmr import code, create, paths, registry, sets
from cmr.machine import Machine
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
        source = RowSource.of(result)
        data = source.training_data(with_labels=info.labels)
        unlabelled = source.test_rows(with_labels=False) if info.transductive else None
        create_method = create.methods(result.settings, tuple(data.train), machine, partial / made.key)
        method, history, selection = select_and_fit(create_method, entry["tune"], info.chooses, data, unlabelled)
        write_arrays(model, method.state())
        write_table(history_file, history.rows)
        fitted_by = code.without_method("fit", result.plugins)
        made.facts = {"modalities": list(data.train), "drawn_pairs": data.drawn_pairs}
        made.facts |= {"codes": _codes(result), "selection": selection, "fitted_by": fitted_by}
        dimensions = {modality: sets.dimensions(view.features) for modality, view in data.train.items()}
        made.facts |= {"dimensions": dimensions, "classes": source.items.classes}
    shutil.rmtree(partial, ignore_errors=True)


def _codes(result: Result) -> dict[str, Any]:
    """What the record of the codes says of how their dictionary was learned; empty where features are taken."""
    return {
        key: read_json(codes.record)[key] for codes in result.sources("encode") for key in ("iterations", "converged")
    }
