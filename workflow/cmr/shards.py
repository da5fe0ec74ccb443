"""Where a large data set is cut: its shards are the rows that one job each extracts features of.

Extraction goes chunk after chunk, and a chunk's features may depend on its rows in their last bit: networks take texts
sorted by length. Shards are whole chunks, so that together they give what one job gives, bit for bit.
"""

from pathlib import Path

from cmr.boundary import plain
from cmr.errors import Damaged

CHUNK = {"cpu": 256, "cuda": 4096}  # a minute of VGG-19 on two cores; a GPU would starve between small chunks
ROWS_PER_JOB = 25 * CHUNK["cuda"]
"""Unless the configuration says another number. MS-COCO's pictures are two jobs."""


def in_whole_chunks(rows: int, device: str) -> int:
    """``rows`` rounded up to whole chunks on a ``device`` of the configuration; `auto` may turn out to be a GPU."""
    chunk = CHUNK["cpu"] if device == "cpu" else CHUNK["cuda"]
    return -(-rows // chunk) * chunk


def cut(rows: int, rows_per_job: int) -> list[range]:
    """The shards of ``rows`` rows, in order; the last one may be shorter."""
    return [range(start, min(start + rows_per_job, rows)) for start in range(0, rows, rows_per_job)]


def count(table: str | Path, modality: str) -> int:
    """How many items of an items table have ``modality``; 0 of one that the table does not know.

    The footer of the file says it; no row is read. Raises `UserError` for a damaged table.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        footer = read_metadata(plain(table))
    except (OSError, ArrowException) as error:
        raise Damaged(f"{table}: not a readable items table; delete it and run again ({error})") from None
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(c.num_values - c.statistics.null_count for c in columns if c.path_in_schema == modality)
