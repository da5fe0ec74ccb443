"""One evaluated run of a results tree, as its files tell it (see results/README.md)."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cmr import boundary
from cmr.errors import UserError
from cmr.paths import CODES, FEATURES, FIT, RESULTS, inside, suffixed
from cmr.provenance import file_hash
from cmr.publish import read_json
from cmr.records import read_run
from cmr.store import Rows, open_hdf5, read_matrix

FIT_RECORDS, CODES_RECORDS, FEATURES_RECORDS = (form.partition("{")[0] for form in (FIT, CODES, FEATURES))

AT_EDGE = {"lowest": "lowest tried", "highest": "highest tried", "last allowed": "last allowed"}
"""How a choice lies at the end of what was tried → in words. At a parameter's own bound there is nothing beyond."""

IS_RUN = re.compile(rf"(?:{RESULTS}/)?runs(?:/[A-Za-z0-9][A-Za-z0-9._@+-]*){{4}}/\d+")

Direction = tuple[str, str]
"""Query modality, gallery modality."""


def located(folder: str | Path) -> tuple[Path, str] | None:
    """The results folder and the path below it of a run's folder, which need not be there; None for another folder."""
    place = Path(os.path.abspath(folder))  # as the user wrote it: links are followed where files are read
    path = "/".join(place.parts[-6:])
    return (place.parents[5], path) if path.startswith("runs/") and IS_RUN.fullmatch(path) else None


def identity(component: str) -> str:
    """The id in a path component: ``dla-4a7405`` → ``dla``. Ids have no hyphen."""
    return component.partition("-")[0]


@dataclass(frozen=True)
class Task:
    """One direction of ``curves.h5``.

    ``ids`` (q,) of the queries; ``per_query`` metric → (q,); ``curves`` metric → x, y (points,); ``top`` (q, k) rows
    of the gallery, best first.
    """

    ids: np.ndarray
    per_query: dict[str, np.ndarray]
    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    top: np.ndarray


