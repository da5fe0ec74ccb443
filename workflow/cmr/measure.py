"""Measures embeddings that the workflow did not make: two files of them, and labels."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmr.datasets.formats import CAN_EXECUTE_CODE
from cmr.datasets.keyed import file_and_key
from cmr.datasets.labels import LabelQuestion, LabelReader
from cmr.datasets.matrices import FROM_TEXT, HEADED, Reference, label_cells, matrix, row_numbers
from cmr.errors import UserError, quantity
from cmr.evaluation import ALL_TIES, best_pair_ranks, mean_average_precisions, scorer, warn_of_zeros
from cmr.metrics.keys import Ties

AT_COMMAND = {
    CAN_EXECUTE_CODE: "holds Python objects, and loading a pickle can execute code; save arrays of numbers or of texts",
    "if numbers start at 1, say index_base: 1": "rows count from 0; if these start at 1, subtract 1 from each",
    "is index_base right?": "rows count from 0",
}
"""Remedies that name a parameter of a data set → what to do at the command, which has none."""


@contextmanager
def _told_at_command() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        text = str(error)
        for remedy, own in AT_COMMAND.items():
            text = text.replace(remedy, own)
        raise UserError(text) from None


@_told_at_command()
def metrics_of_files(
    a: str | Path,
    b: str | Path,
    labels: str | Path,
    at: int = 50,
    reader: LabelReader | None = None,
) -> dict[str, Any]:
    """mAP over all results and at a cut, by cosine, of two files of embeddings whose rows are the same items.

    Gives ``map@all`` and ``map@{at}``, each with ``a_to_b``, ``b_to_a`` and ``average``; where ties leave them open,
    the same with ties resolved the worst and the best way under ``pessimistic`` and ``optimistic``; and the numbers of
    ``rows``, of ``rows_without_label`` and of ``queries_without_relevant`` items, whose AP is 0. ``reader``: as in
    `read_labels`. Raises `UserError` where the files do not match.
    """
    if at < 1:
        raise UserError(f"--at {at}: a cut is at least 1")
    (first, first_ids), (second, second_ids), known = (
        read_embeddings(a),
        read_embeddings(b),
        read_labels(labels, reader),
    )
    classes = known.values
    if not len(first) == len(second) == len(classes):
        of_text = _reference(labels).file.suffix.lower() in FROM_TEXT
        headed = of_text and len(first) == len(second) == len(classes) - 1
        remedy = HEADED if headed else "row i of each must be the same item"
        raise UserError(
            f"{a} has {quantity(len(first), 'row')}, {b} has {len(second)} and {labels} has {len(classes)}; {remedy}"
        )
    _check_same_items({a: first_ids, b: second_ids, labels: _reference(labels).ids()})
    forward, backward = (
        mean_average_precisions(scorer(x, y), classes, classes, (None, at), ties=ALL_TIES)
        for x, y in ((first, second), (second, first))
    )
    found = {
        ties: {
            name: _both_ways(there, back)
            for name, there, back in zip(("map@all", f"map@{at}"), forward[ties], backward[ties], strict=True)
        }
        for ties in forward
    }
    # Row i of both files is one item, so that a query with a label has its own item for a relevant one.
    without = len(known.unlabelled)
    counts = {"rows": len(classes), "rows_without_label": without, "queries_without_relevant": without}
    return _with_bounds(found) | counts


def _check_same_items(ids_of: Mapping[str | Path, np.ndarray | None]) -> None:
    """Raises `UserError` where ids (n,), of the files that have them, say that a row is not one item."""
    known = [(file, ids) for file, ids in ids_of.items() if ids is not None]
    for file, ids in known[1:]:
        first, wanted = known[0]
        if not np.array_equal(wanted, ids):
            row = int(np.flatnonzero(wanted != ids)[0])
            raise UserError(
                f"{first} and {file} hold different items: row {row} is {str(wanted[row])!r} and {str(ids[row])!r}"
            )


def _both_ways(there: float, back: float) -> dict[str, float]:
    return {"a_to_b": there, "b_to_a": back, "average": (there + back) / 2}


def _with_bounds(found: Mapping[Ties, dict[str, Any]]) -> dict[str, Any]:
    """Of figures by tie rule those of the fixed order, and the bounds where ties leave them open."""
    worst, best = found["pessimistic"], found["optimistic"]
    return found["fixed"] | ({"pessimistic": worst, "optimistic": best} if worst != best else {})


RECALL_AT = (1, 5, 10)


@_told_at_command()
def recall_of_files(a: str | Path, b: str | Path, owner: str | Path) -> dict[str, Any]:
    """Figures by instance, by cosine, of embeddings of which each row of ``b`` belongs to one row of ``a``.

    ``owner``: the row of ``a``, from 0, of each row of ``b``, as the picture of each caption. Gives ``recall@1|5|10``
    and ``median_rank``, each with ``a_to_b``, ``b_to_a`` and ``average``, and ``rsum``, the sum of the six recalls in
    percent; where ties leave them open, the same under ``pessimistic`` and ``optimistic``; and the numbers of rows, and
    of rows of ``a`` that nothing belongs to, which are no queries.
    """
    (first, _), (second, _) = read_embeddings(a), read_embeddings(b)
    rows = np.array(row_numbers(_reference(owner), len(first), 0, repeated=True))
    if len(rows) != len(second):
        raise UserError(f"{owner} has {len(rows)} numbers, {b} has {len(second)} rows; one a row is needed")
    owners = np.arange(len(first))
    forward = best_pair_ranks(scorer(first, second), owners, rows, ties=ALL_TIES)
    backward = best_pair_ranks(scorer(second, first), rows, owners, ties=ALL_TIES)
    found = {ties: _by_instance(forward[ties][forward[ties] > 0], backward[ties]) for ties in ALL_TIES}
    alone = int(np.count_nonzero(forward["fixed"] == 0))
    return _with_bounds(found) | {"rows_a": len(first), "rows_b": len(second), "rows_a_alone": alone}


def _by_instance(forward: np.ndarray, backward: np.ndarray) -> dict[str, Any]:
    """Recalls, median rank and rsum of the best ranks of both directions."""
    figures = {f"recall@{k}": [float(np.mean(ranks <= k)) for ranks in (forward, backward)] for k in RECALL_AT}
    rsum = 100 * sum(map(sum, figures.values()))
    figures["median_rank"] = [float(np.median(ranks)) for ranks in (forward, backward)]
    return {name: _both_ways(*both) for name, both in figures.items()} | {"rsum": rsum}


def read_embeddings(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The matrix (n, d), float32 or float64 as stored, and the ids (n,) where the file has them.

    FILE or FILE:KEY, of every form that ready features may have (`cmr.datasets.formats`); a file that executes code on
    loading is refused. Each row is multiplied by a power of two that brings its largest value near 1: cosines are the
    same, and lengths neither vanish nor overflow. Raises `UserError` that names the file for what is no finite matrix
    of numbers.
    """
    reference = _reference(path)
    values, ids = matrix(reference), reference.ids()
    values = values.astype(np.result_type(values, np.float32), copy=False)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(f"{path}: {len(bad)} rows hold NaN or infinite values, the first is row {bad[0]}")
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    warn_of_zeros(str(path), values)
    return np.ldexp(values, -np.frexp(largest)[1]), ids


