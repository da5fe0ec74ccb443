"""The directions of retrieval of a run: between which modalities, and which fit scores them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from cmr.data import Part, View
from cmr.methods.base import Method


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
