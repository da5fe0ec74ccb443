"""`cmr metrics`: labels are read as data sets read them, and what a figure rests on is said with it."""

import json
from itertools import pairwise, permutations
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

import literal
from cmr.cli import main
from cmr.errors import UserError
from cmr.measure import metrics_of_files, recall_of_files

N = 30
NAMES = [("cat", "dog", "caf\u00e9")[row % 3] for row in range(N)]


@pytest.fixture
def files(tmp_path) -> Path:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 6))
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", centres[np.arange(N) % 3] + 2 * generator.normal(size=(N, 6)))
    np.save(tmp_path / "y.npy", np.arange(N) % 3)
    return tmp_path


def measured(folder: Path, labels: str = "y.npy", a: str = "a.npy", b: str = "b.npy") -> dict:
    return metrics_of_files(folder / a, folder / b, folder / labels, at=5)


def lines(*names: str) -> str:
    return "".join(f"{name}\n" for name in names)


FORMS = {
    "with a byte order mark": ("y.csv", "\ufeff" + lines(*NAMES)),
    "CRLF": ("y.csv", lines(*NAMES).replace("\n", "\r\n")),
    "blanks around some": ("y.csv", lines(*(f" {name}  " if row % 4 else name for row, name in enumerate(NAMES)))),
    "blanks in txt": ("y.txt", lines(*(f"{name} " if row % 4 else name for row, name in enumerate(NAMES)))),
    "accents in two forms": ("y.txt", lines(*(name.replace("\u00e9", "e\u0301") if row % 2 else name for row, name in enumerate(NAMES)))),
    "quotation marks": ("y.csv", lines(*(f'"{name}"' for name in NAMES))),
    "floats": ("y.txt", lines(*(f"{row % 3}.0" for row in range(N)))),
    "a header over numbers": ("y.csv", "label\n" + lines(*(str(row % 3) for row in range(N)))),
    "lists": ("y.csv", lines(*(f"\"['{name}']\"" for name in NAMES))),
    "one-hot in text": ("y.csv", lines(*(",".join(map(str, np.eye(3, dtype=int)[row % 3])) for row in range(N)))),
    "a row": ("row.npy", np.arange(N)[None] % 3),
    "a column": ("column.npy", np.arange(N)[:, None] % 3.0),
    "one-hot": ("hot.npy", np.eye(3)[np.arange(N) % 3]),
    "texts": ("texts.npy", np.array(NAMES)),
    "npz": ("y.npz", np.arange(N) % 3),
}  # fmt: skip


def put(file: Path, content) -> None:
    if isinstance(content, str):
        file.write_bytes(content.encode())
    else:
        (np.savez if file.suffix == ".npz" else np.save)(file, content)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_labels_give_the_same_figures_whatever_their_form(files, form):
    name, content = FORMS[form]
    put(files / name, content)
    assert measured(files, name) == measured(files)


def test_labels_of_matlab_and_by_key(files):
    cells = np.empty((N, 1), object)
    for row, name in enumerate(NAMES):
        cells[row, 0] = name
    scipy.io.savemat(files / "y.mat", {"y": cells, "other": 1})
    assert metrics_of_files(files / "a.npy", files / "b.npy", f"{files}/y.mat:y", 5) == measured(files)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("y.npy", np.where(np.arange(N) % 3, np.arange(N) % 3, np.nan), "y.npy: 10 of 30 rows have no label, the first is row 0"),
        ("y.npy", np.where(np.arange(N) % 3, np.arange(N) % 3, np.inf), "y.npy: 10 of 30 rows have no label"),
        ("y.npy", np.array(["cat", "", "dog"] * 10), "y.npy: 10 of 30 rows have no label, the first is row 1"),
        ("y.npy", np.array(["cat", "nan", "dog"] * 10), "y.npy: 10 of 30 rows have no label"),
        ("y.csv", lines(*["cat", "", "dog"] * 10), "y.csv: 10 of 30 rows have no label"),
        ("y.csv", lines(*["cat;dog", "dog", "cat"] * 10), "y.csv: 10 of 30 labels hold ';', such as 'cat;dog'; give --separator ';' if they are several labels"),
        ("y.npy", np.arange(N) % 3 - 1, "y.npy: 10 labels are '-1', which may be a class or stand for no label; give --no-label -1 if it stands"),
        ("y.npy", np.zeros(N), "y.npy: one class alone, so every result is relevant"),
        ("y.npy", np.zeros((N, 3)), "y.npy: one class alone"),
        ("y.npy", np.arange(N) % 3 + 2.0**53, "beyond 2^53"),
        ("y.csv", lines("label", *NAMES), "y.csv has 31"),
        ("y.npy", np.full((N, 3), 0.5), "expected labels as one column or as a matrix of 0 and 1"),
    ],
)  # fmt: skip
def test_labels_that_are_none_or_have_two_meanings_are_told(files, name, content, problem):
    put(files / name, content)
    with pytest.raises(UserError) as told:
        measured(files, name)
    assert problem in str(told.value)
    assert "say " not in str(told.value)  # a command has options


