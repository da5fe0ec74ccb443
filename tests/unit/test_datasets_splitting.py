"""Stratified splits: counts, groups, determinism, and the rows that choices are made on."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from cmr.data import Items
from cmr.datasets.splitting import joined_strata, same_text, separated, stratified, vector_keys, with_held_out
from cmr.errors import UserError
from cmr.store import Rows

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def counts(parts, strata, stratum) -> dict[str, int]:
    return dict(Counter(part for part, own in zip(parts, strata, strict=True) if own == stratum))


def test_each_stratum_is_cut_at_its_shares():
    strata = ["a"] * 50 + ["b"] * 10 + ["c"] * 3
    parts = stratified(strata, SHARES, seed=0)
    assert counts(parts, strata, "a") == {"train": 30, "validation": 10, "test": 10}
    assert counts(parts, strata, "b") == {"train": 6, "validation": 2, "test": 2}
    assert counts(parts, strata, "c") == {"train": 1, "validation": 1, "test": 1}


def test_groups_stay_together_and_counts_within_one_group():
    generator = np.random.default_rng(0)
    groups = list(generator.integers(0, 60, 200))
    parts = stratified(["a"] * 200, SHARES, seed=0, groups=groups)
    of_group = {}
    for group, part in zip(groups, parts, strict=True):
        assert of_group.setdefault(group, part) == part
    largest = max(Counter(groups).values())
    for part, share in SHARES.items():
        assert abs((parts == part).sum() - share * 200) <= largest


def test_the_seed_decides_and_classes_do_not_touch_each_other():
    one, other = stratified(["a"] * 30, SHARES, seed=0), stratified(["a"] * 30, SHARES, seed=1)
    assert (one != other).any()
    with_more = stratified(["a"] * 30 + ["b"] * 9, SHARES, seed=0)
    assert (with_more[:30] == one).all()


def test_the_same_in_every_process():
    """Ties between parts must not be broken by the order of a set, which differs from process to process."""
    code = (
        "from cmr.datasets.splitting import stratified\n"
        "strata = [c for c in 'abcdefgh' for _ in range(3)]\n"
        "print(''.join(p[0:2] for p in stratified(strata, {'train': .6, 'validation': .2, 'test': .2}, 0)))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(seen) == 1


def test_a_class_too_small_is_named_with_the_remedy():
    with pytest.raises(UserError, match=r"class 'b' has only 1 distinct item: .*remove the class or merge it"):
        stratified(["a", "a", "a", "b"], SHARES, seed=0)
    with pytest.raises(UserError, match="class 'a' has only 2 distinct items"):
        stratified(["a", "a", "a"], SHARES, seed=0, groups=["same", "same", "other"])


def test_strata_too_small_for_the_parts_are_joined():
    assert joined_strata(["a", "b", "a", "b"], [0, 1, 2, 3], 2) == ["a", "b", "a", "b"]
    assert joined_strata(["a", "b", "c", "a"], [0, 1, 2, 3], 2) == ["a", "c", "c", "a"]
    assert joined_strata(["a", "b", "c", "a", "c", "c"], range(6), 2) == ["a", "a", "c", "a", "c", "c"]


def items_of(labels, **modalities) -> Items:
    table = pd.DataFrame({"id": [f"i{k}" for k in range(len(labels))], **modalities, "labels": [[x] for x in labels]})
    return Items(table, dict.fromkeys(modalities, "text"))


def test_validation_rows_are_the_held_out_ones():
    parts = np.array(["train", "validation", "test", ""])
    split = with_held_out(items_of("aaab", text=["t"] * 4), parts)
    assert set(split.held_out) == {"i1"}
    assert list(split.table["id"]) == ["i0", "i1", "i2"]  # unused items are left out


def test_a_class_without_training_rows_is_told():
    with pytest.raises(UserError, match="class 'b' of item 'i1' has no training row"):
        with_held_out(items_of("ab", text=["t"] * 2), np.array(["train", "test"]))


def test_without_validation_rows_a_stratified_tenth_of_training_is_held_out():
    labels = "a" * 40 + "b" * 20 + "c"
    parts = np.array(["train"] * 60 + ["train"])
    split = with_held_out(items_of(labels, text=["t"] * 61), parts)
    held = [labels[int(i[1:])] for i in split.held_out]
    assert Counter(held) == {"a": 4, "b": 2}  # the only row of c stays in training
    assert not split.has_validation


def test_unpaired_modalities_each_hold_out_a_tenth():
    image = ["x"] * 20 + [None] * 20
    split = with_held_out(items_of("a" * 40, image=image, text=image[::-1]), np.array(["train"] * 40))
    held = [int(i[1:]) for i in split.held_out]
    assert (sum(h < 20 for h in held), sum(h >= 20 for h in held)) == (2, 2)


def test_the_tenth_keeps_groups_together_and_is_a_tenth():
    groups = np.repeat(np.arange(60), 5)  # five captions a picture
    labels = "ab" * 150
    parts = np.array(["train"] * 300)
    held = with_held_out(items_of(labels, text=list(map(str, range(300)))), parts, groups).held_out
    rows = np.array([int(item[1:]) for item in held])
    assert len(rows) == 30
    assert all(np.isin(np.flatnonzero(groups == groups[row]), rows).all() for row in rows)


@pytest.mark.parametrize("each", [2, 3, 9])
def test_of_many_small_classes_a_tenth_is_held_out_and_each_keeps_a_training_row(each):
    classes = [f"{number:03}" for number in range(100) for _ in range(each)]
    items = items_of(classes, text=list(map(str, range(len(classes)))))
    split = with_held_out(items, np.array(["train"] * len(classes)))
    assert len(split.held_out) == pytest.approx(0.1 * len(classes), abs=1)
    kept = {classes[int(item[1:])] for item in split.selection_train}
    assert len(kept) == 100


def test_texts_that_hardly_differ_are_one():
    texts = ["A dog.", "a  dog", "A DOG!", "a dog (big)", "Cafe\u0301", "caf\u00e9"]
    assert [same_text(text) for text in texts] == ["a dog"] * 3 + ["a dog (big)", "caf\u00e9", "caf\u00e9"]


@pytest.mark.parametrize(("different", "items"), [(4, False), (5, True)])
def test_vectors_of_which_there_are_hardly_more_than_classes_name_no_items(different, items, caplog):
    rows = Rows(np.array([f"i{row}" for row in range(10)]), np.arange(10, dtype=np.float32)[:, None] % different)
    keys = vector_keys(rows, 2, "text")
    assert ("text: its rows name classes rather than items" in caplog.text) != items
    assert len(set(keys.values())) == (different if items else 0)
    if items:
        assert all((keys[f"i{row}"] == keys["i0"]) == (row % different == 0) for row in range(10))


def test_few_vectors_that_all_differ_are_items(caplog):
    rows = Rows(np.array(["a", "b", "c", "d"]), np.arange(4, dtype=np.float32)[:, None])
    assert len(vector_keys(rows, 2, "text")) == 4
    assert not caplog.text


def test_what_a_given_split_separates_is_counted():
    groups = np.array([0, 0, 1, 1, 2, 3, 3])
    parts = np.array(["train", "test", "validation", "test", "train", "train", ""])
    assert separated(groups, parts) == {"train, test": 1, "validation, test": 1}


LETTERS = {"train": "-", "validation": "v", "test": "t", "": "."}


def drawn_items():
    """Ninety items of three classes, of which some lack a modality and some have two labels; classes and groups."""
    generator = np.random.default_rng(0)
    classes = generator.choice(["a", "b", "c"], 90, p=[0.6, 0.3, 0.1]).tolist()
    groups = generator.integers(45, size=90)
    rows = {
        "id": [f"i{row}" for row in range(90)],
        "image": [None if row % 9 == 1 else "x" for row in range(90)],
        "text": [None if row % 9 == 0 else "x" for row in range(90)],
        "labels": [[own] if row % 4 else sorted({own, "a"}) for row, own in enumerate(classes)],
    }
    return Items(pd.DataFrame(rows), {"image": "ready", "text": "ready"}), classes, groups


def test_a_seeded_split_is_the_one_that_it_has_always_been():
    """Results that people have would no longer be those of their split."""
    items, classes, groups = drawn_items()
    in_groups = stratified(classes, SHARES, 1, [f"g{number}" for number in groups])
    assert "".join(map(LETTERS.get, in_groups)) == (
        "vv-vt------v-v-v-----t---tvvv-t--tvv--tt----vt----v--v----t----ttvvv----vtv---t-tt---t-v--"
    )
    alone = stratified(classes, {"train": 0.7, "test": 0.3}, 2)
    assert "".join(map(LETTERS.get, alone)) == (
        "--t--tt----------tttt--tt-----t-ttt-t-t-t------t-t---t----t---tt-t-t------t----------t--t-"
    )
    assert [int(item[1:]) for item in with_held_out(items, alone, groups).held_out] == [1, 27, 35, 42, 44, 56, 78]
    assert [int(item[1:]) for item in with_held_out(items, alone).held_out] == [21, 25, 29, 55, 56, 64]
