"""How far a job is, on the terminal: the newest line of its log, and the bars of what it calls.

On a terminal this is one line, which the next one replaces and which is gone at the end. In a file, as SLURM's logs
are, it is a plain line now and then, without carriage returns. Whatever draws bars with tqdm need not care.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, TextIO

from cmr.errors import Printable, printable

SECONDS_BETWEEN_LINES = 10  # in a file
ERASE = "\r\x1b[K"
COLUMNS = 80  # of a terminal that does not say
NAME = 12  # columns that a job's name takes at least


class Newest(logging.Handler):
    """Stands in for the standard error: passes on what is written, and shows bars and log records as one line."""

    def __init__(self, stream: TextIO, about: str, clock: Callable[[], float] = time.monotonic):
        super().__init__(logging.INFO)
        self.setFormatter(Printable("%(message)s"))
        self.stream, self.about, self.clock = stream, about, clock
        self.live = stream.isatty()
        self.told_at = clock()  # a job that is over soon says nothing
        self.shown = self.bar = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def emit(self, record: logging.LogRecord) -> None:
        self.show(self.format(record).partition("\n")[0])

    def write(self, text: str) -> int:
        """tqdm starts every state of a bar with a carriage return, and ends the last one with a new line."""
        if text.startswith("\r"):
            self.bar = True
            self.show(text.strip())
        elif self.bar and not text.strip():
            self.bar = False
            self.erase()
        else:
            self.erase()
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def show(self, text: str) -> None:
        if text and self.live:
            self.stream.write(f"{ERASE}{self.fitting(printable(text), self.columns() - 1)}")
            self.stream.flush()
            self.shown = True
        elif text and self.clock() - self.told_at >= SECONDS_BETWEEN_LINES:
            self.stream.write(f"{self.about}: {printable(text)}\n")
            self.stream.flush()
            self.told_at = self.clock()

    def fitting(self, text: str, columns: int) -> str:
        """A line of so many columns. Of the job's name its end is left where the text needs the room."""
        room = max(NAME, columns - len(text) - 2)
        name = self.about if len(self.about) <= room else f"…{self.about[1 - room :]}"
        return f"{name}: {text}"[:columns]

    def erase(self) -> None:
        if self.shown:
            self.stream.write(ERASE)
            self.stream.flush()
            self.shown = False

    def columns(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or COLUMNS
        except (OSError, ValueError):
            return COLUMNS


@contextmanager
def told(stage: str, record: str) -> Iterator[None]:
    """While the block makes the result of that record, its progress is on the standard error."""
    newest = Newest(sys.stderr, about(stage, record))
    width = newest.columns() if newest.live else COLUMNS + len(newest.about)
    os.environ.setdefault("TQDM_NCOLS", str(max(20, width - len(newest.about) - 3)))  # beside the job's name
    logging.root.addHandler(newest)
    before, sys.stderr = sys.stderr, newest
    try:
        yield
    finally:
        newest.erase()
        sys.stderr = before
        logging.root.removeHandler(newest)


def about(stage: str, record: str) -> str:
    """``fit emoji default lite0+bert cca seed 0``."""
    path = PurePosixPath(record)
    if stage in ("fit", "evaluate"):  # records in a folder of their own, fit.json and run.json or run-1a2b3c.json
        *parts, seed = path.parent.parts[2:]
        return " ".join([stage, *parts, "seed", seed])
    return " ".join([stage, *path.with_suffix("").parts[2:]])


def duration(seconds: float) -> str:
    """In the largest unit of which there is one: ``1.2 s``, ``40 s``, ``5.2 min``, ``3.1 h``."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
