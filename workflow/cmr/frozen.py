"""Arrays that plug-ins are given, which they cannot change, and arrays that they give, which are checked."""

from typing import Any

import numpy as np

from cmr.errors import UserError


def read_only(values: Any) -> Any:
    """A read-only view of an array; what is no array stays as it is."""
    if not isinstance(values, np.ndarray) or not values.flags.writeable:
        return values
    view = values.view()
    view.flags.writeable = False
    return view


def freeze(record: Any) -> None:
    """Makes all arrays of a frozen dataclass read-only views."""
    for name, value in vars(record).items():
        object.__setattr__(record, name, read_only(value))


def checked(source: str, found: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """What a plug-in gave, as an array; ``shape``: None for any length but 0.

    Raises `UserError` that names the ``source`` where it has another shape, or no real numbers.
    """
    try:
        array = np.asarray(found)
    except ValueError:  # rows of several lengths
        array = np.array(found, object)
    fits = array.ndim == len(shape) and all(
        length == wanted or (wanted is None and length) for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "biuf":
        given = f"{array.dtype} of shape {array.shape}" if array.dtype != object else type(found).__name__
        raise UserError(f"{source} gave {given}, expected real numbers of shape {str(shape).replace('None', 'd')}")
    return array
