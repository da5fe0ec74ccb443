"""Pairs that are drawn within a class: who is whose partner, and what stays as it is."""

from collections import Counter

import numpy as np
import pytest

from cmr.config import validate
from cmr.data import Part, View
from cmr.errors import UserError
from cmr.pairing import paired_by_class
from cmr.plan import Plan


def view(prefix: str, classes: str, first: int = 0) -> View:
    """A row a letter, its class; its number is its feature."""
    numbers = np.arange(first, first + len(classes))
    ids = np.array([f"{prefix}{number}" for number in numbers])
    return View(ids, numbers[:, None].astype(np.float32), multi_hot(classes))


def multi_hot(classes: str) -> np.ndarray:
    return np.array([[c in own for c in "abc"] for own in classes], np.uint8)


def labels_of(part: Part):
    known = {item: row for v in part.values() for item, row in zip(v.ids, v.labels, strict=True)}
    return lambda ids: np.array([known[item] for item in ids])


def drawn(part: Part, seed: int = 0) -> Part:
    return paired_by_class(part, labels_of(part), seed)


def rows(part: Part, modality: str) -> list[int]:
    return part[modality].features[:, 0].astype(int).tolist()


UNPAIRED = {"image": view("i", "aaaaabbc"), "audio": view("s", "ababb", 100)}


def test_pairs_share_their_labels_and_every_row_of_the_larger_modality_has_one():
    pairs = drawn(UNPAIRED)
    image, audio = rows(pairs, "image"), rows(pairs, "audio")
    for own, other in zip(image, audio, strict=True):
        assert "aaaaabbc"[own] == "ababb"[other - 100]
    # Of a five images and two sounds, of b two images and three sounds; of c no sound.
    images, sounds = Counter(image), Counter(audio)
    assert [images[number] for number in range(5)] == [1] * 5
    assert sorted(sounds[number] for number in (100, 102)) == [2, 3]
    assert [sounds[number] for number in (101, 103, 104)] == [1] * 3
    assert sorted(images[number] for number in (5, 6)) == [1, 2]
    assert images[7] == 0


def test_row_i_of_each_modality_is_one_pair_with_labels_and_an_id_of_its_own():
    pairs = drawn(UNPAIRED)
    assert pairs["image"].ids.tolist() == pairs["audio"].ids.tolist()
    assert len(set(pairs["image"].ids)) == 8
    assert pairs["image"].labels.tolist() == pairs["audio"].labels.tolist()
    without = {m: v.without_labels() for m, v in UNPAIRED.items()}
    again = paired_by_class(without, labels_of(UNPAIRED), 0)
    assert again["image"].labels is None
    assert rows(again, "audio") == rows(pairs, "audio")


def test_the_seed_alone_decides_and_not_the_order_of_the_rows():
    assert rows(drawn(UNPAIRED), "audio") == rows(drawn(UNPAIRED), "audio")
    assert len({tuple(rows(drawn(UNPAIRED, seed), "audio")) for seed in range(9)}) > 5
    turned = {m: v.rows(np.arange(len(v))[::-1]) for m, v in UNPAIRED.items()}
    assert rows(drawn(turned), "image") == rows(drawn(UNPAIRED), "image")


def test_another_class_changes_no_pair_of_the_others():
    more = {"image": view("i", "aaaaabbcc"), "audio": view("s", "ababbc", 100)}

    def pairs(part):
        return {(i, s) for i, s in zip(rows(part, "image"), rows(part, "audio"), strict=True) if i < 7}

    assert pairs(drawn(more)) == pairs(drawn(UNPAIRED))


def test_every_partner_of_a_class_comes_up_as_often():
    part = {"image": view("i", "aa"), "audio": view("s", "aaa", 100)}
    counts = Counter(
        s for seed in range(600) for i, s in zip(*(rows(drawn(part, seed), m) for m in part), strict=True) if i == 0
    )
    times = sum(counts.values())
    assert times == pytest.approx(900, abs=4 * np.sqrt(150))
    for count in counts.values():
        assert count == pytest.approx(times / 3, abs=4 * np.sqrt(200))


def test_pairs_by_ids_stay_whatever_else_is_drawn():
    """Images and texts are pairs, in another order; one image lacks its text; sounds are of other items."""
    text = view("i", "aaaaabb").rows(np.array([6, 5, 4, 3, 2, 1, 0]))
    part = {"image": UNPAIRED["image"], "text": text, "audio": UNPAIRED["audio"]}
    pairs = drawn(part)
    assert list(pairs) == ["image", "text", "audio"]
    assert rows(pairs, "image") == rows(pairs, "text")
    assert rows(pairs, "image") == rows(drawn({"image": view("i", "aaaaabb"), "audio": UNPAIRED["audio"]}), "image")


def test_what_ids_pair_is_left_as_it_is():
    part = {"image": UNPAIRED["image"], "text": view("i", "aaaaabb")}
    assert drawn(part) is part


def test_items_of_several_labels_are_paired_with_those_of_the_same():
    part = {"image": view("i", "ab"), "audio": view("s", "ab", 100)}
    both = np.array([[1, 1, 0]], np.uint8)
    part = {
        m: View(np.append(v.ids, f"{m}+"), np.vstack([v.features, v.features[-1:] + 50]), np.vstack([v.labels, both]))
        for m, v in part.items()
    }
    pairs = drawn(part)
    assert {(i, s) for i, s in zip(rows(pairs, "image"), rows(pairs, "audio"), strict=True)} == {
        (0, 100),
        (1, 101),
        (51, 151),
    }


@pytest.mark.parametrize(
    ("entry", "mistake"),
    [
        ({"id": "gmlda", "pairing": "class"}, r"methods\[0\]\.pairing: 'gmlda' needs no pairs; leave it out"),
        ({"id": "dla_cmr", "pairing": "class", "dictionary": "coupled"}, r"pairing: a dictionary is learned from pairs by ids"),
        ({"id": "cca", "pairing": "label"}, r"pairing: expected 'ids' or 'class', found 'label'"),
    ],
)  # fmt: skip
def test_entries_that_cannot_draw_are_refused(entry, mistake):
    experiment = {"id": "e", "data": ["openmoji"], "inputs": [["efficientnet_lite0", "bert"]], "methods": [entry]}
    with pytest.raises(UserError, match=mistake):
        validate({"experiments": [experiment]})


def test_each_seed_draws_other_pairs_so_all_seeds_are_run():
    methods = ["cca", {"id": "cca_drawn", "method": "cca", "pairing": "class"}]
    inputs = [["efficientnet_lite0", "bert"]]
    experiment = {"id": "e", "data": ["openmoji"], "inputs": inputs, "methods": methods, "seeds": 3}
    runs = Plan(validate({"experiments": [experiment]})).runs
    assert [(run.method.split("-")[0], run.seed) for run in runs] == [
        ("cca", 0),
        ("cca_drawn", 0),
        ("cca_drawn", 1),
        ("cca_drawn", 2),
    ]
