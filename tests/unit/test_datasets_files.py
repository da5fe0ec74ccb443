"""Rows of the files that a user names, and their numbers."""

import pytest

from cmr.datasets.files import read_rows
from cmr.errors import UserError


def test_blank_lines_between_json_lines_are_left_out_and_count(tmp_path):
    file = tmp_path / "my.jsonl"
    file.write_bytes(b'{"a": 1}\n\n{"a": 2}\r\n \n\n{"a": 3}\n\n')
    table = read_rows(file)
    assert (table.index.tolist(), table["a"].tolist()) == ([1, 3, 6], [1, 2, 3])
    file.write_bytes(b'{"a": 1}\n\n{"a"\n')
    with pytest.raises(UserError, match=r"my\.jsonl: cannot be read: row 3: "):
        read_rows(file)
