"""Nothing is learned from test rows, nothing from shuffled labels, and what needs no labels sees none."""

import numpy as np
import pandas as pd
import pytest

from cmr import registry, store
from cmr.data import TEST, TRAIN, Split, View
from synthetic import create, for_method, separable, small
from toy_plan import Project, experiment, ids, of_features, written_features

NAMES = [n for n in registry.names("methods") if registry.info("methods", n).implementation != "quoted"]
OF_VECTORS = [
    n for n in NAMES if "vector" in registry.info("methods", n).takes
]  # ready features give no vector and set
INDUCTIVE = [n for n in OF_VECTORS if not registry.info("methods", n).transductive]
UNSUPERVISED = [n for n in NAMES if not registry.info("methods", n).labels]
DICTIONARIES = registry.names("dictionaries")
TUNED = {"components": [1, 2], "regularisation": [0.1, 1.0], "neighbours": [3, 5], "learning_rate": [0.001, 0.005]}
MODALITIES = ("image", "text")
N, CLASSES = 60, 3


def features(aligned):
    part = separable(N, MODALITIES, aligned=aligned)
    return {modality: view.features for modality, view in part.items()}


LABELS = np.arange(N) % CLASSES
PARTS = np.where(np.arange(N) % 4 == 1, TEST, TRAIN)


def project(folder, method, **more):
    """What `written` wrote, with one method."""
    return Project(folder, {**of_features(MODALITIES, [TRAIN, TEST]), **more, **experiment(MODALITIES, method)})


def written(folder, labels, values):
    """The folder, with features and a split in it."""
    written_features(folder, values, labels, PARTS)
    split_by_hand(folder, PARTS)
    return folder


def split_by_hand(folder, parts):
    """Whose held-out rows are the same, whatever the labels."""
    held_out = (np.arange(N) % 10 == 3) & (PARTS == TRAIN)
    made = project(folder, "random")
    with made.by_hand(made.only("split")) as work:
        Split(pd.DataFrame({"id": ids(N), "part": parts, "held_out": held_out})).write(work.result.files[0])


def brief(name):
    """Small, and two epochs long: bits that differ at all differ by then."""
    params = small(name)
    return params | ({"epochs": 2} if "epochs" in params else {})


def fitted(folder, name, tune=None):
    """What the fit stage publishes: the model's bytes, and the selection that ``fit.json`` records."""
    params = {key: value for key, value in brief(name).items() if key not in (tune or {})}
    made = project(folder, {"id": name, "params": params, "tune": tune or {}})
    found = []
    for fit in made.results("fit"):
        made.make(fit, again=True)
        found.append((made.path(fit.files[0]).read_bytes(), made.record(fit)["selection"]))
    return found


