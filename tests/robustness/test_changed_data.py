"""Data count by their bytes: whatever was replaced, however and whenever, figures are in the end those of a clean run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cmr import code
from cmr.datasets.table import Table
from cmr.errors import UserError
from cmr.methods import training
from cmr.publish import read_json
from cmr.store import read_arrays, read_matrix
from robustness.chains import STAGES, chain, figures, findings, make, planned, stale
from robustness.toys import cmr, measured
from toy_clones import clone

pytestmark = pytest.mark.slow
CHAIN = {"download": 1, "prepare": 1, "split": 1, "extract": 2, "fit": 3, "evaluate": 2, "collect": 1}
"""What is made of numbers: cca takes both modalities, ridge_label each for itself."""
ALL_BUT_RAW = {stage: count for stage, count in CHAIN.items() if stage != "download"}
READY = {
    "datasets": [
        {
            "id": "mine",
            "dataset": "precomputed",
            "params": {"features": {"image": "x.npy", "text": "y.npy"}, "labels": "labels.npy"},
        }
    ],
    "features": [{"id": m, "extractor": "ready", "modality": m} for m in ("image", "text")],
    "metrics": [{"id": "map@all", "metric": "mean_average_precision"}],
}


def experiment(*methods, inputs=("image", "text"), **more):
    return {"experiments": [{"id": "main", "data": ["mine"], "inputs": [[*inputs]], "methods": [*methods], **more}]}


LINEAR = {**READY, **experiment({"id": "cca", "params": {"components": 2}}, "ridge_label")}


def numbers(folder, seed, n=60):
    """Three classes: features of two modalities and labels."""
    generator = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    for name, width in (("x", 6), ("y", 5)):
        centres = generator.normal(size=(3, width))
        np.save(folder / f"{name}.npy", centres[classes] + generator.normal(size=(n, width)))
    np.save(folder / "labels.npy", classes)


def configured(folder, configuration):
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))


def finished(folder, configuration, write):
    """A finished project in a folder, whose data ``write`` makes there."""
    configured(folder, configuration)
    write(folder)
    with chdir(folder):
        make()
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("first"), LINEAR, lambda folder: numbers(folder, seed=1))


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """Figures of a clean run on other numbers."""
    return figures(
        finished(tmp_path_factory.mktemp("second"), LINEAR, lambda folder: numbers(folder, seed=2)) / "results"
    )


@pytest.fixture
def project(first, tmp_path, monkeypatch):
    """A finished project of ready features, in the working directory."""
    folder = shutil.copytree(first, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def clean(tmp_path_factory):
    """Figures of a run in a new folder."""
    return lambda *of: figures(finished(tmp_path_factory.mktemp("clean"), *of) / "results")


def settled():
    """Nothing is left to be made, and every record agrees with what is here."""
    assert stale() == {}
    assert make() == {}
    assert findings() == []


# New numbers under the same name --------------------------------------------------------------------------------------


@pytest.mark.mended("an interruption after `prepare` left the old features for ever")
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage in ALL_BUT_RAW])
def test_new_numbers_and_a_break_after_each_stage(project, second, stage):
    before = figures()
    numbers(project, seed=2)
    assert stale() == ALL_BUT_RAW
    made = make(stop=stage)
    assert made[stage] == 1
    again = make()
    assert sum(made.values()) + sum(again.values()) == sum(ALL_BUT_RAW.values())  # and none of them twice
    assert figures() == second != before
    settled()


@pytest.mark.parametrize("stage", ["prepare", "extract", "fit"])
def test_numbers_that_come_back_after_a_break(project, stage):
    before = figures()
    numbers(project, seed=2)
    make(stop=stage)
    numbers(project, seed=1)
    assert stale()["prepare"] == 1
    make()
    assert figures() == before
    settled()


def test_features_follow_and_the_record_says_of_which_bytes(project):
    numbers(project, seed=2)
    make()
    features = read_matrix(next(Path("results/features").rglob("image*.h5")), "features")
    np.testing.assert_array_equal(features.values, np.load("x.npy").astype(np.float32))
    record = read_json(next(Path("results/features").rglob("image*.json")))
    assert set(record["own_files"]) == {"x.npy", "y.npy", "labels.npy"}


def equal_time(path, write):
    """Writes anew, with the times of before, as `cp -p` of such a file does."""
    status = path.stat()
    write()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size


def older(path, write):
    write()
    os.utime(path, (10**9, 10**9))


def moved_over(path, write):
    """As `rsync -a` and editors do: another file takes the place of the old one."""
    kept = path.with_name("kept")
    shutil.copy2(path, kept)
    status = path.stat()
    write()
    path.rename(path.with_name("new"))
    kept.rename(path)
    os.utime(path.with_name("new"), ns=(status.st_atime_ns, status.st_mtime_ns - 10**9))
    os.replace(path.with_name("new"), path)


REPLACED = [equal_time, older, moved_over]


@pytest.mark.mended("a file that was replaced by one of an older or an equal time was not noticed")
@pytest.mark.parametrize("how", REPLACED)
def test_numbers_of_equal_size_replaced_in_any_way(project, clean, how):
    how(project / "x.npy", lambda: np.save("x.npy", np.load("x.npy")[::-1]))
    assert stale() == ALL_BUT_RAW
    make()
    data = {name: np.load(name) for name in ("x.npy", "y.npy", "labels.npy")}
    assert figures() == clean(LINEAR, lambda folder: [np.save(folder / name, array) for name, array in data.items()])
    settled()


def test_a_file_that_is_only_saved_again_makes_nothing(project):
    for name in ("x.npy", "labels.npy"):
        np.save(name, np.load(name))
        os.utime(name, (time.time() + 3600,) * 2)
    settled()


def test_results_of_a_clock_that_was_ahead(project, second):
    """Data that changed before the results were made, as far as times tell."""
    ahead = time.time() + 30 * 86400
    for path in (project / "results").rglob("*"):
        os.utime(path, (ahead, ahead))
    numbers(project, seed=2)
    assert stale() == ALL_BUT_RAW
    make()
    assert figures() == second
    settled()


def test_one_of_several_data_sets_changes(project):
    """A second one, of files of its own, stays."""
    (project / "other").mkdir()
    numbers(project / "other", seed=3)
    params = {"features": {"image": "other/x.npy", "text": "other/y.npy"}, "labels": "other/labels.npy"}
    configured(
        project,
        {
            **LINEAR,
            "datasets": [*LINEAR["datasets"], {"id": "other", "dataset": "precomputed", "params": params}],
            "experiments": [{**LINEAR["experiments"][0], "data": ["mine", "other"]}],
        },
    )
    assert make() == CHAIN
    numbers(project / "other", seed=4)
    assert stale() == ALL_BUT_RAW
    assert make() == ALL_BUT_RAW
    settled()


# Pictures and tables --------------------------------------------------------------------------------------------------

TABLE = {
    "datasets": [
        {
            "id": "mine",
            "dataset": "table",
            "params": {"file": "my/my.csv", "image": "picture", "text": "caption", "label": "class"},
        }
    ],
    "metrics": READY["metrics"],
}
PICTURES = {**TABLE, **experiment({"id": "cca", "params": {"components": 2}}, inputs=("bytes_of", "bow"))}
TEXTS = {**TABLE, **experiment("random", inputs=("bow",))}
OF_PICTURES = {"download": 1, "prepare": 1, "split": 1, "extract": 2, "fit": 1, "evaluate": 1, "collect": 1}


def table(folder, words="ab", n=24):
    """Pictures of bytes, each with a text, and one of two classes."""
    (folder / "my").mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for row in range(n):
        (folder / "my" / f"{row}.png").write_bytes(generator.integers(0, 256, 64, np.uint8).tobytes())
    rows = [[f"{row}.png", f"a {words[row % 2]} of text {row}", "pq"[row % 2]] for row in range(n)]
    pd.DataFrame(rows, columns=["picture", "caption", "class"]).to_csv(folder / "my" / "my.csv", index=False)


@pytest.mark.mended("a picture that was replaced under its name was not noticed")
def test_a_picture_replaced_under_its_name(tmp_path):
    made = clone(tmp_path / "clone")
    table(made.root, n=80)
    configured(made.root, PICTURES)
    assert chain(made) == OF_PICTURES
    before = measured(made)
    for number, how in enumerate(REPLACED):
        picture = made.root / "my" / f"{number}.png"
        how(picture, lambda file=picture: file.write_bytes(bytes(64)))
    assert chain(made) == {stage: count for stage, count in OF_PICTURES.items() if stage != "download"}
    after = measured(made)
    shutil.rmtree(made.root / "results")
    chain(made)
    assert measured(made) == after != before


@pytest.mark.long
@pytest.mark.mended("a data set's raw files, replaced in the cache, were not noticed")
def test_raw_files_replaced_in_the_cache(tmp_path):
    made = clone(tmp_path / "clone")
    placed = made.root / ".cache/datasets/placed_raw"
    (placed / "folder").mkdir(parents=True)

    def place(seed):
        generator = np.random.default_rng(seed)
        rows = [
            [f"i{row}", *(" ".join(f"{v:.3f}" for v in generator.normal(row % 3, 1, 4)) for _ in "xy"), "abc"[row % 3]]
            for row in range(45)
        ]
        columns = ["id", "image", "text", "labels"]
        pd.DataFrame(rows, columns=columns).to_csv(placed / "numbers.csv", index=False)

    features = [{"id": "image", "extractor": "numbers"}, {"id": "text", "extractor": "centred"}]
    configured(made.root, {**LINEAR, "datasets": [{"id": "mine", "dataset": "placed"}], "features": features})
    place(1)
    assert chain(made) == CHAIN
    assert chain(made) == {}
    before = measured(made)
    place(2)
    assert chain(made) == CHAIN
    after = measured(made)
    shutil.rmtree(made.root / "results")
    chain(made)
    assert measured(made) == after != before


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A finished project of texts in a table, in the working directory."""
    monkeypatch.chdir(finished(tmp_path, TEXTS, table))
    return tmp_path


