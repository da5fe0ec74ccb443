"""Choosing on held-out rows: choices at the end of what was tried are told, in records and where they are shown."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import Field, ValidationError

import cmr
from cmr.data import TrainingData, View
from cmr.errors import UserError
from cmr.methods.base import History, Method
from cmr.params import Params, of_method
from cmr.publish import read_json, write_json
from cmr.records import FitRecord
from cmr.reporting import collect, headline, origins, significance, summary
from cmr.reporting.protocols import protocols
from cmr.selection import select_and_fit, together
from reporting_tree import write_tree


class Knobs(Params):
    weight: float = Field(0.0, ge=0, description="of something")
    share: float = Field(0.5, gt=0, le=1, description="of something")
    scale: str = Field("none", description="of the inputs")
    exact: bool = Field(True, description="whether it is")
    epochs: int = Field(20, ge=1, description="at most")


BEST = {"weight": 3.0, "share": 0.5, "scale": "none", "exact": True, "epochs": 20}


class Peaked(Method):
    """Its score falls with the distance of the parameters from the best ones; it stops at the best epoch."""

    best: dict = BEST
    chooses: tuple = ()

    def fit(self, train, validation=None, unlabelled=None):
        return History(chosen={name: min(self.best[name], getattr(self.params, name)) for name in self.chooses})

    def validation_score(self, validation):
        own = self.params.model_dump()
        far = abs(own["weight"] - self.best["weight"]) + abs(own["share"] - self.best["share"])
        return -far - (own["scale"] != self.best["scale"]) - (own["exact"] != self.best["exact"])

    def embed(self, modality, features):
        raise NotImplementedError

    state = load_state = embed


def selected(tune, chooses=(), **best):
    view = View(np.array(["a", "b"]), np.zeros((2, 1), np.float32), np.ones((2, 1)))
    data = TrainingData({"image": view}, {"image": view}, {"image": view}, has_validation=True)

    def create(parameters, name):
        method = Peaked(Knobs(**parameters), ("image",))
        method.best, method.chooses = BEST | best, chooses
        return method

    return select_and_fit(create, tune, chooses, lambda point: data)[2]


@pytest.mark.parametrize("same_rows", [True, False])
def test_a_candidate_takes_over_from_the_one_before_it_where_both_have_the_same_rows(monkeypatch, same_rows):
    """Rows differ where a parameter of a dictionary is tuned."""
    taken = []
    monkeypatch.setattr(
        Peaked, "take_over", lambda self, other: taken.append((other.params.weight, self.params.weight))
    )
    view = View(np.array(["a", "b"]), np.zeros((2, 1), np.float32), np.ones((2, 1)))

    def data(point):
        return TrainingData({"image": view}, {"image": view}, {"image": view}, has_validation=False)

    def unfitted(parameters, name):
        return Peaked(Knobs(**parameters), ("image",))

    always = data({})
    select_and_fit(unfitted, {"weight": [1.0, 2.0, 5.0]}, (), (lambda point: always) if same_rows else data)
    assert taken == ([(1.0, 2.0), (2.0, 5.0)] if same_rows else [])


def test_the_order_of_the_keys_in_a_file_breaks_no_tie():
    tune = {"weight": [2.0, 4.0], "exact": [True, False]}
    assert selected(tune)["candidates"] == selected(dict(reversed(tune.items())))["candidates"]


@pytest.mark.parametrize("items", [2, 10, 60, 300])
def test_a_choice_without_labels_is_made_by_a_recall_that_not_all_have(items):
    """Among ten items each is one of the first ten, whatever the method."""
    method, rng = Peaked(Knobs(), ("image", "text")), np.random.default_rng(0)
    ids = np.arange(items).astype(str)
    view = View(ids, np.zeros((items, 1), np.float32), None)
    embedded = {m: rng.normal(size=(items, 8)).astype(np.float32) for m in method.modalities}
    scores = []
    for q, g in (("image", "text"), ("text", "image")):
        own = method.similarity(q, embedded[q], g, embedded[g])
        ranks = 1 + (own > np.diag(own)[:, None]).sum(axis=1)
        scores.append(np.mean(ranks <= min(10, max(1, items // 10))))
    assert method.score_of(dict.fromkeys(method.modalities, view), embedded) == pytest.approx(np.mean(scores))
    assert np.mean(scores) < 1


@pytest.mark.parametrize("has_validation", [True, False])
def test_a_transductive_method_meets_test_rows_when_nothing_is_left_to_choose(has_validation):
    def part(*ids):
        return {"image": View(np.array(ids), np.zeros((len(ids), 1), np.float32), np.ones((len(ids), 1)))}

    given = part("train"), part("train", "a", "b"), part("a", "b"), part("test")
    train, all_rows, held_out, test = given
    unlabelled = {m: view.without_labels() for m, view in test.items()}
    data = TrainingData(train if has_validation else all_rows, train, held_out, has_validation, unlabelled=unlabelled)
    seen = []

    class Watched(Peaked):
        def fit(self, train, validation=None, unlabelled=None):
            seen.append([None if p is None else p["image"].ids.tolist() for p in (train, validation, unlabelled)])
            assert unlabelled["image"].labels is None
            return History()

    def create(parameters, name):
        return Watched(Knobs(**parameters), ("image",))

    record = select_and_fit(create, {"weight": [1, 3]}, (), lambda point: data)[2]
    last = ["train"] if has_validation else ["train", "a", "b"]
    assert seen == [[["train"], ["a", "b"], ["a", "b"]]] * 2 + [[last, None, ["test"]]]
    assert record["chosen"] == {"weight": 3}
    assert record["on"].endswith(
        "then fitted again with the test rows" if has_validation else "then fitted again on all"
    )


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ({"weight": [1, 3, 10]}, {}),
        ({"weight": [3, 10]}, {"weight": "lowest"}),
        ({"weight": [10, 1, 3, 0.1, 2.9]}, {}),
        ({"weight": [0.1, 2, 1]}, {"weight": "highest"}),
        ({"weight": ["1e-1", "2e0"]}, {"weight": "highest"}),
        ({"weight": [3], "exact": [True, False]}, {}),
        ({"weight": [3, 3.0]}, {}),
        ({"weight": [1, 3, 10], "share": [0.1, 0.5]}, {"share": "highest"}),
        ({"scale": ["none", "standardise"], "exact": [True, False]}, {}),
    ],
)
def test_a_choice_is_at_an_edge_where_the_best_number_is_the_least_or_the_greatest(tune, expected):
    assert selected(tune)["at_edge"] == expected


@pytest.mark.parametrize(("share", "where"), [(1.0, "bound"), (0.9, "highest"), (0.1, "lowest")])
def test_an_end_that_the_parameter_itself_sets_is_a_bound(share, where):
    assert selected({"share": sorted({0.3, 0.4, share})}, share=share)["at_edge"] == {"share": where}
    assert selected({"weight": [0, 1, 2]}, weight=0)["at_edge"] == {"weight": "bound"}


@pytest.mark.parametrize(
    ("epochs", "expected"), [(7, {}), (19, {}), (20, {"epochs": "last allowed"}), (99, {"epochs": "last allowed"})]
)
def test_the_last_epoch_allowed_is_told(epochs, expected):
    assert selected({}, ("epochs",), epochs=epochs)["at_edge"] == expected


def test_an_epoch_is_the_last_of_its_own_candidate():
    record = selected({"epochs": [10, 30]}, ("epochs",), epochs=10)
    assert (record["chosen"], record["at_edge"]) == ({"epochs": 10}, {"epochs": "last allowed"})


def test_a_number_that_the_fit_chose_itself_is_at_no_end_of_what_was_tuned():
    record = selected({"epochs": [10, 30], "weight": [3.0, 9.0]}, ("epochs",), epochs=7)
    assert record["chosen"] == {"epochs": 7, "weight": 3.0}
    assert record["at_edge"] == {"weight": "lowest"}


def test_each_candidate_and_the_last_fit_have_names_of_their_own():
    """By which their checkpoints are told apart."""
    view, names = View(np.array(["a", "b"]), np.zeros((2, 1), np.float32), np.ones((2, 1))), []
    data = TrainingData({"image": view}, {"image": view}, {"image": view}, has_validation=False)

    def unfitted(parameters, name):
        names.append(name)
        return Peaked(Knobs(**parameters), ("image",))

    select_and_fit(unfitted, {"weight": [1.0, 2.0, 5.0]}, (), lambda point: data)
    assert len(names) == len(set(names)) == 4


def test_a_modality_of_which_nothing_is_held_out_is_refused():
    view = View(np.array(["a", "b"]), np.zeros((2, 1), np.float32), np.ones((2, 1)))
    rows = dict.fromkeys(("image", "text"), view)
    data = TrainingData(rows, rows, rows | {"text": view.rows(slice(0, 0))}, has_validation=True)
    with pytest.raises(UserError, match="nothing is held out to choose parameters or epochs on"):
        select_and_fit(
            lambda parameters, name: Peaked(Knobs(**parameters), ("image", "text")),
            {"weight": [1.0, 3.0]},
            (),
            lambda point: data,
        )


def test_nothing_is_said_where_nothing_was_chosen():
    assert selected({}) == {"chosen": {}, "candidates": []}


def test_a_tie_of_all_candidates_is_no_choice(monkeypatch, caplog):
    monkeypatch.setattr(Peaked, "validation_score", lambda self, validation: 0.25)
    found = selected({"weight": [1.0, 3.0]}, ("epochs",), epochs=30)
    assert found["chosen"] == {"weight": 1.0, "epochs": 20}
    assert found["at_edge"] == {"epochs": "last allowed"}
    assert "tune: all 2 candidates score 0.25 on held-out rows: the first is taken" in caplog.text


def test_a_fit_that_gives_no_history_is_told(monkeypatch):
    monkeypatch.setattr(Peaked, "fit", lambda self, *rows: None)
    for tune in ({}, {"weight": [1.0, 3.0]}):
        with pytest.raises(UserError, match="method 'test_selection': fit: expected a History, found NoneType"):
            selected(tune)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_candidate_that_fails_is_named(monkeypatch, score):
    monkeypatch.setattr(Peaked, "validation_score", lambda self, validation: score if self.params.weight > 2 else 0.5)
    with pytest.raises(UserError, match=rf"tune: the candidate weight: 3.0: the validation score is {score}; if the"):
        selected({"weight": [1.0, 3.0]})


def test_a_candidate_that_diverges_is_named():
    rng = np.random.default_rng(0)
    views = {m: rng.standard_normal((40, 5)).astype(np.float32) for m in ("image", "text")}
    with pytest.raises(
        UserError, match=r"^tune: the candidate learning_rate: 1e\+35: .* gave NaN or infinite .*; .* take this one out"
    ):
        cmr.fit("dscmr", views, ["a", "b"] * 20, tune={"learning_rate": [1e-4, 1e35]}, epochs=2, device="cpu")


@pytest.mark.parametrize("modalities", [("image",), ("image", "text")])
def test_held_out_rows_without_another_of_their_class_are_refused(modalities):
    """Each candidate would have the score 0. A method that chooses by something else needs none."""

    def held_out(*classes):
        rows = [(np.array(["a", "b"]), np.ones((2, 1)), np.eye(4, dtype=np.uint8)[list(own)]) for own in classes]
        return {m: View(*own) for m, own in zip(modalities, rows, strict=False)}

    def scored(held):
        return Method.score_of(Peaked(Knobs(), modalities), held, {m: v.features for m, v in held.items()})

    with pytest.raises(UserError, match="nothing to choose parameters or epochs on: no held-out row has another"):
        scored(held_out((0, 1), (2, 3)))
    assert scored(held_out((0, 0), (2, 0))) > 0


@pytest.fixture
def marked(tmp_path: Path) -> collect.Collection:
    """Two of three seeds of dla chose at an edge, one of them at a bound too; cca at a bound."""
    results = write_tree(tmp_path / "results", seeds=3)
    at_edge = {
        "dla/0": {"margin": "highest", "epochs": "last allowed"},
        "dla/2": {"margin": "highest", "label_weight": "bound"},
    }
    for run, edges in {**at_edge, "cca/0": {"regularisation": "bound"}}.items():
        file = results / "runs/shapes/default/lite0+bert" / run / "run.json"
        record = read_json(file)
        chosen = dict.fromkeys(edges, 7)
        record["fits"][0]["selection"] = {"chosen": chosen, "candidates": [], "on": "validation", "at_edge": edges}
        write_json(file, record)
    return collect.load(results)


TOLD = ("margin highest tried in 2 of 3 fits", "epochs last allowed in 1 of 3 fits")


def test_rows_and_the_summary_tell_choices_at_an_edge(marked):
    rows = marked.united_rows()
    told = {row["id"]: row["at_edge"] for row in rows}
    assert (told["dla"], told["cca"]) == ("; ".join(TOLD), "")
    lines = summary.table(rows).splitlines()
    assert [line for line in lines if line.startswith("at edge")] == [f"at edge: dla: {'; '.join(TOLD)}"] * 2


def test_the_page_tells_choices_at_an_edge(marked):
    rows = marked.united_rows()
    blocks = headline.blocks(protocols(marked), rows, significance.weigh(marked, rows))
    badges = {line.name: line.badges for line in blocks[0].lines}
    assert (badges["dla"], badges["cca"]) == (TOLD, ())
    chosen = {row["path"].split("/", 4)[4]: row["chosen"] for row in origins.run_table(marked.runs)}
    assert chosen["dla/0"] == "margin 7 (highest tried), epochs 7 (last allowed) (on validation)"
    assert chosen["dla/2"] == "margin 7 (highest tried), label_weight 7 (on validation)"
    assert chosen["cca/0"] == "regularisation 7 (on validation)"


def test_a_record_says_how_a_choice_lies_in_the_documented_words(tmp_path):
    fit = read_json(next((write_tree(tmp_path / "results") / "fits").rglob("fit.json")))
    fit["selection"] |= {"at_edge": {"alpha": "bound"}}
    assert FitRecord.model_validate(fit).selection.at_edge == {"alpha": "bound"}
    fit["selection"]["at_edge"] = {"alpha": "far out"}
    with pytest.raises(ValidationError, match=r"selection\.at_edge"):
        FitRecord.model_validate(fit)


def test_a_choice_of_the_dictionary_is_made_on_its_own_coefficients():
    """Each candidate is fitted and scored on the rows of its dictionary, and so is the last fit on all of them."""
    seen = []

    def data_for(tuned):
        value = tuned["dictionary.lambda1"]
        view = View(np.array(["a", "b"]), np.full((2, 1), value, np.float32), np.ones((2, 1)))
        return TrainingData({"image": view}, {"image": view}, {"image": view}, has_validation=False)

    class Near(Peaked):
        def fit(self, train, validation=None, unlabelled=None):
            seen.append((self.params.weight, float(train["image"].features[0, 0]), validation is None))
            return History()

        def validation_score(self, validation):
            return self.params.weight - abs(float(validation["image"].features[0, 0]) - 2)

    tune = {"weight": [0, 1], "dictionary.lambda1": [1, 2, 3]}
    _, _, record = select_and_fit(
        lambda parameters, name: Near(Knobs(**of_method(parameters)), ("image",)), tune, (), data_for
    )
    assert record["chosen"] == {"weight": 1, "dictionary.lambda1": 2}
    assert record["at_edge"] == {"weight": "highest"}
    assert seen == [(w, x, False) for x in (1, 2, 3) for w in (0, 1)] + [(1, 2, True)]


def test_the_course_of_the_fit_that_was_chosen_by_stands_beside_the_final_one():
    final = History([{"epoch": 1, "label": 5.0, "triplet": 2.0}], {})
    rows = [{"epoch": e, "label": 4.0 - e, "triplet": 0.5, "validation": v} for e, v in ((1, 0.3), (2, 0.2))]
    assert together(final, History(rows, {"epochs": 1})).rows == [
        {"epoch": 1, "label": 5.0, "triplet": 2.0, "choosing": 3.5, "validation": 0.3},
        {"epoch": 2, "choosing": 2.5, "validation": 0.2},
    ]
    assert together(final, History(rows)) is final
    assert together(History(), History(rows, {"epochs": 1})).rows == rows
