"""Results trees in which something was changed at random, as every command that reads somebody's tree meets them.

Each case runs in a process of its own, in which an audit hook sees what is opened, started and unpickled.
"""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter

import h5py
import pandas as pd
import pytest
import yaml

from cmr import cli
from cmr.reporting import page
from toy_plan import Project

SECONDS = 30
SAMPLE = 60
SECRET = "secret"
HOSTILE = [
    None, True, -1, 10**400, 0.5, "", "x", "a/b", "→", "\ud800", "../../../secret/x.json", "/dev/zero", [], {}, [[]],
    {"trust": True}, "../../secret/pickle", "=1+1", "x" * 5000, "results/../../secret/x.json", ["a"], {"id": "x"},
]  # fmt: skip
RAW = ["NaN", "1e999", "[" * 100_000, "{", '{"a": 1, "a": 2}', "\0", "\xff"]
CONFIG = {
    "cache": "cache",
    "device": "cpu",
    "datasets": [{"id": "mine", "dataset": "table", "params": {"file": "my.csv", "text": "caption", "image": "name"}}],
    "features": [
        {"id": "texts", "extractor": "bow", "params": {"min_count": 1}},
        {"id": "pictures", "extractor": "sift_bovw", "params": {"words": 4}},
    ],
    "metrics": ["mean_average_precision"],
    "experiments": [{"id": "main", "data": ["mine"], "inputs": [["pictures", "texts"]], "methods": ["ridge_label"]}],
}


def make_project(root):
    """A finished project of 30 pictures and texts, and beside it what nobody may read."""
    import numpy as np
    from PIL import Image

    (root / SECRET).mkdir(parents=True)
    (root / SECRET / "x.json").write_text("{}")
    home = root / "home"
    home.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        kind = "abc"[number % 3]
        pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(home / f"{number}.png")
        rows.append({"name": f"{number}.png", "caption": f"{kind} word{number} {kind}{kind}", "label": kind})
    pd.DataFrame(rows).to_csv(home / "my.csv", index=False)
    (home / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    made = Project(home, CONFIG)
    for index in made.results("collect"):
        made.make(index)
    return home


def commands(home):
    """Every command that reads a tree."""
    (run,) = (home / "results" / "runs").glob("*/*/*/*/*")
    folder = str(run.relative_to(home))
    return [
        ["verify"],
        ["summary"],
        ["report", "--out", "page"],
        ["search", folder, "--text", "a word", "--html", "found.html"],
        ["prune", "--yes"],
    ]


# Changes ----------------------------------------------------------------------------------------------------------------


def in_json(file, rng):
    """One value anywhere in a file of JSON is another, or its text is."""
    text = file.read_text("utf-8")
    if rng.random() < 0.2:
        start = rng.randrange(len(text))
        file.write_text(text[:start] + rng.choice(RAW) + text[start + rng.randrange(20) :], "utf-8")
        return
    value = json.loads(text)
    places = [(holder, key) for holder in holders(value) for key in keys(holder)]
    holder, key = rng.choice(places)
    holder[key] = rng.choice(HOSTILE)
    file.write_text(json.dumps(value))


def holders(value):
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from holders(inner)


def keys(holder):
    return list(holder) if isinstance(holder, dict) else range(len(holder))


def in_bytes(file, rng):
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 8, 64])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])


def in_items(file, rng):
    table = pd.read_parquet(file)
    column = rng.choice(list(table))
    table[column] = [rng.choice(HOSTILE[4:12]) if column != "labels" else rng.choice([[], ["x"], [""], ["=1"]])] * len(
        table
    )
    if rng.random() < 0.3:
        table.attrs = {
            "kinds": {rng.choice(["text", "../x", "a→b", "image"]): rng.choice(["text", "image", "x", "ready"])}
        }
    if rng.random() < 0.2:
        table = table.drop(columns=column)
    with contextlib.suppress(ValueError, TypeError):  # pyarrow's, for columns that it cannot write
        table.to_parquet(file, index=False)