def item_texts():
    return set(pd.read_parquet(next(Path("results/data").rglob("items.parquet")))["text"])


@pytest.mark.mended("a table that was replaced by one of an older or an equal time was not noticed")
@pytest.mark.parametrize("how", REPLACED)
def test_a_table_replaced_in_any_way(texts, clean, how):
    how(texts / "my/my.csv", lambda: table(texts, words="cd"))
    assert set(stale()) == {"prepare", "split", "extract", "fit", "evaluate", "collect"}
    make()
    assert any(" c of " in text for text in item_texts())
    assert figures() == clean(TEXTS, lambda folder: table(folder, words="cd"))
    settled()


@pytest.mark.mended("a table that was saved again while `prepare` read it was taken for the old one")
def test_a_table_saved_again_while_it_is_read(texts, monkeypatch):
    table(texts, words="cd")
    genuine = Table.prepare

    def interrupted(dataset):
        items = genuine(dataset)
        table(texts, words="ef")
        return items

    monkeypatch.setattr(Table, "prepare", interrupted)
    with pytest.raises(UserError, match=r"my.csv: it changed while it was read"):
        make()
    monkeypatch.setattr(Table, "prepare", genuine)
    make()
    assert any(" e of " in text for text in item_texts())
    settled()


def test_a_table_saved_again_with_the_same_content_while_it_is_read(texts, monkeypatch):
    table(texts, words="cd")
    genuine = Table.prepare
    monkeypatch.setattr(Table, "prepare", lambda dataset: (table(texts, words="cd"), genuine(dataset))[1])
    make()
    settled()


