"""Graphs of nearest neighbours, sparse: never n × n."""

import numpy as np
import scipy.sparse
from sklearn.neighbors import kneighbors_graph


def neighbours(rows: np.ndarray, k: int, metric: str = "euclidean") -> scipy.sparse.csr_array:
    """Distances (n, n) of each row to its ``k`` nearest others; no entry for the rest, at most n − 1 a row."""
    return scipy.sparse.csr_array(kneighbors_graph(rows, min(k, len(rows) - 1), mode="distance", metric=metric))


def symmetric(graph: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """(W + Wᵀ)/2."""
    return ((graph + graph.T) / 2).tocsr()


def normalised(graph: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """D^-½ W D^-½ of a symmetric graph W, D its row sums. Rows without weight stay empty."""
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    inverse = scipy.sparse.diags_array(np.where(degrees > 0, degrees, np.inf) ** -0.5)
    return (inverse @ graph @ inverse).tocsr()


def evenly(rows: np.ndarray, share: float) -> np.ndarray:
    """A share of the rows, spread evenly over them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, round(share * len(rows)), dtype=int))]
