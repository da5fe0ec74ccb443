"""Class sums and scatters of labelled rows, for the discriminant methods."""

import numpy as np
import scipy.sparse


def memberships(labels: np.ndarray) -> np.ndarray:
    """Labels (n, c) as shares that sum to 1 a row: an item with several labels counts in part for each."""
    return labels / np.maximum(labels.sum(axis=1, keepdims=True), 1)


def class_sums(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum (c, d) and number (c,) of the rows of each class."""
    shares = memberships(labels)
    return shares.T @ rows, shares.sum(axis=0)


def scatters(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between-class and within-class scatter (d, d) of centred rows, both divided by the number of rows."""
    sums, counts = class_sums(rows, labels)
    between = (sums / np.maximum(counts, 1e-12)[:, None]).T @ sums / len(rows)
    return between, rows.T @ rows / len(rows) - between


def sums_by(group: np.ndarray, rows: np.ndarray, groups: int) -> np.ndarray:
    """The sum of the rows of each group: (groups, d); ``group`` (n,) holds each row's group."""
    indicator = scipy.sparse.csr_array((np.ones(len(rows)), (group, np.arange(len(rows)))), (groups, len(rows)))
    return indicator @ rows
