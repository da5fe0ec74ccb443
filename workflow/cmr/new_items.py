"""New items in a finished run: features by its extractors as they were saved, embeddings by its models.

An item goes the way that test rows went: features, coefficients where the run used a dictionary, embedding.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmr import code, create, registry, store
from cmr.dictionary.base import Dictionary
from cmr.errors import UserError
from cmr.features import weights
from cmr.features.base import Extractor
from cmr.machine import Machine
from cmr.methods.base import Method
from cmr.records import CodesRecord, FeaturesRecord, as_it_stands
from cmr.reporting.runs import CODES_RECORDS, Run, identity

log = logging.getLogger(__name__)


def components(run: Run) -> dict[str, list[str]]:
    """Modality → the path components of its features, in the order of the run's inputs."""
    modality_of = {feature["id"]: feature["modality"] for fit in run.fits for feature in fit["features"]}
    found: dict[str, list[str]] = {}
    for component in run.inputs.split("+"):
        found.setdefault(modality_of[identity(component)], []).append(component)
    return found


def check_modality(run: Run, modality: str, kinds: dict[str, str]) -> None:
    """Raises `UserError` where the run does not tell how features of a new content of this modality are made.

    ``kinds``: `Items.kinds` of the run's data.
    """
    known = components(run)
    if modality not in known:
        raise UserError(f"{run.path}: the run has no {modality}; it has {', '.join(known)}")
    if len(known[modality]) > 1:
        raise UserError(
            f"{run.path}: its {modality} has both a vector and a set ({', '.join(known[modality])}), and new items are "
            "embedded from one feature alone; take a run with one of them"
        )
    if kinds[modality] != modality:
        what = "comes as ready features only" if kinds[modality] == "ready" else f"holds {kinds[modality]}"
        raise UserError(f"{run.path}: its {modality} {what}, so features of a new one cannot be extracted")


def extractor(run: Run, modality: str, machine: Machine) -> tuple[Extractor[Any], dict[str, Any]]:
    """The extractor of a modality with the state that was saved with the items' features, and their record.

    Raises `UserError` where its weights are others than the run's.
    """
    entry = next(f for fit in run.fits for f in fit["features"] if f["modality"] == modality)
    if entry["extractor"] == "ready":
        raise UserError(f"{run.path}: {entry['id']!r} are ready features, so those of a new {modality} are not known")
    (component,) = components(run)[modality]
    place = run.features_record(component)
    file, record = run.own(place.with_suffix(".h5")), as_it_stands(place, FeaturesRecord)
    state = store.read_state(file)
    made = create.extractor(entry, machine)
    weights.expect(record["weights"], made.fetch(), file, "place those, or run the workflow again")
    warn_of_other_code(record, entry["extractor"])
    if state:
        made.load_state(state)
    elif registry.info("extractors", entry["extractor"]).kind == "fitted":
        raise UserError(
            f"{file}: it lacks what {entry['extractor']} has learned; copy it anew, or run `snakemake features`"
        )
    return made, record


def warn_of_other_code(record: dict[str, Any], name: str) -> None:
    plugins = tuple((kind, plugin) for kind, plugin in record["plugins"])
    if code.of_stage(record["stage"], plugins) != record["code"]:
        log.warning("the code of %s has changed since the run; its results may no longer be the same", name)


@dataclass(frozen=True)
class Fitted:
    """A fit of a run, ready for new items. ``dictionary``: where the fit took coefficients, and not features."""

    method: Method
    dictionary: Dictionary | None

    def embed(self, modality: str, features: Any) -> np.ndarray:
        """Embeddings (n, k) float32 of features (n, d), or `Sets`."""
        taken = features if self.dictionary is None else self.dictionary.transform(modality, features)
        return np.asarray(self.method.embedded(modality, taken), np.float32)


def fitted(run: Run, number: int, machine: Machine) -> Fitted:
    """One of the run's fits. Raises `UserError` where its model is not there."""
    folder, record = run.fit_folders[number], run.fits[number]
    if not (folder / "fit.json").exists():
        raise UserError(f"{folder}: the model of the run is not there; copy it, or run `snakemake fits`")
    for file in ("fit.json", "model.safetensors"):
        run.own(folder / file)
    method, _ = create.fitted_method(folder, machine)
    warn_of_other_code(record, record["method"]["method"])
    return Fitted(method, _dictionary(run, record) if record["dictionary"] else None)


def _dictionary(run: Run, record: dict[str, Any]) -> Dictionary:
    """The dictionary that the fit took its coefficients from."""
    entry = create.tuned_dictionary(record["dictionary"], record["selection"]["chosen"])
    tried = {file: as_it_stands(run.own(file), CodesRecord) for file in run.sources(record, CODES_RECORDS)}
    recorded = next(file for file, codes in tried.items() if create.same_dictionary(codes["dictionary"], entry))
    dictionary = create.dictionary(entry, tuple(record["modalities"]), record["seed"])
    dictionary.load_state(store.read_state(run.own(recorded.with_suffix(".h5"))))
    return dictionary
