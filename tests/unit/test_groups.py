"""Several captions a picture, pairs without labels: what is one item, what is a pair, and figures by instance."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmr import cli, registry
from cmr.data import Items, View, paired, rows_of
from cmr.datasets.grouping import with_labels_of_groups
from cmr.datasets.precomputed import Precomputed
from cmr.datasets.table import Table
from cmr.errors import UserError
from cmr.evaluation import ConfiguredMetric, evaluate_task, scorer
from cmr.measure import recall_of_files
from cmr.store import Rows

PICTURES, CAPTIONS = 40, 5
OWNER = np.repeat(np.arange(PICTURES), CAPTIONS)
BY_INSTANCE = [
    *(ConfiguredMetric.from_entry({"id": f"r{k}", "metric": "recall_at_k", "params": {"k": k}}) for k in (1, 5, 10)),
    *(
        ConfiguredMetric.from_entry({"id": name, "metric": name, "params": {}})
        for name in ("median_rank", "mean_rank", "recall_sum", "map_at_r")
    ),
]
BY_CLASS = ConfiguredMetric.from_entry({"id": "map", "metric": "mean_average_precision", "params": {}})


def view(prefix, features, groups, labels=None):
    ids = np.array([f"{prefix}{row}" for row in range(len(features))])
    return View(ids, features, labels, np.array([str(group) for group in groups]))


def captioned(images, texts):
    return view("i", images, np.arange(PICTURES)), view("t", texts, OWNER)


def figures(query, gallery, metrics=BY_INSTANCE):
    found = evaluate_task(scorer(query.features, gallery.features), query, gallery, metrics, [])
    return {key: entry["value"] for key, entry in found.task["metrics"].items()}, found.task


# Pairs ------------------------------------------------------------------------------------------------------------


def test_pairs_are_all_combinations_of_a_group():
    images, texts = view("i", np.eye(3), "abc"), view("t", np.eye(5), "abbza")
    sounds = view("s", np.eye(3), "bba")
    both = paired({"image": images, "text": texts, "audio": sounds}, ("image", "text"))
    assert list(zip(*(v.ids.tolist() for v in both), strict=True)) == [
        ("i0", "t0"), ("i0", "t4"), ("i1", "t1"), ("i1", "t2"),
    ]  # fmt: skip
    three = paired({"image": images, "text": texts, "audio": sounds}, ("image", "text", "audio"))
    wanted = [
        (i, t, s) for i, g in zip("012", "abc", strict=True) for t, h in enumerate("abbza") for s, k in enumerate("bba")
        if g == h == k
    ]  # fmt: skip
    assert list(zip(*(v.ids.tolist() for v in three), strict=True)) == [
        (f"i{i}", f"t{t}", f"s{s}") for i, t, s in wanted
    ]


def test_ids_are_groups_where_there_are_no_others():
    a, b = View(np.array(["x", "y"]), np.eye(2)), View(np.array(["y", "z", "x"]), np.eye(3))
    assert [v.ids.tolist() for v in paired({"a": a, "b": b}, ("a", "b"))] == [["x", "y"], ["x", "y"]]
    with pytest.raises(UserError, match=r"no item has all .* group says which"):
        paired({"a": a, "b": View(np.array(["q"]), np.eye(1))}, ("a", "b"))


# Figures ----------------------------------------------------------------------------------------------------------


def test_perfect_embeddings_have_perfect_figures_both_ways():
    images = np.random.default_rng(0).standard_normal((PICTURES, 16))
    image, text = captioned(images, images[OWNER])
    for query, gallery in ((image, text), (text, image)):
        found, task = figures(query, gallery)
        assert found == {"r1": 1, "r5": 1, "r10": 1, "median_rank": 1, "mean_rank": 1, "recall_sum": 300, "map_at_r": 1}
        assert (task["queries"], task["gallery_size"]) == (len(query), len(gallery))


def test_random_embeddings_are_at_the_exact_chance():
    rng = np.random.default_rng(0)
    sums, chances = [], []
    for _ in range(60):
        image, text = captioned(rng.standard_normal((PICTURES, 64)), rng.standard_normal((len(OWNER), 64)))
        for query, gallery in ((image, text), (text, image)):
            found, task = figures(query, gallery)
            sums.append([found[key] for key in found])
            chances.append([task["metrics"][key]["chance"] for key in found])
    found, chance = np.array(sums).reshape(60, 2, -1), np.array(chances).reshape(60, 2, -1)
    error = found.std(axis=0) / np.sqrt(60)
    assert (
        np.abs(found.mean(axis=0) - chance[0]) < 4 * error + 0.6 * (chance[0] > 1)
    ).all()  # medians are whole numbers


def test_equal_scores_leave_figures_open_between_the_bounds():
    image, text = captioned(np.ones((PICTURES, 4)), np.ones((len(OWNER), 4)))
    _, task = figures(image, text)
    entry = task["metrics"]["r10"]
    assert (entry["pessimistic"], entry["optimistic"]) == (0, 1)
    assert 0 <= entry["value"] <= 1


def test_by_class_and_by_instance_in_one_pass():
    rng = np.random.default_rng(1)
    labels = np.eye(4, dtype=np.uint8)[np.arange(PICTURES) % 4]
    image = view("i", rng.standard_normal((PICTURES, 8)), np.arange(PICTURES), labels)
    text = view("t", rng.standard_normal((len(OWNER), 8)), OWNER, labels[OWNER])
    found = evaluate_task(scorer(image.features, text.features), image, text, [BY_CLASS, *BY_INSTANCE], list("abcd"))
    assert set(found.task["metrics"]) == {"map", *(m.id for m in BY_INSTANCE)}
    assert set(found.task["metrics"]["map"]["per_class"]) == set("abcd")


def test_without_labels_figures_by_class_are_left_out():
    image, text = captioned(np.eye(PICTURES), np.eye(PICTURES)[OWNER])
    found, _ = figures(image, text, [BY_CLASS, *BY_INSTANCE])
    assert "map" not in found
    with pytest.raises(UserError, match="no metric is by instance; add one, recall_at_k say"):
        figures(image, text, [BY_CLASS])


def test_figures_of_folds_are_those_of_the_folds_apart():
    """As the 1k figures of MS-COCO: each query against the gallery of its own fold."""
    rng = np.random.default_rng(4)
    labels = np.eye(4, dtype=np.uint8)[np.arange(PICTURES) % 4]
    image = view("i", rng.standard_normal((PICTURES, 8)), np.arange(PICTURES), labels)
    text = view("t", image.features[OWNER] + rng.standard_normal((len(OWNER), 8)), OWNER, labels[OWNER])
    metrics, per_fold = [BY_CLASS, *BY_INSTANCE], PICTURES // 4
    curve = ConfiguredMetric.from_entry({"id": "pr", "metric": "precision_recall", "params": {}})
    hubs = ConfiguredMetric.from_entry({"id": "hubs", "metric": "hubness", "params": {"k": 3}})
    rows = [slice(n * per_fold, (n + 1) * per_fold) for n in range(4)]
    captions = [slice(CAPTIONS * fold.start, CAPTIONS * fold.stop) for fold in rows]
    for query, gallery, folds in (
        (image, text, list(zip(rows, captions, strict=True))), (text, image, list(zip(captions, rows, strict=True))),
    ):  # fmt: skip
        score = scorer(query.features, gallery.features)
        found = evaluate_task(score, query, gallery, [*metrics, curve, hubs], list("abcd"), folds=folds)
        apart = []
        for q, g in folds:
            one, other = query.rows(q), gallery.rows(g)
            score = scorer(one.features, other.features)
            apart.append(evaluate_task(score, one, other, [*metrics, curve, hubs], list("abcd")))
        assert (found.task["queries"], found.task["gallery_size"]) == (len(query), len(gallery) // 4)
        assert found.task["folds"] == 4
        for metric in metrics:
            values = np.concatenate([fold.per_query[metric.id] for fold in apart])
            assert np.array_equal(found.per_query[metric.id], values)
            entries = [fold.task["metrics"][metric.id] for fold in apart]
            if metric.id != "median_rank":
                for key in {"value", "chance"} & set(entries[0]):
                    mean = np.mean([entry[key] for entry in entries])
                    assert found.task["metrics"][metric.id][key] == pytest.approx(mean, abs=1e-12)
        assert np.allclose(found.curves["pr"][1], np.mean([fold.curves["pr"][1] for fold in apart], axis=0))
        of_folds = [fold.task["metrics"]["hubs"]["value"] for fold in apart]
        assert len(set(of_folds)) > 1
        assert found.task["metrics"]["hubs"]["value"] == pytest.approx(np.mean(of_folds))
        tops = np.concatenate([fold.top + g.start for fold, (_, g) in zip(apart, folds, strict=True)])
        assert np.array_equal(found.top, tops)


def test_folds_of_unlike_sizes_are_refused():
    image, text = captioned(np.eye(PICTURES), np.eye(PICTURES)[OWNER])
    folds = [(slice(0, 10), slice(0, 50)), (slice(10, 40), slice(50, 200))]
    with pytest.raises(UserError, match="folds of 50 to 150 items"):
        evaluate_task(scorer(image.features, text.features), image, text, BY_INSTANCE, [], folds=folds)


def definition(scores, owner, k):
    """Recall@k as papers on Flickr30k and MS-COCO have it: any caption of the picture, and the caption's picture."""
    there = np.mean([any(owner[j] == i for j in np.argsort(-row)[:k]) for i, row in enumerate(scores)])
    back = np.mean([owner[j] in np.argsort(-column)[:k] for j, column in enumerate(scores.T)])
    return there, back


