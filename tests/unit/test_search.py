"""One new query in a finished run: scores as the stored embeddings', whatever the method, and one line for a mistake."""

import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from PIL import Image

import cmr
from cmr import cli, code, create, new_items, paths, registry, search_index, store
from cmr.data import Items, Split
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.search import find, search
from toy_plan import Project

CLASSES = {"red": "apple <b>cherry</b>", "green": "leaf grass", "blue": "sea sky"}
DLA = {
    "id": "dla",
    "method": "dla_cmr",
    "dictionary": "small",
    "tune": {"dictionary.atoms": [[3, 4], [6, 7]]},  # so that coefficients of another dictionary do not fit
    "params": {"first_layers": [8, 4], "second_layers": [4], "epochs": 2, "batch_size": 16},
}
CONFIG = {
    "datasets": [
        {
            "id": "mine",
            "dataset": "table",
            "params": {"file": "my.csv", "image": "picture", "text": "caption", "audio": "sound"},
        }
    ],
    "features": [
        {"id": "sift", "extractor": "sift_bovw", "params": {"words": 4}},
        {"id": "lite0", "extractor": "efficientnet_lite0"},
        {"id": "tfidf", "extractor": "bow", "params": {"weighting": "tfidf"}},
        {"id": "mfcc", "extractor": "mfcc"},
    ],
    "dictionaries": [{"id": "small", "dictionary": "coupled", "params": {"iterations": 2}}],
    "metrics": ["mean_average_precision"],
    "experiments": [
        {
            "id": "main",
            "data": ["mine"],
            "inputs": [["lite0", "tfidf"]],
            "methods": ["ridge_label", "cca", "mdcr", DLA],
        },
        {
            "id": "three",
            "data": ["mine"],
            "inputs": [["sift", "tfidf", "mfcc"]],
            "methods": ["ridge_label", "mdcr", "mcca"],
        },
    ],
}
MACHINE = Machine(cache="cache", device="cpu")


