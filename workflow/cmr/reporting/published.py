"""Figures quoted from papers, beside what was measured by the same protocol."""

import csv
from collections.abc import Iterable
from pathlib import Path

from cmr.reporting.protocols import Protocol
from cmr.reporting.runs import identity

FOLDER = Path(__file__).parents[3] / "resources" / "published"

Quote = dict[str, str]
"""Keys: paper, table, dataset, split, features, method, query, gallery, metric, value, note."""


def read(folder: Path = FOLDER) -> list[Quote]:
    """The rows of every table of quoted figures, in the order of the files' names."""
    quotes: list[Quote] = []
    for file in sorted(folder.glob("*.csv")):
        with open(file, newline="", encoding="utf-8") as lines:
            quotes += list(csv.DictReader(lines))
    return quotes


def of_datasets(quotes: Iterable[Quote], protocols: Iterable[Protocol]) -> list[Quote]:
    """The quotes on data sets that the report has."""
    known = {name for protocol in protocols for name in _dataset_names(protocol)}
    return [quote for quote in quotes if quote["dataset"] in known]


def matching(quotes: Iterable[Quote], protocol: Protocol, metric: str) -> list[Quote]:
    """The quotes of the very protocol: data set, split, features (as the inputs are written) and metric."""
    inputs = "+".join(identity(part) for part in protocol.first.inputs.split("+"))
    return [
        quote
        for quote in quotes
        if quote["dataset"] in _dataset_names(protocol)
        and (quote["split"], quote["features"], quote["metric"]) == (protocol.first.split, inputs, metric)
    ]


def _dataset_names(protocol: Protocol) -> set[str]:
    entry = protocol.first.fits[0]["data"]
    return {entry["id"], entry["dataset"]}