OF_TEXTS = {"prepare": 1, "split": 1, "extract": 1, "fit": 1, "evaluate": 1, "collect": 1}


@pytest.mark.mended("a lost list of pictures, or a damaged record, was a stack trace of the plan")
@pytest.mark.parametrize(
    ("name", "damage"),
    [("contents.sha256", None)]
    + [(name, damage) for name in ("raw.json", "items.json") for damage in (None, "{", "[]", '{"schema_version": 2}')],
)
def test_what_is_lost_or_damaged_in_the_data_is_made_again(texts, name, damage):
    before = figures()
    (file,) = Path("results/data").rglob(name)
    file.write_text(damage) if damage else file.unlink()
    assert make() == ({"download": 1} if name == "raw.json" else {}) | OF_TEXTS
    assert figures() == before
    settled()


def test_pictures_that_are_not_here_count_as_found_until_others_are(texts):
    content = (texts / "my/3.png").read_bytes()
    for row in range(24):
        (texts / "my" / f"{row}.png").unlink()
    settled()
    (texts / "my/3.png").write_bytes(content)
    settled()
    (texts / "my/3.png").write_bytes(content[::-1])
    assert stale() == OF_TEXTS
    assert [kind for kind, _ in findings()] == ["stale"]


# Weights of the user's own --------------------------------------------------------------------------------------------


def vectors(folder, seed):
    generator = np.random.default_rng(seed)
    words = ["a", "b", "of", "text"]
    lines = [f"{word} {' '.join(f'{v:.4f}' for v in generator.normal(size=8))}" for word in words]
    (folder / "vec.txt").write_text(f"{len(words)} 8\n" + "\n".join(lines) + "\n")


