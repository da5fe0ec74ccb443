"""Sets of vectors: chosen, read from files, scaled, padded into batches, and refused where a method takes vectors."""

import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
import torch

from cmr import config, registry, store
from cmr.data import View, paired
from cmr.datasets.formats import read_offsets
from cmr.errors import BadContent, UserError
from cmr.features.base import Extractor
from cmr.features.extraction import Task, extract, transformed
from cmr.info import MethodInfo
from cmr.methods.batches import scaled
from cmr.methods.checks import check_features, check_form
from cmr.methods.scaling import Scaling, fit_each, named
from cmr.methods.training import apply
from cmr.pairing import paired_by_class
from cmr.params import Params
from cmr.plan import Plan
from cmr.reporting.runs import identity
from cmr.sets import Sets, VectorsAndSets, dimensions, form, joined

LENGTHS = [3, 1, 4, 1, 5, 2, 6]
N, D = len(LENGTHS), 4


def lists(dtype=np.float32, seed=0, lengths=LENGTHS):
    """The elements (k, d) of each item."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(k, D)).astype(dtype) for k in lengths]


def sets_of(items):
    return Sets.flat(np.concatenate(items), np.cumsum([0, *map(len, items)]))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Choosing ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["array", "memmap", "hdf5"])
def given(request, tmp_path):
    """The same sets, in memory or in a file."""
    whole = sets_of(lists())
    if request.param == "memmap":
        whole.values.tofile(tmp_path / "values")
        yield Sets(
            np.memmap(tmp_path / "values", np.float32, "r", shape=whole.values.shape), whole.starts, whole.lengths
        )
    elif request.param == "hdf5":
        with h5py.File(tmp_path / "values.h5", "w") as file:
            yield Sets(file.create_dataset("x", data=whole.values), whole.starts, whole.lengths)
    else:
        yield whole


INDICES = [
    np.array([5, 0, 0, 3]), np.arange(N) % 2 == 0, slice(2, 5), slice(None), np.arange(N)[::-1], np.zeros(N, bool),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_some_items_are_those_of_the_lists(given, index):
    expected = [lists()[row] for row in np.arange(N)[index]]
    some = given[index]
    assert_same(some, expected)
    assert some.values is given.values  # nothing was read or copied
    assert some.dimension == D
    np.testing.assert_array_equal(some.elements(), np.concatenate([np.empty((0, D)), *expected]))
    np.testing.assert_array_equal(some.offsets, np.cumsum([0, *map(len, expected)]))
    padded, mask = some.padded()
    longest = max(map(len, expected), default=0)
    assert padded.shape == (len(expected), longest, D)
    assert mask.shape == (len(expected), longest)
    for i, item in enumerate(expected):
        for j in range(longest):
            assert mask[i, j] == (j < len(item))
            assert (padded[i, j] == (item[j] if j < len(item) else 0)).all()


@pytest.mark.parametrize("size", [1, 40, 100, 10**9])
def test_blocks_are_all_items_in_order_and_no_larger_than_asked(given, size):
    blocks = list(given.blocks(size))
    assert_same([item for block in blocks for item in block], lists())
    assert all(len(block) == 1 or block.elements().nbytes <= size + 6 * D * 4 for block in blocks)
    assert len(blocks) == {1: N, 10**9: 1}.get(size, len(blocks))


def test_a_view_of_vectors_and_sets_is_chosen_from_as_one_of_vectors():
    vectors = np.arange(N * 2, dtype=np.float32).reshape(N, 2)
    features = VectorsAndSets(vectors, sets_of(lists()))
    view = View(np.arange(N).astype(str), features).rows(np.array([4, 1]))
    assert len(view.features) == 2
    np.testing.assert_array_equal(view.features.vectors, vectors[[4, 1]])
    assert_same(view.features.sets, [lists()[4], lists()[1]])
    assert [form(x) for x in (vectors, features.sets, features)] == ["vector", "set", "both"]
    assert [dimensions(x) for x in (vectors, features.sets, features)] == [2, {"set": D}, {"vector": 2, "set": D}]


def test_pairs_repeat_sets_as_they_repeat_vectors():
    groups = np.array(list("aabbcde"))
    image = View(np.array(["i0", "i1"]), np.eye(2), groups=np.array(["b", "a"]))
    text = View(np.arange(N).astype(str), sets_of(lists()), groups=groups)
    first, second = paired({"image": image, "text": text}, ("image", "text"))
    assert first.ids.tolist() == ["i0", "i0", "i1", "i1"]
    assert_same(second.features, [lists()[row] for row in (2, 3, 0, 1)])


def test_pairs_drawn_within_a_class_take_sets():
    labels = {f"{side}{row}": np.eye(2, dtype=np.uint8)[row % 2] for side in "it" for row in range(N)}
    part = {
        "image": View(np.array([f"i{row}" for row in range(4)]), np.eye(4)),
        "text": View(np.array([f"t{row}" for row in range(N)]), sets_of(lists())),
    }
    drawn = paired_by_class(part, lambda ids: np.array([labels[item] for item in ids]), 0)
    assert len(drawn["text"]) == N
    found = sorted(item.tobytes() for item in drawn["text"].features)
    assert found == sorted(item.tobytes() for item in lists())


# Files ------------------------------------------------------------------------------------------------------------

IDS = np.array([f"item{row}" for row in range(N)])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_written_is_read_bit_for_bit_and_stays_in_the_file(tmp_path, dtype):
    items = lists(dtype)
    store.write_matrix(tmp_path / "a.h5", "features", IDS, sets_of(items), {"extractor": "x"})
    rows = store.read_rows(tmp_path / "a.h5", "features")
    assert isinstance(rows.values.values, np.memmap)
    assert rows.values.values.dtype == dtype
    assert rows.ids.tolist() == IDS.tolist()
    assert rows.attributes["extractor"] == "x"
    assert_same(rows.values, items)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].shape == (sum(LENGTHS), D)
        assert file["offsets"][()].tolist() == np.cumsum([0, *LENGTHS]).tolist()


def test_some_items_in_another_order_are_written_one_after_the_other(tmp_path):
    order = np.array([6, 2, 3])
    store.write_matrix(tmp_path / "a.h5", "features", IDS[order], sets_of(lists())[order], {})
    assert_same(store.read_rows(tmp_path / "a.h5", "features").values, [lists()[row] for row in order])


def test_a_matrix_is_read_as_ever(tmp_path):
    store.write_matrix(tmp_path / "a.h5", "features", IDS, np.ones((N, 2), np.float32), {})
    assert store.read_rows(tmp_path / "a.h5", "features").values.tolist() == [[1, 1]] * N


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_item_with_a_value_that_is_not_finite_is_named(tmp_path, value):
    items = lists()
    items[4][3, 1] = value
    with pytest.raises(UserError, match=r"1 of 7 rows hold NaN or infinite values, the first is item 'item4'"):
        store.write_matrix(tmp_path / "a.h5", "features", IDS, sets_of(items), {})
    assert not (tmp_path / "a.h5").exists()
    store.write_matrix(tmp_path / "a.h5", "features", IDS, sets_of(lists()), {})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["features"][8] = value
    with pytest.raises(UserError, match="the first is item 'item3'"):
        store.read_rows(tmp_path / "a.h5", "features")


def moved(file, name, data, **options):
    del file[name]
    file.create_dataset(name, data=data, **options)


ENDS = np.cumsum([0, *LENGTHS])
DAMAGE = {
    "begins late": (lambda f: moved(f, "offsets", np.r_[1, ENDS[1:]]), "do not rise from 0 to 22"),
    "ends early": (lambda f: moved(f, "offsets", np.r_[ENDS[:-1], 21]), "do not rise from 0 to 22"),
    "falls": (lambda f: moved(f, "offsets", ENDS[[0, 2, 1, 3, 4, 5, 6, 7]]), "do not rise from 0 to 22"),
    "an empty set": (lambda f: moved(f, "offsets", ENDS[[0, 1, 1, 3, 4, 5, 6, 7]]), "do not rise from 0 to 22"),
    "too few": (lambda f: moved(f, "offsets", ENDS[:-1]), "expected 8 integers"),
    "no integers": (lambda f: moved(f, "offsets", ENDS.astype(float)), "expected 8 integers"),
    "double precision": (lambda f: moved(f, "features", np.ones((22, D))), "no sets of vectors with ids"),
    "in chunks": (
        lambda f: moved(f, "features", np.ones((22, D), np.float32), chunks=(5, D)),
        "no sets of vectors with ids",
    ),
    "no ids": (lambda f: f.pop("ids"), "no sets of vectors with ids"),
    "no elements": (lambda f: f.pop("features"), "no sets of vectors with ids"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_file_whose_parts_do_not_fit_is_refused_by_name(tmp_path, what):
    damage, message = DAMAGE[what]
    store.write_matrix(tmp_path / "a.h5", "features", IDS, sets_of(lists()), {})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        damage(file)
    with pytest.raises(UserError, match=rf"a\.h5: .*{message}"):
        store.read_rows(tmp_path / "a.h5", "features")


# Extraction -------------------------------------------------------------------------------------------------------

TEXTS = [f"text {i} " + "x" * (i % 7) for i in range(25)]


class Letters(Extractor):
    """Of each text the codes of its letters; remembers what it was given."""

    def __init__(self, bad=None):
        super().__init__(Params(), "cache")
        self.bad, self.seen = bad, []

    def transform(self, contents):
        self.seen += contents
        if self.bad in contents:
            raise BadContent(self.bad, "cannot be read")
        items = [np.array([[ord(letter), len(text)] for letter in text], np.float16) for text in contents]
        return sets_of(items)


def run(folder, extractor, contents=TEXTS, name="a"):
    ids = np.array([f"item{row}" for row in range(len(contents))])
    path, partial = folder / f"{name}.h5", folder / ".partial" / f"{name}.h5"
    extract(Task(extractor, contents, ids), path, {"extractor": "letters"}, partial, "letters", 4)
    return path


def test_sets_are_extracted_chunk_after_chunk(tmp_path):
    rows = store.read_rows(run(tmp_path, Letters()), "features")
    assert_same(rows.values, [[[ord(letter), len(text)] for letter in text] for text in TEXTS])
    assert rows.values.values.dtype == np.float16
    assert_same(transformed(Letters(), TEXTS), rows.values)
    np.testing.assert_array_equal(Letters().query("ab"), [[97, 2], [98, 2]])


def test_a_chunk_whose_contents_changed_is_computed_again_and_the_file_is_the_same(tmp_path):
    with pytest.raises(UserError, match="item14"):
        run(tmp_path, Letters(bad=TEXTS[14]))
    changed = list(TEXTS)
    changed[6] = "a text that is longer than the others are"
    resumed = Letters()
    path = run(tmp_path, resumed, changed)
    assert resumed.seen == changed[4:8] + changed[12:]
    assert path.read_bytes() == run(tmp_path, Letters(), changed, "whole").read_bytes()


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    import test_sets as t

    class Killed(t.Letters):
        def transform(self, contents):
            if t.TEXTS[{row}] in contents:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().transform(contents)

    t.run(Path({folder!r}), Killed())
"""


