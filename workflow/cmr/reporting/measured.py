"""Measured results as data: what ``cmr summary --csv`` writes, and the documentation's tables are made from.

``resources/measured`` holds such files of this project's own runs. ``docs/generate.py`` makes tables of them.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmr.errors import UserError, inert
from cmr.params import canonical
from cmr.reporting.collect import Collection, Row
from cmr.reporting.costs import processor_of
from cmr.reporting.runs import Run

COLUMNS = (
    "dataset", "split", "inputs", "experiment", "method", "id", "parameters", "metric", "plugin", "query",
    "gallery", "mean", "std", "seeds", "ci95_low", "ci95_high", "ci95_covers", "chance", "pessimistic", "optimistic",
    "seconds", "peak_memory_mb", "at_edge", "version", "commit", "hardware",
)  # fmt: skip
NUMBERS = ("mean", "std", "chance", "seconds", "peak_memory_mb")
DIGITS = 6


def as_csv(rows: Sequence[Row], collection: Collection) -> str:
    """A line a row of `cmr.reporting.collect.Collection.rows`, with what its experiment's runs say of how it was made.

    Fractions have six decimals. The interval is that of `cmr.reporting.significance`. A commit with edits that were not
    committed ends in ``+``; where seeds differ in what made them, all of it stands there.
    """
    members: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for experiment in collection.experiments:
        for run in experiment.runs:
            members[experiment.id, run.group].append(run)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        runs = members[row["experiment"], row["group"]]
        writer.writerow(_rounded(row | _interval(row, runs) | _made(runs)))
    return text.getvalue()


def _interval(row: Row, runs: Sequence[Run]) -> dict[str, Any]:
    from cmr.metrics.crossed import mean
    from cmr.reporting.significance import measured

    own = measured(row, runs)
    estimate = mean(own.sample) if own else None
    low, high = estimate.ci95 if estimate else (None, None)
    return {"ci95_low": low, "ci95_high": high, "ci95_covers": estimate.covers if estimate else ""}


def _made(runs: Sequence[Run]) -> dict[str, str]:
    fits = [fit for run in runs for fit in run.fits]
    return {
        "parameters": canonical(parameters(runs[0].method)),
        "version": _all(fit["project"]["version"] for fit in fits),
        "commit": _all(_commit(fit["project"]) for fit in fits),
        "hardware": _all(map(processor_of, fits)),
    }


def parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the method's entry says beyond its names and defaults."""
    left_out = {"id", "method", "sweep"}
    return {key: value for key, value in entry.items() if key not in left_out and value not in ({}, None, "ids")}


def _commit(project: Mapping[str, Any]) -> str:
    return f"{project['commit'] or ''}{'+' if project['changed'] else ''}"


def _all(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _rounded(row: Row) -> Row:
    """Numbers in short, and no text that a spreadsheet takes for a formula: records may be somebody's."""
    return {key: round(value, DIGITS) if isinstance(value, float) else inert(value) for key, value in row.items()}


def read(path: str | Path) -> list[Row]:
    """The rows of a file that `as_csv` wrote, as far as `cmr.reporting.summary` shows them.

    Raises `UserError` where the file is none.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [_read_row(line) for line in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a table of `cmr summary --csv` ({error!r})") from None


def _read_row(line: Mapping[str, str]) -> Row:
    numbers = {key: float(line[key]) if line[key] else None for key in NUMBERS}
    same = [line[key] for key in ("dataset", "split", "inputs", "id", "parameters")]
    return {**line, **numbers, "group": "/".join(same), "note": ""}  # notes are of runs, which are not here
