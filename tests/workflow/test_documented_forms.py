"""Every key of every file is documented in results/README.md, with its type, and none is documented that is not there."""

import json
import re

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from robustness.chains import chain
from toy_clones import CONFIG, DLA, ROOT, clone

pytestmark = pytest.mark.slow
ELSEWHERE = re.compile(r"\.logs/|\.partial/|report/(figures/|tables/|index\.html)")
"""What has no keys: logs, unfinished work, and the page."""
ON_A_GPU = {"hardware.gpu", "usage.peak_gpu_memory_mb"}
IN_UNITS = {"fold", "tasks[].folds", "tasks[].sample", "shards"}
"""Of folds, of sampled queries and of large data sets, which tests of units hold."""
TYPES = {
    "text": str,
    "text or null": str | None,
    "whole number": int,
    "whole number or null": int | None,
    "number": int | float,
    "yes or no": bool,
    "yes or no, or null": bool | None,
    "mapping": dict,
    "mapping or null": dict | None,
    "list": list,
}
DIGEST = r"(?:-[0-9a-f]{6})?"


def documented():
    """Section → key → type, of each table of the page."""
    sections, name = {}, ""
    for line in (ROOT / "results/README.md").read_text("utf-8").splitlines():
        if line.startswith("#"):
            name = line.lstrip("# ").strip("`")
            sections[name] = {}
        elif line.startswith("| `"):
            found = re.match(r"\| `([^`]+)` \| ([^|]+) \| [^|]+\. \|$", line)
            assert found, f"not a row of key, type and meaning: {line}"
            assert found[1] not in sections[name], f"{name}: {found[1]} stands twice"
            sections[name][found[1]] = found[2]
    return sections


SECTIONS = documented()
FILES = {name for name in SECTIONS if "/" in name}
FORM = {name: re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(name))) for name in FILES}


def section_of(file):
    """The section of a file; the names of a run's files may have a digest."""
    plain = re.sub(rf"((?:metrics|curves|run|embeddings)){DIGEST}(?=\.|/)", r"\1", file)
    plain = re.sub(r"(embeddings)/[^/]+/([^/]+\.h5)$", r"\1/\2", plain)
    return next((name for name, form in FORM.items() if form.fullmatch(plain)), None)


DATASETS = [
    {"id": "toy"},
    {"id": "placed"},
    {
        "id": "mine",
        "dataset": "table",
        "params": {
            "file": "my/my.csv",
            "image": "picture",
            "text": "caption",
            "label": "class",
            "group": "picture",
            "split": "part",
            "strict": False,
        },
    },
]
FEATURES = [
    *CONFIG["features"],
    {"id": "audio", "modality": "audio", "extractor": "numbers"},
    {"id": "words", "extractor": "word2vec_cnn", "params": {"vectors": "my/vec.txt", "maps": 2, "epochs": 1}},
    {"id": "sequences", "extractor": "word_vectors", "params": {"vectors": "my/vec.txt"}},
]
METRICS = [
    {"id": "map@all", "metric": "mean_average_precision"},
    {"id": "map@9", "metric": "mean_average_precision", "params": {"at": 9}},
    "precision_recall",
    "hubness",
    {"id": "recall@99", "metric": "recall_at_k", "params": {"k": 99}},
]


def experiment(name, data, inputs, *methods):
    return {"id": name, "data": [data], "inputs": [inputs], "methods": [*methods]}