def test_after_sigkill_the_sets_are_the_same_bit_for_bit(tmp_path):
    for row in (9, 18):
        code = textwrap.dedent(KILLED).format(tests=str(__file__).rsplit("/", 1)[0], row=row, folder=str(tmp_path))
        assert subprocess.run([sys.executable, "-c", code]).returncode == -9
        with h5py.File(tmp_path / ".partial" / "a.h5") as partial:
            assert (partial["done"][()] != b"").sum() == row // 4
    resumed = Letters()
    path = run(tmp_path, resumed)
    assert resumed.seen == TEXTS[16:]
    assert path.read_bytes() == run(tmp_path, Letters(), name="whole").read_bytes()


# Scaling and batches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["standardise", "centre", "none"])
@pytest.mark.parametrize("size", [1, 60, 10**9])
def test_sets_are_scaled_by_all_their_elements(mode, size, monkeypatch):
    monkeypatch.setattr("cmr.sets.Sets.blocks.__defaults__", (size,))
    items = [100 + 7 * item for item in lists()]
    found, expected = Scaling.fit(sets_of(items), mode), Scaling.fit(np.concatenate(items), mode)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-12)


def test_constant_elements_become_zeros_and_a_column_of_float16_is_summed_in_float64():
    items = [np.full((3000, 1), 1000, np.float16) for _ in range(50)]
    scaling = Scaling.fit(sets_of(items))
    assert scaling.mean == 1000
    assert scaling(np.array([[1000.0], [1200.0]]), np.float32) == pytest.approx(0)


