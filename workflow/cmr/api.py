"""The package from Python: fit a method on arrays, embed new rows, evaluate embeddings, load a finished run.

It runs the code of the workflow's stages, so that the same rows, parameters and seed give the same bits.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from cmr import arrays, code, create, provenance, records, registry
from cmr.arrays import Given
from cmr.config import FeatureEntry, MethodEntry, MetricEntry, checked_entry
from cmr.data import Part, TrainingData, View
from cmr.directions import Embedded, ScoreBlock, scoring, tasks
from cmr.errors import UserError, nearest
from cmr.evaluation import ConfiguredMetric, evaluate_task, measurable, scorer
from cmr.features.extraction import transformed
from cmr.machine import Machine
from cmr.methods.base import Method
from cmr.publish import write_table
from cmr.selection import select_and_fit
from cmr.store import write_arrays

SHORT_NAMES = {"map": "mean_average_precision", "recall": "recall_at_k"}
CUTS = ("at", "k")
"""Names that metrics give the number of results that count."""
BY_CLASS = ("map@all", "map@50")
BY_INSTANCE = ("recall@1", "recall@5", "recall@10")


# Models ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """One fitted method. ``record``: what ``fit.json`` says of it. ``history``: one dictionary a recorded step."""

    method: Method
    record: dict[str, Any]
    history: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.record["modalities"])

    def embed(self, modality: str, features: Any) -> np.ndarray:
        """Embeddings (n, k) float32 of rows (n, d). Raises `UserError` where d is not that of the training rows."""
        rows = arrays.matrix(modality, features)
        expected = self.record["dimensions"][modality]
        if rows.shape[1] != expected:
            raise UserError(f"{modality}: {rows.shape[1]} columns, the model was fitted on {expected}")
        return np.asarray(self.method.embed(modality, rows), np.float32)


@dataclass(frozen=True, repr=False)
class Model:
    """A fitted model: one fit, or one for each modality or pair, as the method takes them."""

    fits: tuple[Fit, ...]

    def __repr__(self) -> str:
        name, seed = self.fits[0].record["method"]["method"], self.fits[0].record["seed"]
        return f"Model({name!r}, {', '.join(self.modalities)}, seed={seed})"

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(modality for one in self.fits for modality in one.modalities))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the labels that it was fitted with, sorted as text."""
        return tuple(self.fits[0].record["classes"])

    @property
    def selection(self) -> list[dict[str, Any]]:
        """For each fit, which parameters were tried and chosen on held-out rows, as ``fit.json`` says it."""
        return [one.record["selection"] for one in self.fits]

    def get_params(self) -> dict[str, Any]:
        """All parameters of the method; of several fits that chose differently, those of the first."""
        return self.fits[0].method.params.model_dump()

    def embed(self, modality: str, features: Any, other: str | None = None) -> np.ndarray:
        """Embeddings (n, k) float32 of new rows (n, d) of one modality.

        ``other``: the modality that they are to be compared with, where fits of several pairs embed this one.
        """
        return self.fits[self.number(modality, other)].embed(modality, features)

    def number(self, modality: str, other: str | None = None) -> int:
        """Which of the fits embeds a modality. Raises `UserError` where several do and ``other`` does not tell."""
        for name in (modality, other):
            if name is not None and name not in self.modalities:
                raise UserError(f"the model has no modality {name!r}{nearest(name, self.modalities)}")
        held = [one.modalities for one in self.fits]
        if other is not None:
            return scoring(held, modality, other)[0]
        having = [number for number, modalities in enumerate(held) if modality in modalities]
        if len(having) > 1:
            pairs = ", ".join("+".join(held[number]) for number in having)
            raise UserError(f"{modality} is embedded by the fits of {pairs}; name the other modality with other=")
        return having[0]

    def save(self, folder: str | Path) -> None:
        """Writes ``folder/{modalities}/`` for each fit: ``fit.json``, ``model.safetensors`` and ``history.csv``, in the
        form of a fit of the workflow. Raises `UserError` for models of a finished run, which are saved already.
        """
        for number, one in enumerate(self.fits):
            place = Path(folder) / "+".join(one.modalities)
            write_arrays(place / "model.safetensors", one.method.state())
            write_table(place / "history.csv", one.history)
            files = ("model.safetensors", "history.csv")
            hashes = {name: provenance.file_hash(place / name) for name in files}
            records.write(place / "fit.json", one.record | {"output_hashes": hashes, "number": number})