@dataclass(frozen=True)
class Labels:
    """``values``: class numbers (n,), or multi-hot (n, c) 0/1. ``unlabelled``: rows (m,) that have no class."""

    values: np.ndarray
    unlabelled: np.ndarray


def read_labels(path: str | Path, reader: LabelReader | None = None) -> Labels:
    """Labels of n rows, from every form of file that data sets may have them in (`cmr.datasets.formats`).

    FILE or FILE:KEY. A row of zeros in a multi-hot matrix is a row without a class; so is a label that is missing in a
    list of them where the ``reader`` is told which labels stand for none. Raises `UserError` for missing labels where
    it is not, for labels with two meanings, and where there is one class alone.
    """
    reference, reader = _reference(path), reader or LabelReader()
    cells = label_cells(reference)
    try:
        names = reader.read(cells, str(reference), lambda row: f"{reference}: row {row}")
    except LabelQuestion as question:
        raise UserError(question.at_command) from None
    unlabelled = np.flatnonzero([not own for own in names])
    if len(unlabelled) and reader.no_label is None and not all(isinstance(cell, list) for cell in cells):
        first = f"{len(unlabelled)} of {len(names)} rows have no label, the first is row {unlabelled[0]}"
        raise UserError(f"{reference}: {first}; leave them out of all files, or count them with --no-label")
    classes, columns = np.unique([name for own in names for name in own], return_inverse=True)
    if len(classes) < 2:
        raise UserError(f"{reference}: one class alone, so every result is relevant; labels tell two or more apart")
    rows = np.repeat(np.arange(len(names)), [len(own) for own in names])
    if len(rows) == len(names) and not len(unlabelled):
        return Labels(columns, unlabelled)
    values = np.zeros((len(names), len(classes)), np.uint8)
    values[rows, columns] = 1
    return Labels(values, unlabelled)


def _reference(path: str | Path) -> Reference:
    file, key = file_and_key(str(path))
    return Reference(Path(file), key)
