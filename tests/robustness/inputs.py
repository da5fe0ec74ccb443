"""Files as people bring them, after public bug reports and attacks: what was seen once, and what must be seen now.

`CASES` are tried by test_inputs.py; ``python tests/benchmarks/inputs.py docs/inputs.md`` writes the table of all.
"""

import gzip
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
import torch
from PIL import Image

from cmr import config, registry
from cmr.data import rows_of
from cmr.datasets.precomputed import Params as ReadyParams
from cmr.datasets.precomputed import Precomputed
from cmr.datasets.splitting import with_held_out
from cmr.datasets.table import Params as TableParams
from cmr.datasets.table import Table
from cmr.errors import UserError
from cmr.evaluation import ConfiguredMetric, evaluate_task, mean_average_precisions, scorer
from cmr.measure import metrics_of_files
from cmr.plan import Plan
from cmr.publish import read_json
from cmr.warned import warnings_of
from toy_plan import Project, experiment, written_features

N = 24
READ, WARNED, TOLD = "read", "read, with a warning", "one line"


@dataclass(frozen=True)
class Case:
    """``attempt`` gives what was read, in words; ``shows`` stands in that, in the warnings or in the message."""

    section: str
    tried: str
    before: str
    right: str
    shows: str
    attempt: Callable[[Path], str]

    def outcome(self, folder: Path) -> tuple[str, str]:
        """One of the three outcomes, and what was read, warned of or told, without the folder."""
        with warnings_of() as warned, warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found, kind = self.attempt(folder), READ
            except UserError as error:
                found, kind = str(error), TOLD
        if kind == READ and warned:
            found, kind = "; ".join([found, *warned]), WARNED
        return kind, found.replace(f"{folder}/", "").replace(str(folder), ".")


# What is brought, and how it is read ---------------------------------------------------------------------------------


def repeated(*some: Any) -> list[Any]:
    return [some[row % len(some)] for row in range(N)]


def counted(parts: Sequence[str]) -> str:
    return ", ".join(f"{part or 'none'} {count}" for part, count in sorted(Counter(parts).items()))


def classes(names: Sequence[Sequence[str]]) -> str:
    return f"classes {', '.join(sorted({name for own in names for name in own}))}"


def ready(write: Callable[[Path], None], name: str = "y.npy", **params: Any) -> Callable[[Path], str]:
    """The classes of ready features whose labels ``write`` writes."""

    def attempt(folder: Path) -> str:
        np.save(folder / "x.npy", MATRIX)
        write(folder)
        return classes(
            list(prepared(folder, **{"features": {"image": "x.npy"}, "labels": name, **params}).table["labels"])
        )

    return attempt


def prepared(folder: Path, **params: Any):
    return Precomputed(ReadyParams(**params), folder / "out", folder, folder).prepare()


def labels(array: Any, **params: Any) -> Callable[[Path], str]:
    return ready(lambda folder: np.save(folder / "y.npy", np.asarray(array)), **params)


def features(write: Callable[[Path], None], reference: str, **params: Any) -> Callable[[Path], str]:
    """How many rows of how many columns of ready features were read that ``write`` writes."""

    def attempt(folder: Path) -> str:
        write(folder)
        np.save(folder / "y.npy", np.arange(N) % 3)
        given = {"features": {"image": reference}, "labels": "y.npy", **params}
        made = Precomputed(ReadyParams(**given), folder / "out", folder, folder)
        items, rows = made.prepare(), made.features("image", "")
        return f"{len(items.table)} items, features {rows.values.shape[0]} × {rows.values.shape[1]}"

    return attempt


MATRIX = np.random.default_rng(1).normal(size=(N, 4))


def table(rows: Mapping[str, Any], form: str = "my.csv", **params: Any) -> Callable[[Path], str]:
    """The classes, a text and an id of a table of these columns, which `pandas` writes."""
    frame = pd.DataFrame({"id": [f"i{row}" for row in range(N)], "text": [f"text {row}" for row in range(N)]}).assign(
        **rows
    )

    def write(folder: Path) -> str:
        path = folder / form
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        elif path.suffix == ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")), "utf-8")
        else:
            frame.to_csv(path, index=False)
        return form

    return lambda folder: read_table(folder, write(folder), **params)


def written(text: str | bytes, name: str = "my.csv", **params: Any) -> Callable[[Path], str]:
    """A table as it stands in a file; the pictures 0.png and 1.png are there."""

    def attempt(folder: Path) -> str:
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        for number in range(2):
            Image.new("RGB", (8, 8), (100 * number, 0, 0)).save(folder / f"{number}.png")
        return read_table(folder, name, **params)

    return attempt


def read_table(folder: Path, name: str, **params: Any) -> str:
    given = {"file": name, "id": "id", "text": "text", "label": "label"} | params
    made = Table(TableParams(**given), folder / "out", folder, folder)
    items = made.prepare()
    first = items.table.iloc[0]
    content = first[next(iter(items.kinds))].replace("\n", "\\n")
    found = f"{len(items.table)} items, {classes(list(items.table['labels']))}, the first {first['id']}: {content}"
    return f"{found}, {counted(items.table['part'])}" if "part" in items.table else found