EXPERIMENTS = [
    experiment("pairs", "toy", ["image", "text", "audio"], {"id": "cca", "params": {"components": 2}}),
    experiment("coded", "toy/no_validation", ["image", "text"], {**DLA, "params": {**DLA["params"], "epochs": 2}}),
    experiment("placed", "placed", ["image", "text"], {"id": "ridge_label", "tune": {"alpha": [1, 10]}}),
    experiment("own", "mine", ["bytes_of", "words"], "random"),
    experiment("sets", "mine", ["bytes_of", "sequences"], {"id": "attention_pool", "params": {"epochs": 1}}),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Results of all kinds, one of them accepted after an edit."""
    made = clone(tmp_path_factory.mktemp("forms") / "clone")
    write_data(made.root)
    configuration = {**CONFIG, "datasets": DATASETS, "features": FEATURES, "metrics": METRICS}
    configuration["dictionaries"] = [
        {"id": "small", "dictionary": "coupled", "params": {"atoms": [6, 7], "iterations": 3}}
    ]
    (made.root / "config.yaml").write_text(yaml.safe_dump({**configuration, "experiments": EXPERIMENTS}))
    chain(made, "make", "config.yaml", "report")
    made.edit("workflow/cmr/methods/cca.py", "class CCA", "NEW = 1\n\n\nclass CCA")
    compared, accepted, kept = chain(made, "accepted")
    assert (list(compared.values()), accepted, kept) == ([True], 4, 0)
    return made.root / "results"


def write_data(root):
    generator = np.random.default_rng(0)
    placed = root / ".cache/datasets/placed_raw"
    (placed / "folder").mkdir(parents=True)
    rows = [
        [f"i{row}", *(" ".join(map(str, generator.normal(size=4).round(3))) for _ in "xy"), "abc"[row % 3]]
        for row in range(45)
    ]
    pd.DataFrame(rows, columns=["id", "image", "text", "labels"]).to_csv(placed / "numbers.csv", index=False)
    (root / "my").mkdir()
    for row in range(30):
        Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8)).save(root / "my" / f"{row}.png")
    (root / "my/29.png").write_text("no picture")
    words = [f"word{number}" for number in range(8)]
    texts = [" ".join(generator.choice(words, 6)) for _ in range(30)]
    rows = [[f"{row}.png", texts[row], "pq"[row % 2], "train" if row < 20 else "test"] for row in range(30)]
    pd.DataFrame(rows, columns=["picture", "caption", "class", "part"]).to_csv(root / "my/my.csv", index=False)
    lines = [f"{word} {' '.join(map(str, generator.normal(size=5).round(3)))}" for word in words]
    (root / "my/vec.txt").write_text("8 5\n" + "\n".join(lines) + "\n")


def test_every_file_has_a_section(tree):
    files = {str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file()}
    unknown = {file for file in files if section_of(file) is None and not ELSEWHERE.match(file)}
    assert unknown == set()
    assert {section_of(file) for file in files} - {None} == FILES


@pytest.mark.parametrize("section", sorted(FILES))
def test_a_file_holds_what_its_section_says(tree, section):
    files = [file for file in tree.rglob("*") if file.is_file() and section_of(str(file.relative_to(tree))) == section]
    is_record = section.endswith(".json") and "metrics" not in section
    known = SECTIONS[section] | (SECTIONS["Every record"] if is_record else {})
    assert files
    met = set().union(*(READERS[file.suffix](file, known) for file in files))
    common = set(SECTIONS["Every record"]) if is_record else set()
    assert set(SECTIONS[section]) - met <= IN_UNITS
    assert met - set(known) == set()
    assert common - met <= ON_A_GPU | {"hardware.threads"} | {key for key in common if key.startswith("accepted[]")}


def test_every_key_of_every_record_is_met_in_one_of_them(tree):
    known = SECTIONS["Every record"]
    met = set()
    for file in tree.rglob("*.json"):
        if section_of(str(file.relative_to(tree))) and "metrics" not in file.name:
            met |= of_json(file, known | SECTIONS[section_of(str(file.relative_to(tree)))])
    assert set(known) - met == ON_A_GPU


# Readers: the documented keys that a file holds; what is not documented as it stands --------------------------------------


def key_of(name, known):
    """The documented key, in which names stand in braces; the name itself where there is none."""
    fitting = [key for key in known if re.fullmatch(form_of(key), name)]
    return name if name in known else max(fitting, key=literal, default=name)


def literal(key):
    """How much of a key is not a name: of two that fit, the longer one is meant."""
    return len(re.sub(r"\{\w+\}", "", key))


def form_of(key):
    return re.sub(r"\\\{\w+\\\}", ".+", re.escape(key))


def of_json(file, known):
    return set(walked(json.loads(file.read_text()), "", known, file))


def walked(value, name, known, file):
    """The documented keys of a JSON value: entries of a mapping or list count where keys below it are documented."""
    key = key_of(name, {*known, *parents(known)})
    if key in known:
        assert isinstance(value, TYPES[known[key]]), f"{file}: {name}: {value!r} is no {known[key]}"
        assert not (isinstance(value, bool) and "number" in known[key]), f"{file}: {name}"
        yield key
    below = key in parents(known)
    if isinstance(value, dict) and (not name or below):
        for inner, entry in value.items():
            yield from walked(entry, f"{name}.{inner}".lstrip("."), known, file)
    elif isinstance(value, list) and below:
        for entry in value:
            yield from walked(entry, f"{name}[]", known, file)
    elif key not in known:
        yield name


def parents(known):
    """What documented keys lie in: of ``a.{b}[].c`` these are ``a``, ``a.{b}`` and ``a.{b}[]``."""
    return {key[: mark.start()] for key in known for mark in re.finditer(r"\.|\[\]", key)} | {
        key[: mark.end()] for key in known for mark in re.finditer(r"\[\]", key)
    }


def of_hdf5(file, known):
    met = set()
    with h5py.File(file) as opened:
        for name, value in opened.attrs.items():
            key = key_of(f"@{name}", known)
            assert key not in known or isinstance(value, {"text": str, "whole number": np.integer}[known[key]]), name
            met.add(key)

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                key = key_of(f"/{name}", known)
                assert key not in known or is_of_form(item, known[key]), f"{file}: {name}: {item.shape} {item.dtype}"
                met.add(key)

        opened.visititems(visit)
    return met


def is_of_form(item, told):
    """Whether a dataset has the documented number of axes and type: ``(n, d) float32``."""
    if told == "array":
        return True
    shape, _, kind = told.partition(") ")
    axes = [part for part in shape.strip("(").split(",") if part.strip()]
    text, number = h5py.check_string_dtype(item.dtype) is not None, np.issubdtype(item.dtype, np.number)
    fits = {"text": text, "number": number}.get(kind, item.dtype in kind.split(" or "))
    return len(axes) == item.ndim and fits


def of_table(file, known):
    table = pd.read_parquet(file)
    assert set(table.attrs["kinds"]) <= set(table.columns)
    cells = {"text": lambda v: isinstance(v, str), "text or null": lambda v: v is None or v != v or isinstance(v, str)}
    cells["list"] = lambda v: isinstance(v, list | np.ndarray)
    for column in table:
        key = key_of(column, known)
        assert key not in known or all(map(cells[known[key]], table[column])), f"{file}: {column}"
    return {key_of(column, known) for column in table}


def of_csv(file, known):
    if not file.read_text().strip():
        return set()
    table = pd.read_csv(file)
    return {key_of(column, known) for column in table}


def of_lines(file, known):
    assert all(re.fullmatch(r"[0-9a-f]{64}  .+", line) for line in file.read_text().splitlines())
    return set()


READERS = {
    ".json": of_json,
    ".h5": of_hdf5,
    ".parquet": of_table,
    ".csv": of_csv,
    ".sha256": of_lines,
    ".safetensors": lambda file, known: {key_of(name, known) for name in load_file(file)},
}