@pytest.mark.mended("weights of the user's own that were replaced under their name were not noticed")
def test_own_weights_replaced_under_their_name(tmp_path, monkeypatch, clean):
    features = [{"id": "words", "extractor": "word2vec_cnn", "params": {"vectors": "vec.txt", "maps": 4, "epochs": 2}}]
    configuration = {**TABLE, "features": features, **experiment("random", inputs=("words",))}
    monkeypatch.chdir(finished(tmp_path, configuration, lambda folder: (table(folder), vectors(folder, 1))))
    before = next(Path("results/features").rglob("words*.h5")).read_bytes()
    how_many = {"weights": 1, "extract": 1, "fit": 1, "evaluate": 1, "collect": 1}
    equal_time(tmp_path / "vec.txt", lambda: None)
    assert stale() == {}
    vectors(tmp_path, 2)
    assert stale() == how_many
    assert make() == how_many
    assert next(Path("results/features").rglob("words*.h5")).read_bytes() != before
    assert figures() == clean(configuration, lambda folder: (table(folder), vectors(folder, 2)))
    settled()
    (tmp_path / "vec.txt").unlink()  # as on another machine, where only results are
    settled()


# Fits that were killed ------------------------------------------------------------------------------------------------

DEEP = {"id": "dscmr", "params": {"hidden": 16, "dimension": 4, "epochs": 12, "batch_size": 16}}
DEEP_ON_NUMBERS = {**READY, **experiment(DEEP)}
TUNED = {**READY, **experiment({**DEEP, "tune": {"learning_rate": [0.001, 0.01]}})}
AT = 7


@pytest.fixture
def watched(monkeypatch):
    """Every epoch is a checkpoint; which epochs are trained from now on, and how to be killed in one."""
    genuine, trained, deadly = training._train_epoch, [], set()

    def train_epoch(network, updates, rows, batch_size, seed, epoch, *more):
        if epoch in deadly:
            raise KeyboardInterrupt
        trained.append(epoch)
        return genuine(network, updates, rows, batch_size, seed, epoch, *more)

    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    monkeypatch.setattr(training, "_train_epoch", train_epoch)

    def killed():
        deadly.add(AT)
        with pytest.raises(KeyboardInterrupt):
            make()
        deadly.clear()
        assert list(Path("results/.partial/fits").rglob("*.pt"))
        assert trained[-1] == AT - 1
        trained.clear()

    return trained, killed


def model():
    (file,) = Path("results/fits").rglob("model.safetensors")
    return {name: array.tobytes() for name, array in read_arrays(file).items()}


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """A project of one network, of which nothing is made yet, in the working directory."""
    configured(tmp_path, DEEP_ON_NUMBERS)
    numbers(tmp_path, seed=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_one_go():
    """The model and the figures of a run that nothing interrupts, of what is here now."""
    shutil.rmtree("results")
    make()
    return model(), figures()


def test_a_killed_fit_goes_on_where_nothing_has_changed(deep, watched):
    trained, killed = watched
    killed()
    make()
    assert trained[0] == AT
    assert (model(), figures()) == in_one_go()
    assert not list(Path("results/.partial").rglob("*.pt"))


@pytest.mark.mended("a killed fit went on with other data than it had begun with")
@pytest.mark.parametrize("how", [lambda path, write: write(), equal_time, older])
def test_a_killed_fit_begins_anew_on_other_data(deep, watched, how):
    trained, killed = watched
    killed()
    for name in ("x.npy", "y.npy"):
        how(deep / name, lambda name=name: np.save(name, np.load(name)[::-1].copy()))
    make()
    assert trained[0] == 1
    assert (model(), figures()) == in_one_go()
    assert not list(Path("results/.partial").rglob("*.pt"))
    settled()


@pytest.mark.mended("a killed fit went on with other code than it had begun with, under the new code's name")
def test_a_killed_fit_begins_anew_with_other_code(deep, watched, monkeypatch):
    trained, killed = watched
    killed()
    genuine, seed_of = code.of_stage, training._epoch_seed
    monkeypatch.setattr(code, "of_stage", lambda stage, plugins: f"{genuine(stage, plugins)[:-1]}x")
    monkeypatch.setattr(training, "_epoch_seed", lambda seed, epoch: seed_of(seed, epoch) + 1)  # the edit
    make()
    assert trained[0] == 1
    assert (model(), figures()) == in_one_go()
    settled()


def test_a_killed_fit_begins_anew_when_it_is_tuned_otherwise(deep, watched):
    """What is chosen among is a part of the path too; here the two have one folder of unfinished work each."""
    trained, killed = watched
    killed()
    configured(deep, TUNED)
    make()
    assert trained[0] == 1
    configured(deep, DEEP_ON_NUMBERS)
    trained.clear()
    make()
    assert trained[0] == AT


def test_a_killed_fit_whose_data_come_back_goes_on(deep, watched):
    trained, killed = watched
    killed()
    data = {name: np.load(name) for name in ("x.npy", "y.npy")}
    numbers(deep, seed=2)
    make(until="extract")
    for name, array in data.items():
        np.save(name, array)
    make()
    assert trained[0] == AT
    assert (model(), figures()) == in_one_go()


# Snakemake, interrupted -----------------------------------------------------------------------------------------------


def started(made, *arguments):
    """Snakemake in a process group of its own."""
    environment = os.environ | {"PYTHONPATH": ""}
    with (made.root / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "snakemake", *arguments]
        return subprocess.Popen(command, cwd=made.root, env=environment, stdout=log, stderr=log, start_new_session=True)


def interrupted(made, sign, appears, *arguments):
    """Runs Snakemake and sends its processes a signal once ``appears()``; whether it was still going on."""
    process = started(made, *arguments)
    while process.poll() is None and not appears():
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, sign)
    process.wait()
    return True