def index(train: Sequence[float], test: Sequence[float], **params: Any) -> Callable[[Path], str]:
    """The parts that index files make."""

    def attempt(folder: Path) -> str:
        np.save(folder / "x.npy", MATRIX)
        np.save(folder / "y.npy", np.arange(N) % 3)
        np.save(folder / "train.npy", train)
        np.save(folder / "test.npy", test)
        given = {"features": {"image": "x.npy"}, "labels": "y.npy", "index": {"train": "train.npy", "test": "test.npy"}}
        made = Precomputed(ReadyParams(**given, **params), folder / "out", folder, folder)
        return counted(made.parts(made.prepare(), "default"))

    return attempt


def metrics(array: Any = None, text: str = "", scale: float = 1.0, kind: type = np.float32) -> Callable[[Path], str]:
    """mAP of `cmr metrics`; the labels are three classes where none are given."""

    def attempt(folder: Path) -> str:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(3, 6))[np.arange(N) % 3]
        for name in "ab":
            values = centres + rng.normal(size=(N, 6))
            np.save(folder / f"{name}.npy", (values.astype(kind) * kind(scale)) if scale else np.zeros((N, 6), kind))
        name = "y.csv" if text else "y.npy"
        if text:
            (folder / name).write_bytes(text.encode())
        else:
            np.save(folder / name, np.arange(N) % 3 if array is None else np.asarray(array))
        found = metrics_of_files(folder / "a.npy", folder / "b.npy", folder / name)
        more = found["rows_without_label"]
        return f"mAP {found['map@all']['average']:.4f}" + (f", {more} rows without label" if more else "")

    return attempt


def shared_labels(count: int, shared: int) -> Callable[[Path], str]:
    """mAP where each item has ``count`` labels and shares ``shared`` with all others."""

    def attempt(folder: Path) -> str:
        rng = np.random.default_rng(0)
        hot = np.zeros((N, shared + 3 * (count - shared)), np.uint8)
        hot[:, :shared] = 1
        for row in range(N):
            start = shared + row % 3 * (count - shared)
            hot[row, start : start + count - shared] = 1
        scores = scorer(rng.normal(size=(N, 4)), rng.normal(size=(N, 4)))
        return f"mAP {mean_average_precisions(scores, hot, hot, (None,))['fixed'][0]:.3f}"

    return attempt


def scaled(scale: float) -> Callable[[Path], str]:
    """mAP by the cosine of float32 embeddings times a factor."""

    def attempt(folder: Path) -> str:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(3, 6))[np.arange(N) % 3]
        a, b = ((centres + rng.normal(size=(N, 6))).astype(np.float32) * np.float32(scale) for _ in "ab")
        return (
            f"mAP {mean_average_precisions(scorer(a, b), np.arange(N) % 3, np.arange(N) % 3, (None,))['fixed'][0]:.4f}"
        )

    return attempt


def configuration(text: str) -> Callable[[Path], str]:
    def attempt(folder: Path) -> str:
        (folder / "config.yaml").write_text(text, "utf-8")
        config.validate(config.read(str(folder / "config.yaml")), f"{folder}/config.yaml")
        return "loaded"

    return attempt


def one_identity(folder: Path) -> str:
    """Whether a default that is written out gives the same results as none."""
    data = written_features(folder, {"image": MATRIX, "text": MATRIX}, np.arange(N) % 3, ["train"] * N)
    entries = ("cca", {"id": "cca", "params": {"components": registry.params_model("methods", "cca")().components}})
    plans = [Plan(config.validate({**data, **experiment(["image", "text"], entry)})) for entry in entries]
    (first, second) = ([(r.record, r.identifying) for r in plan.results() if r.stage == "fit"] for plan in plans)
    return "the same fit" if first == second else "another fit"


def run(values: Mapping[str, np.ndarray], *methods: str) -> Callable[[Path], str]:
    """mAP@all of methods on ready features, the mean of both directions."""

    def attempt(folder: Path) -> str:
        data = written_features(
            folder, values, np.arange(90) % 3, ["train" if row % 9 < 6 else "test" for row in range(90)]
        )
        project = Project(folder, {**data, **experiment([*values], *methods)})
        runs = [project.make(result) for result in project.results("evaluate")]
        figures = [read_json(project.path(made.files[0]))["average"]["map@all"] for made in runs]
        return ", ".join(f"{name} {value:.3f}" for name, value in zip(methods, figures, strict=True))

    return attempt


