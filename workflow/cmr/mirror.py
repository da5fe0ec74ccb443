"""A mirror of the internet, for machines that reach no other: everything is asked for there, and checked as ever."""

import os
from urllib.parse import urlsplit

from cmr.errors import UserError

VARIABLE = "CMR_MIRROR"


def on_mirror(address: str) -> str:
    """Where ``address`` is to be asked for: itself, or, where ``CMR_MIRROR`` names a mirror, its copy there.

    A copy lies under its host's name and its path, as ``wget --force-directories`` writes it:
    ``http://mirror/www.svcl.ucsd.edu/projects/crossmodal/wikipedia_dataset.zip``. Raises `UserError` for a mirror that
    is not an address of http or https.
    """
    mirror = os.environ.get(VARIABLE)
    if not mirror:
        return address
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise UserError(f"{VARIABLE}: {mirror!r}: expected an address such as http://mirror/")
    parts = urlsplit(address)
    query = f"?{parts.query}" if parts.query else ""
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}{query}"