def write_data(root, n=30):
    rng = np.random.default_rng(0)
    colours = np.eye(3)[np.arange(n) % 3] * 150
    rows = []
    for row, (name, words) in zip(range(n), list(CLASSES.items()) * (n // 3), strict=True):
        coarse = np.clip(colours[row] + rng.integers(0, 100, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.NEAREST).save(root / f"{row}.png")
        time = np.arange(4000) / 8000
        soundfile.write(
            root / f"{row}.wav", np.sin(time * 1000 * (1 + row % 3)) + 0.1 * rng.normal(size=len(time)), 8000
        )
        caption = f"{words} {' '.join(rng.choice(['old', 'new', 'small', 'large'], 2))} number{row}"
        rows.append({"picture": f"{row}.png", "sound": f"{row}.wav", "caption": caption, "label": name})
    pd.DataFrame(rows).to_csv(root / "my.csv", index=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The folder of a project with every run of `CONFIG`, and its plan."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_data(root)
        Path("config.yaml").write_text(yaml.safe_dump(CONFIG | {"cache": "cache", "device": "cpu"}))
        made = Project(root, CONFIG)
        for run in made.results("evaluate"):
            made.make(run)
        yield root, made.plan


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project[0])
    return project


def folder_of(plan, method, inputs=2):
    (run,) = (run for run in plan.runs if run.method.startswith(method) and len(run.inputs) == inputs)
    return run.folder


def literal_scores(folder, query, gallery, row):
    """id → score of the gallery's stored embeddings for a stored query embedding, by the fit that has both."""
    run = find(folder)
    number = next((n for n, fit in enumerate(run.fits) if {query, gallery} <= set(fit["modalities"])), None)
    if number is None:
        number = next(n for n, fit in enumerate(run.fits) if query in fit["modalities"])
    method, _ = create.fitted_method(run.fit_folders[number], MACHINE)
    space = run.file("embeddings")
    if not (space / f"{query}.h5").exists():
        space = space / run.fit_folders[number].parents[1].name
    stored = {m: store.read_matrix(space / f"{m}.h5", "embeddings") for m in (query, gallery)}
    q, g = stored[query].values[row], stored[gallery].values
    if type(method).similarity is registry.load("methods", "cca").similarity:  # the default: cosine
        scores = [float(q @ other / np.linalg.norm(q) / np.linalg.norm(other)) for other in g]
    else:
        scores = method.similarity(query, q[None], gallery, g)[0]
    return stored[query].ids[row], dict(zip(stored[gallery].ids, scores, strict=True))


@pytest.mark.parametrize(
    ("method", "inputs"),
    [("ridge_label", 2), ("cca", 2), ("mdcr", 2), ("dla", 2), ("ridge_label", 3), ("mdcr", 3), ("mcca", 3)],
)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_items_own_content_scores_as_its_stored_embedding(here, method, inputs, modality):
    _, plan = here
    folder = folder_of(plan, method, inputs)
    items = Items.read(paths.ITEMS.format(data=next(iter(plan.datasets)))).table.set_index("id")
    for row in (0, 3):
        item, _ = literal_scores(folder, modality, "text" if modality == "image" else "image", row)
        content = items.at[item, modality]
        query = content if modality == "text" else Path(content)
        answers = search(find(folder), modality, query, 10, MACHINE)
        assert len(answers) == inputs - 1
        for answer in answers:
            _, expected = literal_scores(folder, modality, answer.modality, row)
            assert answer.size == len(expected) == len(answer.hits)
            for hit in answer.hits:
                assert hit.score == pytest.approx(expected[hit.id], abs=1e-4)
                assert hit.content == items.at[hit.id, answer.modality]
                assert list(hit.labels) == list(items.at[hit.id, "labels"])
            scores = [hit.score for hit in answer.hits]
            assert scores == sorted(scores, reverse=True)
            assert [hit.rank for hit in answer.hits] == list(range(1, len(scores) + 1))


def test_the_gallery_is_the_test_items_and_k_cuts_it(here):
    _, plan = here
    folder = folder_of(plan, "cca")
    (answer,) = search(find(folder), "text", "a green leaf", 3, MACHINE)
    test = Split.read(paths.SPLIT.format(data=next(iter(plan.datasets)), split="default")).ids("test")
    assert answer.size == len(test)
    assert len(answer.hits) == 3
    assert {hit.id for hit in answer.hits} <= set(test)


def run(capsys, *arguments):
    cli.main(["search", *map(str, arguments)])
    return capsys.readouterr()


def test_the_command_prints_a_line_an_item_and_writes_a_page(here, capsys):
    _, plan = here
    printed = run(capsys, folder_of(plan, "cca"), "--text", "blue <sea>", "-k", 2, "--html", "found.html").out
    assert re.search(r"^1 +-?\d\.\d{4} +\d+ +\w+ +\d+\.png$", printed, re.MULTILINE)
    assert len(re.findall(r"\.png", printed)) == 2
    page = Path("found.html").read_text()
    assert page.count("data:image/webp;base64,") == 2
    assert "blue &lt;sea&gt;" in page
    assert "://" not in page
    query = (folder_of(plan, "cca"), "--image", "1.png", "-k", 10, "--html")
    with pytest.raises(SystemExit):
        run(capsys, *query, "found.html")
    assert "found.html: stands there already" in capsys.readouterr().err
    assert Path("found.html").read_text() == page
    run(capsys, *query, "other.html")
    page = Path("other.html").read_text()
    assert page.count("data:image/webp;base64,") == 1  # the query
    assert "&lt;b&gt;cherry" in page


def test_a_query_that_tells_nothing_apart_is_said(here, monkeypatch, caplog):
    _, plan = here
    search(find(folder_of(plan, "cca")), "text", "sea", 3, MACHINE)
    assert caplog.text == ""
    monkeypatch.setattr(registry.load("methods", "cca"), "similarity", lambda self, q, a, g, b: a[:, :1] * 0 @ b.T[:1])
    search(find(folder_of(plan, "cca")), "text", "words never seen", 3, MACHINE)
    assert "every image scores the same: the features of the query tell nothing apart" in caplog.text


def test_a_query_without_a_known_word_is_said(here, caplog):
    _, plan = here
    search(find(folder_of(plan, "cca")), "text", "words never seen", 3, MACHINE)
    assert "the query: 1 of 1 texts have no word that was learned" in caplog.text


def test_other_code_than_the_runs_is_said(here, monkeypatch, caplog):
    _, plan = here
    monkeypatch.setattr(code, "of_stage", lambda stage, plugins: f"another {stage}")
    search(find(folder_of(plan, "cca")), "text", "sea", 3, MACHINE)
    assert "the code of bow has changed since the run" in caplog.text
    assert "the code of cca has changed since the run" in caplog.text


def test_other_weights_than_the_runs_are_refused(here, monkeypatch):
    _, plan = here
    monkeypatch.setattr(registry.load("extractors", "efficientnet_lite0"), "fetch", lambda self: {"sha256": "other"})
    with pytest.raises(UserError, match=r"lite0.h5: made with weights of sha256 \w{64}, here are others: other"):
        search(find(folder_of(plan, "cca")), "image", Path("0.png"), 3, MACHINE)


def failing(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        run(capsys, *arguments)
    assert caught.value.code == 1
    answer, error = capsys.readouterr()
    assert answer == ""
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ((), "give either --text or --image"),
        (("--text", "a", "--image", "0.png"), "give either --text or --image"),
        (("--text", "  "), "--text is empty"),
        (("--image", "none.png"), "none.png: no such file"),
        (("--image", "my.csv"), "my.csv: not a picture that can be decoded"),
        (("--text", "a", "-k", "0"), "k: expected a whole number, at least 1, found 0"),
        (
            ("--text", "a", "--html", "x.html", "--config", "away/c.yaml"),
            "--html shows pictures of the data set 'mine': params.file: no such file: away/my.csv; the path is relative "
            "to the configuration file; --config names the configuration that the run was made with",
        ),
    ],
)
def test_a_mistake_in_the_query_is_one_line(here, capsys, query, expected):
    root, plan = here
    (root / "away").mkdir(exist_ok=True)
    (root / "away/c.yaml").write_text("datasets: []\n")
    assert expected in failing(capsys, folder_of(plan, "cca"), *query)
    assert not (root / "x.html").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": "3"}, "k: expected a whole number, at least 1, found '3'"),
        ({"k": 2.5}, "k: expected a whole number, at least 1, found 2.5"),
        ({"text": "  "}, "text: it is empty"),
    ],
)
def test_a_mistake_in_the_query_from_python_is_told(here, wrong, message):
    _, plan = here
    with pytest.raises(UserError, match=message):
        cmr.load(folder_of(plan, "cca")).search(**{"text": "sea"} | wrong)


