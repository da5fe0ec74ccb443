"""New items into a file: embedded as test items are, whichever way they come, and not lost with a killed process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from test_search import CONFIG, MACHINE, folder_of, write_data

from cmr import cli, embedding, evaluation, export, new_items, paths, search_index
from cmr.data import Items, View
from cmr.errors import UserError
from cmr.features import extraction
from cmr.measure import recall_of_files
from cmr.search import find
from cmr.store import Rows
from toy_plan import Project

KILLED = """
import os, signal, sys
from cmr import cli
from cmr.features import extraction
extraction.CHUNK["cpu"] = 4
take, made = extraction._transform, []
def killing(task, file, path, chunk):
    inner = task.extractor.transform
    def transform(contents):
        made.append(len(contents))
        print(len(contents), flush=True)
        if len(made) == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(contents)
    task.extractor.transform = transform
    take(task, file, path, chunk)
extraction._transform = killing
cli.main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_data(root)
        experiments = [
            {**CONFIG["experiments"][0], "methods": ["cca", CONFIG["experiments"][0]["methods"][-1]]},
            {**CONFIG["experiments"][1], "methods": ["mdcr"]},
        ]
        configuration = CONFIG | {"experiments": experiments}
        Path("config.yaml").write_text(yaml.safe_dump(configuration | {"cache": "cache", "device": "cpu"}))
        made = Project(root, configuration)
        for run in made.results("evaluate"):
            made.make(run)
        yield root, made.plan


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project[0])
    return project[1]


def stored(folder, modality, inner=""):
    (file,) = Path(folder).glob(f"embeddings*/{inner}{modality}.h5")
    with h5py.File(file) as opened:
        return opened["ids"].asstr()[()], opened["embeddings"][()]


def written(file, group="/"):
    with h5py.File(file) as opened:
        return opened[group]["ids"].asstr()[()], opened[group]["embeddings"][()]


