"""The project's own files: found through links, and an error where they cannot be read or hold nothing."""

from pathlib import Path

import pytest

from cmr import project
from cmr.errors import UserError
from cmr.reporting import published

ROOT = Path(__file__).parents[2]
FOLDER = Path(project.__file__).parent


def test_every_link_is_relative_and_leads_to_its_own_name_at_the_top():
    links = [path for path in FOLDER.rglob("*") if path.is_symlink()]
    assert len(links) >= 8
    for link in links:
        assert not link.readlink().is_absolute()
        assert link.exists()
        assert project.path(str(link.relative_to(FOLDER))) == (ROOT / link.relative_to(FOLDER)).resolve()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: .*No such file.*; restore it, or install cmr again"),
        (b"", "has no rows; restore it, or install cmr again"),
        (b"a,b\n", "has no rows; restore it, or install cmr again"),
        (b"a,c\n1,2\n", "columns a, c; expected a, b"),
        (b"a,b\n1,2\n3\n", "row 3: 1 values for 2 columns"),
        (b"a,b\n1,2,3\n", "row 2: 3 values for 2 columns"),
        (b"a,b\n\xff,2\n", "cannot be read: .*can't decode"),
        (b'a,b\n"1,2\n', "cannot be read: unexpected end of data"),
    ],
)
def test_a_table_that_is_not_whole_is_an_error(tmp_path, content, said):
    file = tmp_path / "t.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{file}: {said}"):
        project.rows(file, ["a", "b"])


def test_rows_of_a_whole_table(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n1,"x, y"\n,é\n', "utf-8")
    assert project.rows(tmp_path / "t.csv", ["a", "b"]) == [{"a": "1", "b": "x, y"}, {"a": "", "b": "é"}]


def test_no_printed_figures_are_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UserError, match=f"^{folder}: no printed figures"):
            published.read(folder)
