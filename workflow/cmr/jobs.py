"""What every job does around its work: a log, threads, and errors that a person can read."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cmr.errors import UserError

LINE = "%(asctime)s %(name)s: %(message)s"


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Runs the block as one job.

    A `UserError` ends the process with status 1 and one line, in the log and on the terminal; any other error leaves
    its traceback in the log. Files that the job makes are writable by its group, as a shared folder needs.
    """
    path = Path(log)
    os.umask(0o002)
    logging.raiseExceptions = False  # on a full disk the log would say so line by line
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(filename=path, filemode="w", level=logging.INFO, format=LINE)
    except OSError as error:
        _fail(path, f"error: {path}: cannot be written: {error.strerror}")
    try:
        yield
    except UserError as error:
        _fail(path, f"error: {error}")
    except Exception as error:
        _fail(path, f"error: {type(error).__name__}: {error}", traceback.format_exc())


def hand_on_import_path(folder: str) -> None:
    """Lets the processes that this one starts import from ``folder`` first."""
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", folder)]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *inherited])


def _fail(log: Path, message: str, details: str = "") -> None:
    print(message if not details else f"{message} (traceback in {log})", file=sys.stderr)
    with suppress(OSError), log.open("a", encoding="utf-8") as file:  # the disk may be full, which has been said then
        file.write(f"{details}{message}\n")
    sys.exit(1)
