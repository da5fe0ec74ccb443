"""The runner: chunks, resuming after a kill, what is refused, and that test rows never reach a fit."""

import json
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from cmr import store
from cmr.errors import BadContent, UserError
from cmr.features import extraction
from cmr.features.base import Extractor, Gap
from cmr.features.extraction import Task, _fingerprint, extract
from cmr.params import Params
from cmr.provenance import file_hash, used

TEXTS = [f"text {i} " + "x" * (i % 7) for i in range(25)]
IDS = [f"item{i}" for i in range(25)]


class Lengths(Extractor):
    """Counts letters; fitted: minus the mean length of the training texts. Remembers what it was given."""

    mean = 0.0

    def __init__(self, bad=None, nan=None):
        super().__init__(Params(), "cache")
        self.bad, self.nan, self.fitted_on, self.seen = bad, nan, None, []

    def fit(self, contents, labels=None):
        self.fitted_on, self.labels = list(contents), labels
        self.mean = float(np.mean([len(c) for c in contents]))

    def transform(self, contents):
        self.seen += contents
        if self.bad in contents:
            raise BadContent(self.bad, "cannot be read")
        rows = [[np.nan if c == self.nan else len(c) - self.mean, ord(c[-1])] for c in contents]
        return np.array(rows, np.float32)

    def state(self):
        return {"mean": np.array(self.mean)}

    def load_state(self, state):
        self.mean = float(state["mean"])

    def resolved(self):
        return {"precision": "fp32"}


def run(folder, extractor, contents=TEXTS, name="a", ids=IDS, key="lengths", choosing=None, chunk=4, **of_training):
    task = Task(extractor, contents, np.array(ids), **of_training)
    path, partial = folder / f"{name}.h5", folder / ".partial" / f"{name}.h5"
    assert extract(task, path, {"extractor": "lengths"}, partial, key, chunk, choosing)["precision"] == "fp32"
    return path


def test_rows_ids_and_attributes_of_a_fixed_extractor(tmp_path):
    matrix = store.read_matrix(run(tmp_path, Lengths()), "features")
    assert matrix.values.tolist() == [[len(t), ord(t[-1])] for t in TEXTS]
    assert matrix.ids.tolist() == IDS
    assert matrix.attributes["resolved"] == '{"precision": "fp32"}'
    assert not (tmp_path / ".partial" / "a.h5").exists()


@pytest.mark.parametrize("train_rows", [np.arange(0, 25, 2), np.arange(25) % 2 == 0])
def test_a_fitted_extractor_sees_the_training_rows_alone(tmp_path, train_rows):
    extractor = Lengths()
    labels = np.eye(13)
    path = run(tmp_path, extractor, training=train_rows, labels=labels)
    assert extractor.fitted_on == TEXTS[::2]
    assert extractor.labels is labels
    assert store.read_state(path)["mean"] == np.mean([len(t) for t in TEXTS[::2]])
    again = Lengths()
    again.load_state(store.read_state(path))
    np.testing.assert_array_equal(again.transform(TEXTS), store.read_matrix(path, "features").values)


def test_a_chunk_is_not_computed_twice(tmp_path):
    broken = Lengths(bad=TEXTS[14])
    with pytest.raises(UserError, match=r"item 'item14'.*cannot be read"):
        run(tmp_path, broken)
    assert not (tmp_path / "a.h5").exists()
    resumed = Lengths()
    path = run(tmp_path, resumed)
    assert resumed.seen == TEXTS[12:]
    assert path.read_bytes() == run(tmp_path, Lengths(), name="whole").read_bytes()


def test_the_seconds_of_all_jobs_that_were_interrupted_count(tmp_path):
    with pytest.raises(UserError):
        run(tmp_path, Lengths(bad=TEXTS[14]))
    with h5py.File(tmp_path / ".partial" / "a.h5", "r+") as partial:
        partial.attrs["seconds"] = 1000.0
    with pytest.raises(UserError):
        run(tmp_path, Lengths(bad=TEXTS[22]))
    with used() as usage:
        run(tmp_path, Lengths())
    assert 1000 < usage["seconds"] < 1100


