"""What jobs warn of: in their records, on the page and below the summary, without paths of the machine."""

import logging

import numpy as np
import pytest

from cmr.cli import main
from cmr.machine import Machine
from cmr.recording import without_folders
from cmr.reporting import collect
from cmr.warned import warnings_of
from toy_plan import Project, experiment, written_features

N = 60
PARTS = ["train", "train", "train", "test"]


@pytest.fixture
def made(tmp_path):
    """A finished project whose labels differ in case, whose pictures have an offset and whose first test text is known."""
    rng = np.random.default_rng(0)
    labels = np.array(["Cat", "cat", "dog"])[np.arange(N) // 4 % 3]
    image, text = rng.normal(size=(N, 5)) + 1e9, rng.normal(size=(N, 4))
    text[3] = text[0]
    data = written_features(tmp_path, {"image": image, "text": text}, labels, [PARTS[row % 4] for row in range(N)])
    project = Project(tmp_path, {**data, **experiment(["image", "text"], "cca")})
    project.make(project.only("collect"))
    return project


def test_warnings_reach_the_records_and_all_who_read_the_figures(made, capsys, monkeypatch):
    warned = {
        "prepare": "labels.npy: the classes 'Cat' (20), 'cat' (20) differ in case alone",
        "split": "1 test items share a picture, a text or a vector with train items",
        "extract": "image: 5 of 5 columns vary by less than 0.0001 of their size, too little for float32; the value of "
        "their first row was subtracted",
    }
    for stage, line in warned.items():
        assert made.record(made.results(stage)[0])["warnings"].count(line) == 1
    assert made.record(made.results("extract")[1])["warnings"] == []
    data, split, image = (made.results(stage)[0].record for stage in ("prepare", "split", "extract"))
    names = [
        data.split("/")[2],
        f"{split.split('/')[2]}, default",
        f"{data.split('/')[2]}, all, {image.split('/')[-1][:-5]}",
    ]
    notes = [f"{name}: {line}" for name, line in zip(names, warned.values(), strict=True)]
    assert set(notes) <= set(collect.load(made.root / "results").notes)
    monkeypatch.chdir(made.root)
    main(["summary"])
    assert set(notes) <= set(capsys.readouterr().err.splitlines())
    main(["report", "results", "--out", "page"])
    assert "(20) differ in case alone" in (made.root / "page/index.html").read_text("utf-8")


def test_only_the_projects_own_warnings_count_each_once():
    with warnings_of() as lines:
        logging.getLogger("cmr.some").warning("%s of %d", "one", 2)
        logging.getLogger("cmr.other").warning("one of 2")
        logging.getLogger("cmr.some").info("no warning")
        logging.getLogger("another").warning("not ours")
    logging.getLogger("cmr.some").warning("too late")
    assert lines == ["one of 2"]


@pytest.mark.parametrize(
    ("base", "line", "expected"),
    [
        (".", "my.csv: x", "my.csv: x"),
        (".", "../my.csv: x", "../my.csv: x"),
        ("my", "my/my.csv: army/of my/x.npy", "my.csv: army/of x.npy"),
        ("/home/me/my", "/home/me/my/my.csv: x", "my.csv: x"),
        ("..", "../my.csv and ../../other.csv", "my.csv and ../other.csv"),
    ],
)
def test_records_name_files_as_the_configuration_does(base, line, expected):
    assert without_folders(line, Machine(cache="/cache", base=base)) == expected