def fit(
    method: str,
    views: Mapping[str, Any],
    /,
    labels: Any = None,
    *,
    seed: int = 0,
    validation: tuple[Mapping[str, Any], Any] | None = None,
    tune: Mapping[str, Sequence[Any]] | None = None,
    test: Mapping[str, Any] | None = None,
    device: str = "auto",
    **parameters: Any,
) -> Model:
    """Fits a method on arrays.

    ``views``: modality → features (n, d); row i of every modality is the same item. ``labels``: of each row a class
    name or number, or a list of them; or an array (n, c) of 0 and 1; None for methods that take none. ``parameters``:
    those of the method that differ from its defaults (``cmr list methods --json`` has them all).

    ``tune``: parameter → values to choose among. Choices, of epochs too, are made on ``validation``, a pair of views
    and labels; without it on a stratified tenth of the rows, and then the method is fitted again on all rows.
    ``test``: the views of the test items, for transductive methods alone. ``device``: auto, cpu or cuda.

    Raises `UserError` for an unknown method or parameter, for rows that do not match, and for labels that are missing.
    """
    entry = _checked(MethodEntry, {"id": method, "params": parameters, "tune": tune or {}}, f"method {method!r}")
    given = Given.of(views, labels)
    _check_given(entry, given, test)
    held_out = None if validation is None else _validation(validation, entry.info.labels)
    data = arrays.training_data(given, held_out, entry.info.labels)
    unlabelled = None if test is None else Given.of(test).part(None)
    settings = {"method": entry.model_dump(mode="json"), "seed": seed, "dictionary": None}
    return Model(
        tuple(
            _fit(entry, settings, given, _only(data, modalities), unlabelled and _part(unlabelled, modalities), device)
            for modalities in _taken(tuple(given.matrices), entry)
        )
    )


def _check_given(entry: MethodEntry, given: Given, test: Mapping[str, Any] | None) -> None:
    """Raises `UserError` where the method needs something that was not given."""
    if entry.info.labels and given.names is None:
        raise UserError(f"method {entry.method!r} learns from labels: pass labels=")
    if entry.info.transductive and test is None:
        raise UserError(
            f"method {entry.method!r} is transductive: pass the test items' views, without labels, as test="
        )
    if test is not None and not entry.info.transductive:
        raise UserError(f"method {entry.method!r} is not transductive, so its fit takes no test=")


def _fit(
    entry: MethodEntry,
    settings: Mapping[str, Any],
    given: Given,
    data: TrainingData,
    unlabelled: Part | None,
    device: str,
) -> Fit:
    modalities = tuple(data.train)
    make = create.methods(settings, modalities, Machine(device=device), None)
    with provenance.used() as usage:
        method, history, selection = select_and_fit(make, entry.tune, entry.info.chooses, data, unlabelled)
    record = _record(settings, given, modalities, usage) | {"selection": selection}
    return Fit(method, record, tuple(history.rows))


def _only(data: TrainingData, modalities: Sequence[str]) -> TrainingData:
    return TrainingData(
        _part(data.train, modalities),
        _part(data.selection_train, modalities),
        _part(data.held_out, modalities),
        data.has_validation,
    )


def _part(part: Part, modalities: Sequence[str]) -> Part:
    return {modality: part[modality] for modality in modalities}


def _checked(kind: Any, value: Any, source: str) -> Any:
    try:
        return checked_entry(kind, value, source)
    except UserError as error:  # from Python there is no key `params`
        raise UserError(str(error).replace(f"{source}: params.", f"{source}: parameter ")) from None


def _validation(validation: Any, with_labels: bool) -> Given:
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise UserError("validation: expected a pair ({modality: array}, labels)")
    views, labels = validation
    if labels is None and with_labels:
        raise UserError("validation: labels are missing; give ({modality: array}, labels)")
    return Given.of(views, labels)


def _taken(given: tuple[str, ...], entry: MethodEntry) -> list[tuple[str, ...]]:
    """The modalities of each fit: as many at a time as the method takes."""
    size = entry.info.modalities
    if size == "any":
        return [given]
    if len(given) < size:
        raise UserError(f"method {entry.method!r} needs two modalities, views has {', '.join(given)} alone")
    return list(combinations(given, size))


