"""Figures of the page by the numbers that they have in the papers."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cmr import config, registry
from cmr.reporting import figures, printed_figures
from cmr.reporting.collect import load
from cmr.reporting.printed_figures import FIGURES, Printed, labelled
from cmr.reporting.protocols import protocols
from reporting_tree import write_experiment, write_items, write_run

EXPERIMENTS = Path(__file__).parents[2] / "resources/experiments"
PLACE = ("openmoji", "default")


@pytest.mark.parametrize("printed", FIGURES, ids=lambda p: f"{p.paper} {p.number} {p.of} {p.place[0]}")
def test_the_papers_file_makes_the_figure_on_that_data_set(printed: Printed) -> None:
    file = config.load(EXPERIMENTS / f"{printed.paper}.yaml")
    number = re.match(r"Fig\. \d+", printed.number)
    assert number is not None
    made = [
        (entry.dataset, split)
        for experiment in file.experiments
        if number[0] in experiment.makes
        for entry, split in map(file.data, experiment.data)
    ]
    assert printed.place in made
    assert printed.place[1] in registry.info("datasets", printed.place[0]).splits


def test_numbers_stand_in_titles_and_the_papers_words_in_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        printed_figures,
        "FIGURES",
        [
            Printed("dla_cmr", "Fig. 4e", PLACE, "per_class", "the worst on lines", "average"),
            Printed("dla_cmr", "Fig. 7", PLACE, "convergence", "it falls", own=True),
            Printed("smcr", "Fig. 2a", PLACE, "per_class", "not of this report", "average"),
            Printed("dla_cmr", "Fig. 5", ("wikipedia", "2173_693"), "per_class", "on other data"),
        ],
    )
    items = write_items(tmp_path, "shapes", 48)
    runs = [write_run(tmp_path, items, "shapes", "lite0+bert", method, 0) for method in ("dla", "cca")]
    write_experiment(tmp_path, "main-a", runs)
    collection = load(tmp_path)
    (protocol,) = protocols(collection)
    drawn = list(figures.of_protocol(protocol, collection.united_rows()))
    changed = {
        (new.name.partition("--")[0], new.method): (new.title.removeprefix(old.title), new.note.removeprefix(old.note))
        for old, new in zip(drawn, labelled(protocol, drawn), strict=True)
        if new != old
    }
    assert changed == {
        ("per_class", ""): (" (DLA-CMR Fig. 4e)", "Fig. 4e in print: the worst on lines."),
        ("convergence", "dla"): (" (DLA-CMR Fig. 7)", "Fig. 7 in print: it falls."),
    }
    noted = replace(next(f for f in drawn if (f.section, f.method) == ("convergence", "dla")), note="A note; of two")
    (again,) = labelled(protocol, [noted])
    assert again.note == "A note; of two. Fig. 7 in print: it falls."


def test_grids_are_the_papers_where_its_method_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = [Printed("dla_cmr", f"Fig. 2{letter}", PLACE, "grid", "", ending, own=True) for letter, ending in ENDINGS]
    monkeypatch.setattr(printed_figures, "FIGURES", grid)
    items = write_items(tmp_path, "shapes", 48)
    swept = [("dla", {"margin": m}) for m in (0.1, 1.0, 10.0)] + [
        ("cca", {"regularisation": r}) for r in (1.0, 2.0, 3.0)
    ]
    runs = [write_run(tmp_path, items, "shapes", "lite0+bert", method, 0, params) for method, params in swept]
    write_experiment(tmp_path, "main-a", runs)
    collection = load(tmp_path)
    (protocol,) = protocols(collection)
    found = labelled(protocol, figures.grids(protocol, collection.united_rows()))
    numbers = {figure.name.partition("bert--")[2]: figure.title.partition(" (")[2] for figure in found}
    assert numbers == {
        "dla": "DLA-CMR Fig. 2c)",
        "dla--image-to-text": "DLA-CMR Fig. 2b)",
        "dla--text-to-image": "DLA-CMR Fig. 2a)",
        "cca": "",
        "cca--image-to-text": "",
        "cca--text-to-image": "",
    }


ENDINGS = (("a", "text-to-image"), ("b", "image-to-text"), ("c", printed_figures.AVERAGE_GRID))


def test_a_note_names_the_paper_s_features_where_it_has_several():
    place = ("wikipedia", "2173_693")
    assert Printed("dla_cmr", "Fig. 3", place, "grid", "", on="a CNN").note == "Fig. 3 in print, on a CNN."
    assert (
        Printed("dla_cmr", "Fig. 5", place, "grid", "it leads", on="SIFT").note == "Fig. 5 in print, on SIFT: it leads."
    )
    assert Printed("dla_cmr", "Fig. 2", place, "grid", "").note == ""