@pytest.mark.parametrize("option", [("--at", "3"), ("--separator", ";"), ("--no-label",)])
def test_options_of_figures_by_class_are_refused_beside_owner(option, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["metrics", "a.npy", "b.npy", "--owner", "owner.npy", *option])
    assert ended.value.code == 1
    assert "go with --labels: the cuts by instance are 1, 5 and 10" in capsys.readouterr().err


def test_recalls_of_files_are_those_of_the_literal_definition(tmp_path, capsys):
    rng = np.random.default_rng(2)
    owner = rng.permutation(OWNER)
    a, b = rng.standard_normal((PICTURES, 8)), rng.standard_normal((len(owner), 8))
    b += 0.6 * a[owner]
    for name, values in (("a", a), ("b", b), ("owner", owner)):
        np.save(tmp_path / f"{name}.npy", values)
    cli.main(["metrics", *(str(tmp_path / f"{name}.npy") for name in "ab"), "--owner", str(tmp_path / "owner.npy")])
    found = json.loads(capsys.readouterr().out)
    scores = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    total = 0
    for k in (1, 5, 10):
        there, back = definition(scores, owner, k)
        total += there + back
        assert found[f"recall@{k}"] == pytest.approx({"a_to_b": there, "b_to_a": back, "average": (there + back) / 2})
    assert found["rsum"] == pytest.approx(100 * total)
    ranks = [1 + min((row > row[j]).sum() for j in np.flatnonzero(owner == i)) for i, row in enumerate(scores)]
    assert found["median_rank"]["a_to_b"] == np.median(ranks)
    assert "pessimistic" not in found