def test_a_mistake_in_the_run_is_one_line(here, capsys, tmp_path):
    _, plan = here
    folder = Path(folder_of(plan, "cca"))
    ask = ("--text", "sea")
    assert "not a run's folder; expected one such as results/runs/DATA" in failing(capsys, "results", *ask)
    assert "no such run" in failing(capsys, folder.parent / "7", *ask)
    quoted = next(n for n in registry.names("methods") if registry.info("methods", n).implementation == "quoted")
    assert f"{quoted!r} is quoted from papers and has no runs" in failing(
        capsys, folder.parents[1] / quoted / "0", *ask
    )
    aside = tmp_path / "results" / folder.relative_to("results")
    aside.mkdir(parents=True)
    assert "the run is not finished, it has no run.json" in failing(capsys, aside, *ask)


def test_a_run_whose_model_is_gone_or_that_lacks_the_modality_is_told(here, capsys, tmp_path):
    _, plan = here
    folder = Path(folder_of(plan, "cca"))
    (fit,) = find(folder).fit_folders
    fit.rename(tmp_path / "fit")
    try:
        assert "the model of the run is not there" in failing(capsys, folder, "--text", "sea")
    finally:
        (tmp_path / "fit").rename(fit)
    (record,) = folder.glob("run*.json")
    whole = record.read_text()
    try:
        record.write_text(whole.replace('"text"', '"speech"'))
        assert "the run has no text; it has image, speech" in failing(capsys, folder, "--text", "sea")
        record.write_text(whole.replace('"extractor": "bow"', '"extractor": "ready"'))
        assert "'tfidf' are ready features, so those of a new text are not known" in failing(
            capsys, folder, "--text", "sea"
        )
    finally:
        record.write_text(whole)


