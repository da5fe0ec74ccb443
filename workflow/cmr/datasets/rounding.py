"""Numbers of any type as float32, the type of features everywhere, without losing what varies beside an offset."""

import logging

import numpy as np

log = logging.getLogger(__name__)

LOST = 1e-4  # deviation over size below which float32, which has seven digits, keeps fewer than three of what varies
COLUMNS_AT_ONCE = 256


def as_float32(values: np.ndarray, name: str) -> np.ndarray:
    """``values`` (n, d) as float32; from columns that float32 would flatten the first row's value is taken away first.

    Times in seconds are an example: around 1.7e9 float32 has steps of 128. ``name`` is what the log calls the values.
    Columns of float32 or narrower types hold no more, and stay; a matrix of float32 is given back itself. Rows that are
    not finite do not count.
    """
    with np.errstate(over="ignore"):  # larger ones become infinite, which is told elsewhere
        narrow = values.astype(np.float32, copy=False)
    if np.can_cast(values.dtype, np.float32):
        return narrow
    finite = np.flatnonzero(np.isfinite(narrow).all(axis=1))
    moved = 0
    for start in range(0, values.shape[1] if len(finite) else 0, COLUMNS_AT_ONCE):
        block = values[:, start : start + COLUMNS_AT_ONCE].astype(np.float64)
        deviation, size = block[finite].std(axis=0), np.abs(block[finite].mean(axis=0))
        lost = (deviation < LOST * size) & (deviation > 0)
        narrow[:, start : start + COLUMNS_AT_ONCE][:, lost] = block[:, lost] - block[finite[0], lost]
        moved += int(np.count_nonzero(lost))
    if moved:
        log.warning(
            "%s: %d of %d columns vary by less than %g of their size, too little for float32; "
            "the value of their first row was subtracted",
            name,
            moved,
            values.shape[1],
            LOST,
        )
    return narrow