@dataclass(frozen=True)
class Run:
    """One method with one seed on one split and inputs.

    ``path`` lies under the results folder: ``runs/{data}/{split}/{inputs}/{method}/{seed}``. ``digest`` marks the
    files of an evaluation whose metrics are not the default ones. ``folders``: those of the user's own that links in
    the results may lead to.
    """

    results: Path
    path: str
    digest: str
    folders: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def listed(cls, results: Path, path: str, metrics_file: str, folders: tuple[str, ...] = ()) -> "Run":
        """A run as an experiment's index lists it: with the name of its metrics, ``metrics-1a2b3c.json``.

        Raises ValueError for names of another form.
        """
        digest = re.fullmatch(r"metrics-?(.*)\.json", metrics_file)
        if not digest or "/" in digest[1] or not IS_RUN.fullmatch(path):
            raise ValueError(f"{path!r}, {metrics_file!r}: not the names of a run and its metrics")
        return cls(results, path.removeprefix(f"{RESULTS}/"), digest[1], folders)

    @property
    def data(self) -> str:
        return self.path.split("/")[1]

    @property
    def split(self) -> str:
        return self.path.split("/")[2]

    @property
    def inputs(self) -> str:
        return self.path.split("/")[3]

    @property
    def variant(self) -> str:
        """The method's path component: its id, and a digest of what differs from the defaults."""
        return self.path.split("/")[4]

    @property
    def seed(self) -> int:
        return int(self.path.split("/")[5])

    @property
    def protocol(self) -> str:
        """What must be the same for two runs to be compared: data set, split and inputs."""
        return f"{self.data}/{self.split}/{self.inputs}"

    @property
    def group(self) -> str:
        """What the seeds of one method share."""
        return f"{self.protocol}/{self.variant}"

    def file(self, name: str) -> Path:
        """Raises `UserError` for a link that leaves the results."""
        return self.place(f"{self.path}/{suffixed(name, self.digest)}")

    def place(self, path: str) -> Path:
        """Where a path lies that a record names."""
        return Path(inside(str(self.results), path, self.folders))

    def own(self, file: Path) -> Path:
        """A file in the results. Raises `UserError` for a link that leaves them."""
        return boundary.within(self.results, file, self.folders)

    def _read(self, name: str, read: Callable[[Path], Any] = read_json) -> dict[str, Any]:
        try:
            return read(self.file(name))
        except FileNotFoundError:
            raise UserError(f"{self.file(name)}: no such file, though an experiment lists it; run again") from None

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json``; raises `UserError` where it was edited."""
        found = self._read("metrics.json")
        if not self.is_as_written:
            raise UserError(f"{self.file('metrics.json')}: other bytes than were written; delete it and run again")
        return found

    @property
    def is_as_written(self) -> bool:
        """Whether the metrics have the hash that the run's record gives."""
        file = self.file("metrics.json")
        told = {Path(name).name: value for name, value in self.record["output_hashes"].items()}
        return told.get(file.name) in (None, file_hash(file))

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``; raises `UserError` where it is none, or of another schema."""
        return self._read("run.json", read_run)

    @property
    def fits(self) -> list[dict[str, Any]]:
        """The records (``fit.json``) of the fits that the run consists of."""
        return self.record["fits"]

    @property
    def method(self) -> dict[str, Any]:
        """The method's entry: ``id``, ``method`` (the plug-in's name), ``params`` and so on."""
        return self.fits[0]["method"]

    @property
    def seconds(self) -> float:
        """Wall time of its fits, choosing included."""
        return sum(fit["usage"]["seconds"] for fit in self.fits)

    @property
    def peak_memory_mb(self) -> float:
        return max(fit["usage"]["peak_memory_mb"] for fit in self.fits)

    @property
    def fit_folders(self) -> list[Path]:
        """The folders of its fits, in the order of their records."""
        return [record.parent for record in self.sources(self.record, FIT_RECORDS)]

    def sources(self, record: Mapping[str, Any], below: str) -> list[Path]:
        """Of the records that one was made from, those ``below`` a folder of results, in this tree."""
        return [self.place(path) for path in record["made_from"] if path.startswith(below)]

    @property
    def codes_records(self) -> list[Path]:
        """The records of the codes that its fits took in the features' place."""
        return [path for fit in self.fits for path in self.sources(fit, CODES_RECORDS)]

    def features_record(self, component: str) -> Path:
        """The record of one of the run's features, by its path component."""
        made = [*self.fits, *map(read_json, self.codes_records)]
        found = [path for record in made for path in self.sources(record, FEATURES_RECORDS) if path.stem == component]
        return found[0]

    @cached_property
    def tasks(self) -> dict[Direction, Task]:
        """``curves.h5``."""
        with open_hdf5(self.file("curves.h5")) as file:
            try:
                return {tuple(name.split("→")): _task(group) for name, group in file.items()}
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                told = f"not the curves of a run ({error}); delete it and run again"
                raise UserError(f"{self.file('curves.h5')}: {told}") from None

    @property
    def spaces(self) -> list[Path]:
        """Folders of embeddings that lie in one common space: one, or one a pair of inputs."""
        folder = self.file("embeddings")
        return [folder] if any(folder.glob("*.h5")) else sorted(path for path in folder.iterdir() if path.is_dir())

    def files_of(self, space: Path) -> dict[str, Path]:
        """Modality → its file of embeddings."""
        return {file.stem: self.own(file) for file in sorted(space.glob("*.h5"))}

    def embeddings(self, modalities: Iterable[str]) -> dict[str, Rows]:
        """Test embeddings of ``modalities`` that can be compared."""
        wanted = list(modalities)
        for space in self.spaces:
            files = self.files_of(space)
            if set(wanted) <= set(files):
                return {modality: read_matrix(files[modality], "embeddings") for modality in wanted}
        raise UserError(f"{self.file('embeddings')}: no embeddings of {' and '.join(wanted)}; run again")


def choices_at_edge(runs: Iterable[Run]) -> list[str]:
    """``alpha highest tried in 2 of 5 fits``: the choices of some runs that lie at the end of what was tried."""
    fits = [fit for run in runs for fit in run.fits]
    found = Counter(f"{name} {words}" for fit in fits for name, words in edges_in_words(fit).items())
    return [f"{choice} in {count} of {len(fits)} fits" for choice, count in found.items()]


def edges_in_words(fit: Mapping[str, Any]) -> dict[str, str]:
    """Parameter → ``highest tried``: of one fit's record, those choices that lie at the end of what was tried."""
    return {name: AT_EDGE[where] for name, where in fit["selection"].get("at_edge", {}).items() if where in AT_EDGE}


def _task(group: Any) -> Task:
    metrics = [name for name in group if name not in ("ids", "top")]
    return Task(
        ids=group["ids"].asstr()[()],
        per_query={m: group[m]["per_query"][()] for m in metrics if "per_query" in group[m]},
        curves={m: (group[m]["x"][()], group[m]["y"][()]) for m in metrics if "x" in group[m]},
        top=group["top"][()],
    )
