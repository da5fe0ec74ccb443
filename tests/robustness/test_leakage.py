"""Nothing is learned from test rows, nothing from shuffled labels, and what needs no labels sees none."""

import numpy as np
import pandas as pd
import pytest

from cmr import publish, registry, stages, store
from cmr.data import TEST, TRAIN, Items, Split, View
from synthetic import create, separable, small

NAMES = [n for n in registry.names("methods") if registry.info("methods", n).implementation != "quoted"]
INDUCTIVE = [n for n in NAMES if not registry.info("methods", n).transductive]
UNSUPERVISED = [n for n in NAMES if not registry.info("methods", n).labels]
DICTIONARIES = registry.names("dictionaries")
TUNED = {"components": [1, 2], "regularisation": [0.1, 1.0], "neighbours": [3, 5], "learning_rate": [0.001, 0.005]}
MODALITIES = ("image", "text")
N, CLASSES = 60, 3


def features(aligned):
    part = separable(N, MODALITIES, aligned=aligned)
    return {modality: view.features for modality, view in part.items()}


def written(folder, labels, values, parts):
    """Items, split and feature files; the split's held-out rows are those of the true labels, whatever ``labels``."""
    ids = [f"i{row:02}" for row in range(N)]
    table = pd.DataFrame({"id": ids, "labels": [[f"c{label}"] for label in labels]})
    for modality in MODALITIES:
        table[modality] = "content"
    Items(table, dict.fromkeys(MODALITIES, "ready")).write(folder / "items.parquet")
    held_out = (np.arange(N) % 10 == 3) & (parts == TRAIN)
    Split(pd.DataFrame({"id": ids, "part": parts, "held_out": held_out})).write(folder / "split.csv")
    for modality in MODALITIES:
        attributes = {"extractor": "ready", "modality": modality}
        store.write_matrix(folder / f"{modality}.h5", "features", np.array(ids), values[modality], attributes)
    return folder


LABELS = np.arange(N) % CLASSES
PARTS = np.where(np.arange(N) % 4 == 1, TEST, TRAIN)


def brief(name):
    """Small, and two epochs long: bits that differ at all differ by then."""
    params = small(name)
    return params | ({"epochs": 2} if "epochs" in params else {})


def fitted(folder, name, tune=None):
    """What the fit stage publishes: the model's bytes, and the selection that ``fit.json`` records."""
    size = registry.info("methods", name).modalities
    groups = [(m,) for m in MODALITIES] if size == 1 else [MODALITIES]
    found = []
    for group in groups:
        configuration = {
            "data": {"id": "made", "dataset": "precomputed", "params": {}},
            "split": "default",
            "features": [{"id": m, "extractor": "ready", "modality": m, "params": {}} for m in group],
            "dictionary": None,
            "method": {"id": name, "method": name, "params": brief(name), "dictionary": None, "tune": tune or {}},
            "seed": 0,
        }
        for key in tune or {}:
            configuration["method"]["params"].pop(key, None)
        out = folder / f"{name}-{'+'.join(group)}"
        files = [str(folder / f"{m}.h5") for m in group]
        items, split = str(folder / "items.parquet"), str(folder / "split.csv")
        stages.fit(configuration, items, split, files, str(out), str(folder / "partial"), "cpu", "")
        found.append(((out / "model.safetensors").read_bytes(), publish.read_json(out / "fit.json")["selection"]))
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
            written(true, LABELS, values, PARTS),
            written(other, shuffled, noise(values, generator), PARTS),
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
        entry = {"id": name, "dictionary": name, "params": {"atoms": [6, 6], "iterations": 3}}
        inputs = [{"id": m, "extractor": "ready", "modality": m, "params": {}} for m in MODALITIES]
        files = [str(folder / f"{m}.h5") for m in MODALITIES]
        out = str(folder / "codes.h5")
        stages.encode(entry, inputs, str(folder / "items.parquet"), str(folder / "split.csv"), files, out, 0, "")
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
    moved = Split.read(true / "split.csv").table
    for folder in (true, other):
        moved.assign(part=TRAIN, held_out=moved["held_out"]).to_csv(folder / "split.csv", index=False)
    try:
        assert fitted(true, "cca") != fitted(other, "cca")
    finally:
        for folder in (true, other):
            moved.to_csv(folder / "split.csv", index=False)


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels_of_unsupervised_methods(tmp_path, cases):
    """Their models and their selection, tuned parameters included, are the same bits when labels are shuffled."""
    cases(len(UNSUPERVISED))
    values, generator = features(True), np.random.default_rng(1)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    true = written(tmp_path / "a", LABELS, values, PARTS)
    shuffled = written(tmp_path / "b", generator.permutation(LABELS), values, PARTS)
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


SHUFFLES = 16
LEARNING = [name for name in NAMES if name != "zero_shot"]  # which compares features as they come


@pytest.mark.long
@pytest.mark.parametrize("name", LEARNING)
def test_shuffled_labels_and_pairs_bring_chance(name):
    """The mean over shuffles lies within four standard errors of 0.5: of 32 methods that know nothing, 1 in 30 suites
    would see one outside. Single shuffles spread widely, since a chance match falls on whole classes at once."""
    values = [above(*shuffled_scores(name, seed)) for seed in range(SHUFFLES)]
    error = np.std(values, ddof=1) / np.sqrt(SHUFFLES)
    assert error < 0.1
    assert abs(np.mean(values) - 0.5) <= 4 * error + 1e-6, (np.mean(values), values)
