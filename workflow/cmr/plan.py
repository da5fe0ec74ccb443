"""From a configuration to runs: which fits a run consists of, what each job needs, and where all of it lies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from cmr import paths
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


@dataclass(frozen=True)
class Fit:
    """One fit: wildcards that name it, and what they stand for. ``inputs`` are one input a modality."""

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
class Run(Fit):
    """What an experiment asks for: all inputs of one combination, by one method, with one seed."""

    @property
    def folder(self) -> str:
        return paths.RUN.format(**self.wildcards)


class Plan:
    """Looks path components up. Different entries never share a component: that is a `UserError`."""

    def __init__(self, config: Config):
        self.config = config
        self.datasets: dict[str, DatasetEntry] = {}
        self.features: dict[str, FeatureEntry] = {}
        self.dictionaries: dict[str, DictionaryEntry] = {}
        self.methods: dict[str, MethodEntry] = {}
        self.runs_of: dict[str, list[Run]] = {
            self.experiment_component(experiment): self._runs(experiment) for experiment in config.experiments
        }

    # Components ------------------------------------------------------------------------------------------------

    def _register(self, table: dict[str, Any], name: str, entry: Entry) -> str:
        known = table.setdefault(name, entry)
        if known.plugin != entry.plugin:
            raise UserError(f"the id {name!r} stands for both {known.plugin!r} and {entry.plugin!r}; rename one")
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
        if entry.dictionary:
            changed = changed | {"dictionary": self._dictionary(self.config.dictionary(entry.dictionary))}
        return self._register(self.methods, component(entry.id, changed), entry)

    def experiment_component(self, experiment: Experiment) -> str:
        return f"{experiment.id}-{digest([experiment.model_dump(mode='json'), self.metrics_digest])}"

    @cached_property
    def metrics_digest(self) -> str:
        """Empty for the default metrics, else six hex digits that mark the files of an evaluation."""
        chosen = [m.model_dump() for m in self.config.metrics]
        default = [MetricEntry.model_validate(m).model_dump() for m in DEFAULT_METRICS]
        return "" if chosen == default else digest(chosen)

    # Runs ------------------------------------------------------------------------------------------------------

    def _runs(self, experiment: Experiment) -> list[Run]:
        return list(dict.fromkeys(self._combinations(experiment)))

    def _combinations(self, experiment: Experiment) -> Iterator[Run]:
        for name in experiment.data:
            entry, split = self.config.data(name)
            data = self._dataset(entry)
            for names in experiment.inputs:
                inputs = tuple(self._feature(self.config.feature(feature)) for feature in names)
                for configured in experiment.methods:
                    for method_entry in configured.points():
                        method = self._method(method_entry)
                        self._check_modalities(method_entry, inputs)
                        seeds = experiment.seeds if self.is_stochastic(method_entry) else 1
                        for seed in range(seeds):
                            yield Run(data, split, inputs, method, seed)

    def is_stochastic(self, entry: MethodEntry) -> bool:
        with_dictionary = entry.dictionary and self.config.dictionary(entry.dictionary).info.stochastic
        return bool(entry.info.stochastic or with_dictionary)

    def _check_modalities(self, entry: MethodEntry, inputs: tuple[str, ...]) -> None:
        if entry.info.modalities == 2 and len(inputs) < 2:
            raise UserError(f"method {entry.id!r} needs two modalities, the inputs {'+'.join(inputs)} have one")

    @property
    def runs(self) -> list[Run]:
        """All runs of all experiments, each once."""
        return list(dict.fromkeys(run for runs in self.runs_of.values() for run in runs))

    def fits(self, run: Run) -> list[Fit]:
        """The fits of a run: its inputs taken as many at a time as the method takes modalities."""
        size = self.methods[run.method].info.modalities
        groups = [run.inputs] if size == "any" else combinations(run.inputs, size)
        return [Fit(run.data, run.split, group, run.method, run.seed) for group in groups]

    # Files -----------------------------------------------------------------------------------------------------

    def feature_file(self, data: str, split: str, feature: str) -> str:
        fixed = self.features[feature].info.kind == "fixed"
        return paths.FEATURES.format(data=data, split=paths.ALL_ROWS if fixed else split, feature=feature)

    def feature_files(self, data: str, split: str, inputs: Iterable[str]) -> list[str]:
        return [self.feature_file(data, split, feature) for feature in inputs]

    def codes_file(self, fit: Fit) -> str | None:
        """The coefficients that a fit takes, or None where it takes the features themselves."""
        entry = self.methods[fit.method]
        if entry.dictionary is None:
            return None
        dictionary = self._dictionary(self.config.dictionary(entry.dictionary))
        return paths.CODES.format(**fit.wildcards, dictionary=dictionary)

    def fit_inputs(self, fit: Fit) -> list[str]:
        """The files that a fit, and the embedding of new rows with it, read their rows from."""
        codes = self.codes_file(fit)
        return [codes] if codes else self.feature_files(fit.data, fit.split, fit.inputs)

    def fit_files(self, fit: Fit) -> list[str]:
        return [f"{fit.folder}/{name}" for name in paths.FIT_FILES]

    def run_files(self, run: Run) -> dict[str, str]:
        names = {"metrics": "metrics.json", "curves": "curves.h5", "run": "run.json", "embeddings": "embeddings"}
        return {key: f"{run.folder}/{paths.suffixed(name, self.metrics_digest)}" for key, name in names.items()}

    def fit_configuration(self, fit: Fit) -> dict[str, Any]:
        """All that leads to a fit, for ``fit.json``: enough to run it again."""
        method = self.methods[fit.method]
        dictionary = method.dictionary and self.config.dictionary(method.dictionary)
        return {
            "data": self.datasets[fit.data].model_dump(mode="json"),
            "split": fit.split,
            "features": [self.features[name].model_dump(mode="json") for name in fit.inputs],
            "dictionary": dictionary.model_dump(mode="json") if dictionary else None,
            "method": method.model_dump(mode="json"),
            "seed": fit.seed,
        }

    @cached_property
    def identity(self) -> str:
        """Six hex digits that tell this configuration's results from another's."""
        return digest([sorted(self.runs_of), self.metrics_digest])