def inodes(made, stage):
    """What tells that a record of a stage has been written anew."""
    with chdir(made.root):
        plan, _ = planned()
        found = [Path(result.record) for result in plan.results() if result.stage == stage]
        return {str(path): path.stat().st_ino for path in found if path.exists()}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A clone with ready features whose results are there, without Snakemake's notes."""
    made = clone(tmp_path_factory.mktemp("numbered") / "clone")
    finished(made.root, LINEAR, lambda folder: numbers(folder, seed=1))
    return made


LATER = ["prepare", "split", "extract", "fit", "evaluate"]
"""Stages after which something is left to be done."""


@pytest.mark.parametrize(
    "stage",
    [
        "prepare",
        *(pytest.param(stage, marks=pytest.mark.long) for stage in LATER[1:]),
    ],
)
def test_new_numbers_until_a_stage(numbered, tmp_path, second, stage):
    made = numbered.copy(tmp_path / "clone")
    numbers(made.root, seed=2)
    assert made.planned("metrics") == ALL_BUT_RAW
    made.snakemake("metrics", "--until", stage)
    left = made.planned("metrics")
    assert stage not in left
    assert left == {name: count for name, count in ALL_BUT_RAW.items() if name in left}
    assert set(ALL_BUT_RAW) - set(left) <= set(LATER[: LATER.index(stage) + 1])
    assert "collect" in left
    if stage != "prepare":
        return
    made.snakemake("metrics")
    assert measured(made) == second
    assert made.planned("metrics") == {}


@pytest.mark.long
@pytest.mark.mended("Ctrl-C or SIGKILL once `prepare` had ended left the old features for ever")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda sign: sign.name)
@pytest.mark.parametrize("stage", LATER)
def test_new_numbers_and_a_signal_once_a_stage_has_a_record(numbered, tmp_path, second, stage, sign):
    made = numbered.copy(tmp_path / "clone")
    numbers(made.root, seed=2)
    before = inodes(made, stage)
    assert interrupted(made, sign, lambda: inodes(made, stage) != before, "metrics")
    made.snakemake("--unlock")
    made.snakemake("metrics")
    assert measured(made) == second
    assert made.planned("metrics") == {}
    with chdir(made.root):
        assert findings() == []


@pytest.mark.long
@pytest.mark.mended("a killed fit went on with other code than it had begun with, under the new code's name")
@pytest.mark.parametrize("change", ["data", "code"])
def test_a_fit_killed_under_snakemake_begins_anew(tmp_path, change):
    made = clone(tmp_path / "clone")
    made.edit("workflow/cmr/methods/training.py", "SECONDS_BETWEEN_CHECKPOINTS = 20", "SECONDS_BETWEEN_CHECKPOINTS = 0")
    configured(made.root, {**READY, **experiment({**DEEP, "params": {**DEEP["params"], "epochs": 600}})})
    numbers(made.root, seed=1)
    partial = made.root / "results/.partial/fits"
    assert interrupted(made, signal.SIGKILL, lambda: list(partial.rglob("candidate0.pt")), "metrics")
    if change == "data":
        numbers(made.root, seed=2)
    else:
        made.edit("workflow/cmr/methods/deep.py", "self.params.learning_rate,", "100 * self.params.learning_rate,")
    made.snakemake("--unlock")
    made.snakemake("metrics")
    found = measured(made)
    shutil.rmtree(made.root / "results")
    chain(made)
    assert measured(made) == found
    assert cmr(made, "verify").returncode == 0
