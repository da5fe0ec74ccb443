"""Refuses an allocation that cannot fit, before it is tried."""

import psutil

from cmr.errors import UserError


def require_memory(what: str, needed: int) -> None:
    """Raises `UserError` where ``needed`` bytes are not free; ``what`` names the method and the matrices."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"{what}: {needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free; "
            "use fewer training rows or a machine with more memory"
        )
