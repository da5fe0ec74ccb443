"""The package from Python: fit a method on arrays, embed new rows, evaluate embeddings, load a finished run.

It runs the code of the workflow's stages, so that the same rows, parameters and seed give the same bits.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np

from cmr import arrays, code, create, provenance, records, registry
from cmr.arrays import Given
from cmr.config import FeatureEntry, MethodEntry, MetricEntry, checked
from cmr.data import Part, TrainingData, View
from cmr.device import cores
from cmr.directions import Embedded, scoring, tasks
from cmr.errors import UserError, nearest
from cmr.evaluation import ScoreBlock, evaluate_task, scorer, warn_of_zeros
from cmr.features.extraction import transformed
from cmr.info import VECTOR
from cmr.machine import Machine
from cmr.methods.base import Method
from cmr.metrics.configured import ConfiguredMetric
from cmr.publish import write_json, write_table
from cmr.selection import select_and_fit
from cmr.sets import Sets, columns_in_words, dimensions, form
from cmr.store import write_arrays

SHORT_NAMES = {"map": "mean_average_precision", "recall": "recall_at_k"}
CUTS = ("at", "k")
"""Names that metrics give the number of results that count."""
DEVICES = ("auto", "cpu", "cuda")
SEEDS = 2**32
"""Fewer than these every generator takes."""
BY_CLASS = ("map@all", "map@50")
BY_INSTANCE = ("recall@1", "recall@5", "recall@10")

log = logging.getLogger(__name__)


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
        rows = arrays.features(modality, features)
        found, expected = dimensions(rows), self.record["dimensions"][modality]
        if found != expected:
            raise UserError(
                f"{modality}: {columns_in_words(found)}, the model was fitted on {columns_in_words(expected)}"
            )
        return np.asarray(self.method.embedded(modality, rows), np.float32)


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
        if not isinstance(modality, str):
            raise UserError(f"expected a modality's name before its rows, found {type(modality).__name__}")
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
        form of a fit of the workflow. A model that had the same fits there is replaced. Raises `UserError` where
        ``folder`` is a file or holds other fits.
        """
        _check_free(Path(folder), ["+".join(one.modalities) for one in self.fits])
        for number, one in enumerate(self.fits):
            place = Path(folder) / "+".join(one.modalities)
            write_arrays(place / "model.safetensors", one.method.state())
            write_table(place / "history.csv", one.history)
            files = ("model.safetensors", "history.csv")
            hashes = {name: provenance.file_hash(place / name) for name in files}
            write_json(place / "fit.json", one.record | {"output_hashes": hashes, "number": number})


def _check_free(folder: Path, names: Sequence[str]) -> None:
    """Raises `UserError` where a model of the fits ``names`` would not be alone in the folder."""
    if folder.is_file():
        raise UserError(f"{folder}: a file; a model is saved as a folder")
    there = [folder / "fit.json", *folder.glob("*/fit.json")]
    others = [file.parent for file in there if file.exists() and file.parent not in [folder / name for name in names]]
    if others:
        raise UserError(f"{folder}: holds another model, in {others[0]}; save into another folder, or remove it")