def pairs(offset: float = 0.0, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {m: rng.normal(size=(3, 5))[np.arange(90) % 3] + rng.normal(size=(90, 5)) for m in ("image", "text")}
    return {m: np.round(rows * 2**12) / 2**12 * scale + offset for m, rows in made.items()}


def split_sizes(strata: Sequence[str], texts: Sequence[str]) -> Callable[[Path], str]:
    def attempt(folder: Path) -> str:
        pd.DataFrame({"text": texts, "label": strata}).to_csv(folder / "my.csv", index=False)
        made = Table(TableParams(file="my.csv", text="text"), folder / "out", folder, folder)
        return counted(made.parts(made.prepare(), "default"))

    return attempt


def sorted_otherwise(folder: Path) -> str:
    frame = pd.DataFrame({"id": [f"i{row:03}" for row in range(60)], "text": [f"t {row}" for row in range(60)]})
    frame["label"] = [f"c{row % 3}" for row in range(60)]
    splits = []
    for name, order in (("a", np.arange(60)), ("b", np.random.default_rng(0).permutation(60))):
        frame.iloc[order].to_csv(folder / f"{name}.csv", index=False)
        made = Table(TableParams(file=f"{name}.csv", id="id", text="text"), folder / "out", folder, folder)
        splits.append(made.split(made.prepare(), "default").table.set_index("id")["part"].sort_index())
    return f"{100 * (splits[0] == splits[1]).mean():.0f} % of the items in the same part"


def held_out(each: int) -> Callable[[Path], str]:
    """The share that is held out of ``each`` training rows of a hundred classes."""

    def attempt(folder: Path) -> str:
        n = 100 * (each + 1)
        pd.DataFrame({"text": [f"t {row}" for row in range(n)], "label": [f"c{row % 100}" for row in range(n)]}).assign(
            part=["train" if row < 100 * each else "test" for row in range(n)]
        ).to_csv(folder / "my.csv", index=False)
        made = Table(TableParams(file="my.csv", text="text", split="part"), folder / "out", folder, folder)
        items = made.prepare()
        split = with_held_out(items, made.parts(items, ""))
        return f"held out {len(split.held_out) / len(split.ids('train')):.0%}"

    return attempt


def split_by_hand(folder: Path) -> str:
    """All training items stand a second time in the split, as test items."""
    data = written_features(
        folder, pairs(), np.arange(90) % 3, ["train" if row % 9 < 6 else "test" for row in range(90)]
    )
    project = Project(folder, {**data, **experiment(["image", "text"], "ridge_label")})
    split = project.make(project.only("split"))
    path = project.path(split.files[0])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines + [line.replace("train", "test") for line in lines if "train" in line]) + "\n")
    with chdir(folder):
        project.make(project.only("evaluate"))
    return "evaluated"


