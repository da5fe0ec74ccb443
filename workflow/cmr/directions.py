"""The directions of retrieval of a run: between which modalities, and which fit scores them."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import permutations

import numpy as np

from cmr.data import Part, View
from cmr.errors import UserError
from cmr.evaluation import ScoreBlock, distinct, scorer
from cmr.methods.base import Method


@dataclass(frozen=True)
class Embedded:
    """The test rows of one fit's modalities, embedded; ``features`` of the views are embeddings."""

    method: Method
    inputs: tuple[str, ...]
    views: dict[str, View]


def embed(method: Method, names: Sequence[str], rows: Part) -> Embedded:
    """``names``: the path components of the fit's inputs. Raises `UserError` where a modality has no test rows."""
    for modality, view in rows.items():
        if not len(view):
            raise UserError(f"no item of the test part has {modality}; choose another split, or leave {modality} out")
    views = {
        modality: view.embedded(np.asarray(method.embedded(modality, view.features), np.float32))
        for modality, view in rows.items()
    }
    return Embedded(method, tuple(names), views)


def each_modality_once(embedded: Sequence[Embedded]) -> bool:
    """Whether no modality has more than one embedding, so that its name alone tells them apart."""
    names = [modality for part in embedded for modality in part.views]
    return len(names) == len(set(names))


def scoring(held: Sequence[Container[str]], query: str, gallery: str) -> tuple[int, int]:
    """Which of a run's fits, by the modalities that each holds, embeds the queries and scores them, and which embeds
    the gallery: the one that holds both modalities; where each has a fit of its own, the query's scores.
    """
    both = [number for number, modalities in enumerate(held) if query in modalities and gallery in modalities]
    first = {m: next(number for number, modalities in enumerate(held) if m in modalities) for m in (query, gallery)}
    return (both[0], both[0]) if both else (first[query], first[gallery])


def tasks(
    embedded: Sequence[Embedded], sample: int | None = None
) -> Iterator[tuple[tuple[str, str], View, View, ScoreBlock]]:
    """Every direction of retrieval between two modalities of a run: names, query, gallery, scores of a query block.

    ``sample``: how many queries of a modality are asked, all of them by default; the gallery stays whole.
    """
    held = [part.views for part in embedded]
    for query, gallery in permutations(dict.fromkeys(modality for views in held for modality in views), 2):
        asking, answering = (embedded[number] for number in scoring(held, query, gallery))
        queries, answers = sampled(asking.views[query], sample), answering.views[gallery]
        yield (query, gallery), queries, answers, _scores(asking.method, query, queries, gallery, answers)


def sampled(view: View, size: int | None) -> View:
    """``size`` rows in their order, those whose ids have the smallest hashes, or all where there are no more.

    So an item is in the sample or not whatever the order of the rows, and a larger sample holds a smaller one.
    """
    if size is None or size >= len(view):
        return view
    return view.rows(smallest_hashes(view.ids, size))


def smallest_hashes(ids: np.ndarray, size: int) -> np.ndarray:
    """The rows, in their order, of the ``size`` ids (n,) with the smallest hashes."""
    hashes = np.array([int.from_bytes(blake2b(item.encode(), digest_size=8).digest()) for item in ids.tolist()])
    return np.sort(np.argsort(hashes, kind="stable")[:size])


def scores_by_cosine(method: type[Method]) -> bool:
    """Whether a method compares embeddings as methods do that do not say otherwise."""
    return method.similarity is Method.similarity


def _scores(method: Method, query: str, queries: View, gallery: str, answers: View) -> ScoreBlock:
    if scores_by_cosine(type(method)):  # whose rows are brought to unit length once
        return scorer(queries.features, answers.features)
    rows, which = distinct(answers.features)  # so that equal items have equal scores, whatever a product rounds

    def scores(block: slice) -> np.ndarray:
        found = method.scores(query, queries.features[block], gallery, rows)
        return found if which is None else found[:, which]

    return scores