def fit(
    method: str,
    views: Mapping[str, Any],
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

    ``views``: modality → features (n, d), or `cmr.sets.Sets` or `VectorsAndSets`, as the method takes them; row i of
    every modality is the same item. ``labels``: of each row a class
    name or number, or a list of them; or an array (n, c) of 0 and 1; None for methods that take none. ``parameters``:
    those of the method that differ from its defaults (``cmr list methods --json`` has them all).

    ``tune``: parameter → values to choose among. Choices, of epochs too, are made on ``validation``, a pair of views
    and labels; without it on a stratified tenth of the rows, and then the method is fitted again on all rows.
    ``test``: the views of the test items, for transductive methods alone. ``device``: auto, cpu or cuda.

    Raises `UserError` for an unknown method or parameter, for rows that do not match, and for labels that are missing.
    """
    _check_settings(seed, device)
    seed = int(seed)
    entry = _checked(MethodEntry, "method", method, {"params": parameters, "tune": tune or {}})
    given = Given.of(views, labels)
    _check_given(entry, given, test)
    held_out = None if validation is None else _validation(validation, entry.info.labels)
    data = arrays.training_data(given, held_out, entry.info.labels)
    unlabelled = None if test is None else _test(test, given)
    data = replace(data, unlabelled=None if unlabelled is None else unlabelled.part(None))
    read = {"": given, "validation ": held_out, "test ": unlabelled}
    settings = {"method": entry.model_dump(mode="json"), "seed": seed, "dictionary": None}
    return Model(
        tuple(
            _fit(entry, settings, given, _hashes(read, modalities), _only(data, modalities), device)
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
    hashes: Mapping[str, str],
    data: TrainingData,
    device: str,
) -> Fit:
    modalities = tuple(data.train)
    make = create.methods(settings, modalities, Machine(device=device), None)
    with provenance.used() as usage:
        method, history, selection = select_and_fit(make, entry.tune, entry.info.chooses, lambda point: data)
    record = _record(settings, given, hashes, modalities, usage) | {"selection": selection}
    return Fit(method, record, tuple(history.rows))


def _hashes(read: Mapping[str, Given | None], modalities: Sequence[str]) -> dict[str, str]:
    """Of all that a fit is made from, by what it is."""
    found = [given.hashes(modalities, prefix) for prefix, given in read.items() if given is not None]
    return {name: value for hashes in found for name, value in hashes.items()}


def _only(data: TrainingData, modalities: Sequence[str]) -> TrainingData:
    return TrainingData(
        _part(data.train, modalities),
        _part(data.selection_train, modalities),
        _part(data.held_out, modalities),
        data.has_validation,
        unlabelled=data.unlabelled and _part(data.unlabelled, modalities),
    )


def _part(part: Part, modalities: Sequence[str]) -> Part:
    return {modality: part[modality] for modality in modalities}


def _check_settings(seed: Any, device: Any) -> None:
    if not isinstance(seed, int | np.integer):
        raise UserError(f"seed: expected an integer, found {seed!r}")
    if not 0 <= seed < SEEDS:
        raise UserError(f"seed: expected 0 to {SEEDS - 1}, found {seed}")
    if device not in DEVICES:
        raise UserError(f"device: expected {', '.join(DEVICES)}, found {device!r}")


def _checked(kind: Any, what: str, name: Any, settings: Mapping[str, Any]) -> Any:
    """The entry of a configuration that says the same. ``what`` ``name``: what the user calls it."""
    if not isinstance(name, str):
        raise UserError(f"{what}: expected a name, found {type(name).__name__}")
    source = f"{what} {name!r}"
    try:
        return checked(kind, {"id": name, **_plain(settings)}, source)
    except UserError as error:
        raise UserError(_from_python(str(error), source, what)) from None


def _from_python(message: str, source: str, what: str) -> str:
    """From Python there is no configuration file, no key `params`, and no key for the plug-in's name."""
    message = message.replace(f"{source}: {what}: unknown", "unknown").replace("params.", "parameter ")
    return message.replace("the configuration file", "the working directory")


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as Python's own, which a record can hold."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(inner) for inner in value]
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _given_as(source: str, views: Any, labels: Any = None) -> Given:
    try:
        return Given.of(views, labels)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _test(views: Any, given: Given) -> Given:
    test = _given_as("test", views)
    arrays.check_alike(given, test, "test")
    return test


def _validation(validation: Any, with_labels: bool) -> Given:
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise UserError("validation: expected a pair ({modality: array}, labels)")
    views, labels = validation
    if labels is None and with_labels:
        raise UserError("validation: labels are missing; give ({modality: array}, labels)")
    return _given_as("validation", views, labels)


def _taken(given: tuple[str, ...], entry: MethodEntry) -> list[tuple[str, ...]]:
    """The modalities of each fit: as many at a time as the method takes."""
    size = entry.info.modalities
    if size == "any":
        return [given]
    if len(given) < size:
        raise UserError(f"method {entry.method!r} needs two modalities, views has {', '.join(given)} alone")
    return list(combinations(given, size))


def _record(
    settings: Mapping[str, Any],
    given: Given,
    hashes: Mapping[str, str],
    modalities: tuple[str, ...],
    usage: Mapping[str, float],
) -> dict[str, Any]:
    """As a fit of the workflow is recorded, but for the names of data set, split and features, which there are not."""
    name = settings["method"]["method"]
    own_code = code.of_stage("fit", (("methods", name),))
    origin = records.Origin("fit", own_code, dict(settings), {}, hashes)
    record = records.Record(
        schema_version=records.SCHEMA_VERSION,
        stage="fit",
        identity=origin.identity,
        code=own_code,
        plugins=[("methods", name)],
        made_from={},
        own_files={},
        contents="",
        input_hashes=dict(hashes),
        output_hashes={},
        project=provenance.project(),
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        usage=records.Usage.model_validate(usage),
    )
    facts = {
        "modalities": list(modalities),
        "dimensions": {m: dimensions(given.matrices[m]) for m in modalities},
        "classes": list(given.classes),
    }
    return {**record.model_dump(mode="json"), **settings, **facts}


# Evaluation --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Figure:
    """A metric's value in one direction.

    ``ci95``: its interval over queries; ``bounds``: with the ties of scores resolved the worst and the best way, None
    where they leave nothing open; ``chance``: its expectation under random scores, where it is known; ``per_class``:
    class → value over the queries of the class; ``per_query`` (q,): NaN where it is not defined.
    """

    value: float
    ci95: tuple[float, float] | None = None
    bounds: tuple[float, float] | None = None
    chance: float | None = None
    per_class: Mapping[str, float] = field(default_factory=dict)
    per_query: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else repr(self)

    def __repr__(self) -> str:
        interval = " [{:.3f}, {:.3f}]".format(*self.ci95) if self.ci95 else ""
        worst, best = (f"{bound:.3f}" for bound in self.bounds or (0, 0))
        return f"{self.value:.3f}{interval}" + (f", ties {worst} to {best}" if worst != best else "")


def evaluate(
    model: Model | Mapping[str, Any],
    views: Mapping[str, Any] | None = None,
    /,
    labels: Any = None,
    metrics: Sequence[str | Mapping[str, Any]] | None = None,
    groups: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Figure]]:
    """Ranks every row of each modality against those of every other: direction → metric → `Figure`.

    ``evaluate(model, views, labels)`` embeds new rows first; ``evaluate(embeddings, labels=...)`` takes embeddings
    (n, k) by modality, which are compared by the cosine. Row i of every modality is the same item. ``labels`` as in
    `fit`: items that share one are relevant to each other by class. Metrics by instance ask for an item's own pair.

    ``groups``: modality → a number or name for each of its rows, where a picture has several captions, say: rows of one
    group belong together, and the modalities have numbers of rows of their own. ``labels`` are then by modality too.

    ``metrics``: names with a cut, such as map@all, map@50, recall@10, ndcg@10; names of plug-ins; or entries as in a
    configuration, ``{"id": ..., "metric": ..., "params": {...}}``. By default map@all and map@50; without labels
    recall@1, recall@5 and recall@10. Raises `UserError` for unknown ones, for curves, and for those by class where
    there are no labels.
    """
    if not isinstance(model, Model):
        _check_embeddings(model, views)
    configured = _configured(metrics, labels is not None)
    if isinstance(model, Model):
        rows, classes = arrays.to_evaluate(_of_model(model, views), labels, groups)
        directions = tasks([_embedded(one, rows) for one in model.fits])
    else:
        rows, classes = arrays.to_evaluate(model, labels, groups, dtype=None)
        for modality, view in rows.items():
            warn_of_zeros(modality, view.features)
        directions = _by_cosine(rows)
    if len(rows) < 2:
        raise UserError("views: one modality alone; retrieval is between two or more")
    found = {}
    for (query, gallery), queries, answers, scores in directions:
        evaluated = evaluate_task(scores, queries, answers, configured, classes, (query, gallery))
        _tell_queries_left_out(f"{query}→{gallery}", evaluated.per_query, configured)
        found[f"{query}→{gallery}"] = {
            metric.id: _figure(evaluated.task["metrics"][metric.id], evaluated.per_query.get(metric.id), metric)
            for metric in configured
        }
    return found