def test_recalls_of_files_with_ties_lie_between_their_bounds(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    np.save(tmp_path / "b.npy", np.ones((6, 2)))
    np.save(tmp_path / "owner.npy", [0, 0, 1, 1, 2, 2])
    found = recall_of_files(*(tmp_path / f"{name}.npy" for name in ("a", "b", "owner")))
    assert found["pessimistic"]["recall@1"]["average"] == 0
    assert found["optimistic"]["recall@1"]["average"] == 1
    assert (found["rows_a"], found["rows_b"], found["rows_a_alone"]) == (4, 6, 1)


@pytest.mark.parametrize(
    ("owner", "problem"),
    [([0, 1], "has 2 numbers, .* has 3 rows"), ([0, 1, 7], "row 7 does not exist"), ([0, 1, 0.5], "0.5 is no row")],
)
def test_owners_that_do_not_fit(tmp_path, owner, problem):
    np.save(tmp_path / "a.npy", np.eye(4))
    np.save(tmp_path / "b.npy", np.eye(4)[:3])
    np.save(tmp_path / "owner.npy", owner)
    with pytest.raises(UserError, match=problem):
        recall_of_files(*(tmp_path / f"{name}.npy" for name in ("a", "b", "owner")))


# Tables -----------------------------------------------------------------------------------------------------------


def table(folder, rows, **params):
    for name in {cell for row in rows for key, cell in row.items() if key.startswith("picture")}:
        Image.new("RGB", (4, 4), tuple(name.encode()[:3])).save(folder / name)
    pd.DataFrame(rows).to_json(folder / "t.jsonl", orient="records", lines=True)
    found = Table(
        registry.params("datasets", "table", {"file": "t.jsonl", "image": "picture", **params}),
        folder,
        folder,
        base=folder,
    )
    return found, found.prepare()


def rows_of_items(items):
    columns = zip(
        items.ids, items.table["image"], items.table["text"], items.groups, items.table["labels"], strict=True
    )
    return [
        (i, None if pd.isna(image) else image, text, group, list(names)) for i, image, text, group, names in columns
    ]


def test_a_row_a_caption_with_the_pictures_as_groups(tmp_path):
    rows = [
        {"picture": f"{name}.png", "caption": f"{name} {n}", "label": label}
        for name, label in (("one", "x"), ("two", "y")) for n in range(3)
    ]  # fmt: skip
    rows[1]["label"] = "z"
    _, items = table(tmp_path, rows, text="caption", group="picture")
    assert rows_of_items(items) == [
        ("1", "one.png", "one 0", "one.png", ["x", "z"]),
        ("2", None, "one 1", "one.png", ["x", "z"]),
        ("3", None, "one 2", "one.png", ["x", "z"]),
        ("4", "two.png", "two 0", "two.png", ["y"]),
        ("5", None, "two 1", "two.png", ["y"]),
        ("6", None, "two 2", "two.png", ["y"]),
    ]


def test_a_caption_that_stands_in_two_groups_is_an_item_of_each(tmp_path):
    rows = [
        {"picture": f"{name}.png", "caption": caption, "label": "x"}
        for name, caption in (("one", "a"), ("one", "b"), ("one", "a"), ("two", "b"))
    ]
    _, items = table(tmp_path, rows, text="caption", group="picture")
    assert rows_of_items(items) == [
        ("1", "one.png", "a", "one.png", ["x"]),
        ("2", None, "b", "one.png", ["x"]),
        ("4", "two.png", "b", "two.png", ["x"]),
    ]


@pytest.mark.parametrize("form", ["list", "written", "columns"])
def test_a_row_a_picture_with_its_captions(tmp_path, form):
    captions = {"one": ["a", "b"], "two": ["c", "d"]}
    cells = {
        "list": lambda name: {"caption": captions[name]},
        "written": lambda name: {"caption": str(captions[name])},
        "columns": lambda name: dict(zip(("first", "second"), captions[name], strict=True)),
    }[form]
    rows = [{"picture": f"{name}.png", "key": name, "label": "x", **cells(name)} for name in captions]
    params = {"text": ["first", "second"]} if form == "columns" else {"text": "caption", "texts": "each"}
    _, items = table(tmp_path, rows, id="key", **params)
    assert rows_of_items(items) == [
        ("one", "one.png", "a", "one", ["x"]),
        ("one-2", None, "b", "one", ["x"]),
        ("two", "two.png", "c", "two", ["x"]),
        ("two-2", None, "d", "two", ["x"]),
    ]


def test_a_group_lies_in_one_part_and_its_pairs_are_found(tmp_path):
    rows = [
        {"picture": f"{name:03}.png", "caption": f"text {name} {n}", "label": "xy"[name % 2]}
        for name in range(30)
        for n in range(4)
    ]
    data, items = table(tmp_path, rows, text="caption", group="picture")
    split = data.split(items, "default")
    parts = split.table.set_index("id")["part"].reindex(items.ids)
    assert (parts.groupby(items.groups).nunique() == 1).all()
    held = set(split.held_out)
    assert all(len({item in held for item in items.ids[items.groups == group]}) == 1 for group in set(items.groups))
    matrices = {m: items.having(m)["id"].to_numpy(str) for m in ("image", "text")}
    part = {m: rows_of(Rows(ids, np.zeros((len(ids), 2))), set(items.ids), items) for m, ids in matrices.items()}
    pairs = paired(part, ("image", "text"))
    assert len(pairs[0]) == 120
    assert np.array_equal(pairs[0].groups, pairs[1].groups)


def test_captions_of_a_picture_are_held_out_together_where_there_is_no_validation(tmp_path):
    rows = [
        {"picture": f"{name:03}.png", "caption": f"text {name} {n}", "label": "x", "part": ["test", "train"][name > 5]}
        for name in range(40)
        for n in range(4)
    ]
    data, items = table(tmp_path, rows, text="caption", group="picture", split="part")
    held = data.split(items, "default").held_out
    groups = set(items.groups[np.isin(items.ids, held)])
    assert sorted(held) == sorted(items.ids[np.isin(items.groups, list(groups))])
    assert 3 <= len(groups) <= 4


def test_pairs_without_labels(tmp_path, caplog):
    rows = [{"picture": f"{name:03}.png", "caption": f"text {name}"} for name in range(20)]
    data, items = table(tmp_path, rows, text="caption")
    assert "figures by instance alone" in caplog.text
    assert not items.has_classes
    split = data.split(items, "default")
    assert split.table["part"].value_counts().to_dict() == {"train": 12, "validation": 4, "test": 4}
    matrix = Rows(items.ids, np.zeros((20, 2)))
    assert rows_of(matrix, set(items.ids), items).labels is None


def test_some_items_without_a_class_are_refused(tmp_path):
    mixed = Items(pd.DataFrame({"id": ["a", "b"], "text": ["x", "y"], "labels": [["c"], []]}), {"text": "text"})
    with pytest.raises(UserError, match="item 'b' has no class"):
        mixed.check("here")


# Arrays -----------------------------------------------------------------------------------------------------------


def arrays(folder, **params):
    rng = np.random.default_rng(3)
    files = {"ims": rng.standard_normal((PICTURES, 6)), "caps": rng.standard_normal((len(OWNER), 5)), "owner": OWNER}
    files |= {"beside": files["ims"][OWNER], "y": np.arange(PICTURES) % 4, "y5": OWNER % 4}
    files |= {"train": np.arange(30), "test": np.arange(30, PICTURES)}
    for name, values in files.items():
        np.save(folder / f"{name}.npy", values)
    given = registry.params("datasets", "precomputed", params)
    data = Precomputed(given, folder / "data", folder, base=folder)
    data.folder.mkdir(exist_ok=True)
    return data, data.prepare()


@pytest.mark.parametrize("labels", ["", "y.npy", {"image": "y.npy"}, {"image": "y.npy", "text": "y5.npy"}])
def test_captions_that_name_their_picture(tmp_path, labels):
    features = {"image": "ims.npy", "text": "caps.npy"}
    index = {"train": "train.npy", "test": "test.npy"}
    data, items = arrays(tmp_path, features=features, labels=labels, group={"text": "owner.npy"}, index=index)
    assert (len(items.having("image")), len(items.having("text"))) == (PICTURES, len(OWNER))
    assert items.groups.tolist() == [str(row) for row in [*range(PICTURES), *OWNER]]
    assert items.has_classes == bool(labels)
    if labels:
        wanted = [[str(row % 4)] for row in [*range(PICTURES), *OWNER]]
        assert items.table["labels"].tolist() == wanted
    parts = data.split(items, "default").table.set_index("id")["part"].reindex(items.ids)
    assert parts.tolist() == ["train" if row < 30 else "test" for row in [*range(PICTURES), *OWNER]]


def test_captions_name_the_pictures_of_their_own_part(tmp_path):
    owner = {"train": [1, 0, 1, 2, 0], "test": [1, 1, 0]}
    for part, rows in owner.items():
        np.savez(tmp_path / f"{part}.npz", x=np.random.rand(max(rows) + 1, 3), t=np.random.rand(len(rows), 2), of=rows)
    features = {name: {part: f"{part}.npz:{key}" for part in owner} for name, key in (("image", "x"), ("text", "t"))}
    _, items = arrays(
        tmp_path, features=features, labels="", group={"text": {part: f"{part}.npz:of" for part in owner}}
    )
    assert items.groups[items.has("image")].tolist() == ["train-0", "train-1", "train-2", "test-0", "test-1"]
    assert items.groups[items.has("text")].tolist() == [f"{part}-{row}" for part, rows in owner.items() for row in rows]


def test_a_third_modality_with_labels_of_its_own_has_no_pairs(tmp_path):
    features = {"image": "ims.npy", "text": "caps.npy", "audio": "beside.npy"}
    group = {"text": "owner.npy"}
    labels = {"image": "y.npy", "audio": "y5.npy"}
    _, items = arrays(tmp_path, features=features, labels=labels, group=group)
    sounds = items.has("audio")
    assert items.groups[sounds].tolist() == items.ids[sounds].tolist()
    assert items.table["labels"][sounds].tolist() == [[str(row % 4)] for row in OWNER]
    with pytest.raises(UserError, match=rf"has {len(OWNER)} rows, .*ims\.npy has {PICTURES}.*; give audio a group"):
        arrays(tmp_path, features=features, group=group)
    np.save(tmp_path / "sounds.npy", np.arange(PICTURES)[:, None])
    _, items = arrays(tmp_path, features=features | {"audio": "sounds.npy"}, labels="y.npy", group=group)
    assert items.groups[items.has("audio")].tolist() == [str(row) for row in range(PICTURES)]


def test_groups_whose_rows_have_other_labels_are_told(tmp_path, caplog):
    features = {"image": "ims.npy", "text": "caps.npy"}
    np.save(tmp_path / "other.npy", np.where(np.arange(len(OWNER)) == 3, "strange", OWNER % 4))
    arrays(tmp_path, features=features, labels={"image": "y.npy", "text": "other.npy"}, group={"text": "owner.npy"})
    told = f"1 of {PICTURES} groups hold rows of different labels, and each row has all of them; the first: "
    assert f"{told}'{OWNER[3]}', with {OWNER[3] % 4}, strange" in caplog.text
    caplog.clear()
    several = with_labels_of_groups(pd.DataFrame({"group": ["g", "g"], "labels": [["a", "b"], ["c"]]}))
    assert several["labels"].tolist() == [["a", "b", "c"]] * 2
    assert not caplog.text


def test_pictures_that_stand_beside_each_caption(tmp_path, caplog):
    features = {"image": "beside.npy", "text": "caps.npy"}
    data, items = arrays(tmp_path, features=features, labels="y5.npy", repeated="image")
    assert (len(items.having("image")), len(items.having("text"))) == (PICTURES, len(OWNER))
    assert pd.factorize(items.groups)[0].tolist() == OWNER.tolist()
    parts = data.split(items, "default").table.set_index("id")["part"].reindex(items.ids)
    assert (parts.groupby(items.groups).nunique() == 1).all()
    assert "say repeated" not in caplog.text
    arrays(tmp_path, features=features, labels="y5.npy")
    assert f"image: {len(OWNER)} rows hold {PICTURES} different ones; " in caplog.text


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"group": {"text": "y.npy"}}, "y.npy has 40 values, .*caps.npy has 200 rows"),
        ({"group": {"text": "caps.npy:x"}}, "caps.npy"),
        ({"group": {"texts": "owner.npy"}}, r"params\.group: no modality 'texts'; did you mean 'text'\?"),
        (
            {"group": {"text": {"train": "owner.npy"}}},
            r"params\.features\.text: one file, params\.group\.text has parts",
        ),
        ({"group": {"text": "owner.npy"}, "repeated": "image"}, r"params\.repeated: group says already"),
        ({"repeated": "imag"}, "params.repeated: no modality 'imag'; did you mean 'image'"),
    ],
)
def test_groups_that_do_not_fit(tmp_path, params, problem):
    features = {"image": "beside.npy" if "repeated" in params else "ims.npy", "text": "caps.npy"}
    with pytest.raises(UserError, match=problem):
        arrays(tmp_path, features=features, labels="", **params)