def test_a_batch_is_scaled_padded_and_masked():
    features = VectorsAndSets(
        np.random.default_rng(1).normal(size=(N, 3)).astype(np.float32), sets_of(lists(np.float16))
    )
    scaling = fit_each(["text"], [features], "standardise")
    assert set(scaling) == {"text", "text:set"}
    rows = scaled("text", features, scaling, "cpu")
    vectors, batch = rows[torch.tensor([4, 1, 6])]
    assert batch.elements.dtype == torch.float32
    assert (len(rows), batch.mask.sum(1).tolist()) == (N, [5, 1, 6])
    whole = np.concatenate(lists(np.float16)).astype(float)
    for place, row in enumerate((4, 1, 6)):
        np.testing.assert_allclose(vectors[place], scaling["text"](features.vectors)[row], atol=1e-6)
        for j in range(6):
            own = j < LENGTHS[row]
            wanted = (lists(np.float16)[row][j].astype(float) - whole.mean(0)) / whole.std(0) if own else np.zeros(D)
            np.testing.assert_allclose(batch.elements[place, j], wanted, atol=1e-5)
            assert batch.mask[place, j] == own


def test_blocks_of_an_application_are_bounded_in_bytes(monkeypatch):
    sets = sets_of(lists())
    rows = scaled("text", sets, fit_each(["text"], [sets], "none"), "cpu")
    assert rows.row_bytes == 6 * D * 4
    seen = []

    def count(batch):
        seen.append(len(batch.mask))
        return batch.mask.sum(1, keepdim=True)

    monkeypatch.setattr("cmr.methods.training.INPUT_BYTES", 3 * 6 * D * 4)
    assert apply(count, rows, "cpu").ravel().tolist() == LENGTHS
    assert seen == [3, 3, 1]
    seen.clear()
    vectors = np.ones((5, 2), np.float32)
    monkeypatch.setattr("cmr.methods.training.INPUT_BYTES", 16)
    assert apply(lambda x: seen.append(len(x)) or x, vectors, "cpu").shape == (5, 2)
    assert seen == [2, 2, 1]


