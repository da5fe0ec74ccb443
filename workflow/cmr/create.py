"""Plug-ins made from what a configuration or a record says of them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cmr import paths, records, registry
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.params import of_dictionary, of_method


def dataset(entry: Mapping[str, Any], folder: str | Path, machine: Machine) -> Any:
    """``folder``: that of the data set's results, `cmr.paths.DATA`."""
    params = registry.params("datasets", entry["dataset"], entry["params"])
    root = Path(machine.data_root) if machine.data_root else None
    plugin = registry.load("datasets", entry["dataset"])
    return plugin(params, Path(folder), Path(machine.cache), Path(machine.base), root)


def extractor(entry: Mapping[str, Any], machine: Machine) -> Any:
    """On the device that the machine offers, where the plug-in can use one. Files of the user's have whole paths."""
    info = registry.info("extractors", entry["extractor"])
    params = registry.params("extractors", entry["extractor"], entry["params"])
    own = {key: os.path.abspath(machine.located(value)) for key in info.files if (value := getattr(params, key))}
    params = params.model_copy(update={key: place for key, place in own.items() if Path(place).exists()})
    plugin = registry.load("extractors", entry["extractor"])
    return plugin(params, Path(machine.cache), _device(info, machine), machine.threads)


def _device(info: Any, machine: Machine) -> str:
    if not info.gpu:
        return "cpu"
    from cmr.device import resolve

    return resolve(machine.device)


def learns_from_labels(feature: Mapping[str, Any]) -> bool:
    """Whether features are of an extractor that has seen the labels of the rows that it was fitted on."""
    return registry.info("extractors", feature["extractor"]).uses_labels


def tuned_dictionary(entry: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, Any]:
    """A dictionary's entry with its own among the values of what is ``tuned``."""
    return {**entry, "params": {**entry["params"], **of_dictionary(tuned)}}


def same_dictionary(entry: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two entries give the same coefficients: the same plug-in with equal parameters, defaults included."""
    first, second = (registry.params("dictionaries", e["dictionary"], e["params"]) for e in (entry, other))
    return entry["dictionary"] == other["dictionary"] and first == second


def dictionary(entry: Mapping[str, Any], modalities: tuple[str, ...], seed: int) -> Any:
    params = registry.params("dictionaries", entry["dictionary"], entry["params"])
    return registry.load("dictionaries", entry["dictionary"])(params, modalities, seed)


def methods(
    configuration: Mapping[str, Any], modalities: tuple[str, ...], machine: Machine, partial: Path | None
) -> Callable[[dict[str, Any], str], Any]:
    """Makes an unfitted method, with some parameters changed; it resumes from ``partial``/``name``.pt.

    ``configuration`` has ``method`` (an entry) and ``seed``. ``partial``: None for a fit that leaves nothing behind.
    """
    entry = configuration["method"]
    plugin = registry.load("methods", entry["method"])
    device = _device(registry.info("methods", entry["method"]), machine)

    def create(parameters: dict[str, Any], name: str) -> Any:
        params = registry.params("methods", entry["method"], {**entry["params"], **of_method(parameters)})
        checkpoint = partial and partial / f"{name}.pt"
        return plugin(params, modalities, configuration["seed"], device, checkpoint)

    return create


def fitted_method(folder: str | Path, machine: Machine) -> tuple[Any, dict[str, Any]]:
    """The fitted method of one fit's folder, ready to embed, and its ``fit.json``."""
    from cmr.store import read_arrays

    record = records.as_it_stands(Path(folder) / "fit.json", records.ModelRecord)
    create = methods(record, tuple(record["modalities"]), machine, None)
    method = create(record["selection"]["chosen"], "final")
    model = Path(folder) / "model.safetensors"
    state = read_arrays(model)
    try:
        method.load_state(state)
    except Exception as error:  # as methods meet arrays that are missing or of other shapes
        name = record["method"]["method"]
        raise UserError(f"{model}: not a model of {name!r}; delete its folder and run again ({error})") from error
    return method, record


def data_folder(data: str) -> str:
    """The folder of a data set's results, by its path component."""
    return paths.DATA.format(data=data)