def _record(
    settings: Mapping[str, Any], given: Given, modalities: tuple[str, ...], usage: Mapping[str, float]
) -> dict[str, Any]:
    """As a fit of the workflow is recorded, but for the names of data set, split and features, which there are not."""
    name = settings["method"]["method"]
    own_code = code.of_stage("fit", (("methods", name),))
    contents = {m: sha256(given.matrices[m].tobytes()).hexdigest() for m in modalities}
    origin = records.Origin("fit", own_code, dict(settings), {}, contents)
    record = records.Record(
        schema_version=records.SCHEMA_VERSION,
        stage="fit",
        identity=origin.identity,
        code=own_code,
        plugins=[("methods", name)],
        made_from={},
        own_files={},
        contents="",
        input_hashes=contents,
        output_hashes={},
        project=provenance.project(),
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        usage=records.Usage.model_validate(usage),
    )
    facts = {
        "modalities": list(modalities),
        "dimensions": {m: given.matrices[m].shape[1] for m in modalities},
        "classes": list(given.classes),
    }
    return {**record.model_dump(mode="json"), **settings, **facts}


# Evaluation --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Figure:
    """A metric's value in one direction.

    ``ci95``: its interval over queries; ``chance``: its expectation under random scores, where it is known;
    ``per_class``: class → value over the queries of the class; ``per_query`` (q,): NaN where it is not defined.
    """

    value: float
    ci95: tuple[float, float] | None = None
    chance: float | None = None
    per_class: Mapping[str, float] = field(default_factory=dict)
    per_query: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"{self.value:.3f}" + (" [{:.3f}, {:.3f}]".format(*self.ci95) if self.ci95 else "")


def evaluate(
    model: Model | Mapping[str, Any],
    views: Mapping[str, Any] | None = None,
    /,
    labels: Any = None,
    metrics: Sequence[str | Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Figure]]:
    """Ranks every row of each modality against those of every other: direction → metric → `Figure`.

    ``evaluate(model, views, labels)`` embeds new rows first; ``evaluate(embeddings, labels=...)`` takes embeddings
    (n, k) by modality, which are compared by the cosine. Row i of every modality is the same item. ``labels`` as in
    `fit`: items that share one are relevant to each other by class. Metrics by instance ask for an item's own pair.

    ``metrics``: names with a cut, such as map@all, map@50, recall@10, ndcg@10; names of plug-ins; or entries as in a
    configuration, ``{"id": ..., "metric": ..., "params": {...}}``. By default map@all and map@50; without labels
    recall@1, recall@5 and recall@10. Raises `UserError` for unknown ones, for curves, and for those by class where
    there are no labels.
    """
    configured = _configured(metrics, labels is not None)
    if isinstance(model, Model):
        given = Given.of(_of_model(model, views), labels)
        directions = tasks([_embedded(one, given) for one in model.fits])
    else:
        if views is not None:
            raise UserError("evaluate: embeddings are one mapping {modality: array}; pass labels by name, labels=")
        given = Given.of(model, labels, dtype=None)
        directions = _by_cosine(given)
    if len(given.matrices) < 2:
        raise UserError("views: one modality alone; retrieval is between two or more")
    found = {}
    for (query, gallery), queries, answers, scores in directions:
        wanted = _labelled(given, queries), _labelled(given, answers)
        evaluated = evaluate_task(scores, *wanted, configured, given.classes, (query, gallery))
        found[f"{query}→{gallery}"] = {
            metric.id: _figure(evaluated.task["metrics"][metric.id], evaluated.per_query.get(metric.id), metric)
            for metric in configured
        }
    return found


def _configured(metrics: Sequence[str | Mapping[str, Any]] | None, labelled: bool) -> list[ConfiguredMetric]:
    wanted = metrics if metrics is not None else BY_CLASS if labelled else BY_INSTANCE
    found = [configured_metric(metric) for metric in wanted]
    left_out = [metric.id for metric in found if metric not in measurable(found, labelled)]
    if left_out:
        raise UserError(f"metric {left_out[0]!r}: it is by class: pass labels=")
    return found


