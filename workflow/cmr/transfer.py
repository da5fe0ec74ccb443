"""Files from the internet, gone on with where a transfer was cut. What they must be, and where they go, others say."""

import logging
import re
from pathlib import Path

import pooch
import requests

ATTEMPTS = 5
TIMEOUT = 60
CHUNK = 1 << 16

log = logging.getLogger(__name__)


def reason(error: requests.RequestException) -> str:
    """What went wrong, of a failed connection without the objects that it went wrong in."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    return re.sub(r"^\w+\(host=.*?\): ", "", str(inner or error))


def resume(address: str, part: Path) -> None:
    """Goes on with ``part`` where it ends, again after every cut, until the server has no more to send.

    Gives up after ``ATTEMPTS`` in a row that brought nothing: no more than there has been, of a server that starts
    again.
    """
    attempts, most = 0, 0
    while True:
        try:
            _append(address, part)
            return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            size = part.stat().st_size
            attempts, most = (1, size) if size > most else (attempts + 1, most)
            if attempts == ATTEMPTS:
                raise
            log.warning("%s: cut after %d bytes (%s); resuming", address, size, error)


def _append(address: str, part: Path) -> None:
    with open(part, "ab") as file:
        start = file.tell()

        def restart_if_whole(response: requests.Response, **_: object) -> None:
            if start and response.status_code == requests.codes.ok:  # the server ignores ranges
                file.truncate(0)

        headers = {"Accept-Encoding": "identity"}  # else a range counts other bytes than those in the file
        headers |= {"Range": f"bytes={start}-"} if start else {}
        options = {"headers": headers, "hooks": {"response": restart_if_whole}, "timeout": TIMEOUT}
        try:
            pooch.HTTPDownloader(progressbar=True, chunk_size=CHUNK, **options)(address, file, None)
        except requests.HTTPError as error:
            if not start or error.response.status_code != requests.codes.requested_range_not_satisfiable:
                raise  # else all of it is there
