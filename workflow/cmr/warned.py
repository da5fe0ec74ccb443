"""What a block of work warns of, for its record and for `cmr check`, besides the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

PROJECT = "cmr"


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.lines[record.getMessage()] = None


@contextmanager
def warnings_of() -> Iterator[list[str]]:
    """The lines that the project's own code warns with inside the block, each once; the list is filled at its end."""
    collector, logger, lines = _Collector(), logging.getLogger(PROJECT), list[str]()
    logger.addHandler(collector)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
        lines.extend(collector.lines)
