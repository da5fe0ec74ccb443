"""Small projects for tests: a configuration, its data in a folder, and the stages that the rules would run there."""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmr import config
from cmr.machine import Machine
from cmr.plan import Plan, Result, shards_of
from cmr.publish import read_json
from cmr.recording import Recording, recording
from cmr.shards import count


class Project:
    """The results of a configuration in the folder ``root``, whose paths in the plan are relative to it."""

    def __init__(self, root: Path, configuration: Mapping[str, Any], **machine: Any):
        self.root = Path(root)
        self.plan = Plan(config.validate(dict(configuration)))
        self.machine = Machine(**{"cache": "cache", "device": "cpu"} | machine)

    def results(self, stage: str) -> list[Result]:
        return [result for result in self.plan.results() if result.stage == stage]

    def only(self, stage: str) -> Result:
        """The one result of a stage."""
        (found,) = self.results(stage)
        return found

    def make(self, result: Result, again: bool = False) -> Result:
        """Makes a result and before it what it is made from, as far as they are not there. ``again``: it at least."""
        with chdir(self.root):
            self._make(result, again)
        return result

    def _make(self, result: Result, again: bool) -> None:
        for source in result.made_from:
            self._make(source, False)
        if again or not Path(result.record).exists():
            for shard in self.shards(result):
                self._make(shard, False)
            importlib.import_module(f"cmr.stages.{result.stage}").make(result, self.machine)

    def shards(self, result: Result) -> Sequence[Result]:
        """What features are joined from, by their items, which are prepared; nothing of another result."""
        if result.stage != "extract":
            return ()
        table, modality = result.source("prepare").files[0], result.settings["feature"]["modality"]
        return shards_of(result, count(table, modality))

    @contextmanager
    def by_hand(self, result: Result) -> Iterator[Recording]:
        """The block writes the result's files, in the project's folder; the record follows, as that of a stage does."""
        with chdir(self.root):
            for source in result.made_from:
                self._make(source, False)
            with recording(result, self.machine) as made:
                yield made

    def path(self, file: str) -> Path:
        """Where a file lies that the plan names."""
        return self.root / file

    def record(self, result: Result) -> dict[str, Any]:
        return read_json(self.path(result.record))


def written_features(
    folder: Path, values: Mapping[str, np.ndarray], labels: Sequence[Any], parts: Sequence[str]
) -> dict[str, Any]:
    """Writes ready features (n, d) by modality; ``labels`` and ``parts`` (n,) say what each row is.

    Returns the part of a configuration that names them, that of `of_features`. The items' ids are those of `ids`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", np.asarray(labels))
    for modality, rows in values.items():
        np.save(folder / f"{modality}.npy", rows)
    for part in set(parts):
        np.save(folder / f"{part}.npy", np.flatnonzero(np.asarray(parts) == part))
    return of_features(values, sorted(set(parts)))


def of_features(modalities: Iterable[str], parts: Iterable[str]) -> dict[str, Any]:
    """The data set ``made``, and a feature named as each modality."""
    params = {
        "features": {modality: f"{modality}.npy" for modality in modalities},
        "labels": "labels.npy",
        "index": {part: f"{part}.npy" for part in parts},
    }
    return {
        "datasets": [{"id": "made", "dataset": "precomputed", "params": params}],
        "features": [{"id": modality, "extractor": "ready", "modality": modality} for modality in modalities],
    }


def ids(n: int) -> np.ndarray:
    """The ids of ``n`` rows that `written_features` wrote."""
    return np.array([f"item-{row:05}" for row in range(n)])


def experiment(inputs: Sequence[str], *methods: Any, **more: Any) -> dict[str, Any]:
    """One experiment on the data set ``made``."""
    return {"experiments": [{"id": "main", "data": ["made"], "inputs": [list(inputs)], "methods": [*methods], **more}]}