def mat73(folder: Path, **arrays: Any) -> None:
    """As MATLAB's ``save -v7.3`` writes: HDF5 with dimensions reversed; texts as numbers; cells as references."""
    with h5py.File(folder / "d.mat", "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if isinstance(array, list):
                for i, cell in enumerate(array):
                    made = file.create_dataset(f"#refs#/{name}{i}", data=np.array([[ord(c)] for c in cell], np.uint16))
                    made.attrs["MATLAB_class"] = np.bytes_("char")
                references = [file[f"#refs#/{name}{i}"].ref for i in range(len(array))]
                file.create_dataset(name, data=np.array([references], h5py.ref_dtype), dtype=h5py.ref_dtype)
                file[name].attrs["MATLAB_class"] = np.bytes_("cell")
            elif isinstance(array, dict):
                for field, value in array.items():
                    file.create_dataset(f"{name}/{field}", data=value.T)
                file[name].attrs["MATLAB_class"] = np.bytes_("struct")
            elif scipy.sparse.issparse(array):
                columns = scipy.sparse.csc_array(array)
                for key, value in (("data", columns.data), ("ir", columns.indices), ("jc", columns.indptr)):
                    file.create_dataset(f"{name}/{key}", data=value)
                file[name].attrs["MATLAB_sparse"] = np.uint64(columns.shape[0])
            else:
                file.create_dataset(name, data=array.T)
    with open(folder / "d.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")


def cells(*values: Any) -> np.ndarray:
    made = np.empty((len(values), 1), object)
    made[:, 0] = values
    return made


def with_ids(folder: Path) -> None:
    """Two modalities whose rows stand in different orders, and labels beside the first."""
    order = np.random.default_rng(0).permutation(N)
    for name, rows in (("a", np.arange(N)), ("b", order)):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["features"], file["ids"] = MATRIX[rows], [f"i{row}" for row in rows]
            file["y"] = rows % 3


def ids_in_other_orders(folder: Path) -> str:
    with_ids(folder)
    given = {"features": {"image": "a.h5:features", "text": "b.h5:features"}, "labels": "a.h5:y"}
    made = Precomputed(ReadyParams(**given), folder / "out", folder, folder)
    made.prepare()
    return f"rows of a pair are equal: {np.array_equal(made.features('image', '').values, made.features('text', '').values)}"


def repeated_rows(folder: Path) -> str:
    np.save(folder / "x.npy", np.repeat(np.random.default_rng(0).normal(size=(60, 4)), 5, axis=0))
    np.save(folder / "y.npy", np.repeat(np.arange(60) % 3, 5))
    made = Precomputed(ReadyParams(features={"image": "x.npy"}, labels="y.npy"), folder / "out", folder, folder)
    parts = made.parts(made.prepare(), "").reshape(60, 5)
    return f"{sum(len(set(own)) > 1 for own in parts)} of 60 pictures in several parts"


def captions(**params: Any) -> Callable[[Path], str]:
    """Recall@1 of perfect embeddings of 30 pictures with five captions each, both ways."""

    def attempt(folder: Path) -> str:
        pictures, owner = np.random.default_rng(0).normal(size=(30, 8)), np.repeat(np.arange(30), 5)
        files = {"pictures": pictures, "beside": pictures[owner], "captions": pictures[owner], "owner": owner}
        for name, values in files.items():
            np.save(folder / f"{name}.npy", values)
        items = prepared(folder, **params)
        made = Precomputed(ReadyParams(**params), folder / "out", folder, folder)
        views = [
            rows_of(made.features(m, ""), set(items.table["id"][items.table[m].notna()]), items) for m in items.kinds
        ]
        metric = ConfiguredMetric.from_entry({"id": "r", "metric": "recall_at_k", "params": {"k": 1}})
        found = [
            evaluate_task(scorer(a.features, b.features), a, b, [metric], []).task["metrics"]["r"]["value"]
            for a, b in (views, views[::-1])
        ]
        return f"recall@1 {found[0]:.3f} and {found[1]:.3f}"

    return attempt


BESIDE = {"features": {"image": "beside.npy", "text": "captions.npy"}}
APART = {"features": {"image": "pictures.npy", "text": "captions.npy"}}


def placeholders(folder: Path) -> str:
    for row in range(N):
        Image.new("RGB", (8, 8), (0, 0, 0) if row % 2 else (10 * row, 0, 0)).save(folder / f"{row}.png")
    frame = pd.DataFrame({"image": [f"{row}.png" for row in range(N)], "label": [f"c{row % 3}" for row in range(N)]})
    frame.to_csv(folder / "my.csv", index=False)
    params = {"file": "my.csv", "image": "image"}
    project = Project(folder, {
        "datasets": [{"id": "made", "dataset": "table", "params": params}],
        "features": [{"id": "sift", "extractor": "sift_bovw"}],
        **experiment(["sift"], "random"),
    })  # fmt: skip
    split = pd.read_csv(project.path(project.make(project.only("split")).files[0]), dtype=str)
    same = split[split["id"].astype(int) % 2 == 0]["part"]  # ids count rows of the file, from 2
    other = split[split["id"].astype(int) % 2 == 1]["part"]
    return f"equal pictures are in {min(same.nunique(), other.nunique())} part"


def no_test_text(folder: Path) -> str:
    """What the split says of a table whose test rows have no text."""
    for row in range(N):
        Image.new("RGB", (8, 8), (10 * row, 0, 0)).save(folder / f"{row}.png")
    parts = ["train" if row < 16 else "test" for row in range(N)]
    frame = pd.DataFrame({"image": [f"{row}.png" for row in range(N)], "label": repeated("a", "b"), "part": parts})
    frame.assign(text=[f"t {row}" if row < 16 else "" for row in range(N)]).to_csv(folder / "my.csv", index=False)
    params = {"file": "my.csv", "image": "image", "text": "text", "split": "part", "unpaired": True}
    project = Project(folder, {
        "datasets": [{"id": "made", "dataset": "table", "params": params}],
        "features": [{"id": "sift", "extractor": "sift_bovw"}],
        **experiment(["sift"], "random"),
    })  # fmt: skip
    return counted(pd.read_csv(project.path(project.make(project.only("split")).files[0]))["part"])


LABELS = "Labels of ready features"
TABLES = "Tables"
SPLITS = "Splits"
METRICS = "Metrics"
COMMAND = "`cmr metrics`"
NAMES = "Names and ids"
CONFIGURATIONS = "Configurations"
FEATURES = "Ready features and arithmetic"
REPORTS = "After public bug reports"

SOME_RUN = """
features:
- {id: x, extractor: ready, modality: image}
experiments:
- {id: a, data: [a], inputs: [[x]], methods: [random]}
"""
A_CSV = "id,text,label\n" + "".join(f"i{row},text {row},c{row % 3}\n" for row in range(N))
PICTURES = "image,text,label\n" + "".join(f"{row % 2}.png,text {row},c{row % 3}\n" for row in range(N))


def nullable(kind: str, *some: Any) -> Any:
    return pd.array(repeated(*some), dtype=kind)


CASES = [
    Case(LABELS, "-1 for unlabelled rows", "the class -1", TOLD, "say no_label: ['-1'] if it stands for no label", labels(repeated(-1, 0, 1))),
    Case(LABELS, "'a car' and 'a car ' (padded)", "two classes", READ, "classes a car, dog", labels(repeated("a car", "a car ", "dog"))),
    Case(LABELS, "'Cat' and 'cat'", "two classes, no word", WARNED, "differ in case alone", labels(repeated("Cat", "cat", "dog"))),
    Case(LABELS, "'é' in both Unicode forms", "two classes", READ, "classes café, dog", labels(repeated("café", "cafe\u0301", "dog"))),
    Case(LABELS, "lists written as text: ['a','b']", "a class each", READ, "classes a, b", labels(repeated("['a','b']", "['a']", "['b']"))),
    Case(LABELS, "'nan'", "a class", TOLD, "has no label", labels(repeated("0", "1", "nan"))),
    Case(LABELS, "'None', '', 'NA'", "the class None", TOLD, "may be a class or stand for no label", labels(repeated("None", "", "NA", "a"))),
    Case(LABELS, "inf", "a class", TOLD, "has no label", labels(repeated(0.0, 1.0, np.inf))),
    Case(LABELS, "class numbers above 2^53 as float64", "rounded", TOLD, "save labels as integers or text", labels(repeated(2.0**53, 2.0**53 + 2))),
    Case(LABELS, "one class only", "no word (mAP is 1)", WARNED, "every item is relevant to every other", labels(repeated(0))),
    Case(LABELS, "a character matrix of MATLAB's, padded", "'cat' with its padding", READ, "classes a car, cat", ready(lambda f: scipy.io.savemat(f / "y.mat", {"y": np.array(repeated("a car", "cat  "))}), "y.mat")),
    Case(LABELS, "cells of texts in MATLAB 7.3", "the class <HDF5 object reference>", READ, "classes cat, dog", ready(lambda f: mat73(f, y=repeated("cat", "dog")), "d.mat:y")),
    Case(LABELS, "one-hot, with items as columns", "refused, no hint", TOLD, "say transposed: [labels]", labels(np.eye(3)[np.arange(N) % 3].T)),
    Case(LABELS, "one-hot, and features as wide as its classes", "refused, no hint", TOLD, "say transposed: [image] or transposed: [labels]", ready(lambda f: (np.save(f / "x.npy", MATRIX[:, :3]), np.save(f / "y.npy", np.eye(3)[np.arange(N) % 3].T)))),
    Case(LABELS, "rows of zeros in one-hot labels, strict: false", "refused", WARNED, "left out, listed in skipped.csv", labels(np.eye(3)[np.arange(N) % 3] * (np.arange(N) > 1)[:, None], strict=False)),
    Case(LABELS, "a class of one row, strict: false", "refused", WARNED, "1 of 24 rows left out", labels(["rare", *repeated("a", "b")[1:]], strict=False)),
    Case(TABLES, "no column of labels", "refused", WARNED, "no labels: there will be figures by instance alone", table({}, label=None)),
    Case(TABLES, "labels of a list column saved by to_csv: ['cat', 'pet']", "the class ['cat', 'pet']", READ, "classes cat, dog, pet", table({"label": repeated(["cat", "pet"], ["dog", "pet"])})),
    Case(TABLES, "the same of NumPy arrays: ['cat' 'pet']", "the class ['cat' 'pet']", READ, "classes cat, dog, pet", table({"label": repeated("['cat' 'pet']", "['dog' 'pet']")})),
    Case(TABLES, "'cat;pet' without separator", "the class cat;pet", TOLD, "say separator: ';' if they are several labels", table({"label": repeated("cat;pet", "dog;pet", "car")})),
    Case(TABLES, "JSON lines with lists in lists", "the class 'a b'", TOLD, "expected a label, or a list of labels, found list", table({"label": repeated([["a", "b"]], ["c"])}, "my.jsonl")),
    Case(TABLES, "CSV: NaN, None, NA, nan among the labels", "the class NA", TOLD, "'NA', which may be a class or stand for no label", table({"label": repeated("NaN", "None", "NA", "cat")})),
    Case(TABLES, "parquet: whole numbers as ids, one missing, above 2^53", "run into one another", TOLD, "empty id", table({"id": pd.array([2**53, 2**53 + 1, None, *range(N - 3)], dtype="Int64"), "label": repeated("a", "b")}, "my.parquet")),
    Case(TABLES, "split column without test rows", "no word", TOLD, "no row is in the part test", table({"label": repeated("a", "b"), "part": repeated("train")}, split="part")),
    *(Case(TABLES, f"parquet: {name} labels, a third missing", "the class <NA>", TOLD, "no label", table({"label": nullable(kind, one, other, None)}, "my.parquet"))
      for name, kind, one, other in (("nullable Int64", "Int64", 1, 2), ("nullable boolean", "boolean", True, False), ("string[python]", "string[python]", "a", "b"), ("string[pyarrow]", "string[pyarrow]", "a", "b"), ("nullable Float64", "Float64", 1.0, 2.0))),
    Case(TABLES, "parquet: dates as labels, one missing", "the class NaT", TOLD, "no label", table({"label": pd.to_datetime(repeated("2020-01-01", "2021-01-01", None))}, "my.parquet")),
    Case(TABLES, "parquet: nullable texts, a fifth missing", "the text <NA>", TOLD, "empty text", table({"label": repeated("a", "b"), "text": nullable("string", None, "t1", "t2", "t3", "t4")}, "my.parquet")),
    Case(TABLES, "the same, unpaired: true", "the text <NA>", TOLD, "nothing in any of the columns of text", table({"label": repeated("a", "b"), "text": nullable("string", None, "t1", "t2", "t3", "t4")}, "my.parquet", unpaired=True)),
    Case(TABLES, "parquet: Int64 ids with one missing", "the id <NA>", TOLD, "empty id", table({"id": pd.array([*range(N - 1), None], dtype="Int64"), "label": repeated("a", "b")}, "my.parquet")),
    Case(TABLES, "TSV with texts that start with a quotation mark", "6 of 24 rows lost", WARNED, "24 items", written(A_CSV.replace(",", "\t").replace("text 4", '"text 4'), "my.tsv")),
    Case(TABLES, "CSV with ';' between columns", "no column", WARNED, "columns are separated by ';'", written(A_CSV.replace(",", ";"))),
    Case(TABLES, "CSV with '|' between columns", "no column", WARNED, "columns are separated by '|'", written(A_CSV.replace(",", "|"))),
    Case(TABLES, "CSV in Latin-1", "the byte's position", TOLD, "say which encoding it has, such as encoding: cp1252", written(A_CSV.replace("text 4", "café").encode("latin-1"))),
    Case(TABLES, "CSV in GB18030", "the codec's error", TOLD, "say which encoding it has", written(A_CSV.replace("text 4", "红苹果").encode("gb18030"))),
    Case(TABLES, "the same, encoding: gb18030", "no such parameter", READ, "24 items", written(A_CSV.replace("text 0", "红苹果").encode("gb18030"), encoding="gb18030")),
    Case(TABLES, "CSV in UTF-16 without a byte order mark", "the codec's error", READ, "24 items", written(A_CSV.encode("utf-16-le"))),
    Case(TABLES, "parts named val and dev", "refused", READ, "test 8, train 8, validation 8", table({"label": repeated("a", "b"), "part": [("train", "val", "test", "train", "dev", "test")[row % 6] for row in range(N)]}, split="part")),
    Case(TABLES, "paths with backslashes", "no such file", WARNED, "24 items", written(PICTURES.replace(",text", ",text").replace("0.png", ".\\0.png"), id="", image="image")),
    Case(TABLES, "a blank before the suffix: 0 .png", "no such file", TOLD, "did you mean '0.png'?", written(PICTURES.replace("0.png", "0 .png"), id="", image="image")),
    Case(TABLES, "pictures in a folder beside the table's: ../0.png", "leaves the folder, no remedy", TOLD, "put the table into a folder above its files", written(PICTURES.replace("0.png", "../0.png"), id="", image="image")),
    Case(TABLES, "equal placeholder pictures", "spread over all parts", WARNED, "equal pictures are in 1 part", placeholders),
    Case(TABLES, "texts of punctuation alone", "read, no word", WARNED, "hold no letter or digit", table({"label": repeated("a", "b"), "text": [*repeated("one")[2:], "…", "!!!"]})),
    Case(TABLES, "a workbook of Excel's named .csv", "no column 'id'", TOLD, "save the sheet as CSV", written(b"PK\x03\x04" + bytes(50))),
    Case(SPLITS, "fractional row numbers", "rounded", TOLD, "is no row number", index(np.arange(16) + 0.5, np.arange(16, 24))),
    Case(SPLITS, "numbers from 1 read as from 0", "shifted by one row, no word", WARNED, "if the numbers start at 1, say index_base: 1", index(np.arange(1, 17), np.arange(17, 24))),
    Case(SPLITS, "half of the rows in no part", "no word", WARNED, "12 of 24 rows are in no part", index(np.arange(6), np.arange(6, 12))),
    Case(SPLITS, "masks in the place of numbers", "rows 0 and 1", READ, "test 8, train 16", index(np.arange(N) < 16, np.arange(N) >= 16)),
    Case(SPLITS, "unpaired: no test row has a text", "told after the fits", WARNED, "no test item has the modality text", no_test_text),
    Case(SPLITS, "70 % of the rows share one of two texts", "train 50, validation 6, test 4", WARNED, "the parts have sizes far from their shares: train 50, validation 6, test 4", split_sizes([f"c{row % 3}" for row in range(60)], [f"text {min(row, 2) if row < 42 else row}" for row in range(60)])),
    Case(SPLITS, "the same table sorted otherwise", "45 % of the items in the same part", READ, "100 %", sorted_otherwise),
    Case(SPLITS, "100 classes of 2 training rows: what is held out", "50 %", READ, "held out 10%", held_out(2)),
    Case(SPLITS, "100 classes of 3 training rows: what is held out", "33 %", READ, "held out 10%", held_out(3)),
    Case(SPLITS, "the split edited by hand", "evaluated on training items", TOLD, "other bytes than", split_by_hand),
    Case(SPLITS, "repeated rows, five captions a picture", "200 of 202 test pictures were training pictures", READ, "0 of 60 pictures in several parts", repeated_rows),
    Case(METRICS, "five captions a picture, a row each, perfect embeddings", "R@1 0.200, no word", WARNED, "say repeated: image", captions(**BESIDE)),
    Case(METRICS, "the same with repeated: image", "could not be said", WARNED, "recall@1 1.000 and 1.000", captions(**BESIDE, repeated="image")),
    Case(METRICS, "n pictures and 5n captions that name their picture, without labels", "no item has all of the modalities", WARNED, "recall@1 1.000 and 1.000", captions(**APART, group={"text": "owner.npy"})),
    Case(METRICS, "256 labels, all shared", "refused", READ, "mAP 1.000", shared_labels(256, 256)),
    Case(METRICS, "600 labels, 300 shared", "refused", READ, "mAP 1.000", shared_labels(600, 300)),
    *(Case(METRICS, f"cosine of float32 embeddings times {scale:g}", seen, READ, "mAP 0.7425", scaled(scale))
      for scale, seen in ((1.0, "right"), (1e-23, "chance"), (1e-30, "chance"), (1e19, "too low"), (1e20, "chance"), (1e30, "chance"))),
    Case(COMMAND, "labels with NaN", "a class", TOLD, "8 of 24 rows have no label", metrics(repeated(0.0, 1.0, np.nan))),
    Case(COMMAND, "empty labels", "a class", TOLD, "8 of 24 rows have no label", metrics(repeated("a", "b", ""))),
    Case(COMMAND, "labels 'nan'", "a class", TOLD, "8 of 24 rows have no label", metrics(repeated("a", "b", "nan"))),
    Case(COMMAND, "multi-hot with empty rows", "no word", READ, "4 rows without label", metrics(np.eye(3)[np.arange(N) % 3] * (np.arange(N) > 3)[:, None])),
    Case(COMMAND, "labels inf", "a class", TOLD, "8 of 24 rows have no label", metrics(repeated(0.0, 1.0, np.inf))),
    Case(COMMAND, "CSV with blanks before some labels", "two classes", READ, "mAP 0.7568", metrics(text="".join(f"{' ' * (row % 2)}c{row % 3}\n" for row in range(N)))),
    Case(COMMAND, "CSV with CRLF and a byte order mark", "the first is a class of its own", READ, "mAP 0.7568", metrics(text="\ufeff" + "".join(f"c{row % 3}\r\n" for row in range(N)))),
    Case(COMMAND, "embeddings times 1e160 (float64)", "chance", READ, "mAP 0.7568", metrics(scale=1e160, kind=np.float64)),
    Case(COMMAND, "embeddings times 1e-23 (float32)", "chance", READ, "mAP 0.7568", metrics(scale=1e-23)),
    Case(COMMAND, "embeddings times 1e20 (float32)", "chance", READ, "mAP 0.7568", metrics(scale=1e20)),
    Case(COMMAND, "embeddings of zeros", "a figure, no word", WARNED, "24 of 24 rows are zero", metrics(scale=0.0)),
    Case(COMMAND, "one class", "mAP 1", TOLD, "one class alone", metrics(np.zeros(N))),
    *(Case(NAMES, f"a modality called {name if len(name) < 20 else name[:3] + '… (200 letters)'}", "a stack trace", TOLD, "expected", configuration(f"datasets:\n- {{id: a, dataset: precomputed, params: {{features: {{{name!r}: x.npy}}, labels: y.npy}}}}\n{SOME_RUN}"))
      for name in ("a→b", "a/b", "x" * 200)),
    *(Case(NAMES, f"ids with a carriage return inside, in {form}", "an unreadable split", TOLD, "holds a control character", table({"id": [f"a\r{row}" for row in range(N)], "label": repeated("a", "b")}, f"my{form}")) for form in (".jsonl", ".parquet")),
    *(Case(NAMES, f"ids with NUL at the end, in {form}", "two ids in one, in train and in test", TOLD, "holds a control character", table({"id": [f"a{row // 2}" + "\0" * (row % 2) for row in range(N)], "label": repeated("a", "b")}, f"my{form}")) for form in (".csv", ".jsonl", ".parquet")),
    Case(CONFIGURATIONS, "the key experiments stands twice", "the last counts", TOLD, "twice", configuration("experiments: []\nexperiments: []\n")),
    Case(CONFIGURATIONS, "a parameter stands twice", "the last counts", TOLD, "twice", configuration("features:\n- {id: bow, params: {size: 10, size: 1000}}\n")),
    Case(CONFIGURATIONS, "a default written out", "fitted again", READ, "the same fit", one_identity),
    Case(FEATURES, "as they are", "right", READ, "cca 0.", run(pairs(), "cca", "ridge_label")),
    Case(FEATURES, "times 1e-15", "chance", READ, "cca 0.", run(pairs(scale=1e-15), "cca", "ridge_label")),
    Case(FEATURES, "plus 1e9 (float64)", "chance, or a stack trace", WARNED, "cca 0.", run(pairs(1e9), "cca", "ridge_label")),
    Case(FEATURES, "the same in all rows", "5 of 33 methods in stack traces", TOLD, "the same, so nothing can be learned from them", run(pairs() | {"image": np.ones((90, 5))}, "cca", "kcca")),
    Case(FEATURES, "rows by id in another order", "paired by position", READ, "rows of a pair are equal: True", ids_in_other_orders),
    Case(FEATURES, "SciPy's .npz", "refused", READ, "24 × 4", features(lambda f: scipy.sparse.save_npz(f / "x.npz", scipy.sparse.csr_array(MATRIX)), "x.npz")),
    Case(FEATURES, ".npz of one array", "a key was wanted", READ, "24 × 4", features(lambda f: np.savez(f / "x.npz", MATRIX), "x.npz")),
    Case(FEATURES, "torch's .pt", "not read", READ, "24 × 4", features(lambda f: torch.save(torch.tensor(MATRIX), f / "x.pt"), "x.pt")),
    Case(FEATURES, "numbers in .txt", "not read", READ, "24 × 4", features(lambda f: np.savetxt(f / "x.txt", MATRIX), "x.txt")),
    Case(FEATURES, "a struct of MATLAB 7.3: d.mat:s.x", "an obscure error", READ, "24 × 4", features(lambda f: mat73(f, s={"x": MATRIX}), "d.mat:s.x")),
    Case(FEATURES, "the struct itself: d.mat:s", "an obscure error", TOLD, "name one of its fields, as KEY.x", features(lambda f: mat73(f, s={"x": MATRIX}), "d.mat:s")),
    Case(FEATURES, "a struct of MATLAB 5: d.mat:s.x", "a stack trace", READ, "24 × 4", features(lambda f: scipy.io.savemat(f / "d.mat", {"s": {"x": MATRIX}}), "d.mat:s.x")),
    Case(FEATURES, "a sparse matrix of MATLAB 7.3", "an obscure error", READ, "24 × 4", features(lambda f: mat73(f, x=scipy.sparse.csc_array(MATRIX)), "d.mat:x")),
    Case(FEATURES, "a dictionary in .npy", "refused, no remedy", TOLD, "say trust: true and give its sha256", features(lambda f: np.save(f / "x.npy", {"x": MATRIX}, allow_pickle=True), "x.npy")),
    Case(FEATURES, "items as columns", "refused, no hint", TOLD, "say transposed: [image]", features(lambda f: np.save(f / "x.npy", MATRIX.T), "x.npy")),
    Case(FEATURES, "items as columns, as many as rows", "chance, no word", WARNED, "say transposed: [image]", features(lambda f: np.save(f / "x.npy", MATRIX @ MATRIX.T), "x.npy")),
    Case(REPORTS, "a line break in a quoted caption (img2dataset, pull request 283)", "the same", READ, "24 items, classes c0, c1, c2, the first i0: text\\n0", written(A_CSV.replace("text 0", '"text\n0"'))),
    Case(REPORTS, "a comma in a caption without quotation marks (mindone, pull request 133)", "the same", TOLD, "row 2 has 4 cells, the header 3", written(A_CSV.replace("text 0", "a text, 0"))),
    Case(REPORTS, "lines that end in a carriage return alone (datasets #622)", "a stack trace", READ, "24 items", written(A_CSV.replace("\n", "\r"))),
    Case(REPORTS, "Excel's first line sep=; (PowerShell #7776; csvtk #13; fast-excel #327)", "row 2 has 3 cells, the header 2", READ, "24 items, classes c0, c1, c2", written("sep=;\n" + A_CSV.replace(",", ";"))),
    Case(REPORTS, "a JSON array in .jsonl (metadata-qa-api #184)", "row 1: Expecting value", READ, "24 items, classes a, b", written(json.dumps([{"id": f"i{row}", "text": f"t {row}", "label": "ab"[row % 2]} for row in range(N)], indent=1), "my.jsonl")),
    Case(REPORTS, "labels b'cat', as savetxt writes bytes (numpy, issues 8033 and 16429)", "classes b'cat', b'dog'", READ, "classes cat, dog", ready(lambda f: np.savetxt(f / "y.txt", np.array(repeated(b"cat", b"dog")), "%s"), "y.txt")),
    Case(REPORTS, "a byte order mark inside, before a name (deepplantphenomics #41)", "four classes", READ, "classes cat, dog", labels(repeated("cat", "\ufeffcat", "cat\u200b", "dog"))),
    Case(REPORTS, "no-break blanks in names (spyder-docs, pull request 332)", "four classes", READ, "classes a car, dog", labels(repeated("a car", "a\u00a0car", "a  car", "dog"))),
    Case(REPORTS, "parquet with pictures in it: bytes and path (croissant #689; FAI-RL, pull request 81)", "no remedy", TOLD, "write the pictures to files", table({"image": [{"bytes": b"x", "path": "0.png"}] * N, "label": repeated("a", "b")}, "my.parquet", image="image")),
    Case(REPORTS, "addresses of pictures (mindshub #158)", "no such file", TOLD, "is an address; download it", written(PICTURES.replace("0.png", "https://example.org/0.png"), id="", image="image")),
    Case(REPORTS, "a compressed table named .csv (NVTabular #101)", "not UTF-8, say encoding: cp1252", TOLD, "is compressed; unpack it", written(gzip.compress(A_CSV.encode()))),
    Case(REPORTS, ".csv.gz (img2dataset, pull request 57)", "expected one of .csv, .tsv, …", TOLD, "is compressed; unpack it", written(gzip.compress(A_CSV.encode()), "my.csv.gz")),
    Case(REPORTS, "complex numbers, as an eigensolver gives them (GEM #67)", "no remedy", TOLD, "found complex128; take the real part", features(lambda f: np.save(f / "x.npy", MATRIX.astype(complex)), "x.npy")),
    Case(REPORTS, "ids with leading zeros (pandas #54665)", "the same", READ, "the first 0000", written(A_CSV.replace("\ni", "\n000"))),
    Case(REPORTS, "0.PNG for 0.png (anomalib #3058)", "the same", TOLD, "did you mean '0.png'?", written(PICTURES.replace("0.png", "0.PNG"), id="", image="image")),
    Case(REPORTS, "labels of -1 and 1, a column a class (HashNet #42)", "refused", READ, "classes 0, 1, 2", labels(2 * np.eye(3, dtype=int)[np.arange(N) % 3] - 1)),
    Case(REPORTS, "texts that are numbers (simpletransformers #127)", "the same", READ, "the first i0: 1.5", table({"label": repeated("a", "b"), "text": repeated(1.5, 2.5)}, "my.parquet")),
]  # fmt: skip
