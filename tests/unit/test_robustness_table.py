"""The table of docs/robustness.md: a part of it for each file of tests, and nothing around it changes."""

import pytest

from robustness import table


def test_every_file_of_tests_is_a_part():
    assert set(table.AREAS) == {file.stem for file in table.HERE.glob("test_*.py")}


def test_only_what_stands_between_the_comments_is_written():
    text = f"a\n{table.START}\nwhat stood there\n{table.END}\nb\n"
    counted = {name: {"cases": 2, "mended": []} for name in table.AREAS} | {
        "test_kill": {"cases": 5, "mended": ["z", "y"]}
    }
    written = table.written(text, counted)
    assert written.startswith(f"a\n{table.START}\n\n| what ")
    assert written.endswith(f"- y\n- z\n\n{table.END}\nb\n")
    assert f"| {table.AREAS['test_kill']} | 5 | 2 |" in written
    assert f"| all | {2 * len(table.AREAS) + 3} | 2 |" in written
    assert "what stood there" not in written
    with pytest.raises(KeyError, match="test_kill"):  # a part that has not passed
        table.written(text, {name: found for name, found in counted.items() if name != "test_kill"})