def noise(values, generator):
    """Test rows replaced by noise of another scale altogether; the others as they are."""
    return {
        modality: np.where((PARTS == TEST)[:, None], 1000 * generator.normal(size=rows.shape) + 77, rows)
        for modality, rows in values.items()
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """aligned → two folders that differ in their test rows alone: features, labels and order of the rows' labels."""
    generator, made = np.random.default_rng(0), {}
    for aligned in (False, True):
        true = tmp_path_factory.mktemp("true")
        other = tmp_path_factory.mktemp("noise")
        values = features(aligned)
        shuffled = LABELS.copy()
        shuffled[PARTS == TEST] = generator.permutation(LABELS[PARTS == TEST])
        made[aligned] = (
            written(true, LABELS, values),
            written(other, shuffled, noise(values, generator)),
        )
    return made


@pytest.mark.parametrize("name", INDUCTIVE)
def test_noise_in_the_place_of_test_rows_changes_no_bit_of_a_model(name, pairs):
    true, other = pairs[name == "zero_shot"]
    assert fitted(true, name) == fitted(other, name)


@pytest.mark.parametrize("name", DICTIONARIES)
def test_noise_in_the_place_of_test_rows_changes_no_bit_of_a_dictionary(name, pairs):
    states = []
    for folder in pairs[False]:
        dictionaries = [{"id": name, "params": {"atoms": [6, 6], "iterations": 3}}]
        made = project(folder, {"id": "cca", "dictionary": name}, dictionaries=dictionaries)
        out = made.path(made.make(made.only("encode")).files[0])
        training = np.flatnonzero(PARTS == TRAIN)
        matrices = [store.read_matrix(out, "features", f"{g}{m}") for g in ("", "selection/") for m in MODALITIES]
        coded = [matrix.values[training] for matrix in matrices]
        states.append((store.read_state(out), coded, matrices[0].values[PARTS == TEST]))
    (first, codes, tested), (second, other_codes, other_tested) = states
    assert first
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert all(np.array_equal(a, b) for a, b in zip(codes, other_codes, strict=True))
    assert not np.array_equal(tested, other_tested), "the noise was not there"


def test_a_leak_would_be_seen(pairs):
    """The guard itself: with a test row moved to training the bits differ."""
    true, other = pairs[False]
    for folder in (true, other):
        split_by_hand(folder, [TRAIN] * N)
    try:
        assert fitted(true, "cca") != fitted(other, "cca")
    finally:
        for folder in (true, other):
            split_by_hand(folder, PARTS)


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels_of_unsupervised_methods(tmp_path, cases):
    """Their models and their selection, tuned parameters included, are the same bits when labels are shuffled."""
    cases(len(UNSUPERVISED))
    values, generator = features(True), np.random.default_rng(1)
    true = written(tmp_path / "a", LABELS, values)
    shuffled = written(tmp_path / "b", generator.permutation(LABELS), values)
    chosen = 0
    for name in UNSUPERVISED:
        fields = registry.params_model("methods", name).model_fields
        alone = registry.info("methods", name).modalities == 1  # of one modality, without labels: nothing to choose on
        tune = {} if alone else dict([(key, grid) for key, grid in TUNED.items() if key in fields][:1])
        before, after = fitted(true, name, tune), fitted(shuffled, name, tune)
        assert before == after, name
        chosen += any(selection["candidates"] for _, selection in before)
    assert chosen >= 5, "hardly any of them chose anything"


def shuffled_scores(name, seed):
    """Scores of true test rows after a fit on pairs and labels that were both shuffled, and their relevance."""
    generator = np.random.default_rng(seed)
    train, test = (separable(120, MODALITIES, part) for part in (0, 1))  # no common space to start from
    dimension = min(view.features.shape[1] for view in train.values())
    train, test = (
        {m: View(v.ids, np.ascontiguousarray(v.features[:, :dimension]), v.labels) for m, v in part.items()}
        for part in (train, test)
    )
    ids = train["image"].ids
    labels = train["image"].labels[generator.permutation(len(ids))]
    train, test = for_method(name, train, 2), for_method(name, test, 3)
    mixed = {m: View(ids, view.features[generator.permutation(len(ids))], labels) for m, view in train.items()}
    unlabelled = {m: view.without_labels() for m, view in test.items()}
    size = registry.info("methods", name).modalities
    embedded, method_of = {}, {}
    for group in [(m,) for m in MODALITIES] if size == 1 else [MODALITIES]:
        method = create(name, group, seed, **small(name))
        transductive = registry.info("methods", name).transductive
        method.fit({m: mixed[m] for m in group}, None, unlabelled if transductive else None)
        embedded |= {m: method.embed(m, test[m].features) for m in group}
        method_of |= dict.fromkeys(group, method)
    scores = method_of["image"].similarity("image", embedded["image"], "text", embedded["text"])
    return scores, test["image"].labels @ test["text"].labels.T > 0


def above(scores, relevance):
    """How often a relevant item scores above another one: 0.5 for scores that know nothing."""
    found = []
    for row, relevant in zip(scores, relevance, strict=True):
        better = row[relevant][:, None] - row[~relevant][None, :]
        found.append((better > 0).mean() + (better == 0).mean() / 2)
    return float(np.mean(found))


SHUFFLES = 32
LEARNING = [name for name in NAMES if name != "zero_shot"]  # which compares features as they come


@pytest.mark.long
@pytest.mark.parametrize("name", LEARNING)
def test_shuffled_labels_and_pairs_bring_chance(name):
    """The mean over shuffles lies within four standard errors of 0.5: of 46 methods that know nothing, 1 in 60 suites
    would see one outside. Single shuffles spread widely, since a chance match falls on whole classes at once."""
    values = [above(*shuffled_scores(name, seed)) for seed in range(SHUFFLES)]
    error = np.std(values, ddof=1) / np.sqrt(SHUFFLES)
    assert error < 0.1
    assert abs(np.mean(values) - 0.5) <= 4 * error + 1e-6, (np.mean(values), values)
