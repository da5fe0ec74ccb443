"""From feature and code files to the rows that a method fits on and the rows that a run is evaluated on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from cmr.data import TEST, TRAIN, Items, Part, Split, View, check_ids, paired, rows_of
from cmr.dictionary.base import Dictionary
from cmr.errors import UserError
from cmr.methods.base import Method
from cmr.selection import TrainingData
from cmr.store import Matrix, Rows, read_matrix

Feature = Mapping[str, Any]
"""A configured feature as a dictionary: id, extractor, modality, params."""


def read_features(files: Sequence[str], features: Sequence[Feature], items: Items) -> dict[str, Matrix]:
    """The feature files of the inputs by modality, each checked against the items and its configuration."""
    matrices = {}
    for file, feature in zip(files, features, strict=True):
        matrix = read_matrix(file, "features")
        check_ids(file, matrix, items.having(feature["modality"])["id"].tolist())
        written_by = matrix.attributes.get("extractor")
        if written_by != feature["extractor"]:
            raise UserError(
                f"{file}: written by the extractor {written_by!r}, but the configuration's {feature['id']!r} "
                f"is {feature['extractor']!r}; give it another id or delete the file"
            )
        matrices[feature["modality"]] = matrix
    return matrices


def _read(
    files: Sequence[str], features: Sequence[Feature], items: Items, is_codes: bool, group: str
) -> dict[str, Matrix]:
    if not is_codes:
        return read_features(files, features, items)
    return {f["modality"]: read_matrix(files[0], "features", f"{group}{f['modality']}") for f in features}


def _part(matrices: Mapping[str, Matrix], ids: set[str], items: Items, with_labels: bool) -> Part:
    return {modality: rows_of(matrix, ids, items, with_labels) for modality, matrix in matrices.items()}


def training_data(
    files: Sequence[str], features: Sequence[Feature], items: Items, split: Split, is_codes: bool, with_labels: bool
) -> TrainingData:
    """What a fit may see: training rows and held-out rows. Labels only where the method takes them.

    Codes of held-out training rows are those of rows that the dictionary has not seen, as test rows will be.
    """
    final = _read(files, features, items, is_codes, "")
    choosing = final if split.has_validation else _read(files, features, items, is_codes, "selection/")
    return TrainingData(
        train=_part(final, split.ids(TRAIN), items, with_labels),
        selection_train=_part(choosing, split.selection_train, items, with_labels),
        held_out=_part(choosing, split.held_out, items, with_labels),
        has_validation=split.has_validation,
    )


def test_rows(
    files: Sequence[str], features: Sequence[Feature], items: Items, split: Split, is_codes: bool, with_labels: bool
) -> Part:
    return _part(_read(files, features, items, is_codes, ""), split.ids(TEST), items, with_labels)


def encode_rows(dictionary: Dictionary, matrices: Mapping[str, Matrix], training: set[str]) -> dict[str, Rows]:
    """Fits a dictionary on the training rows; coefficients of all rows by modality, in the matrices' order."""
    everything = {modality: View(matrix.ids, matrix.values) for modality, matrix in matrices.items()}
    train = {m: view.rows(np.isin(view.ids, list(training))) for m, view in everything.items()}
    views = paired(train, dictionary.modalities)
    fitted = dictionary.fit(dict(zip(dictionary.modalities, views, strict=True)))
    coded = {}
    for modality, view in everything.items():
        row_of = {item: row for row, item in enumerate(views[0].ids)}
        codes = dictionary.transform(modality, view.features)
        for row, item in enumerate(view.ids):
            if item in row_of:
                codes[row] = fitted[modality][row_of[item]]
        coded[modality] = Rows(view.ids, codes)
    return coded


@dataclass(frozen=True)
class Embedded:
    """The test rows of one fit's modalities, embedded; ``features`` of the views are embeddings."""

    method: Method
    inputs: tuple[str, ...]
    views: dict[str, View]


def embed(method: Method, names: Sequence[str], rows: Part) -> Embedded:
    """``names``: the path components of the fit's inputs."""
    views = {
        modality: View(view.ids, np.asarray(method.embed(modality, view.features), np.float32), view.labels)
        for modality, view in rows.items()
    }
    return Embedded(method, tuple(names), views)


def each_modality_once(embedded: Sequence[Embedded]) -> bool:
    """Whether no modality has more than one embedding, so that its name alone tells them apart."""
    names = [modality for part in embedded for modality in part.views]
    return len(names) == len(set(names))


ScoreBlock = Callable[[slice], np.ndarray]


def tasks(embedded: Sequence[Embedded]) -> Iterator[tuple[tuple[str, str], View, View, ScoreBlock]]:
    """Every direction of retrieval between two modalities of a run: names, query, gallery, scores of a query block.

    The fit that holds both modalities scores them; where each modality has a fit of its own, the query's does.
    """
    modalities = list(dict.fromkeys(modality for part in embedded for modality in part.views))
    for query, gallery in permutations(modalities, 2):
        both = [part for part in embedded if query in part.views and gallery in part.views]
        asking = both[0] if both else next(part for part in embedded if query in part.views)
        answering = both[0] if both else next(part for part in embedded if gallery in part.views)
        yield (query, gallery), *_scored(asking.method, query, asking.views[query], gallery, answering.views[gallery])


def _scored(method: Method, query: str, queries: View, gallery: str, answers: View) -> tuple[View, View, ScoreBlock]:
    def score(block: slice) -> np.ndarray:
        return method.similarity(query, queries.features[block], gallery, answers.features)

    return queries, answers, score