def test_a_header_over_names_is_told_by_the_row_that_is_too_many(files):
    put(files / "y.csv", lines("class", *(("cat", "dog", "pet")[row % 3] for row in range(N))))
    with pytest.raises(
        UserError, match=f"y.csv has {N + 1}; leave out the first line of the labels if it is a header$"
    ):
        measured(files, "y.csv")
    put(files / "y.csv", lines(*(("cat", "dog", "pet")[row % 3] for row in range(N + 2))))
    with pytest.raises(UserError, match=r"row i of each must be the same item$"):
        measured(files, "y.csv")


def test_options_of_the_command_answer_its_questions(files, capsys):
    several = [["cat", "pet"], ["dog"], ["pet"]]
    hot = [[name in several[row % 3] for name in ("cat", "dog", "pet")] for row in range(N)]
    np.save(files / "hot.npy", np.array(hot, int))
    put(files / "y.csv", lines(*(";".join(several[row % 3]) for row in range(N))))
    assert printed(capsys, files, "y.csv", "--separator", ";") == measured(files, "hot.npy")
    put(files / "numbers.csv", lines(*(str(row % 3 - 1) for row in range(N))))
    np.save(files / "hot.npy", np.eye(3)[np.arange(N) % 3] * [0, 1, 1])
    assert printed(capsys, files, "numbers.csv", "--no-label", "-1") == measured(files, "hot.npy")
    assert printed(capsys, files, "numbers.csv", "--no-label") == measured(files)


def printed(capsys, folder: Path, labels: str, *options: str) -> dict:
    main(["metrics", f"{folder}/a.npy", f"{folder}/b.npy", "--at", "5", "--labels", f"{folder}/{labels}", *options])
    return json.loads(capsys.readouterr().out)


def test_rows_without_a_class_are_counted(files):
    labels = np.eye(3)[np.arange(N) % 3]
    labels[:4] = 0
    np.save(files / "hot.npy", labels)
    found = measured(files, "hot.npy")
    assert (found["rows"], found["rows_without_label"], found["queries_without_relevant"]) == (30, 4, 4)
    scores = literal_scores(files)
    precisions = literal.average_precisions(scores, labels @ labels.T > 0)
    assert np.count_nonzero(np.array(precisions) == 0) == 4
    assert found["map@all"]["a_to_b"] == pytest.approx(np.mean(precisions))


def literal_scores(files: Path) -> np.ndarray:
    a, b = np.load(files / "a.npy"), np.load(files / "b.npy")
    return np.array([[x @ y / np.sqrt(x @ x) / np.sqrt(y @ y) for y in b] for x in a])


def test_ties_are_bounded_by_the_worst_and_the_best_order(tmp_path):
    """Against every order of the tied items, one by one."""
    labels = np.array([0, 1, 0, 1, 1])
    a, b = np.eye(5)[:, :3] + 0.1, np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1.0]])
    for name, values in (("a", a), ("b", b), ("y", labels)):
        np.save(tmp_path / f"{name}.npy", values)
    found = measured(tmp_path)
    scores = np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a])
    worst, best = [], []
    for query, row in enumerate(scores):
        values = []
        for order in permutations(range(5)):
            if all(row[i] >= row[j] - 1e-9 for i, j in pairwise(order)):
                hits = np.array([labels[i] == labels[query] for i in order])
                values.append(np.mean([hits[: r + 1].mean() for r in np.flatnonzero(hits)]))
        worst.append(min(values))
        best.append(max(values))
    assert np.mean(worst) < np.mean(best)
    assert found["pessimistic"]["map@all"]["a_to_b"] == pytest.approx(np.mean(worst))
    assert found["optimistic"]["map@all"]["a_to_b"] == pytest.approx(np.mean(best))
    assert np.mean(worst) <= found["map@all"]["a_to_b"] <= np.mean(best)