@pytest.mark.parametrize("method", ["cca", "dla"])
def test_the_test_items_contents_get_their_stored_embeddings(here, method, tmp_path):
    folder = folder_of(here, method)
    items = Items.read(paths.ITEMS.format(data=next(iter(here.datasets)))).table.set_index("id")
    ids, expected = stored(folder, "text")
    (tmp_path / "texts.txt").write_text("\n".join(items["text"][ids]) + "\n", "utf-8")
    cli.main(["embed", folder, "--texts", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "t.h5")])
    lines, found = written(tmp_path / "t.h5")
    assert list(lines) == [f"texts.txt:{number}" for number in range(1, len(ids) + 1)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    ids, expected = stored(folder, "image")
    names = [os.path.relpath(items["image"][item], tmp_path) for item in ids]
    (tmp_path / "pictures.txt").write_text("\n".join(names))
    cli.main(["embed", folder, "--images", str(tmp_path / "pictures.txt"), "--out", str(tmp_path / "i.h5")])
    paths_, found = written(tmp_path / "i.h5")
    assert list(paths_) == names
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not list(tmp_path.glob(".*"))


def test_a_modality_of_several_pairs_has_a_group_for_each(here, tmp_path):
    folder = folder_of(here, "mdcr", 3)
    (tmp_path / "t.txt").write_text("a green leaf\nthe blue sea")
    cli.main(["embed", folder, "--texts", str(tmp_path / "t.txt"), "--out", str(tmp_path / "t.h5")])
    with h5py.File(tmp_path / "t.h5") as file:
        assert set(file) == {"image+text", "text+audio"}
    pair, other = (written(tmp_path / "t.h5", group)[1] for group in ("image+text", "text+audio"))
    assert pair.shape[0] == other.shape[0] == 2
    assert not np.array_equal(pair, other)
    for run, reason in (
        (folder, "it has a space for each pair of modalities"),
        (folder_of(here, "cca"), "not embedded by"),
    ):
        with pytest.raises(UserError, match=reason):
            search_index.add(find(run), tmp_path / "index", [tmp_path / "t.h5"], 1)


def test_a_killed_command_goes_on_after_the_last_chunk(here, tmp_path):
    folder = folder_of(here, "cca")
    (tmp_path / "t.txt").write_text("\n".join(f"red apple number{n}" for n in range(10)))
    command = ["embed", folder, "--texts", str(tmp_path / "t.txt"), "--out"]

    def run(chunk, out):
        arguments = [sys.executable, "-c", KILLED, str(chunk), *command, str(tmp_path / out)]
        return subprocess.run(arguments, capture_output=True, text=True)

    killed = run(3, "t.h5")
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.split() == ["4", "4", "2"]
    assert not (tmp_path / "t.h5").exists()
    again = run(0, "t.h5")
    assert again.returncode == 0, again.stderr
    assert again.stdout.split()[0] == "2"  # the last chunk alone
    assert run(0, "whole.h5").returncode == 0
    assert np.array_equal(written(tmp_path / "t.h5")[1], written(tmp_path / "whole.h5")[1])


def test_rows_are_embedded_and_written_a_block_at_a_time(here, tmp_path, monkeypatch):
    """What a command that is stopped between two blocks leaves behind is no part of the next one's file."""
    run, out, made = find(Path(folder_of(here, "cca"))), tmp_path / "t.h5", []
    (tmp_path / "t.txt").write_text("\n".join(f"red apple number{n}" for n in range(10)))
    items, embed = embedding.texts(tmp_path / "t.txt"), new_items.Fitted.embed

    def stopping(fitted, modality, features):
        made.append(embed(fitted, modality, features))
        if len(made) == 2:
            raise KeyboardInterrupt
        return made[-1]

    monkeypatch.setattr(embedding, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(new_items.Fitted, "embed", stopping)
    with pytest.raises(KeyboardInterrupt):
        embedding.embed(run, items, out, MACHINE)
    assert not out.exists()
    with h5py.File(tmp_path / ".t.h5.partial", "r+") as unfinished:
        del unfinished["embedded/0"]
        unfinished["embedded/0"] = np.full((2, 1), np.nan)  # of a fit that had other dimensions then
    count, columns = embedding.embed(run, items, out, MACHINE)
    assert list(map(len, made[2:])) == [4, 4, 2]
    assert np.array_equal(written(out)[1], np.concatenate(made[2:]))
    assert (count, columns) == written(out)[1].shape


def test_pictures_of_a_folder_are_found_below_it_by_name(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = embedding.pictures(tmp_path)
    assert found.ids == ("a/c.JPG", "b.png")
    assert found.contents == (tmp_path / "a/c.JPG", tmp_path / "b.png")


@pytest.mark.parametrize(
    ("arguments", "text", "expected"),
    [
        (["--texts", "t.txt"], "a\n\nb", "t.txt: line 2 is empty"),
        (["--texts", "t.txt"], "", "t.txt: line 1 is empty"),
        (["--texts", "none.txt"], "", "none.txt: no such file"),
        (["--images", "t.txt"], "x.png\ny.png", "t.txt: 2 of 2 files are not there, the first is x.png"),
        (["--images", "."], "", ".: no pictures in it"),
        (["--images", "t.txt"], "t.txt", "t.txt: not a picture that can be decoded"),
        (["--images", "t.PNG"], "", "t.PNG: a picture; name its folder, or a list with a path a line"),
        (["--texts", "t.txt", "--out", "t.npy"], "a", "t.npy: embeddings are written as HDF5; name the file t.h5"),
        ([], "", "give either --texts or --images"),
    ],
)
def test_a_mistake_is_one_line(here, arguments, text, expected, tmp_path, monkeypatch, capsys):
    folder = Path(folder_of(here, "cca")).absolute()
    (tmp_path / "config.yaml").write_text(f"cache: {Path('cache').absolute()}\n")
    monkeypatch.chdir(tmp_path)
    Path("t.txt").write_text(text)
    with pytest.raises(SystemExit) as caught:
        cli.main(["embed", str(folder), *([] if "--out" in arguments else ["--out", "out.h5"]), *arguments])
    assert caught.value.code == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert expected in error
    assert not Path("out.h5").exists()


def test_a_changed_picture_is_embedded_anew(here, tmp_path, monkeypatch):
    """Unfinished work counts by what files hold, not by their names."""
    run = find(Path(folder_of(here, "cca")))
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(Path(name).read_bytes())
    monkeypatch.setitem(extraction.CHUNK, "cpu", 1)
    (tmp_path / "1.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"1\.png"):
        embedding.embed(run, embedding.pictures(tmp_path), tmp_path / "e.h5", MACHINE)
    (tmp_path / "0.png").write_bytes(Path("2.png").read_bytes())
    (tmp_path / "1.png").write_bytes(Path("1.png").read_bytes())
    embedding.embed(run, embedding.pictures(tmp_path), tmp_path / "e.h5", MACHINE)
    embedding.embed(run, embedding.pictures(tmp_path), tmp_path / "fresh.h5", MACHINE)
    assert np.array_equal(written(tmp_path / "e.h5")[1], written(tmp_path / "fresh.h5")[1])


def test_a_finished_run_from_python_is_the_command(here, tmp_path):
    import cmr

    run = cmr.load(folder_of(here, "cca"))
    (tmp_path / "t.txt").write_text("a green leaf\nthe blue sea")
    cli.main(["embed", folder_of(here, "cca"), "--texts", str(tmp_path / "t.txt"), "--out", str(tmp_path / "t.h5")])
    found = run.embed("text", ["a green leaf", "the blue sea"])
    np.testing.assert_allclose(found, written(tmp_path / "t.h5")[1], atol=1e-6)
    (answer,) = run.search(text="a green leaf", k=3)
    assert [hit.rank for hit in answer.hits] == [1, 2, 3]
    for query in ({}, {"text": "a green leaf", "image": "0.png"}):
        with pytest.raises(cmr.UserError, match="give either text= or image="):
            run.search(**query)
    with pytest.raises(cmr.UserError, match="the run has no audio; it has image, text"):
        run.extract("audio", ["a.wav"])


@pytest.mark.parametrize("form", ["npz", "npy", "mat", "csv"])
def test_embeddings_in_other_forms(here, form, tmp_path, capsys):
    from scipy.io import loadmat

    folder = folder_of(here, "cca")
    out = tmp_path / f"e.{form}"
    cli.main(["export", folder, "--to", form, "--out", str(out)])
    assert capsys.readouterr().out.split() == [str(out)]
    items = Items.read(paths.ITEMS.format(data=next(iter(here.datasets))))
    for modality in ("image", "text"):
        ids, expected = stored(folder, modality)
        labels = [items.table.set_index("id")["labels"][item] for item in ids]
        if form == "csv":
            table = pd.read_csv(out / f"{modality}.csv", dtype={"id": str})
            assert list(table["id"]) == list(ids)
            assert [text.split(";") for text in table["labels"]] == list(map(list, labels))
            np.testing.assert_array_equal(table.iloc[:, 2:].to_numpy(np.float32), expected)
            continue
        if form == "npy":
            found = {name: np.load(out / f"{name}.npy") for name in (f"embeddings_{modality}", f"ids_{modality}", f"labels_{modality}", "classes")}  # fmt: skip
        else:
            found = dict(np.load(out)) if form == "npz" else loadmat(out, squeeze_me=True, chars_as_strings=True)
        assert np.array_equal(found[f"embeddings_{modality}"], expected)
        assert list(map(str, found[f"ids_{modality}"])) == list(ids)
        other = "text" if modality == "image" else "image"
        name = f"owner_{modality}_in_{other}"
        owner = np.load(out / f"{name}.npy") if form == "npy" else found[name]
        assert list(stored(folder, other)[0][owner]) == list(ids)
        classes = list(map(str, found["classes"]))
        assert [[classes[c] for c in np.flatnonzero(row)] for row in found[f"labels_{modality}"]] == list(
            map(list, labels)
        )


def test_several_captions_an_image_are_exported_with_their_owner(tmp_path):
    """`cmr metrics --owner` takes it, and finds the recall that the workflow finds."""
    rng, n = np.random.default_rng(0), 12
    ids = np.array([f"{row:02}" for row in range(n)])
    groups = np.array([f"g{row % 4}" for row in rng.permutation(n)])
    _, first = np.unique(groups, return_index=True)
    table = pd.DataFrame({"id": ids, "text": "t", "image": None, "labels": [()] * n, "group": groups})
    table.loc[first, "image"] = "i.png"
    rows = {"image": Rows(ids[first], rng.normal(size=(4, 3)).astype(np.float32), {})}
    rows["text"] = Rows(ids, rng.normal(size=(n, 3)).astype(np.float32), {})
    export.FORMS["npy"].write(tmp_path / "e", rows, Items(table, {"image": "image", "text": "text"}))
    assert not (tmp_path / "e" / "owner_image_in_text.npy").exists()  # an image has several
    owner = tmp_path / "e" / "owner_text_in_image.npy"
    assert list(groups[first][np.load(owner)]) == list(groups)
    found = recall_of_files(*(tmp_path / "e" / f"embeddings_{m}.npy" for m in rows), owner)
    views = [View(m.ids, m.values, None, groups[np.searchsorted(ids, m.ids)]) for m in rows.values()]
    recall = evaluation.ConfiguredMetric.from_entry({"id": "r", "metric": "recall_at_k", "params": {"k": 1}})
    for (query, gallery), name in zip((views, views[::-1]), ("a_to_b", "b_to_a"), strict=True):
        score = evaluation.scorer(query.features, gallery.features)
        done = evaluation.evaluate_task(score, query, gallery, [recall], [])
        assert found["recall@1"][name] == pytest.approx(done.task["metrics"]["r"]["value"])


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_no_form_is_exported_under_the_name_of_another(here, form, tmp_path):
    with pytest.raises(UserError, match=rf"e\.csv: --to {form} does not write \.csv; name it e"):
        export.export(find(folder_of(here, "cca")), form, tmp_path / "e.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["npz", "mat"])
def test_a_file_is_named_as_its_form_and_replaces_none(here, form, tmp_path):
    run, place = find(folder_of(here, "cca")), tmp_path / f"e.{form}"
    with pytest.raises(UserError, match=rf"e: --to {form} writes a file; name it e\.{form}$"):
        export.export(run, form, tmp_path / "e")
    place.write_text("mine")
    with pytest.raises(UserError, match=rf"e\.{form}: stands there already, .*; name a new file$"):
        export.export(run, form, place)
    (tmp_path / "e.h5").write_text("mine")
    with pytest.raises(UserError, match=r"e\.h5: stands there already, .*; name a new file$"):
        embedding.embed(run, embedding.NewItems("text", ("a",), ("a text",)), tmp_path / "e.h5", MACHINE)
    assert {file.read_text() for file in tmp_path.iterdir()} == {"mine"}


def test_each_pair_is_exported_apart(here, tmp_path):
    cli.main(["export", folder_of(here, "mdcr", 3), "--to", "npz", "--out", str(tmp_path / "e")])
    assert len(list((tmp_path / "e").glob("*.npz"))) == 3
