"""What was run, with what, and whom to name: provenance, citations and licences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from cmr import registry
from cmr.boundary import without_trust
from cmr.progress import duration
from cmr.recorded import configuration as recorded_configuration
from cmr.recorded import features_of
from cmr.records import Project
from cmr.reporting.collect import Collection, Index
from cmr.reporting.figures import title_of
from cmr.reporting.protocols import Protocol
from cmr.reporting.runs import Run, edges_in_words, identity

VERBATIM = ("params", "tune", "sweep")


def overview(protocols: Iterable[Protocol]) -> list[dict[str, Any]]:
    """One row a protocol: data set, its size and classes, the inputs, the methods and runs."""
    return [
        {
            "protocol": protocol,
            "data": identity(protocol.first.data),
            "title": title_of("datasets", protocol.first.fits[0]["data"]["dataset"]),
            "split": protocol.first.split,
            "inputs": ", ".join(_feature(feature) for feature in features_of(protocol.first.fits)),
            "items": len(protocol.items.table),
            "classes": len(protocol.items.classes),
            "tasks": protocol.first.metrics["tasks"],
            "methods": len(protocol.groups),
            "runs": sum(len(group.runs) for group in protocol.groups),
        }
        for protocol in protocols
    ]


def _feature(feature: Mapping[str, Any]) -> str:
    return f"{feature['modality']}: {title_of('extractors', feature['extractor'])}"


# Configuration -----------------------------------------------------------------------------------------------------


def configurations(indices: Iterable[Index], title: str) -> list[tuple[str, int, str]]:
    """Names of experiments, how many runs they have, and a config.yaml that asks for them again: as few as can be."""
    together: list[list[Index]] = []
    for index in indices:
        fitting = next((members for members in together if _agree([*members, index])), None)
        if fitting is None:
            together.append([index])
        else:
            fitting.append(index)
    return [
        (
            " and ".join(index.name for index in members),
            sum(len(index.runs) for index in members),
            _text(members, title),
        )
        for members in together
    ]


def _agree(indices: Sequence[Index]) -> bool:
    """Whether one configuration can ask for all of them: no id means two things, and all are measured alike."""
    first, *others = (_recorded([index]) for index in indices)
    united = _recorded(indices)
    ids = [[entry["id"] for entry in united[key]] for key in ("datasets", "features", "dictionaries", "experiments")]
    alike = all(other[key] == first[key] for other in others for key in ("metrics", "queries"))
    return alike and all(len(set(of_kind)) == len(of_kind) for of_kind in ids)


def _recorded(indices: Sequence[Index]) -> dict[str, Any]:
    records = [run.record for index in indices for run in index.runs]
    return recorded_configuration(records, [index.configuration for index in indices])


def _text(indices: Sequence[Index], title: str) -> str:
    recorded = {"title": title, **_recorded(indices)}
    for key in ("datasets", "features"):
        recorded[key] = [without_trust(entry) for entry in recorded[key]]
    return yaml.safe_dump(
        _without_empty(recorded), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def _without_empty(entry: Any) -> Any:
    """Without what is empty or None, which are the defaults of every key but parameters; those stay as they are."""
    if isinstance(entry, Mapping):
        kept = {key: value for key, value in entry.items() if value not in (None, {}, [])}
        return {key: value if key in VERBATIM else _without_empty(value) for key, value in kept.items()}
    return [_without_empty(value) for value in entry] if isinstance(entry, list) else entry


# Provenance --------------------------------------------------------------------------------------------------------


def versions(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Package, this project first, → the versions that any job ran with."""
    return _values(
        {"cmr": str(Project.model_validate(record["project"]))} | record["versions"] for record in _records(runs)
    )


def hardware(runs: Iterable[Run]) -> dict[str, list[str]]:
    return _values(record["hardware"] for record in _records(runs))


