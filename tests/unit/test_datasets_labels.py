"""Class labels as people write them: what is one class, what is none, and what is asked."""

import datetime
import decimal
import logging

import numpy as np
import pandas as pd
import pytest

from cmr.datasets.labels import LabelQuestion, LabelReader, as_list, single_names
from cmr.errors import UserError

CAFE, CAFE_IN_PARTS = "caf\u00e9", "cafe\u0301"


def read(cells, **options):
    return LabelReader(**options).read(cells, "labels", lambda row: f"row {row}")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([0, 2, 1], ["0", "2", "1"]),
        ([1.0, 2.0, np.float32(3)], ["1", "2", "3"]),
        (["1.0", "2.0", "2."], ["1", "2", "2"]),
        (["1", 1, 1.0, np.int64(2)], ["1", "1", "1", "2"]),
        (["1.0", "1.5"], ["1.0", "1.5"]),
        ([0.5, np.float32(1.1)], ["0.5", "1.1"]),
        (["01", "1", "02"], ["01", "1", "02"]),
        (["2.0 litre", "3.0"], ["2.0 litre", "3.0"]),
        ([2**53 + 1, 2**53], ["9007199254740993", "9007199254740992"]),
        ([True, False], ["True", "False"]),
        ([decimal.Decimal("1.00"), decimal.Decimal(2)], ["1", "2"]),
        (["a car", " a car ", "a car\0\0", "big cat"], ["a car", "a car", "a car", "big cat"]),
        ([CAFE, CAFE_IN_PARTS, "car"], [CAFE, CAFE, "car"]),
        ([b"cat", "caf\u00e9".encode()], ["cat", CAFE]),
        ([np.str_("cat"), np.bytes_(b"dog")], ["cat", "dog"]),
        ([np.array(["cat"]), np.array([[3.0]]), np.array([np.array(["dog"])], object)], ["cat", "3", "dog"]),
        ([pd.Timestamp("2020-01-01"), np.datetime64("2021-01-01"), datetime.date(2022, 1, 1)],
         ["2020-01-01", "2021-01-01", "2022-01-01"]),
        ([pd.Timestamp("2020-01-01 12:30"), "x"], ["2020-01-01T12:30:00", "x"]),
        ([-1, 1, 1, -1], ["-1", "1", "1", "-1"]),
        ([-2, -1, 0], ["-2", "-1", "0"]),
        (["Art; old", *["Music"] * 20], ["Art; old", *["Music"] * 20]),
        (["Food, drink", "Arts, crafts", "Sport"], ["Food, drink", "Arts, crafts", "Sport"]),
        (["[", "(x)", "a [b]"], ["[", "(x)", "a [b]"]),
    ],
)  # fmt: skip
def test_one_label_a_cell(cells, expected):
    assert read(cells) == [[name] for name in expected]


def test_names_without_what_cannot_be_seen():
    cells = ["a car", "a\u00a0car", " a  car\u200b", "\ufeffa car", "b'a car'", r"b'\x61 car'", "a\u3000car"]
    assert read(cells) == [["a car"]] * len(cells)
    assert read(["नमस्\u200dते", "b'", "b'it's'", "bob's"]) == [["नमस्\u200dते"], ["b'"], ["b'it's'"], ["bob's"]]
    assert read(["a\tb", "c"], separator="\t") == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    "nothing",
    [None, np.nan, float("inf"), -np.inf, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), "", "  ", "\0", b"",
     "nan", "NaN", "None", "<NA>", "NaT", " None ", [], [None], ["", "nan"], np.array([], "U1"), decimal.Decimal("NaN")],
    ids=repr,
)  # fmt: skip
def test_what_is_no_label(nothing):
    assert read([nothing, "cat", "dog"]) == [[], ["cat"], ["dog"]]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([["cat", "pet"], ("dog",), {"pet"}], [["cat", "pet"], ["dog"], ["pet"]]),
        ([["cat", " cat", None], np.array([1.0, 2.0])], [["cat"], ["1", "2"]]),
        ([np.array(["cat", "pet"], object), np.array([["dog"]], object)], [["cat", "pet"], ["dog"]]),
        (["['cat', 'pet']", "['dog']", "[]"], [["cat", "pet"], ["dog"], []]),
        (["['cat' 'pet']", "['dog'\n 'pet']"], [["cat", "pet"], ["dog", "pet"]]),
        (['["it\'s", "a \\"b\\""]', "['c, d']"], [["it's", 'a "b"'], ["c, d"]]),
        (["[np.str_('cat'), np.str_('pet')]", "[np.str_('dog')]"], [["cat", "pet"], ["dog"]]),
        (["('cat', 'pet')", "('dog',)"], [["cat", "pet"], ["dog"]]),
        (["{'cat'}", "{'dog'}", "nan"], [["cat"], ["dog"], []]),
        (["[1, 2]", "[3]", "[1. 3.]"], [["1", "2"], ["3"], ["1", "3"]]),
    ],
)
def test_several_labels_a_cell(cells, expected):
    assert read(cells) == expected


