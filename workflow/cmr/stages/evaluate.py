"""Embeds the test rows with each fit of a run, ranks them in every direction, and publishes figures and embeddings."""

from collections.abc import Sequence

from cmr import code, create, evaluation
from cmr.data import TEST
from cmr.directions import Embedded, each_modality_once, embed, tasks
from cmr.machine import Machine
from cmr.metrics.configured import ConfiguredMetric
from cmr.plan import Result
from cmr.publish import atomic_folder
from cmr.recording import recording
from cmr.row_source import RowSource
from cmr.store import write_matrix


def make(result: Result, machine: Machine) -> None:
    metrics, curves, embeddings = result.files
    with recording(result, machine) as made:
        embedded, records = [], []
        for fit in result.sources("fit"):
            method, record = create.fitted_method(fit.folder, machine)
            rows = RowSource.of(fit)
            test = rows.test_rows(with_labels=True, tuned=record["selection"]["chosen"])
            embedded.append(embed(method, rows.names, test))
            records.append(record)
        configured = [ConfiguredMetric.from_entry(entry) for entry in result.settings["metrics"]]
        evaluated = [
            evaluation.evaluate_task(
                score, query, gallery, configured, rows.items.classes, names, machine.threads,
                rows.folds(query, gallery),
            )
            for names, query, gallery, score in tasks(embedded, result.settings["queries"])
        ]  # fmt: skip
        _tell_sample(evaluated, embedded, result.settings["queries"])
        _write_embeddings(embedded, embeddings, made.origin.identity)
        evaluation.write_curves(curves, evaluated)
        evaluation.write_metrics(metrics, evaluated)
        measured_by = code.without_method("evaluate", result.plugins)
        made.facts = {"fits": records, "test_part": TEST, "measured_by": measured_by}


def _tell_sample(evaluated: Sequence[evaluation.Evaluation], embedded: Sequence[Embedded], sample: int | None) -> None:
    """Adds to every direction how many queries were asked at most, where in some direction there are more."""
    if sample is not None and any(len(view) > sample for part in embedded for view in part.views.values()):
        for direction in evaluated:
            direction.task["sample"] = sample


def _write_embeddings(embedded: Sequence[Embedded], folder: str, identity: str) -> None:
    """A file a modality, in a folder for each fit where fits share a modality."""
    with atomic_folder(folder) as temporary:
        for part in embedded:
            inner = temporary if each_modality_once(embedded) else temporary / "+".join(part.inputs)
            for modality, view in part.views.items():
                attributes = {"identity": identity}
                write_matrix(inner / f"{modality}.h5", "embeddings", view.ids, view.features, attributes)