def _of_model(model: Model, views: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not isinstance(views, Mapping) or set(views) != set(model.modalities):
        raise UserError(f"evaluate: expected views of {', '.join(model.modalities)}")
    return {modality: views[modality] for modality in model.modalities}


def _embedded(one: Fit, given: Given) -> Embedded:
    views = {m: View(given.ids, one.embed(m, given.matrices[m])) for m in one.modalities}
    return Embedded(one.method, one.modalities, views)


def _by_cosine(given: Given) -> Iterator[tuple[tuple[str, str], View, View, ScoreBlock]]:
    for query, rows in given.matrices.items():
        for gallery, others in given.matrices.items():
            if query != gallery:
                yield (query, gallery), View(given.ids, rows), View(given.ids, others), scorer(rows, others)


def _labelled(given: Given, view: View) -> View:
    """With labels (n, c), where there are any."""
    return View(view.ids, view.features, None if given.names is None else given.multi_hot(given.classes))


def _figure(entry: Mapping[str, Any], per_query: np.ndarray | None, metric: ConfiguredMetric) -> Figure:
    if "value" not in entry:
        raise UserError(f"metric {metric.id!r}: {entry['note']}")
    interval = tuple(entry["ci95"]) if entry.get("ci95") else None
    more = {} if per_query is None else {"per_query": per_query}
    return Figure(entry["value"], interval, entry.get("chance"), entry.get("per_class", {}), **more)


def configured_metric(metric: str | Mapping[str, Any]) -> ConfiguredMetric:
    """From ``map@50``, a plug-in's name or an entry of a configuration. Raises `UserError` for a curve."""
    value = _with_cut(metric) if isinstance(metric, str) else dict(metric)
    checked = _checked(MetricEntry, value, f"metric {value['id']!r}")
    if checked.info.gives == "curve":
        raise UserError(f"metric {checked.id!r}: a curve, not a number; the report draws it")
    return ConfiguredMetric.from_entry(checked.model_dump(mode="json"))


def _with_cut(text: str) -> dict[str, Any]:
    """``recall@10`` → the plug-in recall_at_k with k: 10; ``map@all`` has no cut."""
    name, _, cut = text.partition("@")
    plugin = SHORT_NAMES.get(name, name)
    known = registry.names("metrics")
    if plugin not in known:
        raise UserError(f"metric {text!r}: unknown{nearest(name, {*known, *SHORT_NAMES})}")
    value = {"id": text, "metric": plugin}
    if cut in ("", "all"):
        return value
    keys = [key for key in CUTS if key in registry.params_model("metrics", plugin).model_fields]
    if not keys or not cut.isdigit():
        raise UserError(f"metric {text!r}: expected {name}@ and a number of results, or {name}@all")
    return value | {"params": {keys[0]: int(cut)}}


# Features ----------------------------------------------------------------------------------------------------------


def extract(
    extractor: str,
    contents: Sequence[str | Path],
    /,
    *,
    training: Sequence[str | Path] | None = None,
    labels: Any = None,
    cache: str | Path = ".cache",
    device: str = "auto",
    **parameters: Any,
) -> np.ndarray:
    """Features (n, d) float32 of pictures or sounds (paths), or of texts.

    ``training``: what a fitted extractor is fitted on; ``labels`` of these, where it learns from labels. ``cache``: the
    folder of downloaded weights. ``parameters``: those of the extractor that differ from its defaults.

    Raises `UserError` for an unknown extractor or parameter, and for content that cannot be decoded.
    """
    source = f"extractor {extractor!r}"
    checked = _checked(FeatureEntry, {"id": extractor, "params": parameters}, source)
    info = checked.info
    if isinstance(contents, str | Path):
        raise UserError(f"{source}: expected a list of contents, found one {type(contents).__name__}")
    if (info.kind == "fitted") != (training is not None):
        needed = "is fitted, pass training=" if info.kind == "fitted" else "is not fitted, leave training= out"
        raise UserError(f"{source}: it {needed}")
    machine = Machine(cache=str(cache), device=device, threads=len(os.sched_getaffinity(0)))
    made = create.extractor(checked.model_dump(mode="json"), machine)
    made.fetch()
    items = list(contents) if info.modality == "text" else [Path(file) for file in contents]
    if training is not None:
        rows = list(training) if info.modality == "text" else [Path(file) for file in training]
        made.fit(rows, _labels_of(rows, labels, source) if info.uses_labels else None)
    return transformed(made, items)


def _labels_of(training: Sequence[Any], labels: Any, source: str) -> np.ndarray:
    if labels is None:
        raise UserError(f"{source}: it learns from labels: pass labels= of the training contents")
    given = Given.of({"training": np.zeros((len(training), 1))}, labels)
    return given.multi_hot(given.classes)