def test_names_of_groups_are_read_as_class_names_are(tmp_path):
    features = {"image": "x.npy", "text": "t.npy"}
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "t.npy", np.eye(6))
    np.save(tmp_path / "kinds.npy", np.arange(3) % 2)
    np.save(tmp_path / "image.npy", np.arange(3))
    group = {"image": "image.npy", "text": "text.npy"}

    def groups(names):
        np.save(tmp_path / "text.npy", names)
        _, items = arrays(tmp_path, features=features, labels={"image": "kinds.npy"}, group=group)
        return items.table["group"].tolist()

    assert groups(np.arange(6) / 2 // 1) == ["0", "1", "2", "0", "0", "1", "1", "2", "2"]
    assert groups(np.array(["0 ", "0", "1", "1", "2", "2"]))[3:] == ["0", "0", "1", "1", "2", "2"]
    with pytest.raises(
        UserError, match=r"no group holds two modalities; names must be the same: '0' of image, '0.jpg'"
    ):
        groups(np.array([f"{n}.jpg" for n in range(6)]))
    with pytest.raises(UserError, match=r"text.npy: row 1 names no group"):
        groups(np.array([0, np.nan, 1, 1, 2, 2]))


def test_owners_that_may_be_numbered_from_1_are_told(tmp_path, caplog):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "t.npy", np.eye(2))
    np.save(tmp_path / "kinds.npy", np.arange(3) % 2)
    np.save(tmp_path / "of.npy", np.array([1, 2]))
    given = {"features": {"image": "x.npy", "text": "t.npy"}, "labels": "kinds.npy", "group": {"text": "of.npy"}}
    arrays(tmp_path, **given)
    assert "no row belongs to row 0 of image; if the numbers start at 1, say index_base: 1" in caplog.text
    caplog.clear()
    arrays(tmp_path, **given, index_base=1)
    assert "index_base" not in caplog.text


def test_labels_of_one_of_two_modalities_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "kinds.npy", np.arange(3) % 2)
    with pytest.raises(UserError, match=r"params.labels.text: missing; where modalities have labels of their own"):
        arrays(tmp_path, features={"image": "x.npy", "text": "x.npy"}, labels={"image": "kinds.npy"})