def test_contents_of_another_kind_cannot_be_embedded(here):
    run = find(folder_of(here[1], "cca"))
    new_items.check_modality(run, "text", {"image": "image", "text": "text"})
    for kind, told in (("audio", "its text holds audio"), ("ready", "its text comes as ready features only")):
        with pytest.raises(UserError, match=f"{told}, so features of a new one cannot be extracted"):
            new_items.check_modality(run, "text", {"image": "image", "text": kind})


def test_an_extractor_that_lacks_what_it_learned_is_told(here, tmp_path):
    shutil.copytree("results", tmp_path / "results")
    run = find(tmp_path / folder_of(here[1], "ridge_label"))
    for file in (tmp_path / "results/features").rglob("*.h5"):
        with h5py.File(file, "r+") as opened:
            opened.pop("state", None)
    with pytest.raises(UserError, match=r"\.h5: it lacks what bow has learned; copy it anew"):
        search(run, "text", "a word", 1, MACHINE)


def index_command(capsys, *arguments):
    cli.main(["index", *map(str, arguments)])
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
@pytest.mark.parametrize(("method", "inputs"), [("cca", 2), ("ridge_label", 3), ("mcca", 3)])
def test_an_index_of_the_test_items_answers_as_they_do(here, capsys, tmp_path, kind, method, inputs):
    if kind != "exact":
        pytest.importorskip("faiss")
    folder = folder_of(here[1], method, inputs)
    printed = index_command(capsys, folder, "--out", tmp_path / "index", "--kind", kind)
    assert len(printed.splitlines()) == inputs
    for modality, query in (("text", "a green leaf"), ("image", Path("2.png"))):
        plain = search(find(folder), modality, query, 100, MACHINE)
        indexed = search(find(folder), modality, query, 100, MACHINE, tmp_path / "index")
        for expected, answer in zip(plain, indexed, strict=True):
            assert answer.place == "the index"
            assert (answer.modality, answer.kind, answer.size) == (expected.modality, expected.kind, expected.size)
            assert [hit.score for hit in answer.hits] == pytest.approx([hit.score for hit in expected.hits], abs=1e-6)
            known = {hit.id: (hit.score, hit.labels, hit.content) for hit in expected.hits}
            for hit in answer.hits:  # scores that differ by rounding alone may stand in another order
                score, *described = known[hit.id]
                assert hit.score == pytest.approx(score, abs=1e-6)
                assert [hit.labels, hit.content] == described


