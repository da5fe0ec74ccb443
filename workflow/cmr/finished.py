"""Models from disk: a run that the workflow made, one of its fits, or what `cmr.Model.save` wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cmr import create, new_items, records, registry, search, settings
from cmr.api import Fit, Model, contents_of
from cmr.data import Items
from cmr.errors import UserError
from cmr.features.extraction import transformed
from cmr.machine import Machine
from cmr.paths import ITEMS
from cmr.publish import read_json
from cmr.recorded import check
from cmr.reporting.runs import Run, located
from cmr.sets import Sets

FIT_FILE = "fit.json"


@dataclass(frozen=True, repr=False)
class FinishedRun:
    """A run of the workflow, ready to embed and to search. ``run``: its files."""

    run: Run
    machine: Machine

    def __repr__(self) -> str:
        return f"FinishedRun({self.run.path!r})"

    @cached_property
    def model(self) -> Model:
        """Its fits. A fit that took coefficients of a dictionary embeds these, not features; `embed` takes contents."""
        return Model(
            tuple(Fit(fitted.method, record) for fitted, record in zip(self._fitted, self.run.fits, strict=True))
        )

    @cached_property
    def _fitted(self) -> list[new_items.Fitted]:
        return [new_items.fitted(self.run, number, self.machine) for number in range(len(self.run.fits))]

    def extract(self, modality: str, contents: Sequence[str | Path]) -> np.ndarray | Sets:
        """Features (n, d) float32, or `cmr.sets.Sets`, of new contents, by the run's extractor as it was saved.

        ``contents``: texts, or paths of files.
        """
        rows = contents_of(modality, contents, modality)
        check(self.run.record, self.machine, str(self.run.file("run.json")))
        kinds = Items.read(self.run.place(ITEMS.format(data=self.run.data))).kinds
        new_items.check_modality(self.run, modality, kinds)
        extractor, _ = new_items.extractor(self.run, modality, self.machine)
        return transformed(extractor, rows)

    def embed(self, modality: str, contents: Sequence[str | Path], other: str | None = None) -> np.ndarray:
        """Embeddings (n, k) float32 of new contents. ``other``: as in `Model.embed`."""
        return self._fitted[self.model.number(modality, other)].embed(modality, self.extract(modality, contents))

    def search(
        self,
        *,
        text: str | None = None,
        image: str | Path | None = None,
        k: int = 10,
        index: str | Path | None = None,
    ) -> list[search.Answer]:
        """The test items of each other modality that score highest, or those of an index, as ``cmr search`` prints."""
        if (text is None) == (image is None):
            raise UserError("search: give either text= or image=")
        place = None if index is None else Path(index)
        if image is not None:
            return search.search(self.run, search.IMAGE, Path(image), k, self.machine, place)
        return search.search(self.run, search.TEXT, str(text), k, self.machine, place)


def load(folder: str | Path, config: Sequence[str] = ()) -> Model | FinishedRun:
    """A `FinishedRun` from ``results/runs/DATA/SPLIT/INPUTS/METHOD/SEED``; a `Model` from the folder of a fit, or from
    one that `Model.save` wrote.

    ``config``: configuration files beside ``config.yaml``, which say where weights and data lie. Raises `UserError`
    where the folder holds neither.
    """
    place = Path(folder)
    machine = settings.machine(config, registry.own_folder())  # those that `registry.use` found stay known
    if located(place):
        return FinishedRun(search.find(place, machine.folders), machine)
    fits = [place] if (place / FIT_FILE).exists() else [file.parent for file in place.glob(f"*/{FIT_FILE}")]
    if not fits:
        raise UserError(f"{folder}: no model; expected {FIT_FILE}, folders that hold one, or {search.FORM}")
    order = _order(fits)
    return Model(tuple(_fit(place, machine) for place in order))


def _are_dimensions(found: object, modalities: Sequence[str]) -> bool:
    """Whether a record's ``dimensions`` has of each modality a number of columns, or one of each form."""
    forms = [found.get(modality) for modality in modalities] if isinstance(found, dict) else [None]
    numbers = [number for form in forms for number in (form.values() if isinstance(form, dict) else [form])]
    return all(isinstance(number, int) for number in numbers)


def _order(folders: list[Path]) -> list[Path]:
    """Fits in the order of their modalities, as `Model.save` was given them."""
    return sorted(folders, key=lambda folder: read_json(folder / FIT_FILE).get("number", 0))


def _fit(folder: Path, machine: Machine) -> Fit:
    method, record = create.fitted_method(folder, machine)
    if "dimensions" not in record:
        raise UserError(f"{folder / FIT_FILE}: {records.OLD}")
    if not _are_dimensions(record["dimensions"], record["modalities"]):
        raise UserError(f"{folder / FIT_FILE}: dimensions are not the columns of each modality; it is damaged")
    if record["dictionary"]:
        raise UserError(f"{folder}: the fit takes coefficients of a dictionary; load its run, {search.FORM}")
    return Fit(method, record)
