"""Texts of every kind, from a table to features: nothing breaks, nothing is not finite, rows stay with their items."""

import csv
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmr import registry, stages, store
from cmr.features.texts import words

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


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of plain training texts and the odd ones as test rows, prepared and split."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"name": f"p{i}", "caption": PLAIN[i % 6], "class": "ab"[i % 2], "part": "train"} for i in range(24)]
    rows += [{"name": n, "caption": text, "class": "a", "part": "test"} for n, text in TEXTS.items()]
    with open(folder / "my.jsonl", "w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    params = {"file": "my.jsonl", "id": "name", "text": "caption", "label": "class", "split": "part"}
    entry = {"id": "mine", "dataset": "table", "params": params}
    machine = {"cache": str(folder / "cache"), "base": str(folder), "data_root": None, "device": "cpu"}
    stages.prepare(entry, str(folder), machine, str(folder / "items.parquet"))
    stages.split(entry, str(folder), machine, str(folder / "items.parquet"), "default", str(folder / "split.csv"))
    return folder, entry, machine


@pytest.mark.parametrize("name", ["bow", *(pytest.param(name, marks=pytest.mark.long) for name in ("doc2vec", "lda"))])
def test_every_text_has_finite_features(table, name, cases):
    cases(len(TEXTS))
    folder, entry, machine = table
    feature = {"id": name, "extractor": name, "modality": "text", "params": SMALL[name]}
    out, partial = str(folder / f"{name}.h5"), str(folder / f"{name}.partial")
    items, split = str(folder / "items.parquet"), str(folder / "split.csv")
    stages.extract(feature, entry, str(folder), machine, items, split, None, out, partial, 1, "")
    matrix = store.read_matrix(out, "features")
    assert list(matrix.ids[-len(TEXTS) :]) == list(TEXTS)
    assert np.isfinite(matrix.values).all()
    row = dict(zip(matrix.ids, matrix.values, strict=True))
    if name == "bow":
        assert not row["no_words"].any()
        assert row["ten_megabytes"].any()
    assert registry.info("extractors", name).kind == "fitted"


def test_a_csv_with_the_same_texts_holds_the_same(table, tmp_path):
    """Quotes, line breaks and control characters survive a spreadsheet's file too."""
    _, entry, machine = table
    texts = {name: text for name, text in TEXTS.items() if name != "ten_megabytes"}
    with open(tmp_path / "my.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "caption", "class", "part"])
        rows.writerows([f"p{i}", PLAIN[i % 6], "ab"[i % 2], "train"] for i in range(24))
        rows.writerows([name, text, "a", "test"] for name, text in texts.items())
    entry = {**entry, "params": {**entry["params"], "file": "my.csv"}}
    out = str(tmp_path / "items.parquet")
    stages.prepare(entry, str(tmp_path), {**machine, "base": str(tmp_path)}, out)
    found = stages.Items.read(out).table.set_index("id")["text"]
    assert {name: found[name] for name in texts} == {name: text.strip() for name, text in texts.items()}


def test_words_of_generated_texts(cases):
    cases(100)

    @settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(st.text(max_size=200))
    def tried(text):
        found = words(text)
        assert all(word and word == word.lower() and not any(map(str.isspace, word)) for word in found)

    tried()