def test_new_items_are_added_to_an_index_and_found_without_a_fit(here, capsys, tmp_path):
    folder = folder_of(here[1], "ridge_label")
    Path(tmp_path / "new.txt").write_text("apple cherry old\nsea sky\n")
    cli.main(["embed", folder, "--texts", str(tmp_path / "new.txt"), "--out", str(tmp_path / "new.h5")])
    index_command(capsys, folder, "--out", tmp_path / "index")
    before = search(find(folder), "image", Path("0.png"), 100, MACHINE, tmp_path / "index")[0]
    added = index_command(capsys, folder, "--embeddings", tmp_path / "new.h5", "--add", tmp_path / "index")
    assert f"{before.size + 2} text items" in added
    (answer,) = search(find(folder), "image", Path("0.png"), 100, MACHINE, tmp_path / "index")
    assert {hit.id for hit in answer.hits} == {hit.id for hit in before.hits} | {"new.txt:1", "new.txt:2"}
    assert next(hit for hit in answer.hits if hit.id == "new.txt:1").labels == ()
    known = {hit.id: hit.score for hit in before.hits}
    assert all(hit.score == pytest.approx(known[hit.id], abs=1e-6) for hit in answer.hits if hit.id in known)
    page = tmp_path / "found.html"
    run(capsys, folder, "--image", "0.png", "--index", tmp_path / "index", "--html", page)
    assert "items of the index" in page.read_text()
    with pytest.raises(UserError, match=r"item 'new\.txt:1' would be in the index twice"):
        search_index.add(find(folder), tmp_path / "index", [tmp_path / "new.h5"], 1)
    index_command(capsys, folder, "--embeddings", tmp_path / "new.h5", "--out", tmp_path / "alone")
    (answer,) = search(find(folder), "image", Path("0.png"), 100, MACHINE, tmp_path / "alone")
    assert answer.size == 2
    with pytest.raises(UserError, match="alone: no index of image"):
        search(find(folder), "text", "sea", 1, MACHINE, tmp_path / "alone")


def test_a_mistake_in_an_index_is_one_line(here, capsys, tmp_path):
    folder, other = folder_of(here[1], "ridge_label"), folder_of(here[1], "cca")
    index_command(capsys, folder, "--out", tmp_path / "index")
    index = tmp_path / "index"
    with pytest.raises(UserError, match="stands there already"):
        search_index.make(find(folder), index, "exact", [], 1)
    with pytest.raises(UserError, match=r"the index of runs/.* in another state; make it anew"):
        search(find(other), "text", "sea", 1, MACHINE, index)
    with pytest.raises(UserError, match="mdcr scores pairs otherwise than by the cosine"):
        search_index.make(find(folder_of(here[1], "mdcr")), tmp_path / "mdcr", "exact", [], 1)
    Path(tmp_path / "new.txt").write_text("sea\n")
    cli.main(["embed", folder, "--texts", str(tmp_path / "new.txt"), "--out", str(tmp_path / "new.h5")])
    with pytest.raises(UserError, match=r"new.h5: not embedded by runs/.* as it is now"):
        search_index.make(find(other), tmp_path / "other", "exact", [tmp_path / "new.h5"], 1)
    with pytest.raises(UserError, match=r"new.txt: truncated or not an HDF5 file; make the file with `cmr embed`"):
        search_index.make(find(other), tmp_path / "other", "exact", [tmp_path / "new.txt"], 1)
    for arguments in (("--add", index), ("--add", index, "--embeddings", "new.h5", "--kind", "hnsw")):
        with pytest.raises(SystemExit):
            index_command(capsys, folder, *arguments)
        assert "--add keeps the kind of its index" in capsys.readouterr().err
    (index / "image" / "index.json").unlink()
    with pytest.raises(UserError, match="image: no index; `python -m cmr index RUN --out FOLDER` makes one"):
        search(find(folder), "text", "sea", 1, MACHINE, index)


def test_the_kinds_of_modalities_are_read_without_the_items(here, tmp_path):
    table = paths.ITEMS.format(data=next(iter(here[1].datasets)))
    assert Items.read_kinds(table) == Items.read(table).kinds
    (tmp_path / "items.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="not a readable items table"):
        Items.read_kinds(tmp_path / "items.parquet")


def test_of_several_measurements_of_a_run_the_newest_is_taken(tmp_path, caplog):
    folder = tmp_path / "results/runs/d/default/a+b/cca/0"
    folder.mkdir(parents=True)
    for age, name in enumerate(["run-bbbbbb.json", "run-ffffff.json", "run.json"]):
        (folder / name).write_text("{}")
        os.utime(folder / name, (0, 100 - age))
    assert find(folder).digest == "bbbbbb"
    assert "measured 3 times; the newest is taken, run-bbbbbb.json" in caplog.text
