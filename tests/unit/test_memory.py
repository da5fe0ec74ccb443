"""What memory jobs ask for: of small data as much as ever, of large ones what their plug-in holds."""

import os

import pandas as pd
import pytest

from cmr.memory import Size, minutes, request, size_of

FIT, EXTRACT = (2000, 20), (3000, 100)
MEGABYTES_OF_A_PAIR = 4 * (1280 + 384) / 1e6


@pytest.mark.parametrize(
    ("rows", "block", "everything", "pairs"),
    [
        (10**3, 2633.12, 2633.12, 2633.12),
        (10**6, 7994.967296, 135_620, 24_002_500),
        (10**7, 18_794.967296, 1_333_700, 2_400_002_500),
    ],
)
def test_a_fit_asks_for_what_its_method_holds_of_its_rows(rows, block, everything, pairs):
    """Where it is a block: of two matrices eight times 2²⁸ bytes each, and of an item 1 kB and twice its 100 bytes."""
    given = (*FIT, rows * MEGABYTES_OF_A_PAIR, Size(rows, 100 * rows))
    assert request(*given, "block of rows", 2) == pytest.approx(block, abs=1e-6)
    assert request(*given, "all rows", 2) == pytest.approx(everything)
    assert request(*given, "pairs of rows", 2) == pytest.approx(pairs)


@pytest.mark.parametrize(
    ("rows", "block", "everything"),
    [(10**3, 3512, 3512), (10**6, 6847.483648, 15_500), (10**7, 17_647.483648, 123_500)],
)
def test_an_extraction_asks_for_a_chunk_and_what_it_keeps_of_every_item(rows, block, everything):
    """The table and the list of files have 120 bytes an item, and the table's cells 100."""
    given = (*EXTRACT, rows * 120e-6, Size(rows, 100 * rows))
    assert request(*given, "block of rows") == pytest.approx(block, abs=1e-6)
    assert request(*given) == pytest.approx(everything)


@pytest.mark.parametrize(("rows", "expected"), [(10**3, 2500.4), (10**6, 2900), (10**7, 13_000)])
def test_a_split_asks_for_the_items_at_the_least(rows, expected):
    """Its table has 40 bytes an item as it is packed, and cells of 100."""
    assert request(2000, 10, rows * 40e-6, Size(rows, 100 * rows)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rows", "fit", "extraction", "shards", "of_shard"),
    [(10**3, 4, 128, 1, 128), (10**6, 1334, 1440, 10, 840), (10**7, 1440, 1440, 98, 855)],
)
def test_no_job_asks_for_more_than_a_day(rows, fit, extraction, shards, of_shard):
    """2 minutes and 0.2 for each MB of 1280 + 384 dimensions; 120 and 60 for each MB of 120 bytes an item."""
    assert minutes(2, 0.2, rows * MEGABYTES_OF_A_PAIR) == fit
    assert minutes(120, 60, rows * 120e-6) == extraction
    assert minutes(120, 60 / shards, rows * 120e-6) == of_shard


def test_a_further_attempt_asks_for_more_time_within_the_day():
    assert [minutes(120, 60, 5, attempt) for attempt in (1, 2, 3)] == [420, 840, 1260]
    assert [minutes(120, 60, 10, attempt) for attempt in (1, 2, 3)] == [720, 1440, 1440]


def test_no_attempt_asks_for_more_than_a_partition_allows():
    assert [minutes(120, 60, 5, attempt, longest=600) for attempt in (1, 2)] == [420, 600]


def test_a_block_never_asks_for_more_than_all_rows_and_pairs_never_for_less():
    for size, rows in [(rows * mb, rows) for rows in (1, 10, 10**3, 10**5, 10**8) for mb in (0, 1e-6, 0.01, 1)]:
        found = [
            request(*FIT, size, Size(rows, 9 * rows), f"{holds} rows") for holds in ("block of", "all", "pairs of")
        ]
        assert [2500, *found] == sorted([2500, *found])


def test_the_footer_of_the_items_says_how_many_there_are(tmp_path):
    table = tmp_path / "items.parquet"
    for rows in (3, 5000):
        texts = [f"{row:06} and a text" for row in range(rows)]
        pd.DataFrame({"id": texts}).to_parquet(table, row_group_size=1000)
        found = size_of(str(table), os.stat(table).st_mtime_ns)
        assert found.rows == rows
        assert found.unpacked > sum(map(len, texts))