def _configured(metrics: Sequence[str | Mapping[str, Any]] | None, labelled: bool) -> list[ConfiguredMetric]:
    if isinstance(metrics, str):
        raise UserError(f"metrics: expected a list of names, found {metrics!r}; write [{metrics!r}]")
    wanted = metrics if metrics is not None else BY_CLASS if labelled else BY_INSTANCE
    if not wanted:
        raise UserError("metrics: none is named")
    found = [configured_metric(metric) for metric in wanted]
    ids = [metric.id for metric in found]
    twice = [identity for identity in ids if ids.count(identity) > 1]
    if twice:
        raise UserError(f"metrics: the id {twice[0]!r} stands twice; ids must differ")
    by_class = [metric.id for metric in found if not metric.info.paired and metric.info.gives != "gallery"]
    if by_class and not labelled:
        raise UserError(f"metric {by_class[0]!r}: it is by class: pass labels=")
    return found


def _of_model(model: Model, views: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not isinstance(views, Mapping) or set(views) != set(model.modalities):
        raise UserError(f"evaluate: expected views of {', '.join(model.modalities)}")
    return {modality: views[modality] for modality in model.modalities}


def _check_embeddings(embeddings: Any, views: Any) -> None:
    if not isinstance(embeddings, Mapping):
        raise UserError(
            f"evaluate: expected a model of fit, or embeddings {{modality: array}}, found {type(embeddings).__name__}"
        )
    if views is not None:
        raise UserError("evaluate: embeddings are one mapping {modality: array}; pass labels by name, labels=")
    for name, rows in embeddings.items():
        if form(rows) != VECTOR:
            raise UserError(f"evaluate: {name}: embeddings are arrays (n, k), one vector a row")


def _embedded(one: Fit, rows: Part) -> Embedded:
    return Embedded(
        one.method, one.modalities, {m: rows[m].embedded(one.embed(m, rows[m].features)) for m in one.modalities}
    )


def _tell_queries_left_out(
    direction: str, per_query: Mapping[str, np.ndarray], configured: Sequence[ConfiguredMetric]
) -> None:
    """A line for the metrics that leave out as many. By instance the reason is known; by class it is the metric's."""
    paired = {metric.id: metric.info.paired for metric in configured}
    metrics = defaultdict(list)
    for metric, values in per_query.items():
        metrics[int(np.isnan(values).sum()), len(values), paired[metric]].append(metric)
    for (missing, queries, by_instance), names in metrics.items():
        if missing:
            why = "have nothing to find in the gallery" if by_instance else "have no value"
            told = "%s: %s: %d of %d queries %s, and do not count"
            log.warning(told, direction, ", ".join(names), missing, queries, why)


def _by_cosine(rows: Part) -> Iterator[tuple[tuple[str, str], View, View, ScoreBlock]]:
    for (query, queries), (gallery, answers) in permutations(rows.items(), 2):
        yield (query, gallery), queries, answers, scorer(queries.features, answers.features)


def _figure(entry: Mapping[str, Any], per_query: np.ndarray | None, metric: ConfiguredMetric) -> Figure:
    if "value" not in entry:
        raise UserError(f"metric {metric.id!r}: {entry['note']}")
    interval = tuple(entry["ci95"]) if entry.get("ci95") else None
    tied = entry.get("pessimistic") != entry.get("optimistic")
    bounds = (entry["pessimistic"], entry["optimistic"]) if tied else None
    more = {} if per_query is None else {"per_query": per_query}
    return Figure(entry["value"], interval, bounds, entry.get("chance"), entry.get("per_class", {}), **more)


def configured_metric(metric: str | Mapping[str, Any]) -> ConfiguredMetric:
    """From ``map@50``, a plug-in's name or an entry of a configuration. Raises `UserError` for a curve."""
    if not isinstance(metric, str | Mapping):
        raise UserError(f"metrics: expected names or entries, found {type(metric).__name__}")
    value = _with_cut(metric) if isinstance(metric, str) else {"id": metric.get("metric"), **metric}
    checked = _checked(MetricEntry, "metric", value["id"], value)
    if checked.info.gives == "curve":
        raise UserError(f"metric {checked.id!r}: a curve, not a number; the report draws it")
    return ConfiguredMetric.from_entry(checked.model_dump(mode="json"))


def _with_cut(text: str) -> dict[str, Any]:
    """``recall@10`` → the plug-in recall_at_k with k: 10; ``map@all`` has no cut. A plug-in's own name stands for its
    defaults.
    """
    name, at, cut = text.partition("@")
    plugin = SHORT_NAMES.get(name, name)
    known = registry.names("metrics")
    if plugin not in known:
        raise UserError(f"metric {text!r}: unknown{nearest(name, {*known, *SHORT_NAMES})}")
    value = {"id": text, "metric": plugin}
    fields = registry.params_model("metrics", plugin).model_fields
    key = next((key for key in CUTS if key in fields), None)
    if not at and (key is None or name == plugin):
        return value
    if key is None:
        raise UserError(f"metric {text!r}: expected {name!r}, which has no cut")
    whole = fields[key].default is None
    if whole and (not at or cut == "all"):
        return value
    if not cut.isdecimal():
        raise UserError(f"metric {text!r}: expected {name}@ and a number of results{f', or {name}@all' * whole}")
    return value | {"params": {key: int(cut)}}


# Features ----------------------------------------------------------------------------------------------------------


def extract(
    extractor: str,
    contents: Sequence[str | Path],
    *,
    training: Sequence[str | Path] | None = None,
    labels: Any = None,
    cache: str | Path = ".cache",
    device: str = "auto",
    **parameters: Any,
) -> np.ndarray | Sets:
    """Features (n, d) float32, or `cmr.sets.Sets`, of pictures or sounds (paths), or of texts.

    ``training``: what a fitted extractor is fitted on; ``labels`` of these, where it learns from labels. ``cache``: the
    folder of downloaded weights. ``parameters``: those of the extractor that differ from its defaults.

    Raises `UserError` for an unknown extractor or parameter, and for content that cannot be decoded.
    """
    _check_settings(0, device)
    checked = _checked(FeatureEntry, "extractor", extractor, {"params": parameters})
    source, info = f"extractor {extractor!r}", checked.info
    if (info.kind == "fitted") != (training is not None):
        needed = "is fitted, pass training=" if info.kind == "fitted" else "is not fitted, leave training= out"
        raise UserError(f"{source}: it {needed}")
    items = contents_of(info.modality, contents, source)
    machine = Machine(cache=str(cache), device=device, threads=cores())
    made = create.extractor(checked.model_dump(mode="json"), machine)
    try:
        made.fetch()
    except UserError as error:
        raise UserError(_from_python(str(error), source, "extractor")) from None
    if training is not None:
        rows = contents_of(info.modality, training, f"{source}: training")
        made.fit(rows, _labels_of(rows, labels, source) if info.uses_labels else None)
    return transformed(made, items)


def contents_of(modality: str, contents: Any, source: str) -> list[Any]:
    """Texts as they are, or paths. Raises `UserError` for what is neither, for one alone, and for none."""
    if isinstance(contents, str | Path) or not isinstance(contents, Iterable):
        raise UserError(f"{source}: expected a list of contents, found one {type(contents).__name__}")
    items = list(contents)
    if not items:
        raise UserError(f"{source}: no contents")
    wanted = str if modality == "text" else str | os.PathLike
    for row, item in enumerate(items):
        if not isinstance(item, wanted):
            what = "a text" if modality == "text" else "the path of a file"
            raise UserError(f"{source}: content {row}: expected {what}, found {type(item).__name__}")
        if modality == "text" and not item.strip():
            raise UserError(f"{source}: content {row}: empty text")
    return items if modality == "text" else [Path(file) for file in items]


def _labels_of(training: Sequence[Any], labels: Any, source: str) -> np.ndarray:
    if labels is None:
        raise UserError(f"{source}: it learns from labels: pass labels= of the training contents")
    given = Given.of({"training": np.zeros((len(training), 1))}, labels)
    return given.multi_hot(given.classes)
