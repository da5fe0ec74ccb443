"""Retrieval measures as the formulas say them, one query at a time, in plain loops: oracles for tests."""

from collections.abc import Sequence

import numpy as np


def best_first(scores: Sequence[float], values: Sequence) -> list:
    """Values in the order of falling scores, for scores without ties."""
    return [values[item] for item in sorted(range(len(scores)), key=lambda item: -scores[item])]


def average_precision(ranked: Sequence[bool], at: int | None = None, normalise: str = "retrieved") -> float:
    found, total = 0, 0.0
    for position, relevant in enumerate(ranked[:at], start=1):
        if relevant:
            found += 1
            total += found / position
    divisor = found if normalise == "retrieved" else sum(ranked)
    return total / divisor if divisor else 0.0


def average_precisions(scores: np.ndarray, relevance: np.ndarray, **options) -> list[float]:
    return [average_precision(best_first(s, list(r)), **options) for s, r in zip(scores, relevance, strict=True)]
