"""The stages, one function each: what a rule's script calls with plain paths and configuration.

``configuration`` is what a result's files record of their origin: the entries that lead to it, as dictionaries.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmr import inputs, paths, provenance, registry, store
from cmr.data import TEST, TRAIN, Items, Split
from cmr.errors import UserError

log = logging.getLogger(__name__)

Entry = Mapping[str, Any]
"""A configured plug-in as a dictionary: id, the plug-in's name under its kind's key, params."""


Machine = Mapping[str, Any]
"""What differs between machines and changes no result: cache, device, base (of relative data paths), data_root."""


def create_dataset(entry: Entry, folder: str, machine: Machine) -> Any:
    params = registry.params_model("datasets", entry["dataset"])(**entry["params"])
    create = registry.load("datasets", entry["dataset"])
    return create(params, Path(folder), Path(machine["cache"]), Path(machine["base"]), machine["data_root"])


def download(entry: Entry, folder: str, machine: Machine, record: str) -> None:
    """Raw files into the cache; what they are into ``record``."""
    files = create_dataset(entry, folder, machine).download()
    store.write_json(record, {"schema_version": store.SCHEMA_VERSION, "dataset": entry["dataset"], "files": files})


def prepare(entry: Entry, folder: str, machine: Machine, items: str) -> None:
    """The items table, from the raw files."""
    create_dataset(entry, folder, machine).prepare().write(items)


def split(entry: Entry, folder: str, machine: Machine, items: str, name: str, output: str) -> None:
    """One named split of the items."""
    create_dataset(entry, folder, machine).split(Items.read(items), name).write(output)


def picture_roots(entries: Mapping[str, Entry], machine: Machine) -> dict[str, Path]:
    """Path component of a data set → the folder that the paths of its items are relative to, where it is here."""
    roots = {}
    for name, entry in entries.items():
        try:
            roots[name] = create_dataset(entry, paths.DATA.format(data=name), machine).root()
        except UserError as error:
            log.warning("the page has no pictures of %s: %s", name, error)
    return roots


def create_extractor(entry: Entry, machine: Machine, device: str = "cpu", threads: int = 1) -> Any:
    params = registry.params_model("extractors", entry["extractor"])(**entry["params"])
    return registry.load("extractors", entry["extractor"])(params, Path(machine["cache"]), device, threads)


def fetch_weights(entry: Entry, machine: Machine, output: str) -> None:
    """The weights of an extractor into the cache; what they are into ``output``."""
    weights = create_extractor(entry, machine).fetch()
    store.write_json(output, {"schema_version": store.SCHEMA_VERSION, "extractor": entry["extractor"], **weights})


def extract(
    entry: Entry,
    dataset: Entry,
    folder: str,
    machine: Machine,
    items: str,
    split: str | None,
    weights: str | None,
    output: str,
    partial: str,
    threads: int,
    code: str,
) -> None:
    """The features of every item that has the extractor's modality. ``split``: given for fitted extractors."""
    from cmr.device import resolve
    from cmr.features.extraction import extract as run

    table = Items.read(items)
    ids = table.having(entry["modality"])["id"].to_numpy(str)
    training = None if split is None else np.isin(ids, list(Split.read(split).ids(TRAIN)))
    info = registry.info("extractors", entry["extractor"])
    labels = table.labels(ids[training]) if info.uses_labels else None
    device = resolve(machine["device"]) if info.gpu else "cpu"
    extractor = create_extractor(entry, machine, device, threads)
    contents = extractor.contents(create_dataset(dataset, folder, machine), table, entry["modality"])
    attributes = {
        "extractor": entry["extractor"],
        "modality": entry["modality"],
        "params": dict(entry["params"]),
        "weights": store.read_json(weights) if weights else {},
        "code": code,
        "versions": provenance.versions(),
    }
    run(extractor, contents, ids, Path(output), attributes, Path(partial), training, labels)


def encode(
    entry: Entry,
    features: Sequence[Entry],
    items: str,
    split: str,
    files: Sequence[str],
    output: str,
    seed: int,
    code: str,
) -> None:
    """Dictionary coefficients of all rows: the joint objective's for training rows, the transform's for the others."""
    table, parts = Items.read(items), Split.read(split)
    views = inputs.read_features(files, features, table)
    params = registry.params_model("dictionaries", entry["dictionary"])(**entry["params"])
    create = registry.load("dictionaries", entry["dictionary"])
    modalities = tuple(views)
    groups: dict[str, store.Rows] = {}
    trainings = {"": parts.ids(TRAIN)} | ({} if parts.has_validation else {"selection/": parts.selection_train})
    for prefix, training in trainings.items():
        dictionary = create(params, modalities, seed)
        codes = inputs.encode_rows(dictionary, views, training)
        groups |= {f"{prefix}{modality}": rows for modality, rows in codes.items()}
        if not prefix:
            state = dictionary.state()
    attributes = {"dictionary": entry["dictionary"], "params": dict(entry["params"]), "seed": seed, "code": code}
    store.write_groups(output, groups, attributes, state)