def test_a_separator_splits_texts_and_reads_lists_all_the_same():
    assert read(["cat; dog;cat", "dog;", "nan;x"], separator=";") == [["cat", "dog"], ["dog"], ["x"]]
    assert read(["['a;b']", "['c']"], separator=";") == [["a;b"], ["c"]]
    assert read(["1.0;2", "nan;3.0"], separator=";") == [["1", "2"], ["3"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['a', 'b']", ["a", "b"]),
        ("[ 'a'  'b' ]", ["a", "b"]),
        ("[1 2\n 3]", [1, 2, 3]),
        ("[None, nan]", [None, None]),
        ("[]", []),
        ("['a' 'b", None),
        ("[a, b]", None),
        ("['a'b]", None),
        ("['a', ...]", None),
        ("[__import__('os')]", None),
        ("(2020)", None),
        ("{}", None),
        ("[", None),
        ("", None),
        ("['\\x']", None),
        ("[" + "9" * 5000 + "]", None),
    ],
)
def test_lists_that_were_written_as_text(text, expected):
    assert as_list(text) == expected


@pytest.mark.parametrize(
    ("cells", "question", "parameter", "answers"),
    [
        ([-1, 0, 1, 2], "1 labels are '-1'", "no_label: ['-1']", [({"no_label": [-1]}, []), ({"no_label": []}, ["-1"])]),
        (["-1", "5.0"], "1 labels are '-1'", "no_label: []", [({"no_label": ["-1"]}, []), ({"no_label": []}, ["-1"])]),
        (["NA", "cat", "dog"], "1 labels are 'NA'", "no_label: ['NA']", [({"no_label": ["NA"]}, []), ({"no_label": []}, ["NA"])]),
        (["none", "joy"], "1 labels are 'none'", "no_label: ['none']", [({"no_label": ["none"]}, [])]),
        (["cat;pet", "dog;pet", "car"], "2 of 3 labels hold ';', such as 'cat;pet'", "separator: ';'",
         [({"separator": ";"}, ["cat", "pet"]), ({"separator": ""}, ["cat;pet"])]),
        (["cat|pet", "dog"], "1 of 2 labels hold '|'", "separator: ''", [({"separator": "|"}, ["cat", "pet"])]),
        (["cat, pet", "dog, pet", "car"], "2 of 3 labels hold ','", "separator: ','",
         [({"separator": ","}, ["cat", "pet"]), ({"separator": ""}, ["cat, pet"])]),
        (["['cat']", "dog"], "row 0: the label \"['cat']\" looks like a list, as 1 of 2 do", "separator: ''",
         [({"separator": ""}, ["['cat']"])]),
        (["[cat, dog]", "[dog]", "[car]"], "row 0: the label '[cat, dog]' looks like a list", "separator: ''",
         [({"separator": ""}, ["[cat, dog]"])]),
    ],
)  # fmt: skip
def test_what_has_two_meanings_is_asked_and_a_parameter_answers(cells, question, parameter, answers):
    with pytest.raises(LabelQuestion) as asked:
        read(cells)
    assert question in str(asked.value)
    assert question in asked.value.at_command
    assert f"--{parameter.partition(':')[0].replace('_', '-')} " in asked.value.at_command
    assert parameter in str(asked.value)
    for options, first in answers:
        assert read(cells, **options)[0] == first


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([2.0**53], r"row 0: the label 9007199254740992 is a float beyond 2\^53"),
        ([1, np.float32(2**24)], r"row 1: .*beyond 2\^24"),
        (["a", [["b"], ["c", "d"]]], "row 1: expected a label, or a list of labels, found list"),
        ([{"a": 1}], "row 0: expected a label, or a list of labels, found dict"),
        ([object()], "found object"),
    ],
)
def test_what_is_no_name_is_refused_with_its_row(cells, problem):
    with pytest.raises(UserError, match=problem):
        read(cells)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["Cat", "cat", "dog", "cat"], "labels: the classes 'Cat' (1), 'cat' (2) differ in case alone"),
        (["cat", "cat "], "labels: all labels are 'cat', so every item is relevant to every other"),
        (["a;b", *["c"] * 20], "labels: 1 of 21 labels hold ';', such as 'a;b'; each is taken for one label"),
    ],
)
def test_what_is_odd_is_told_to_the_log(cells, told, caplog):
    read(cells)
    assert told in caplog.messages


def test_what_is_plain_is_not_told(caplog):
    caplog.set_level(logging.INFO)
    read(["cat", "dog", "Food, drink", None, "a car"])
    assert caplog.messages == []


def test_a_separator_that_stands_in_no_label_is_told_or_another_asked_for(caplog):
    with pytest.raises(LabelQuestion, match=r"hold ';', such as 'a;b'; say separator: ';'"):
        read(["a;b", "b;c", "a"], separator="|")
    assert read(["a", "b"], separator="|") == [["a"], ["b"]]
    assert "labels: no label holds the separator '|': each is taken for one label" in caplog.text
    caplog.clear()
    assert read(["a|b", "b"], separator="|") == [["a", "b"], ["b"]]
    assert not caplog.text


def test_single_names_have_the_form_of_class_names():
    def where(row):
        return f"row {row}"

    assert single_names(np.arange(2.0), where) == single_names(np.arange(2), where) == ["0", "1"]
    assert single_names(["a ", b"b", np.nan], where) == ["a", "b", ""]
    with pytest.raises(UserError, match="row 0: expected one name, found 2"):
        single_names([["a", "b"]], where)
