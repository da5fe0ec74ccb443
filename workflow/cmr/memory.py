"""How much memory, in MB of 10⁶ bytes, and time a job asks a cluster for, before it is known what it will take.

A job asks for a fixed amount and for so much for each MB of what it reads: `workflow/rules/` says how much. This is how
the memory of small data grows, and of what holds all rows. What holds a block of rows ends at a bound: some copies of a
block, and what is kept of every item. What holds pairs of rows asks for a number of these.
"""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

from cmr.vectors import BLOCK_BYTES, PAIR_BYTES

PROCESS = 500
"""MB of Python and its libraries, to which the items come, whatever the stage."""
SNAKEMAKES = 500
"""MB of the two Snakemakes that a cluster job runs beside the stage: each took 210 to 235."""
COPIES = 8
"""Of a block of a matrix in float32: as it is read, scaled in float64, in products. Batches take less."""
ITEM_BYTES, TEXT_COPIES = 1000, 2
"""Of an item in a job: its id, labels and part, in tables and in what is looked up; and how often its text is held. The
first is twice what a fit of a million items held, whose ids are short and whose labels are few
(``tests/benchmarks/millions.py --pairs 1000000 --stages ids``).
"""

LONGEST = 24 * 60
"""Minutes that a job asks for at most. SLURM never starts a job that asks for more than its partition allows, which is
often a day, and the next attempt goes on at the checkpoint of one that was ended."""


class Size(NamedTuple):
    """Of an items table: its ``rows``, and the ``unpacked`` bytes of their cells."""

    rows: int
    unpacked: int


def request(
    at_least: float, per_megabyte: float, megabytes: float, items: Size, holds: str = "all rows", matrices: int = 1
) -> float:
    """MB for a job that reads ``megabytes``.

    ``holds``: as `cmr.info.MethodInfo` says it. ``matrices``: how many matrices a block is held of at a time.
    """
    kept = items.rows * ITEM_BYTES + items.unpacked * TEXT_COPIES
    growing = per_megabyte * megabytes
    if holds == "block of rows":
        growing = min(growing, (matrices * COPIES * BLOCK_BYTES + kept) / 1e6)
    elif holds == "pairs of rows":
        growing = max(growing, PAIR_BYTES * items.rows**2 / 1e6)
    return SNAKEMAKES + max(at_least + growing, PROCESS + kept / 1e6)


def minutes(at_least: float, per_megabyte: float, megabytes: float, attempt: int = 1, longest: int = LONGEST) -> int:
    """Minutes for a job that reads ``megabytes``; the more, the more often it was tried, up to ``longest``."""
    return min(ceil((at_least + per_megabyte * megabytes) * attempt), longest)


@lru_cache(maxsize=64)
def size_of(table: str, modified: int) -> Size:
    """What the footer of an items table says. ``modified``: when it was written, so that another one is looked at."""
    from pyarrow.parquet import read_metadata

    footer = read_metadata(table)
    return Size(
        footer.num_rows, sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    )