def fit(
    configuration: Mapping[str, Any],
    items: str,
    split: str,
    files: Sequence[str],
    folder: str,
    partial: str,
    device: str,
    code: str,
) -> None:
    """Chooses on held-out rows, fits on training rows, and publishes the model, its history and ``fit.json``."""
    from cmr.selection import select_and_fit

    entry, features, is_codes = configuration["method"], configuration["features"], bool(configuration["dictionary"])
    info = registry.info("methods", entry["method"])
    with provenance.measured() as usage:
        table, parts = Items.read(items), Split.read(split)
        data = inputs.training_data(files, features, table, parts, is_codes, with_labels=info.labels)
        unlabelled = inputs.test_rows(files, features, table, parts, is_codes, False) if info.transductive else None
        create = method_factory(configuration, tuple(data.train), device, Path(partial))
        method, history, selection = select_and_fit(create, entry["tune"], info.chooses, data, unlabelled)
    with store.atomic_folder(folder) as temporary:
        store.write_arrays(temporary / "model.safetensors", method.state())
        store.write_table(temporary / "history.csv", history.rows)
        store.write_json(
            temporary / "fit.json",
            {
                "schema_version": store.SCHEMA_VERSION,
                **configuration,
                "modalities": list(data.train),
                "selection": selection,
                **_origin([items, split, *files], code, usage),
            },
        )
    shutil.rmtree(partial, ignore_errors=True)


def _origin(made_from: Sequence[str], code: str, usage: Mapping[str, float]) -> dict[str, Any]:
    """What every record says of how its results came about."""
    return {
        "input_hashes": _hashes(made_from),
        "code": code,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "usage": usage,
    }


def _hashes(files: Sequence[str]) -> dict[str, str]:
    return {file: provenance.file_hash(file) for file in files}


def method_factory(configuration: Mapping[str, Any], modalities: tuple[str, ...], device: str, partial: Path) -> Any:
    """Makes an unfitted method, with some parameters changed; it resumes from ``partial``/``name``.pt."""
    entry = configuration["method"]
    model = registry.params_model("methods", entry["method"])
    method = registry.load("methods", entry["method"])
    if registry.info("methods", entry["method"]).gpu:
        from cmr.device import resolve

        device = resolve(device)

    def create(parameters: dict[str, Any], name: str) -> Any:
        params = model(**entry["params"] | parameters)
        return method(params, modalities, configuration["seed"], device, partial / f"{name}.pt")

    return create


def load_method(folder: str | Path, device: str) -> tuple[Any, dict[str, Any]]:
    """The fitted method of one fit's folder, ready to embed, and its ``fit.json``."""
    record = store.read_json(Path(folder) / "fit.json")
    create = method_factory(record, tuple(record["modalities"]), device, Path(folder))
    method = create(record["selection"]["chosen"], "final")
    model = Path(folder) / "model.safetensors"
    state = store.read_arrays(model)
    try:
        method.load_state(state)
    except Exception as error:  # as methods meet arrays that are missing or of other shapes
        name = record["method"]["method"]
        raise UserError(f"{model}: not a model of {name!r}; delete its folder and run again ({error})") from error
    return method, record


def evaluate(
    fits: Sequence[Mapping[str, Any]],
    metrics: Sequence[Entry],
    items: str,
    split: str,
    outputs: Mapping[str, str],
    device: str,
    threads: int,
    code: str,
) -> None:
    """Embeds the test rows with each fit, ranks them in every direction, and publishes the run.

    ``fits``: ``folder``, ``inputs`` and ``files`` of each fit; ``outputs``: the run's files by name.
    """
    from cmr import evaluation

    with provenance.measured() as usage:
        table, parts = Items.read(items), Split.read(split)
        fitted = [load_method(fit["folder"], device) for fit in fits]
        embedded = []
        for fit, (method, record) in zip(fits, fitted, strict=True):
            rows = inputs.test_rows(fit["files"], record["features"], table, parts, bool(record["dictionary"]), True)
            embedded.append(inputs.embed(method, fit["inputs"], rows))
        configured = [evaluation.ConfiguredMetric.from_entry(m) for m in metrics]
        tasks = [
            evaluation.evaluate_task(score, query, gallery, configured, table.classes, names, threads)
            for names, query, gallery, score in inputs.tasks(embedded)
        ]
    written = [outputs["metrics"], outputs["curves"], *_write_embeddings(embedded, outputs["embeddings"], code)]
    evaluation.write_curves(outputs["curves"], tasks)
    evaluation.write_metrics(outputs["metrics"], tasks)
    store.write_json(
        outputs["run"],
        {
            "schema_version": store.SCHEMA_VERSION,
            "fits": [record for _, record in fitted],
            "metrics": [dict(m) for m in metrics],
            "test_part": TEST,
            "output_hashes": _hashes(written),
            **_origin([items, split, *(f"{fit['folder']}/model.safetensors" for fit in fits)], code, usage),
        },
    )


def _write_embeddings(embedded: Sequence[inputs.Embedded], folder: str, code: str) -> list[str]:
    """A file a modality, in a folder for each fit where fits share a modality; their paths, sorted."""
    with store.atomic_folder(folder) as temporary:
        for part in embedded:
            inner = temporary if inputs.each_modality_once(embedded) else temporary / "+".join(part.inputs)
            for modality, view in part.views.items():
                store.write_matrix(inner / f"{modality}.h5", "embeddings", view.ids, view.features, {"code": code})
    return sorted(map(str, Path(folder).rglob("*.h5")))


def collect(configuration: Mapping[str, Any], runs: Sequence[str], metrics: str, run: str, output: str) -> None:
    """The index of an experiment: which runs it consists of, and the names of their files."""
    store.write_json(
        output,
        {
            "schema_version": store.SCHEMA_VERSION,
            "id": configuration["id"],
            "configuration": configuration,
            "runs": list(runs),
            "metrics": metrics,
            "run": run,
        },
    )