class Gapped(Lengths):
    def gaps(self, contents):
        return {"short": Gap(sum(len(c) < 8 for c in contents), len(contents), "texts are short", "take longer")}


def test_what_features_leave_out_is_logged_and_stored_once_for_all_chunks(tmp_path, caplog):
    count = sum(len(text) < 8 for text in TEXTS)
    path = run(tmp_path, Gapped())
    assert [record.getMessage() for record in caplog.records] == [f"{count} of 25 texts are short; take longer"]
    resolved = json.loads(store.read_matrix(path, "features").attributes["resolved"])
    gap = {"count": count, "of": 25, "what": "texts are short", "remedy": "take longer"}
    assert resolved == {"precision": "fp32", "gaps": {"short": gap}}


def test_what_features_leave_out_is_the_same_after_a_kill(tmp_path):
    with pytest.raises(UserError):
        run(tmp_path, Gapped(bad=TEXTS[14]))
    assert run(tmp_path, Gapped()).read_bytes() == run(tmp_path, Gapped(), name="whole").read_bytes()


def test_bad_content_that_is_no_items_is_told_by_itself(tmp_path):
    class Reader(Lengths):
        def transform(self, contents):
            raise BadContent("inner.wav", "cannot be read")

    with pytest.raises(BadContent, match=r"^inner\.wav: cannot be read$"):
        run(tmp_path, Reader())


def test_features_to_choose_on_stand_beside_and_survive_a_kill(tmp_path):
    def task(extractor, rows):
        return Task(extractor, TEXTS, np.array(IDS), np.arange(rows))

    with pytest.raises(UserError):
        run(tmp_path, Lengths(), training=np.arange(9), choosing=task(Lengths(bad=TEXTS[14]), 5))
    again, choosing = Lengths(), Lengths()
    path = run(tmp_path, again, training=np.arange(9), choosing=task(choosing, 5))
    assert again.seen == []  # computed before the kill
    assert choosing.fitted_on is None
    alone = run(tmp_path, Lengths(), name="alone", training=np.arange(5))
    chosen_on, expected = store.read_matrix(path, "features", "selection"), store.read_matrix(alone, "features")
    np.testing.assert_array_equal(chosen_on.values, expected.values)
    assert store.read_state(path)["mean"] == np.mean([len(t) for t in TEXTS[:9]])
    assert not list((tmp_path / ".partial").iterdir())


def test_a_fit_that_ended_is_not_repeated(tmp_path):
    with pytest.raises(UserError):
        run(tmp_path, Lengths(bad=TEXTS[14]), training=np.arange(5))
    resumed = Lengths()
    path = run(tmp_path, resumed, training=np.arange(5))
    assert resumed.fitted_on is None
    assert path.read_bytes() == run(tmp_path, Lengths(), name="whole", training=np.arange(5)).read_bytes()


def test_a_fit_whose_state_alone_was_written_is_repeated(tmp_path):
    with pytest.raises(UserError):
        run(tmp_path, Lengths(bad=TEXTS[14]), training=np.arange(5))
    with h5py.File(tmp_path / ".partial" / "a.h5", "r+") as partial:
        del partial.attrs["fitted"]
        partial["state/mean"][()] = 1000
    resumed = Lengths()
    path = run(tmp_path, resumed, training=np.arange(5))
    assert resumed.fitted_on == TEXTS[:5]
    assert store.read_state(path)["mean"] == np.mean([len(t) for t in TEXTS[:5]])


def test_a_chunk_that_was_being_replaced_when_the_job_ended_is_none_of_its_old_contents(tmp_path, monkeypatch):
    def keep_and_end(*given, keep=extraction._keep):
        keep(*given)
        raise KeyboardInterrupt

    with pytest.raises(UserError):
        run(tmp_path, Lengths(bad=TEXTS[14]))
    edited = [*TEXTS[:6], "another text", *TEXTS[7:]]
    monkeypatch.setattr(extraction, "_keep", keep_and_end)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Lengths(), edited)
    monkeypatch.undo()
    path = run(tmp_path, Lengths())
    assert store.read_matrix(path, "features").values.tolist() == [[len(t), ord(t[-1])] for t in TEXTS]