def test_joined_blocks_are_all_rows():
    sets = sets_of(lists())
    assert_same(joined([sets[:3], sets[3:]]), lists())
    assert joined([np.ones((2, 1)), np.zeros((1, 1))]).ravel().tolist() == [1, 1, 0]


# What methods take ------------------------------------------------------------------------------------------------

OF_VECTORS = registry.info("methods", "cca")


def test_a_method_of_vectors_refuses_sets_in_one_line():
    sets = sets_of(lists())
    with pytest.raises(UserError, match=r"CCA.*: takes a vector of each modality, given a set of text"):
        check_form(OF_VECTORS, "text", sets)
    with pytest.raises(UserError, match="given a vector and a set of text"):
        check_form(OF_VECTORS, "text", VectorsAndSets(np.ones((N, 1)), sets))
    check_form(OF_VECTORS, "text", np.ones((N, 1)))
    both = MethodInfo(title="B", implementation="own", modalities=2, labels=False, stochastic=False, takes=("both",))
    with pytest.raises(UserError, match="B: takes a vector and a set of each modality, given a set of text"):
        check_form(both, "text", sets)


@pytest.mark.parametrize("size", [1, 10**9])
def test_elements_that_are_all_the_same_are_an_error(size, monkeypatch):
    monkeypatch.setattr("cmr.sets.Sets.blocks.__defaults__", (size,))
    same = [np.full_like(item, 0.3) for item in lists()]
    with pytest.raises(UserError, match="the text features of all 7 training rows are the same"):
        check_features(OF_VECTORS, "text", sets_of(same))
    with pytest.raises(UserError, match="are the same"):
        check_features(OF_VECTORS, "text", VectorsAndSets(np.eye(N), sets_of(same)))
    same[5][0, 2] = 0.4
    check_features(OF_VECTORS, "text", sets_of(same))
    constant_items = [np.full_like(item, row) for row, item in enumerate(lists())]
    check_features(OF_VECTORS, "text", sets_of(constant_items))
    assert set(named("text", sets_of(same))) == {"text:set"}


FEATURES = [
    {"id": "grid", "extractor": "ready", "modality": "image", "params": {"gives": "set"}},
    {"id": "whole", "extractor": "ready", "modality": "image", "params": {"name": "x"}},
    {"id": "words", "extractor": "ready", "modality": "text", "params": {"gives": "sequence"}},
    {"id": "texts", "extractor": "ready", "modality": "text", "params": {"name": "y"}},
]