def test_without_ties_no_bounds_are_printed(files, capsys):
    main(["metrics", *(str(files / name) for name in ("a.npy", "b.npy")), "--labels", str(files / "y.npy")])
    assert set(json.loads(capsys.readouterr().out)) == {
        "map@all", "map@50", "rows", "rows_without_label", "queries_without_relevant",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scale", "kind"), [(1e160, "f8"), (1e-170, "f8"), (1e-23, "f4"), (1e-30, "f4"), (1e20, "f4"), (1e30, "f4")]
)
def test_the_scale_of_embeddings_does_not_count(files, scale, kind):
    a = np.load(files / "a.npy").astype("f4")
    scaled = (a.astype("f8") * scale).astype(kind)
    scaled[0] *= 4  # each row for itself
    np.save(files / "c.npy", scaled)
    np.save(files / "a.npy", a)
    assert measured(files, a="c.npy")["map@all"]["average"] == pytest.approx(
        measured(files)["map@all"]["average"], abs=1e-4
    )


def test_embeddings_that_say_nothing_are_told(files, caplog):
    np.save(files / "none.npy", np.zeros((N, 0)))
    with pytest.raises(UserError, match=r"none\.npy: expected a matrix of numbers"):
        measured(files, a="none.npy")
    a = np.load(files / "a.npy")
    a[:3] = 0
    np.save(files / "zeros.npy", a)
    measured(files, a="zeros.npy")
    assert "zeros.npy: 3 of 30 rows are zero, and score 0 against every other" in caplog.text


def test_classes_that_differ_in_case_alone_are_told(files, caplog):
    put(files / "y.txt", lines(*["Cat", "cat", "dog"] * 10))
    measured(files, "y.txt")
    assert "the classes 'Cat' (10), 'cat' (10) differ in case alone" in caplog.text


def test_embeddings_written_here_are_read_with_their_ids(files):
    for name in ("a", "b"):
        with h5py.File(files / f"{name}.h5", "w") as file:
            file["embeddings"] = np.load(files / f"{name}.npy")
            file["ids"] = [str(row) for row in range(N)]
    assert measured(files, a="a.h5", b="b.h5") == measured(files)


def test_labels_of_other_items_by_their_ids_are_refused(files):
    ids = [f"i{row}" for row in range(N)]
    for name, own in (("a", ids), ("y", ids[1:] + ids[:1])):
        with h5py.File(files / f"{name}.h5", "w") as file:
            file["x"] = np.load(files / "a.npy") if name == "a" else np.arange(N) % 3
            file["ids"] = own
    with pytest.raises(UserError, match=r"a\.h5 and .*y\.h5 hold different items: row 0 is 'i0' and 'i1'"):
        measured(files, "y.h5", a="a.h5")


def test_remedies_are_the_commands_own(files):
    np.save(files / "owner.npy", np.arange(1, N + 1))
    with pytest.raises(UserError, match="row 30 does not exist; rows count from 0; if these start at 1, subtract 1"):
        recall_of_files(files / "a.npy", files / "b.npy", files / "owner.npy")
    np.save(files / "owner.npy", np.arange(N) - 1)
    with pytest.raises(UserError, match=r"row -1 does not exist; rows count from 0$"):
        recall_of_files(files / "a.npy", files / "b.npy", files / "owner.npy")
    np.save(files / "objects.npy", np.array([{}] * N, object), allow_pickle=True)
    for measured in (metrics_of_files, recall_of_files):
        with pytest.raises(UserError, match=r"objects\.npy: holds Python objects.*; save arrays of numbers") as told:
            measured(files / "objects.npy", files / "b.npy", files / "y.npy")
        assert "trust:" not in str(told.value)
