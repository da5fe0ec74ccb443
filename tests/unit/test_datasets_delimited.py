"""Tables as people save them: separators, encodings and quotation marks."""

import logging

import pytest

from cmr.datasets.delimited import decoded, read_cells
from cmr.errors import UserError

WANTED = ("picture", "caption", "class")


def cells(tmp_path, content, separator=",", wanted=WANTED, **options):
    file = tmp_path / "my.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_cells(file, separator, wanted, **options)


@pytest.mark.parametrize(
    ("header", "expected", "found"),
    [
        ("picture,caption,class", ",", ","),
        ("picture;caption;class", ",", ";"),
        ("picture|caption|class", ",", "|"),
        ("picture\tcaption\tclass", ",", "\t"),
        ("picture,caption,class", "\t", ","),
        ("picture;caption;class;size, in bytes", ",", ";"),
        ("picture,caption,class,a;b", ",", ","),
        ('"picture";"caption";"class"', ",", ";"),
        (" picture , caption, class", ",", ","),
        ("\ufeffpicture;caption;class", ",", ";"),
    ],
)
def test_the_separator_is_seen_in_the_header(tmp_path, caplog, header, expected, found):
    rest = found.join(["x"] * header.count(found)) + found + "y\n"
    read = cells(tmp_path, f"{header}\n{rest}", expected)
    assert read.header[:3] == list(WANTED)
    assert (read.numbers, read.rows[0][-1]) == ([2], "y")
    assert any("columns are separated by" in told for told in caplog.messages) == (expected != found)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_declares_the_separator_counts_as_one(tmp_path, end):
    """As Excel writes it; rows keep the numbers that an editor shows."""
    read = cells(tmp_path, end.join(["sep=;", "picture;caption;class", "p;a, b;c", "q;d;e", ""]))
    assert (read.header, read.numbers, read.rows) == ([*WANTED], [3, 4], [["p", "a, b", "c"], ["q", "d", "e"]])