def configured(inputs, method, **more):
    data = {"id": "made", "dataset": "precomputed", "params": {"features": {"image": "a.npy", "text": "b.npy"}}}
    experiment = {"id": "main", "data": ["made"], "inputs": [inputs], "methods": [method]}
    return config.validate({"datasets": [data], "features": FEATURES, "experiments": [experiment], **more})


@pytest.mark.parametrize(
    "inputs", [["grid", "words"], ["grid", "texts"], ["grid", "whole", "words"], ["whole", "texts"]]
)
def test_a_method_of_sets_takes_what_its_info_says(inputs):
    plan = Plan(configured(inputs, "attention_pool"))
    (run,) = plan.runs
    (fit,) = plan.fits(run)
    assert {identity(name) for name in fit.inputs} == set(inputs)


def test_the_fits_of_a_run_take_all_that_there_is_of_a_modality_side_by_side():
    plan = Plan(configured(["grid", "texts", "whole"], "attention_pool"))
    (run,) = plan.runs
    (fit,) = plan.fits(run)
    assert fit.inputs == run.inputs
    assert [identity(name) for name in fit.inputs] == ["grid", "whole", "texts"]


REFUSED = {
    "a set": (
        (["whole", "words"], "cca"),
        r"experiments\[0\]\.methods\[0\]: 'cca' takes a vector of each modality; inputs\[0\] gives a set of 'text' "
        r"\('words'\); take other features, or a method such as attention_pool$",
    ),
    "both": (
        (["grid", "whole", "texts"], "ridge_label"),
        r"'ridge_label' takes a vector of each modality; inputs\[0\] gives a vector and a set of 'image' \('grid', 'whole'\)",
    ),
    "two sets": (
        (["grid", "grid", "texts"], "attention_pool"),
        r"inputs\[0\]\[1\]: a second set of modality 'image'; take one of each",
    ),
    "a dictionary": (
        (["whole", "words"], {"id": "attention_pool", "dictionary": "coupled"}),
        r"methods\[0\]\.dictionary: a dictionary takes vectors; inputs\[0\] gives a set of 'text' \('words'\)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_method_does_not_take_is_refused_when_the_configuration_is_checked(what):
    (inputs, method), message = REFUSED[what]
    with pytest.raises(UserError, match=message) as error:
        configured(inputs, method)
    assert "\n" not in str(error.value)


def test_two_features_of_one_modality_are_one_modality_alone():
    with pytest.raises(UserError, match="method 'attention_pool' needs two modalities"):
        Plan(configured(["grid", "whole"], "attention_pool"))


# Ready sets -------------------------------------------------------------------------------------------------------

READY_N = 40


def ready_items(rng, d=5, dtype=np.float16):
    return [rng.normal(size=(rng.integers(1, 4), d)).astype(dtype) for _ in range(READY_N)]


def write_npz(folder, items):
    whole = sets_of(items)
    np.savez(folder / "sets.npz", values=whole.values, offsets=whole.offsets)
    return "sets.npz"


def write_hdf5(folder, items):
    whole = sets_of(items)
    with h5py.File(folder / "sets.h5", "w") as file:
        file["grids/x"], file["grids/offsets"] = whole.values, whole.offsets
    return "sets.h5:grids/x"


def write_own_form(folder, items):
    ids = np.array([f"item-{row:05}" for row in range(READY_N)])
    store.write_matrix(folder / "own.h5", "features", ids, sets_of(items), {})
    return "own.h5"


def prepared(folder, reference, name="ready", **params):
    np.save(folder / "labels.npy", np.arange(READY_N) % 2)
    np.save(folder / "vectors.npy", np.random.default_rng(3).normal(size=(READY_N, 3)))
    model = registry.params_model("datasets", "precomputed")
    features = {"image": reference, "text": "vectors.npy"}
    made = registry.load("datasets", "precomputed")(
        model(features=features, labels="labels.npy", **params), folder / "results", folder / "cache", folder
    )
    return made, made.prepare()


@pytest.mark.parametrize("write", [write_npz, write_hdf5, write_own_form])
def test_ready_sets_are_read_in_each_form_and_keep_their_type(write, tmp_path):
    items = ready_items(np.random.default_rng(0))
    dataset, table = prepared(tmp_path, write(tmp_path, items))
    rows = dataset.features("image", "")
    assert_same(rows.values, items)
    assert rows.values.values.dtype == np.float16
    made = registry.load("extractors", "ready")(registry.params_model("extractors", "ready")(gives="set"), tmp_path)
    contents = made.contents(dataset, table, "image")
    assert_same(made.transform(contents[3:9]), items[3:9])
    with pytest.raises(UserError, match=r"give a set an item, and params.gives is vector; say gives: set"):
        registry.load("extractors", "ready")(registry.params("extractors", "ready", {}), tmp_path).contents(
            dataset, table, "image"
        )
    with pytest.raises(UserError, match=r"give a vector an item, and params.gives is set; say gives: vector"):
        made.contents(dataset, table, "text")


@pytest.mark.parametrize("offsets", [[0, 3, 7], [1, 3, 6], [0, 9, 6], [0, 3, 5], [0.0, 3.0, 6.0], [[0, 3, 6]], [6]])
def test_an_array_called_offsets_that_is_none_leaves_vectors(tmp_path, offsets):
    np.savez(tmp_path / "x.npz", values=np.ones((6, 2)), offsets=offsets)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["values"], file["offsets"] = np.ones((6, 2)), np.array(offsets)
    assert read_offsets(tmp_path / "x.npz", "values") is None
    assert read_offsets(tmp_path / "x.h5", "values") is None
    np.savez(tmp_path / "x.npz", values=np.ones((6, 2)), offsets=[0, 3, 6])
    assert read_offsets(tmp_path / "x.npz", "values").tolist() == [0, 3, 6]


def test_a_dense_array_is_sets_of_one_size_and_stays_in_its_file(tmp_path):
    dense = np.random.default_rng(0).normal(size=(READY_N, 3, 5))
    np.save(tmp_path / "dense.npy", dense.astype(np.float32))
    values = prepared(tmp_path, "dense.npy")[0].features("image", "").values
    assert_same(values, dense.astype(np.float32))
    assert isinstance(values.values.base.base, np.memmap)
    np.savez(tmp_path / "dense.npz", x=dense)
    values = prepared(tmp_path, "dense.npz:x")[0].features("image", "").values
    assert_same(values, dense.astype(np.float32))


def test_parts_of_ready_sets_are_put_together(tmp_path):
    items = ready_items(np.random.default_rng(0), dtype=np.float32)
    for part, rows in (("train", slice(0, 30)), ("test", slice(30, READY_N))):
        whole = sets_of(items[rows])
        np.savez(tmp_path / f"{part}.npz", values=whole.values, offsets=whole.offsets)
        np.save(tmp_path / f"{part}_labels.npy", np.arange(READY_N)[rows] % 2)
    model = registry.params_model("datasets", "precomputed")
    params = model(
        features={"image": {"train": "train.npz", "test": "test.npz"}},
        labels={"train": "train_labels.npy", "test": "test_labels.npy"},
    )
    made = registry.load("datasets", "precomputed")(params, tmp_path / "results", tmp_path / "cache", tmp_path)
    assert len(made.prepare().table) == READY_N
    assert_same(made.features("image", "").values, items)


def test_bad_ready_sets_are_named(tmp_path):
    items = ready_items(np.random.default_rng(0))
    with pytest.raises(UserError, match=r"sets\.npz has 39 rows, .*labels\.npy has 40 labels"):
        prepared(tmp_path, write_npz(tmp_path, items[:-1]))
    items[7][0, 1] = np.nan
    with pytest.raises(UserError, match=r"sets\.npz: row 7: NaN or infinite image features"):
        prepared(tmp_path, write_npz(tmp_path, items))
    table = prepared(tmp_path, write_npz(tmp_path, items), strict=False)[1]
    assert len(table.ids) == READY_N - 1
    items[7] = items[7][:0]
    with pytest.raises(UserError, match="the set of row 7 has no element"):
        prepared(tmp_path, write_npz(tmp_path, items))
    np.save(tmp_path / "dense.npy", np.ones((READY_N, 2, 2)))
    with pytest.raises(UserError, match="not transposed"):
        prepared(tmp_path, "dense.npy", transposed=["image"])


def test_an_array_called_offsets_that_is_none_changes_nothing(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(READY_N, 5))
    np.savez(tmp_path / "a.npz", x=vectors, offsets=np.ones(3))
    values = prepared(tmp_path, "a.npz:x")[0].features("image", "").values
    np.testing.assert_array_equal(values, vectors.astype(np.float32))