@pytest.mark.parametrize("change", ["key", "ids", "device", "chunk", "training", "labels", "content", "damaged"])
def test_unfinished_work_of_another_kind_is_not_used(tmp_path, change):
    options = {"training": np.arange(5), "labels": np.eye(5)}
    with pytest.raises(UserError):
        run(tmp_path, Lengths(bad=TEXTS[14]), **options)
    contents, computed_again = list(TEXTS), TEXTS
    if change == "key":
        options["key"] = "lengths of other code"
    elif change == "ids":
        options["ids"] = [f"other{i}" for i in range(25)]
    elif change == "chunk":
        options["chunk"] = 5
    elif change == "training":
        options["training"] = np.arange(6)
    elif change == "labels":
        options["labels"] = 1 - np.eye(5)
    elif change == "content":
        contents[6] = "another text"
        computed_again = contents[4:8] + contents[12:]
    elif change == "damaged":
        partial = tmp_path / ".partial" / "a.h5"
        partial.write_bytes(partial.read_bytes()[:600])
    resumed = Lengths()
    resumed.device = "cuda" if change == "device" else "cpu"
    run(tmp_path, resumed, contents, **options)
    assert resumed.seen == list(computed_again)


def test_features_that_are_not_finite_are_refused_and_named(tmp_path):
    with pytest.raises(UserError, match="item 'item9'"):
        run(tmp_path, Lengths(nan=TEXTS[9]))
    assert not (tmp_path / "a.h5").exists()


def test_no_items_and_no_training_rows_are_refused(tmp_path):
    with pytest.raises(UserError, match="no items"):
        extract(Task(Lengths(), [], np.array([])), tmp_path / "a.h5", {}, tmp_path / "p.h5", "key")
    with pytest.raises(UserError, match="no training rows"):
        run(tmp_path, Lengths(), training=np.zeros(25, bool))


def test_two_processes_do_not_write_the_same_unfinished_work(tmp_path):
    partial = tmp_path / "p.h5"
    with store.resumable(partial, "key"):
        code = f"from cmr import store\nwith store.resumable({str(partial)!r}, 'key'): pass"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another process is writing it" in other.stderr


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    import test_features_extraction as t

    class Killed(t.Lengths):
        def transform(self, contents):
            if t.TEXTS[{row}] in contents:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().transform(contents)

    t.run(Path({folder!r}), Killed(), training=range(5))
"""


def test_after_sigkill_the_features_are_the_same_bit_for_bit(tmp_path):
    for row in (9, 18):
        code = textwrap.dedent(KILLED).format(tests=str(__file__).rsplit("/", 1)[0], row=row, folder=str(tmp_path))
        assert subprocess.run([sys.executable, "-c", code]).returncode == -9
        with h5py.File(tmp_path / ".partial" / "a.h5") as partial:
            assert (partial["done"][()] != b"").sum() == row // 4
    resumed = Lengths()
    path = run(tmp_path, resumed, training=range(5))
    assert resumed.fitted_on is None
    assert resumed.seen == TEXTS[16:]
    assert path.read_bytes() == run(tmp_path, Lengths(), name="whole", training=range(5)).read_bytes()


def test_fingerprints_tell_contents_apart(tmp_path):
    file = tmp_path / "a.png"
    file.write_text("one")
    long = np.zeros(5000, np.float32)
    changed = long.copy()
    changed[2500] = 1
    contents = ("a", "b", file, long, changed)
    before = [_fingerprint([content], {file: file_hash(file)}) for content in contents]
    file.write_text("two")  # as long as before
    after = [_fingerprint([content], {file: file_hash(file)}) for content in contents]
    assert len(set(before)) == 5
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True, True]
    assert _fingerprint(["ab", "c"], {}) != _fingerprint(["a", "bc"], {})
    assert _fingerprint([long.reshape(2, -1)], {}) != _fingerprint([long.reshape(4, -1)], {})


@pytest.mark.parametrize("holds", ["a group", "an array in its place"])
def test_a_state_that_is_no_arrays_is_told(tmp_path, holds):
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        if holds == "a group":
            file.create_group("state/mean")
        else:
            file["state"] = np.ones(3)
    with pytest.raises(UserError, match=r"features\.h5: /state holds what is no array; make it again"):
        store.read_state(path)
