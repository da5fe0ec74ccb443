"""Arrays that whoever is given them cannot change."""

from typing import Any

import numpy as np


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