def in_hdf5(file, rng):
    with h5py.File(file, "r+") as opened:
        names: list[str] = []
        opened.visit(names.append)
        name = rng.choice(names)
        how = rng.randrange(5)
        if how == 0:
            opened.attrs[rng.choice(["schema_version", "modality", "params"])] = rng.choice(["x", -1, "{", "../x"])
        else:
            del opened[name]
        if how == 1:
            opened[name] = h5py.ExternalLink(str(file.parents[0] / "../../secret/x.h5"), "x")
        elif how == 2:
            opened.create_dataset(name, (10_000_000, 2000), "f4", chunks=(100, 2000))
        elif how == 3:
            opened[name] = rng.choice([1.5, "x", [1, 2], [[float("nan")]]])


def a_link(file, rng):
    target = rng.choice(["/dev/zero", file.parents[0] / ("../" * 20) / "dev/zero", file.with_name("gone"), "FIFO"])
    file.unlink()
    os.mkfifo(file) if target == "FIFO" else file.symlink_to(target)


def change(home, rng):
    """Changes one file of a project; returns what was done to which."""
    results = home / "results"
    files = sorted(file for file in results.rglob("*") if file.is_file() and file.stat().st_size)
    file = rng.choice([home / "config.yaml", *files])
    ways = {".json": [in_json, in_json, in_json], ".h5": [in_hdf5, in_hdf5], ".parquet": [in_items, in_items]}
    way = rng.choice([*ways.get(file.suffix, [in_bytes]), in_bytes, a_link])
    way(file, rng)
    return f"{way.__name__} {file.relative_to(home)}"


# Trial ------------------------------------------------------------------------------------------------------------------


def tried(home, command, outside):
    """How a command ends, in a process of its own: its status, 'hang', 'trace: …', or 'outside: …'."""
    said, written = os.pipe()
    child = os.fork()
    if not child:
        os.close(said)
        with contextlib.suppress(BaseException):
            os.write(written, watched(home, command, outside).encode()[:2000])
        os._exit(0)
    os.close(written)
    limit = time.monotonic() + SECONDS
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < limit:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(said, "rb") as file:
        outcome = file.read().decode("utf-8", "replace") if ended[0] else "hang"
    return outcome or f"died of signal {ended[1]}"


def watched(home, command, outside):
    os.chdir(home)
    os.environ["HF_HUB_OFFLINE"] = "1"
    page.draw_all = lambda folder, figures: dict.fromkeys((figure.name for figure in figures), "")
    seen = []

    def hook(event, arguments):
        if event in ("os.system", "os.exec", "os.posix_spawn", "pickle.find_class"):
            seen.append(event)
        elif event == "open" and isinstance(arguments[0], str | bytes) and is_below(arguments[0], outside):
            seen.append(f"open {arguments[0]!r}")

    sys.addaudithook(hook)
    output = io.StringIO()
    status = "0"
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            cli.main(command)
        except SystemExit as error:
            status = str(error.code)
        except BaseException as error:
            import traceback

            status = f"trace: {error!r}"[:300] + "".join(traceback.format_tb(error.__traceback__)[-2:])
    return f"outside: {seen}" if seen else status


def is_below(path, folder):
    return os.path.realpath(os.fsdecode(path)).startswith(f"{folder}/")


def fuzz(home, folder, cases, seed=0):
    """Counts how ``cases`` changed copies of a project end, a command at a time; returns the counts and what is wrong."""
    counts, wrong = Counter(), []
    outside = (home.parent / SECRET).resolve()
    before = {path: path.read_bytes() for path in outside.iterdir()}
    for case in range(cases):
        rng = random.Random(f"{seed} {case}")
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        done = change(copy, rng)
        for command in commands(home):
            outcome = tried(copy, command, outside)
            counts[f"{command[0]}: {outcome if outcome in ('0', '1', '2') else 'wrong'}"] += 1
            if outcome not in ("0", "1"):
                wrong.append(f"case {case}, {done}, {command[0]}: {outcome}")
    assert {path: path.read_bytes() for path in outside.iterdir()} == before
    return counts, wrong


@pytest.mark.long
def test_a_sample(tmp_path, cases):
    cases(SAMPLE)
    home = make_project(tmp_path / "project")
    counts, wrong = fuzz(home, tmp_path, SAMPLE)
    assert not wrong, "\n".join(wrong)
    assert counts["summary: 0"] > SAMPLE / 4  # most of what is changed is not read by it
    assert counts["verify: 1"] > SAMPLE / 4
