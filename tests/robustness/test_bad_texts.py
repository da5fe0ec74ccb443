"""Texts of every kind, from a table to features: nothing breaks, nothing is not finite, rows stay with their items."""

import csv
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmr import registry, store
from cmr.data import Items
from cmr.features.texts import words
from toy_plan import Project, experiment

TEXTS = {
    "emoji": "🍎🍏 👨‍👩‍👧‍👦 🇩🇪",
    "right_to_left": "‮تفاحة حمراء تفاحة‬ שלום",
    "combining": "Z̸̧̡̢̛̲̳̟a̴l̷g̸o̵ ﬁ ﷽",
    "no_words": "… — !!! ؟",
    "control": "red\x07\x1b[31m apple\x0b\x0c",
    "one_letter": "x",
    "one_word": "a" * 100_000,
    "many_lines": "red\napple\r\ngreen\u2028tree\n" * 50,
    "markup": "<script>alert(1)</script> red",
    "formula": "=HYPERLINK(1)",
    "half_quoted": 'red "apple',
    "numbers": "1 2 3.5 1e999 NaN",
    "ten_megabytes": "red apple and green tree " * 400_000,
}
PLAIN = [
    "a red apple",
    "the green tree",
    "a red car near the house",
    "green grass and a tree",
    "the house",
    "a red rose",
]
SMALL = {"lda": {"topics": 3}, "doc2vec": {"dimensions": 4}, "bow": {"vocabulary": 20}}


def project(folder, file, feature):
    """The texts of a table, and one of their features."""
    params = {"file": file, "id": "name", "text": "caption", "label": "class", "split": "part"}
    data = {"datasets": [{"id": "made", "dataset": "table", "params": params}]}
    features = {"features": [{"id": feature, "params": SMALL[feature]}]}
    return Project(folder, {**data, **features, **experiment([feature], "random")})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The folder of a table of plain training texts and the odd ones as test rows."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"name": f"p{i}", "caption": PLAIN[i % 6], "class": "ab"[i % 2], "part": "train"} for i in range(24)]
    rows += [{"name": n, "caption": text, "class": "a", "part": "test"} for n, text in TEXTS.items()]
    with open(folder / "my.jsonl", "w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    return folder


@pytest.mark.parametrize("name", ["bow", *(pytest.param(name, marks=pytest.mark.long) for name in ("doc2vec", "lda"))])
@pytest.mark.slow
def test_every_text_has_finite_features(table, name, cases):
    cases(len(TEXTS))
    made = project(table, "my.jsonl", name)
    matrix = store.read_matrix(made.path(made.make(made.only("extract")).files[0]), "features")
    assert list(matrix.ids[-len(TEXTS) :]) == list(TEXTS)
    assert np.isfinite(matrix.values).all()
    row = dict(zip(matrix.ids, matrix.values, strict=True))
    if name == "bow":
        assert not row["no_words"].any()
        assert row["ten_megabytes"].any()
    assert registry.info("extractors", name).kind == "fitted"


def test_a_csv_with_the_same_texts_holds_the_same(tmp_path):
    """Quotes, line breaks and control characters survive a spreadsheet's file too."""
    texts = {name: text for name, text in TEXTS.items() if name != "ten_megabytes"}
    with open(tmp_path / "my.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "caption", "class", "part"])
        rows.writerows([f"p{i}", PLAIN[i % 6], "ab"[i % 2], "train"] for i in range(24))
        rows.writerows([name, text, "a", "test"] for name, text in texts.items())
    made = project(tmp_path, "my.csv", "bow")
    items = made.make(made.only("prepare")).files[0]
    found = Items.read(made.path(items)).table.set_index("id")["text"]
    assert {name: found[name] for name in texts} == {name: text.strip() for name, text in texts.items()}


def test_words_of_generated_texts(cases):
    cases(100)

    @settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(st.text(max_size=200))
    def tried(text):
        found = words(text)
        assert all(word and word == word.lower() and not any(map(str.isspace, word)) for word in found)

    tried()