def _records(runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    """Of every evaluation, and of every fit once, however many runs and evaluations it is part of."""
    fits: dict[str, dict[str, Any]] = {}
    for run in runs:
        yield run.record
        fits |= {fit["identity"]: fit for fit in run.fits}
    yield from fits.values()


def _values(mappings: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            found.setdefault(key, {})[str(value)] = None
    return {key: sorted(values) for key, values in sorted(found.items())}


def usage(runs: Iterable[Run]) -> dict[str, str]:
    """Time of all fits and evaluations together, and the highest peak memory of one."""
    records = list(_records(runs))
    memory = max(record["usage"]["peak_memory_mb"] for record in records) / 1000
    return {"time": duration(sum(record["usage"]["seconds"] for record in records)), "memory": f"{memory:.1f} GB"}


def run_table(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """One row a run: what was chosen on held-out rows, time, memory, hashes of code and of inputs."""
    return [
        {
            "path": run.path,
            "chosen": _chosen(run),
            "told": _told(run),
            "seconds": run.seconds,
            "memory": run.peak_memory_mb,
            "code": sorted({str(fit["code"]) for fit in run.fits}),
            "evaluation": run.record["code"],
            "inputs": {
                file: digest for record in [*run.fits, run.record] for file, digest in record["input_hashes"].items()
            },
        }
        for run in runs
    ]


def _chosen(run: Run) -> str:
    """``regularisation 0.1 (validation)``: a run's choices, one part a fit."""
    parts = []
    for fit in run.fits:
        selection = fit["selection"]
        edges = edges_in_words(fit)
        chosen = ", ".join(
            f"{key} {value}" + (f" ({edges[key]})" if key in edges else "")
            for key, value in selection["chosen"].items()
        )
        parts.append(f"{chosen} (on {selection['on']})" if chosen and "on" in selection else chosen)
    return "; ".join(filter(None, parts)) or "nothing"


def _told(run: Run) -> list[str]:
    """What one should know of how a run's fits were made."""
    found = []
    for fit in run.fits:
        if fit.get("codes") and not fit["codes"]["converged"]:
            found.append(f"dictionary: {fit['codes']['iterations']} iterations, its tolerance was not met")
        if fit.get("drawn_pairs"):
            found.append(f"{fit['drawn_pairs']} pairs drawn within a class")
    return list(dict.fromkeys(found))


# Credit ------------------------------------------------------------------------------------------------------------


def plugins(collection: Collection) -> dict[str, list[str]]:
    """Kind → names of the plug-ins that took part, in the order of the runs."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in registry.KEYS}
    for run in collection.runs:
        for fit in run.fits:
            entries = {"datasets": [fit["data"]], "extractors": fit["features"], "methods": [fit["method"]]}
            entries["dictionaries"] = [fit["dictionary"]] if fit["dictionary"] else []
            for kind, members in entries.items():
                found[kind] |= {entry[registry.KEYS[kind]]: None for entry in members}
        found["metrics"] |= {entry["metric"]: None for entry in run.record["metrics"]}
    return {kind: list(names) for kind, names in found.items()}


def credits(collection: Collection) -> list[dict[str, str]]:
    """What each plug-in says of itself; a plug-in that this version does not have is named without it."""
    return [
        {"kind": kind, "name": name, **_said(kind, name)}
        for kind, names in plugins(collection).items()
        for name in names
    ]


def _said(kind: str, name: str) -> dict[str, str]:
    if name not in registry.names(kind):
        return {"title": name, "paper": "not known to this version", "bibtex": ""}
    info = registry.info(kind, name)
    return {"title": info.title, "paper": info.paper, "bibtex": info.bibtex}


def licences(collection: Collection) -> list[dict[str, str]]:
    """Title, licence and source of every data set."""
    return [
        {"title": info.title, "licence": info.licence, "source": info.source}
        for name in plugins(collection)["datasets"]
        if name in registry.names("datasets")
        for info in [registry.info("datasets", name)]
    ]
