"""How many labels queries and gallery items share."""

from collections.abc import Callable

import numpy as np


def shared_labels(query: np.ndarray, gallery: np.ndarray) -> Callable[[slice], np.ndarray]:
    """Rows of the queries → the number of labels (rows, n) that they share with each gallery item.

    Labels are multi-hot (q, c) and (n, c), or class numbers (q,) and (n,).
    """
    if query.ndim == 2 and (query.sum(axis=1) == 1).all() and (gallery.sum(axis=1) == 1).all():
        query, gallery = query.argmax(axis=1), gallery.argmax(axis=1)
    if query.ndim == 1:
        query, gallery = query.astype(np.int32), gallery.astype(np.int32)
        return lambda rows: query[rows, None] == gallery
    query, columns = query.astype(np.float32), gallery.astype(np.float32).T
    return lambda rows: query[rows] @ columns
