"""The contract of a retrieval method: fit on training rows, embed each modality, compare embeddings.

A method is one file in this folder with ``INFO`` (see `cmr.info.MethodInfo`), ``Params`` and one subclass of
`Method`. It never sees a test row while fitting, but for transductive methods, whose last
fit is given the test rows without labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cmr.data import Part
from cmr.errors import UserError
from cmr.frozen import checked, read_only
from cmr.metrics.ranking import average_precision, own_columns, paired_ranks, row_blocks
from cmr.metrics.relevance import shared_labels
from cmr.params import Params
from cmr.vectors import Vectors, read_blocks

RECALL_AT = 10
SCORES_AT_ONCE = 2**26
"""Of held-out rows against each other, when a choice is made on them."""


@dataclass
class History:
    """``rows``: one dictionary a recorded step (epoch, every loss term, validation score).

    ``chosen``: parameters that the fit chose on validation rows; they replace the configured ones when the method
    is fitted again on all training rows.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    chosen: dict[str, Any] = field(default_factory=dict)


class Method(ABC):
    """``modalities``: those of its inputs, in order. ``checkpoint``: a file to resume an interrupted fit from."""

    def __init__(
        self,
        params: Params,
        modalities: tuple[str, ...],
        seed: int = 0,
        device: str = "cpu",
        checkpoint: Path | None = None,
    ):
        self.params = params
        self.modalities = modalities
        self.seed = seed
        self.device = device
        self.checkpoint = checkpoint

    def take_over(self, earlier: "Method") -> None:  # noqa: B027 - most have nothing that lasts
        """Takes from a method that was fitted on the same rows, with the same seed, what `fit` would learn again.

        Called before `fit` of a candidate, with the candidate before it. The fit must be the same without.
        """

    @abstractmethod
    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        """Learns from the training rows. Labels are there only where INFO says ``labels``.

        ``validation`` rows may serve to choose what INFO lists under ``chooses``; without them the parameters are
        taken as they are. ``unlabelled`` rows are given to transductive methods only.
        """

    @abstractmethod
    def embed(self, modality: str, features: Any) -> np.ndarray:
        """Embeddings (n, d) float32 of rows of one modality, given in the form in which `fit` saw them."""

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        """Scores (q, g), higher is more similar, of a block of query embeddings against gallery embeddings.

        Cosine; a method that scores pairs otherwise overrides it. Rows of zeros score 0.
        """
        rows, columns = cosine_factors(query, gallery)
        return rows @ columns

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """What `fit` learned, as arrays: stored as safetensors."""

    @abstractmethod
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Makes `embed` and `similarity` work as after the `fit` that ``state`` comes from."""

    def validation_score(self, validation: Part) -> float:
        """What choices on held-out rows maximise.

        Mean mAP@all over all directions where labels are given, else mean paired recall@10, which needs none; of fewer
        than a hundred items recall at a tenth of them, as all of ten are among the first ten. A method that is fitted a
        modality at a time: the mAP@all of each row among the others of its modality.
        """
        return self.score_of(validation, {m: self.embedded(m, validation[m].features) for m in self.modalities})

    def embedded(self, modality: str, features: Any) -> np.ndarray:
        """`embed` of rows that may stay in a file: a block of them at a time. It cannot change them.

        Raises `UserError` where a plug-in gives something else than a vector of finite numbers for each row.
        """
        blocks = read_blocks(features) if isinstance(features, Vectors) else [features]
        found = [
            checked(f"{self}: embed of {modality}", self.embed(modality, read_only(b)), (len(b), None)) for b in blocks
        ]
        rows = np.concatenate(found) if len(found) > 1 else found[0]
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise UserError(
                f"{self}: embed of {modality} gave NaN or infinite values in {len(bad)} of {len(rows)} rows, the first "
                f"is row {bad[0]}"
            )
        return rows

    def scores(self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray) -> np.ndarray:
        """`similarity`. Raises `UserError` where a plug-in gives something else than a score for each pair."""
        found = self.similarity(query_modality, query, gallery_modality, gallery)
        return checked(f"{self}: similarity", found, (len(query), len(gallery)))

    def __str__(self) -> str:
        return f"method {type(self).__module__.rpartition('.')[2]!r}"

    def score_of(self, validation: Part, embedded: Mapping[str, np.ndarray]) -> float:
        """`validation_score` of held-out rows that are embedded already."""
        if len(self.modalities) == 1:
            return self._score_within(validation, embedded, *self.modalities)
        pairs = [(q, g) for q in self.modalities for g in self.modalities if q != g]
        return float(np.mean([self._direction_score(validation, embedded, q, g) for q, g in pairs]))

    def _score_within(self, validation: Part, embedded: Mapping[str, np.ndarray], modality: str) -> float:
        labels = validation[modality].labels
        if labels is None:
            raise UserError(f"{modality}: nothing to choose on: the held-out rows have neither labels nor pairs")
        _check_likes(modality, labels, modality, labels)
        others = ~np.eye(len(labels), dtype=bool)
        scores = self.scores(modality, embedded[modality], modality, embedded[modality])
        relevance = shared_labels(labels, labels)(slice(None)) > 0
        scores, relevance = (matrix[others].reshape(len(labels), -1) for matrix in (scores, relevance))
        return float(average_precision(scores, relevance).mean())

    def _direction_score(self, validation: Part, embedded: Mapping[str, np.ndarray], query: str, gallery: str) -> float:
        query_labels, gallery_labels = validation[query].labels, validation[gallery].labels
        own = own_columns(validation[query].groups, validation[gallery].groups)
        has = own[:, 0] >= 0
        shared = None
        if query_labels is not None and gallery_labels is not None:
            _check_likes(query, query_labels, gallery, gallery_labels)
            shared = shared_labels(query_labels, gallery_labels)
        if shared is None and not has.any():
            raise UserError(f"{query}→{gallery}: no held-out item has both; this method needs pairs to choose on")
        found, size = [], len(embedded[gallery])
        cut = min(RECALL_AT, max(size // 10, 1))
        for rows in row_blocks(len(own), size, SCORES_AT_ONCE):
            scores = self.scores(query, embedded[query][rows], gallery, embedded[gallery])
            if shared is not None:
                found.append(average_precision(scores, shared(rows) > 0))
            else:
                asked = has[rows]
                found.append(paired_ranks(scores[asked], own[rows][asked])[:, 0] <= cut)
        return float(np.concatenate(found).mean())


def _check_likes(query: str, queries: np.ndarray, gallery: str, answers: np.ndarray) -> None:
    """Raises `UserError` where no row has a relevant one among the others, so that every mAP is 0."""
    shared = np.minimum(queries.sum(axis=0, dtype=int), answers.sum(axis=0, dtype=int))
    if shared.max(initial=0) < (2 if query == gallery else 1):
        raise UserError(
            f"{query}→{gallery}: nothing to choose parameters or epochs on: no held-out row has another of its class; "
            "give validation rows, or more training rows"
        )


def cosine_factors(query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (q, d) and columns (d, g) whose product is the cosines of the rows of both; those of zeros give 0."""
    return unit_rows(query), unit_rows(gallery).T


def unit_rows(matrix: np.ndarray) -> np.ndarray:
    """Rows (n, d) of any length scaled to length one; rows of zeros stay zeros."""
    norms = _norms(matrix)
    limits = np.finfo(norms.dtype)
    # squares of shorter rows lose digits as they near the smallest number, those of longer ones overflow
    unsafe = ~((norms > np.sqrt(limits.tiny) / limits.eps) & np.isfinite(norms)).ravel()
    if unsafe.any():
        matrix = np.array(matrix, norms.dtype)
        largest = np.abs(matrix[unsafe]).max(axis=1, keepdims=True, initial=0)
        matrix[unsafe] /= np.where(largest > 0, largest, 1)
        norms[unsafe] = _norms(matrix[unsafe])
    return matrix / np.where(norms > 0, norms, 1)


def _norms(matrix: np.ndarray) -> np.ndarray:
    """The lengths (n, 1) of rows."""
    with np.errstate(over="ignore"):
        return np.linalg.norm(matrix, axis=1, keepdims=True)


BASE = Method