def test_where_no_separator_gives_the_wanted_columns_the_one_that_is_there_is_taken(tmp_path):
    assert cells(tmp_path, "picture;captoin;class\n").header == ["picture", "captoin", "class"]
    assert cells(tmp_path, "picture,captoin;class\n").header == ["picture", "captoin;class"]
    assert cells(tmp_path, "picture\n1\n").rows == [["1"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le with mark", "utf-16-be with mark"])
def test_encodings_that_say_what_they_are(tmp_path, encoding):
    text = "picture,caption,class\np,caf\u00e9 \u732b,c\n"
    name, _, mark = encoding.partition(" with ")
    assert cells(tmp_path, (f"\ufeff{text}" if mark else text).encode(name)).rows == [["p", "caf\u00e9 \u732b", "c"]]


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp1252", "caf\u00e9 \u20ac"), ("gb18030", "\u4e2d\u6587"), ("latin-1", "\u00e9")]
)
def test_other_encodings_are_given(tmp_path, encoding, text):
    content = f"picture,caption,class\np,x,c\np,{text},c\n".encode(encoding)
    with pytest.raises(
        UserError, match=r"my.csv: line 3: not UTF-8 at 'p,.*'; save it as UTF-8, or .* encoding: cp1252"
    ):
        cells(tmp_path, content)
    assert cells(tmp_path, content, encoding=encoding).rows[1][1] == text
    with pytest.raises(UserError, match="no encoding is called 'cp12525'"):
        cells(tmp_path, content, encoding="cp12525")


def test_a_file_whose_encoding_cannot_be_given_has_another_remedy(tmp_path):
    (tmp_path / "y.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match=r"y.txt: line 1: not UTF-8 at 'caf\\\\xe9'; save it as UTF-8$"):
        decoded(tmp_path / "y.txt")


HEADER = "picture\tcaption\tclass\n"


@pytest.mark.parametrize(
    ("rows", "captions", "told"),
    [
        ("1\ta cat\tx\n2\ta dog\ty\n", ["a cat", "a dog"], ""),
        ('1\t"a cat"\tx\n2\t"a ""dog"""\ty\n', ["a cat", 'a "dog"'], ""),
        ('1\ta 5" screen\tx\n2\tb\ty\n', ['a 5" screen', "b"], ""),
        (
            '1\t"Stop sign\tx\n2\ta\ty\n3\t"Go sign\tx\n',
            ['"Stop sign', "a", '"Go sign'],
            "row 2: a quotation mark opens",
        ),
        ('1\t"Stop" sign\tx\n2\ta\ty\n', ['"Stop" sign', "a"], "row 2: a quotation mark opens"),
        ('1\ta\tx\n2\t"Stop\ty\n', ["a", '"Stop'], "row 3: a quotation mark opens"),
        ('1\t"two\nlines"\tx\n2\ta\ty\n', ["two\nlines", "a"], ""),
        ('1\t"a\ttab"\tx\n2\ta\ty\n', ["a\ttab", "a"], ""),
        ('1\t"Stop\tx"\n2\ta\ty\n', ['"Stop', "a"], "row 2 would have another number of cells than the header"),
    ],
)
def test_quotation_marks_are_read_as_the_rows_say(tmp_path, caplog, rows, captions, told):
    assert [row[1] for row in cells(tmp_path, HEADER + rows, "\t").rows] == captions
    assert bool(told) == bool(caplog.messages)
    assert told in "".join(caplog.messages)


def test_quotation_marks_that_could_be_either_are_asked(tmp_path):
    """One caption begins with a mark and another ends with one, so that they could be one cell of several lines."""
    text = HEADER + '1\t"Stop\tx\n2\ta\ty\n3\tgo"\tx\n4\tb\ty\n'
    with pytest.raises(
        UserError, match=r"row 2: .* several lines \(2 rows in all\) or be .* \(4 rows\); .* quotes: false"
    ):
        cells(tmp_path, text, "\t")
    assert len(cells(tmp_path, text, "\t", quotes=False).rows) == 4
    assert cells(tmp_path, text, "\t", quotes=True).rows[0][1] == "Stop\tx\n2\ta\ty\n3\tgo"


@pytest.mark.parametrize("quotes", [None, True])
def test_a_mark_that_no_reading_closes_is_named(tmp_path, quotes):
    with pytest.raises(UserError, match=r"row 3: a quotation mark opens a cell and does not close it; close the"):
        cells(tmp_path, 'picture,caption,class\n1,"a, b",x\n2,"c, d,y\n', quotes=quotes)


def test_a_row_of_several_lines_counts_once(tmp_path):
    read = cells(tmp_path, 'picture,caption,class\n1,"a\nb\nc",x\n\n2,d,y\n')
    assert read.numbers == [2, 4]
    with pytest.raises(UserError, match="row 3 has 4 cells"):
        cells(tmp_path, 'picture,caption,class\n1,"a\nb\nc",x\n2,d,y,z\n', quotes=True)


def test_rows_keep_the_numbers_of_a_spreadsheet_and_empty_ones_are_left_out(tmp_path):
    read = cells(tmp_path, "\npicture,caption,class\n1,a,x\n\n,,\n2,b\n3,c,y,,\n")
    assert (read.numbers, read.rows) == ([3, 6, 7], [["1", "a", "x"], ["2", "b", ""], ["3", "c", "y"]])
    with pytest.raises(UserError, match="row 2 has 4 cells, the header 3"):
        cells(tmp_path, "picture,caption,class\n1,a,x,z\n")


def test_texts_may_be_long(tmp_path):
    assert len(cells(tmp_path, f"picture,caption,class\n1,{'a' * 300_000},x\n").rows[0][1]) == 300_000


def test_what_is_usual_is_not_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    cells(tmp_path, 'picture,caption,class\n1,"a, b",x\n')
    assert caplog.messages == []
