"""From a configuration to runs: which fits a run consists of, what each job needs, and where all of it lies."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from itertools import combinations
from typing import Any, TypeVar

from cmr import config, paths, shards
from cmr.config import (
    DEFAULT_METRICS,
    Config,
    DatasetEntry,
    DictionaryEntry,
    Entry,
    Experiment,
    FeatureEntry,
    MethodEntry,
    MetricEntry,
)
from cmr.errors import UserError
from cmr.params import component, digest

ROWS = ("extract", "encode")
"""The stages whose results hold the rows that a method takes."""


@dataclass(frozen=True, eq=False)
class Result:
    """What one job makes: ``files`` (relative paths; folders too) and, last, its ``record``.

    ``settings``: the entries of the configuration that lead to it, as they are written in the record. ``identifying``:
    the same without the names that the user gave, with all parameters: what tells this result from another.
    ``plugins``: (kind, name) of those whose code the job runs. ``own_files``: what the configuration names.
    ``rows_per_job``: of features, the most rows that are one job; 0 where they never are several.
    """

    stage: str
    record: str
    files: tuple[str, ...]
    settings: Mapping[str, Any]
    identifying: Any
    plugins: tuple[tuple[str, str], ...]
    made_from: tuple["Result", ...] = ()
    own_files: tuple[str, ...] = ()
    rows_per_job: int = 0

    @property
    def input_files(self) -> list[str]:
        """All files that the job may read of other results."""
        return [file for source in self.made_from for file in (*source.files, source.record)]

    def source(self, stage: str) -> "Result":
        """The one result of a stage that it is made from."""
        (found,) = self.sources(stage)
        return found

    def sources(self, *stages: str) -> list["Result"]:
        return [source for source in self.made_from if source.stage in stages]

    @property
    def folder(self) -> str:
        """The folder that the record lies in."""
        return self.record.rpartition("/")[0]


def with_sources(result: Result) -> Iterator[Result]:
    """A result and all that it is made from, each once; sources come first."""
    seen: set[str] = set()

    def walk(one: Result) -> Iterator[Result]:
        if one.record not in seen:
            seen.add(one.record)
            for source in one.made_from:
                yield from walk(source)
            yield one

    return walk(result)


def shards_of(features: Result, rows: int) -> tuple[Result, ...]:
    """What features of ``rows`` items are joined from; nothing where one job extracts them all.

    Shards are no part of what the features are made from: their identity is that of features from one job.
    """
    if not 0 < features.rows_per_job < rows:
        return ()
    return tuple(shard_of(features, one) for one in shards.cut(rows, features.rows_per_job))


def shard_of(features: Result, rows: range) -> Result:
    """Some rows of features. A fitted extractor has learned before, once for all of them."""
    (file,) = features.files
    name = f"{paths.shards(file)}/{rows.start}-{rows.stop}"
    return replace(
        features,
        stage="shard",
        record=f"{name}.json",
        files=(f"{name}.h5",),
        settings={**features.settings, "rows": [rows.start, rows.stop]},
        identifying=[features.identifying, rows.start, rows.stop],
        made_from=(
            *features.sources("prepare", "weights"),
            *([learned_for(features)] if features.sources("split") else []),
        ),
    )


def learned_for(features: Result) -> Result:
    """What a fitted extractor learns from the training rows."""
    (file,) = features.files
    name = f"{paths.shards(file)}/learned"
    return replace(features, stage="learn", record=f"{name}.json", files=(f"{name}.h5",))


F = TypeVar("F", bound=Callable[..., Any])


def memoized(build: F) -> F:
    """Builds each result of a plan once."""

    @wraps(build)
    def once(self: "Plan", *key: Any, **named: Any) -> Any:
        slot = (build.__name__, *key, *named.values())
        if slot not in self.built:
            self.built[slot] = build(self, *key, **named)
        return self.built[slot]

    return once  # type: ignore[return-value]


@dataclass(frozen=True)
class FitName:
    """One fit: wildcards that name it, and what they stand for. ``inputs``: of each modality one or two."""

    data: str
    split: str
    inputs: tuple[str, ...]
    method: str
    seed: int

    @property
    def wildcards(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "split": self.split,
            "inputs": "+".join(self.inputs),
            "method": self.method,
            "seed": self.seed,
        }

    @property
    def folder(self) -> str:
        return paths.FIT.format(**self.wildcards)


@dataclass(frozen=True)
class RunName(FitName):
    """What an experiment asks for: all inputs of one combination, by one method, with one seed."""

    @property
    def folder(self) -> str:
        return paths.RUN.format(**self.wildcards)


class Plan:
    """Looks path components up. Different entries never share a component: that is a `UserError`."""

    def __init__(self, config: Config, report: str = paths.REPORT):
        self.config = config
        self.report_folder = report
        self.datasets: dict[str, DatasetEntry] = {}
        self.features: dict[str, FeatureEntry] = {}
        self.dictionaries: dict[str, DictionaryEntry] = {}
        self.methods: dict[str, MethodEntry] = {}
        self.built: dict[tuple, Any] = {}
        self.runs_of: dict[str, list[RunName]] = {}
        self.experiments: dict[str, Experiment] = {}
        for experiment in config.experiments:
            runs = self._runs(experiment)
            name = self._experiment_component(experiment, runs)
            self.runs_of[name], self.experiments[name] = runs, experiment

    # Components ------------------------------------------------------------------------------------------------

    def _register(self, table: dict[str, Any], name: str, entry: Entry) -> str:
        known = table.setdefault(name, entry)
        if known.plugin != entry.plugin:
            raise UserError(f"the id {name!r} stands for both {known.plugin!r} and {entry.plugin!r}; rename one")
        if known.identifying() != entry.identifying():  # six digits: among a thousand points once in thirty plans
            raise UserError(f"{name!r} would be the name of two entries of other parameters; give one another id")
        return name

    def _dataset(self, entry: DatasetEntry) -> str:
        return self._register(self.datasets, component(entry.id, entry.parameters().changed()), entry)

    def _feature(self, entry: FeatureEntry) -> str:
        changed = entry.parameters().changed()
        if entry.modality != entry.info.modality:
            changed = {"params": changed, "modality": entry.modality}
        return self._register(self.features, component(entry.id, changed), entry)

    def _dictionary(self, entry: DictionaryEntry) -> str:
        return self._register(self.dictionaries, component(entry.id, entry.parameters().changed()), entry)

    def _method(self, entry: MethodEntry) -> str:
        changed: dict[str, Any] = entry.parameters().changed()
        if entry.tune:
            changed = changed | {"tune": entry.tune}
        if entry.pairing != "ids":
            changed = changed | {"pairing": entry.pairing}
        if entry.dictionary:
            dictionary = self.config.dictionary(entry.dictionary)
            changed = changed | {"dictionary": component(dictionary.id, dictionary.parameters().changed())}
            for point in entry.dictionary_points(dictionary):
                self._dictionary(point)
        return self._register(self.methods, component(entry.id, changed), entry)

    def _experiment_component(self, experiment: Experiment, runs: Sequence[RunName]) -> str:
        """Of other runs another name, also where ids stand for other parameters now."""
        folders = [run.folder for run in runs]
        return f"{experiment.id}-{digest([experiment.identifying(), self.metrics_digest, folders])}"

    @cached_property
    def metrics_digest(self) -> str:
        """Empty for the default metrics of all queries, else six hex digits that mark the files of an evaluation."""
        chosen, queries = _without_defaults(self.config.metrics), self.config.queries
        default = _without_defaults(map(MetricEntry.model_validate, DEFAULT_METRICS))
        if queries is not None:
            return digest([chosen, queries])
        return "" if chosen == default else digest(chosen)

    # Runs ------------------------------------------------------------------------------------------------------

    def _runs(self, experiment: Experiment) -> list[RunName]:
        return list(dict.fromkeys(self._combinations(experiment)))

    def _combinations(self, experiment: Experiment) -> Iterator[RunName]:
        for name in experiment.data:
            entry, split = self.config.data(name)
            data = self._dataset(entry)
            for names in experiment.inputs:
                inputs = self._by_modality([self._feature(self.config.feature(feature)) for feature in names])
                for configured in experiment.methods:
                    for method_entry in configured.points():
                        method = self._method(method_entry)
                        self._check_modalities(method_entry, inputs)
                        seeds = experiment.seeds if self.is_stochastic(method_entry) else 1
                        for seed in range(seeds):
                            yield RunName(data, split, inputs, method, seed)

    def _by_modality(self, features: Sequence[str]) -> tuple[str, ...]:
        """Those of one modality side by side, so that the fits of a run tell the order of its inputs."""
        modalities = list(dict.fromkeys(self.features[name].modality for name in features))
        return tuple(sorted(features, key=lambda name: modalities.index(self.features[name].modality)))

    def is_stochastic(self, entry: MethodEntry) -> bool:
        """Whether another seed may give another run: of the method, of its dictionary, or of pairs that are drawn."""
        with_dictionary = entry.dictionary and self.config.dictionary(entry.dictionary).info.stochastic
        return bool(entry.info.stochastic or with_dictionary or entry.pairing != "ids")

    def _check_modalities(self, entry: MethodEntry, inputs: tuple[str, ...]) -> None:
        if entry.info.modalities == 2 and len({self.features[name].modality for name in inputs}) < 2:
            raise UserError(f"method {entry.id!r} needs two modalities, the inputs {'+'.join(inputs)} have one")

    def check_directions(self) -> None:
        """Raises `UserError` where a run has nothing to retrieve, as its inputs are of one modality."""
        for run in self.runs:
            if len({self.features[name].modality for name in run.inputs}) < 2:
                names = ", ".join(repr(self.features[name].id) for name in run.inputs)
                raise UserError(f"inputs: {names}: of one modality; name features of two or more")

    @property
    def runs(self) -> list[RunName]:
        """All runs of all experiments, each once."""
        return list(dict.fromkeys(run for runs in self.runs_of.values() for run in runs))

    def fits(self, run: RunName) -> list[FitName]:
        """The fits of a run: its inputs taken as many at a time as the method takes modalities."""
        size = self.methods[run.method].info.modalities
        modality = {name: self.features[name].modality for name in run.inputs}
        modalities = list(dict.fromkeys(modality.values()))
        groups = [modalities] if size == "any" else combinations(modalities, size)
        inputs = [tuple(name for name in run.inputs if modality[name] in group) for group in groups]
        return [FitName(run.data, run.split, names, run.method, run.seed) for names in inputs]

    # Results ---------------------------------------------------------------------------------------------------

    def feature_file(self, data: str, split: str, feature: str) -> str:
        return paths.FEATURES.format(data=data, split=self._rows(split, feature), feature=feature)

    def _rows(self, split: str, feature: str) -> str:
        return paths.ALL_ROWS if self.features[feature].info.kind == "fixed" else split

    def run_files(self, run: RunName) -> dict[str, str]:
        names = {"metrics": "metrics.json", "curves": "curves.h5", "run": "run.json", "embeddings": "embeddings"}
        return {key: f"{run.folder}/{paths.suffixed(name, self.metrics_digest)}" for key, name in names.items()}

    def fit_configuration(self, fit: FitName) -> dict[str, Any]:
        """All that leads to a fit, for ``fit.json``: enough to run it again."""
        entry = self.methods[fit.method]
        dictionary = self.config.dictionary(entry.dictionary) if entry.dictionary else None
        return {
            **self._rows_configuration(fit.data, fit.split, fit.inputs),
            "dictionary": dictionary.model_dump(mode="json") if dictionary else None,
            "method": entry.model_dump(mode="json"),
            "seed": fit.seed,
        }

    def _rows_configuration(self, data: str, split: str, inputs: tuple[str, ...]) -> dict[str, Any]:
        features = [self.features[name].model_dump(mode="json") for name in inputs]
        return {"data": self.datasets[data].model_dump(mode="json"), "split": split, "features": features}

    @memoized
    def raw(self, data: str) -> Result:
        entry = self.datasets[data]
        record = paths.RAW.format(data=data)
        return Result("download", record, (), {"data": entry.model_dump(mode="json")}, entry.identifying(), entry.code)

    @memoized
    def items(self, data: str) -> Result:
        entry = self.datasets[data]
        return Result(
            "prepare",
            paths.RECORDS["prepare"].format(data=data),
            (paths.ITEMS.format(data=data), paths.CONTENTS.format(data=data)),
            {"data": entry.model_dump(mode="json")},
            entry.identifying(),
            entry.code,
            (self.raw(data),),
            tuple(entry.own_files()),
        )

    @memoized
    def split(self, data: str, split: str) -> Result:
        entry = self.datasets[data]
        return Result(
            "split",
            paths.RECORDS["split"].format(data=data, split=split),
            (paths.SPLIT.format(data=data, split=split),),
            {"data": entry.model_dump(mode="json"), "split": split},
            [entry.identifying(), split],
            entry.code,
            (self.items(data),),
            tuple(entry.own_files()),
        )

    @memoized
    def weights(self, feature: str) -> Result:
        entry = self.features[feature]
        return Result(
            "weights",
            paths.WEIGHTS.format(feature=feature),
            (),
            {"feature": entry.model_dump(mode="json")},
            entry.identifying(),
            entry.code,
            own_files=tuple(entry.own_files()),
        )

    @memoized
    def features_of(self, data: str, split: str, feature: str) -> Result:
        """The features of a data set; ``split``: that of the run, whether the extractor is fitted on it or not."""
        entry, dataset, file = self.features[feature], self.datasets[data], self.feature_file(data, split, feature)
        fitted, weighted = entry.info.kind == "fitted", entry.info.weights
        return Result(
            "extract",
            paths.beside(file),
            (file,),
            {"feature": entry.model_dump(mode="json"), "data": dataset.model_dump(mode="json")},
            [entry.identifying(), dataset.identifying()],
            entry.code + dataset.code,
            (
                self.items(data),
                *([self.split(data, split)] if fitted else []),
                *([self.weights(feature)] if weighted else []),
            ),
            tuple(entry.own_files()) + tuple(dataset.own_files()),
            self._rows_per_job(entry),
        )

    def _rows_per_job(self, entry: FeatureEntry) -> int:
        """Features that are ready are read, by extractors of any modality: no work that could be shared."""
        if entry.info.modality == "any":
            return 0
        return shards.in_whole_chunks(self.config.rows_per_job, self.config.device)

    def _inputs_of(self, data: str, split: str, inputs: tuple[str, ...]) -> tuple[Result, ...]:
        return tuple(self.features_of(data, split, feature) for feature in inputs)

    @memoized
    def codes(self, data: str, split: str, inputs: tuple[str, ...], dictionary: str, seed: int) -> Result:
        """The coefficients of a dictionary, by its path component."""
        entry = self.dictionaries[dictionary]
        wildcards = {"data": data, "split": split, "inputs": "+".join(inputs), "dictionary": dictionary, "seed": seed}
        file = paths.CODES.format(**wildcards)
        settings = self._rows_configuration(data, split, inputs)
        return Result(
            "encode",
            paths.beside(file),
            (file,),
            {**settings, "dictionary": entry.model_dump(mode="json"), "seed": seed},
            [entry.identifying(), seed],
            entry.code,
            (self.items(data), self.split(data, split), *self._inputs_of(data, split, inputs)),
        )

    def rows_of(self, fit: FitName) -> tuple[Result, ...]:
        """What holds the rows that a fit takes: features, or coefficients of each dictionary that it chooses among."""
        entry, of = self.methods[fit.method], (fit.data, fit.split, fit.inputs)
        if entry.dictionary is None:
            return self._inputs_of(*of)
        tried = map(self._dictionary, entry.dictionary_points(self.config.dictionary(entry.dictionary)))
        return tuple(self.codes(*of, dictionary, fit.seed) for dictionary in dict.fromkeys(tried))

    @memoized
    def fit(self, fit: FitName) -> Result:
        entry = self.methods[fit.method]
        return Result(
            "fit",
            f"{fit.folder}/fit.json",
            tuple(f"{fit.folder}/{name}" for name in ("model.safetensors", "history.csv")),
            self.fit_configuration(fit),
            [entry.identifying(), fit.seed],
            entry.code,
            (self.items(fit.data), self.split(fit.data, fit.split), *self.rows_of(fit)),
        )

    @memoized
    def run(self, run: RunName) -> Result:
        files, fits = self.run_files(run), [self.fit(fit) for fit in self.fits(run)]
        inputs = dict.fromkeys(source for fit in fits for source in fit.made_from if source.stage in ROWS)
        return Result(
            "evaluate",
            files["run"],
            (files["metrics"], files["curves"], files["embeddings"]),
            {
                "metrics": [metric.model_dump(mode="json") for metric in self.config.metrics],
                "queries": self.config.queries,
            },
            [
                *({"id": metric.id, **metric.identifying()} for metric in self.config.metrics),
                *([] if self.config.queries is None else [{"queries": self.config.queries}]),
            ],
            self.methods[run.method].code + tuple(code for metric in self.config.metrics for code in metric.code),
            (self.items(run.data), self.split(run.data, run.split), *inputs, *fits),
        )

    @memoized
    def index(self, name: str) -> Result:
        """The index of an experiment: ``name`` is its path component."""
        described = self.experiments[name].identifying()
        runs = tuple(self.run(run) for run in self.runs_of[name])
        return Result("collect", paths.EXPERIMENT.format(experiment=name), (), described, described, (), runs)

    @memoized
    def report(self) -> Result:
        return Result(
            "report",
            f"{self.report_folder}/report.json",
            tuple(f"{self.report_folder}/{name}" for name in ("index.html", "figures", "tables")),
            {
                "title": self.config.title,
                "data": {name: entry.model_dump(mode="json") for name, entry in self.datasets.items()},
            },
            self.config.title,
            (),
            tuple(self.index(name) for name in self.runs_of),
        )

    def result(self, stage: str, wildcards: Mapping[str, str]) -> Result:
        """The result of a stage with the wildcards of its path. Raises `KeyError` where the plan has none."""
        w = dict(wildcards)
        if stage in ("encode", "fit", "evaluate"):
            inputs, seed = tuple(w["inputs"].split("+")), int(w["seed"])
            if stage == "evaluate":
                return self.run(RunName(w["data"], w["split"], inputs, w["method"], seed))
            if stage == "encode":
                return self.codes(w["data"], w["split"], inputs, w["dictionary"], seed)
            return self.fit(FitName(w["data"], w["split"], inputs, w["method"], seed))
        if stage in ("extract", "learn", "shard"):
            split = next(iter(self.datasets[w["data"]].info.splits)) if w["split"] == paths.ALL_ROWS else w["split"]
            features = self.features_of(w["data"], split, w["feature"])
            if stage == "shard":
                start, _, stop = w["rows"].partition("-")
                return shard_of(features, range(int(start), int(stop)))
            return learned_for(features) if stage == "learn" else features
        builders: dict[str, Callable[..., Result]] = {
            "download": self.raw,
            "prepare": self.items,
            "split": self.split,
            "weights": self.weights,
            "collect": lambda experiment: self.index(experiment),
            "report": self.report,
        }
        return builders[stage](**w)

    def result_at(self, record: str) -> Result:
        """The result with a record at this path. Raises `UserError` where the plan has none."""
        for stage, form in paths.RECORDS.items():
            wildcards = paths.match(form, record)
            try:
                found = self.result(stage, wildcards) if wildcards is not None else None
            except (KeyError, StopIteration, ValueError):
                continue
            if found and found.record == record:
                return found
        raise UserError(f"{record}: the plan has no such result; run `snakemake` again")

    def results(self) -> Iterator[Result]:
        """All results that the configuration asks for, and what they are made from, each once; sources come first."""
        return with_sources(self.report())

    @cached_property
    def identity(self) -> str:
        """Six hex digits that tell this configuration's results from another's."""
        return digest([sorted(self.runs_of), self.metrics_digest])

    def is_that_of(self, file: str) -> bool:
        """Whether a configuration file alone asks for these results: not where it only completes others."""
        try:
            return Plan(config.load(file)).identity == self.identity
        except UserError:
            return False


def _without_defaults(metrics: Iterable[MetricEntry]) -> list[dict[str, Any]]:
    """The entries, with those parameters alone that differ from the defaults: equal for equal metrics."""
    return [{**metric.model_dump(), "params": metric.parameters().changed()} for metric in metrics]
