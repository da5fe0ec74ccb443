"""Results trees in which something was changed at random, as every command that reads somebody's tree meets them.

Each command runs in a process of its own. An audit hook sees what Python starts, unpickles and writes there; the
kernel tells whether a file of the folder that nobody may read was opened, by whichever library.
"""

import contextlib
import csv
import ctypes
import hashlib
import importlib
import io
import json
import os
import pickle
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import chdir
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from cmr import cli, config, rerun, settings
from cmr.errors import UserError
from cmr.plan import Plan
from cmr.reporting import page
from toy_plan import Project

SECONDS = 30
SAMPLE = 300
SECRET = "secret"
OUT = f"../../{SECRET}"  # from a project's results
HOSTILE = [
    None, True, -1, 0, 10**400, 0.5, 1e300, "", "x", "a/b", "→", "\x85", "../x", f"results/{OUT}/x.json", "/dev/zero",
    f"../{SECRET}/x.csv", f"../{SECRET}/x.pkl", f"../{SECRET}/x.h5", f"../{SECRET}/x.png", "results/experiments", [],
    {}, [[]], {"trust": True}, "=1+1", "x" * 5000, ["a"], {"id": "x"}, {"x": "y"}, "ready", "doc2vec", "precomputed",
    "mean_average_precision", "cca", "\ud800",
]  # fmt: skip
RAW = ["NaN", "1e999", "[" * 100_000, "{", '{"a": 1, "a": 2}', "\0", "\xff"]
WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")
STARTING = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")
CONFIG = {
    "cache": "cache",
    "device": "cpu",
    "datasets": [{"id": "mine", "dataset": "table", "params": {"file": "my.csv", "text": "caption", "image": "name"}}],
    "features": [
        {"id": "texts", "extractor": "bow", "params": {"stop_words": "none"}},
        {"id": "pictures", "extractor": "sift_bovw", "params": {"words": 4}},
    ],
    "metrics": ["mean_average_precision"],
    "experiments": [{"id": "main", "data": ["mine"], "inputs": [["pictures", "texts"]], "methods": ["ridge_label"]}],
}


class Marks:
    """What leaves a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def make_project(root):
    """A finished project of 30 pictures and texts, ``root``/home, and beside it what nobody may read.

    Made in a process of its own: threads of this one, such as OpenCV's, would be missing in those that it forks.
    """
    making = get_context("fork").Process(target=_make_project, args=(root,))
    making.start()
    making.join()
    assert making.exitcode == 0
    return root / "home"


def _make_project(root):
    home, secret = root / "home", root / SECRET
    secret.mkdir(parents=True)
    (secret / "x.json").write_text("{}")
    (secret / "x.csv").write_text("name,caption,label\n0.png,a,b\n")
    (secret / "x.pkl").write_bytes(pickle.dumps(Marks()))
    Image.new("RGB", (64, 64), "red").save(secret / "x.png")
    with h5py.File(secret / "x.h5", "w") as file:
        file["x"] = np.ones((3, 2), np.float32)
    home.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(30):
        kind = "abc"[number % 3]
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(home / f"{number}.png")
        rows.append({"name": f"{number}.png", "caption": f"{kind} word{number} {kind}{kind}", "label": kind})
    pd.DataFrame(rows).to_csv(home / "my.csv", index=False)
    (home / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    made = Project(home, CONFIG)
    for index in made.results("collect"):
        made.make(index)


def commands(home):
    """Every command that reads a tree."""
    (run,) = (home / "results" / "runs").glob("*/*/*/*/*")
    folder = str(run.relative_to(home))
    return [
        ["verify"],
        ["summary"],
        ["report", "results", "--out", "page"],
        ["search", folder, "--text", "a word", "--html", "found.html"],
        ["search", folder, "--image", "1.png"],
        ["compare", folder, folder],
        ["embed", folder, "--texts", "my.csv", "--out", "new.h5"],
        ["export", folder, "--to", "npy", "--out", "exported"],
        ["export", folder, "--to", "mat", "--out", "exported.mat"],
        ["rerun", folder, "--directory", "again"],
        ["prune", "--yes"],
    ]


# Changes ----------------------------------------------------------------------------------------------------------------


def in_json(file, rng):
    """One value anywhere in a file of JSON is another, goes, or changes places; or its text is another."""
    text = file.read_text("utf-8")
    how = rng.choice(["set", "set", "set", "delete", "swap", "add", "raw"])
    if how == "raw":
        start = rng.randrange(len(text))
        file.write_text(text[:start] + rng.choice(RAW) + text[start + rng.randrange(20) :], "utf-8")
        return
    value = json.loads(text)
    places = [(holder, key) for holder in holders(value) for key in keys(holder)]
    holder, key = rng.choice(places)
    if how == "set":
        holder[key] = rng.choice(HOSTILE)
    elif how == "delete":
        del holder[key]
    elif how == "swap":
        other, place = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    else:
        mappings = [found for found in holders(value) if isinstance(found, dict)]
        rng.choice(mappings)[rng.choice(["trust", "params", "id", "pretrained", "file", "x", "../x"])] = rng.choice(
            HOSTILE
        )
    file.write_text(json.dumps(value))


def holders(value):
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from holders(inner)


def keys(holder):
    return list(holder) if isinstance(holder, dict) else range(len(holder))


def a_pickle(file, rng):
    """A fit's features are made by somebody's pickle, which the record calls trusted."""
    value = json.loads(file.read_text("utf-8"))
    content = pickle.dumps(Marks())
    (file.parents[6] / "results" / "model").write_bytes(content)
    params = {"pretrained": "results/model", "trust": True, "sha256": hashlib.sha256(content).hexdigest()}
    for holder in list(holders(value)):
        if isinstance(holder, dict) and holder.get("extractor") == "bow":
            holder |= {"extractor": "doc2vec", "params": params}
    file.write_text(json.dumps(value))


def in_yaml(file, rng):
    """As `in_json`, of a configuration."""
    file.write_text(json.dumps(yaml.safe_load(file.read_text())))
    in_json(file, rng)


def in_csv(file, rng):
    """A cell is another, a row stands twice, or a column goes."""
    with file.open(newline="") as opened:
        rows = list(csv.reader(opened))
    row = rng.randrange(len(rows))
    how = rng.choice(["set", "set", "twice", "gone", "column"])
    if how == "set":
        rows[row][rng.randrange(len(rows[row]))] = str(rng.choice(HOSTILE)).encode("utf-8", "ignore").decode()
    elif how == "twice":
        rows.append(rows[row])
    elif how == "gone":
        del rows[row]
    else:
        rows = [cells[:-1] for cells in rows]
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)


def in_bytes(file, rng):
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 8, 64])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])


def in_items(file, rng):
    """A column, some of its cells, the kinds or the number of rows are others."""
    table = pd.read_parquet(file)
    attributes = table.attrs
    column = rng.choice(list(table))
    how = rng.choice(["all", "one", "gone", "rows", "kinds", "kinds"])
    names = [value for value in HOSTILE if isinstance(value, str) and value.isprintable()]
    if how in ("all", "one"):
        cells = list(table[column])
        for row in range(len(cells)) if how == "all" else [rng.randrange(len(cells))]:
            cells[row] = rng.choice([[], ["x"], [""], ["=1"], None] if column == "labels" else [*names, None])
        table[column] = cells
    elif how == "gone":
        table = table.drop(columns=column)
    elif how == "rows":
        table = table.sample(frac=rng.choice([0, 0.5, 2]), replace=True, random_state=rng.randrange(100))
    table.attrs = attributes
    if how == "kinds":
        kind = rng.choice(["text", "image", "audio", "x", "ready", None, 3])
        table.attrs = rng.choice([{}, {"kinds": []}, {"kinds": attributes["kinds"] | {"image": kind}}]) or {
            "kinds": {rng.choice(["text", "../x", "a→b", "image"]): kind}
        }
    with contextlib.suppress(ValueError, TypeError):  # pyarrow's, for columns that it cannot write
        table.to_parquet(file, index=False)


def in_hdf5(file, rng):
    """An attribute or an array is another, goes, or lies elsewhere."""
    with h5py.File(file, "r+") as opened:
        names: list[str] = []
        opened.visit(names.append)
        name = rng.choice(names)
        how = rng.randrange(9)
        if how == 0:
            key = rng.choice(["schema_version", "modality", "params", "extractor", "identity", *opened.attrs])
            opened.attrs[key] = rng.choice(["x", -1, "{", "../x", 1.5])
        elif how == 1 and isinstance(opened[name], h5py.Dataset) and opened[name].size:
            array = opened[name]
            array[rng.randrange(len(array))] = rng.choice([0, "", "../x", 255]) if array.dtype.kind == "O" else -1
        else:
            shape, kind = getattr(opened[name], "shape", ()), getattr(opened[name], "dtype", np.dtype("f4"))
            del opened[name]
        if how == 2:
            opened[name] = h5py.ExternalLink(str(file.parent / f"{'../' * 20}{places(file)[1:]}/x.h5"), "x")
        elif how == 3:
            opened.create_dataset(name, (10_000_000, 2000), "f4", chunks=(100, 2000))
        elif how == 4:
            opened[name] = rng.choice([1.5, "x", [1, 2], [[float("nan")]], [[1.0]], ["a", "b"]])
        elif how == 5 and kind.kind != "O":
            opened[name] = np.zeros([rng.choice([length, length + 1, 1, 0]) for length in shape], kind)
        elif how == 6:
            opened[name] = rng.choice([h5py.SoftLink("/"), h5py.SoftLink("/nowhere")])
        elif how == 7:
            opened.create_dataset(name, (3, 2), "f4", external=[(f"{places(file)}/x.h5", 0, 24)])


def places(file):
    """Where the folder is that nobody may read."""
    above = next(folder for folder in file.parents if (folder / SECRET).is_dir())
    return str(above / SECRET)


def a_link(file, rng):
    target = rng.choice(["/dev/zero", "x.json", "x.h5", "x.png", "x.csv", file.with_name("gone"), "FIFO", file])
    file.unlink()
    os.mkfifo(file) if target == "FIFO" else file.symlink_to(os.path.join(places(file), target))


def a_linked_folder(file, rng):
    folder = file.parent
    shutil.rmtree(folder)
    folder.symlink_to(places(folder), target_is_directory=True)


def change(home, rng):
    """Changes something in a project, one time to three; returns what was done to which file."""
    done = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        results = home / "results"
        files = sorted(file for file in results.rglob("*") if file.is_file() and file.stat().st_size)
        wanted = rng.choice([".json", ".json", ".json", ".h5", ".parquet", ".csv", "", "config"])
        among = [file for file in files if file.name.endswith(wanted)] or files
        file = home / "config.yaml" if wanted == "config" else rng.choice(among)
        ways = {
            ".json": [in_json, in_json, in_json, a_pickle],
            ".h5": [in_hdf5, in_hdf5],
            ".parquet": [in_items, in_items],
            ".csv": [in_csv],
            ".yaml": [in_yaml, in_yaml],
        }
        way = rng.choice([*(ways.get(file.suffix, [in_bytes]) * 3), in_bytes, a_link, a_linked_folder])
        if (file.is_relative_to(results) and file.resolve().is_relative_to(home.resolve())) or way is in_yaml:
            with contextlib.suppress(
                ValueError, OSError, RecursionError, KeyError, IndexError, TypeError, yaml.YAMLError
            ):
                way(file, rng)  # what was changed before may be too damaged
            done.append(f"{way.__name__} {file.relative_to(home)}")
    return ", ".join(done)


# Trial ------------------------------------------------------------------------------------------------------------------


def tried(home, command, outside):
    """How a command ends, in a process of its own: its status, 'hang', 'trace: …', or 'outside: …'."""
    said, written = os.pipe()
    child = os.fork()
    if not child:
        os.close(said)
        with contextlib.suppress(BaseException):
            os.write(written, watched(home, command).encode("utf-8", "replace")[:2000])
        os._exit(0)
    os.close(written)
    opened, start = Opened(outside), time.monotonic()
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and not hangs(child, time.monotonic() - start):
        time.sleep(0.002)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(said, "rb") as file:
        outcome = file.read().decode("utf-8", "replace") if ended[0] else "hang"
    if names := opened.names():
        return f"outside: opened {names}"
    return outcome or f"died of signal {ended[1]}"


def hangs(process, waited):
    """Whether a process that has run for ``waited`` seconds computes for too long, or waits for what does not come.

    On a busy machine one that computes may wait long for its turn.
    """
    if waited < SECONDS:
        return False
    with open(f"/proc/{process}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    computed = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return computed > SECONDS or computed < 1 or waited > 10 * SECONDS


class Opened:
    """Files of a folder that anybody opens from now on, as the kernel tells (inotify)."""

    IN_OPEN, NONBLOCK = 0x20, os.O_NONBLOCK
    HEAD = 16

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.queue = libc.inotify_init1(self.NONBLOCK)
        assert libc.inotify_add_watch(self.queue, os.fsencode(folder), self.IN_OPEN) >= 0

    def names(self):
        found = b""
        with contextlib.suppress(BlockingIOError):
            found = os.read(self.queue, 1 << 16)
        os.close(self.queue)
        return sorted({name for name in found.decode("latin-1").replace("\0", " ").split() if name.startswith("x.")})


def warmed(home, todo):
    """Runs here, once, the commands that start no threads: what they import and parse is there in all processes."""
    with chdir(home):
        for command in todo:
            if not {"--image", "rerun", "--yes"} & set(command):
                ended(command, io.StringIO())
    import cv2  # noqa: F401

    import cmr.features.sift_bovw
    import cmr.stages.evaluate
    import cmr.stages.fit
    import cmr.stages.split  # noqa: F401


def ended(command, output):
    """The status of a command, or its stack trace."""
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            cli.main(command)
        except SystemExit as error:
            return str(error.code)
        except BaseException as error:
            return f"trace: {error!r}"[:300] + "".join(traceback.format_tb(error.__traceback__)[-2:])
    return "0"


def watched(home, command):
    os.chdir(home)
    os.environ["HF_HUB_OFFLINE"] = "1"
    page.draw_all = drawn_not
    rerun.subprocess.run = made_here
    seen, own = [], [home, *cache_of("config.yaml")]

    def hook(event, arguments):
        if event in STARTING:
            seen.append(event)
        elif event == "open" and writes(arguments[2]) and not is_below(arguments[0], own):
            seen.append(f"wrote {arguments[0]!r}")
        elif event in WRITING and not is_below(os.path.dirname(os.fsdecode(arguments[0])), own):
            seen.append(f"{event} {arguments[0]!r}")

    sys.addaudithook(hook)
    output = io.StringIO()
    status = ended(command, output)
    if "its files do not fit together" in output.getvalue():
        status = f"unforeseen: {output.getvalue().splitlines()[-1]}"
    if "error: " in output.getvalue() and len(output.getvalue()) > 20_000:
        status = f"endless: {output.getvalue()[:300]}"
    if os.path.exists("executed") or os.path.exists("again/executed"):
        seen.append("a pickle was loaded")
    return f"outside: {seen}"[:1000] if seen else status


def drawn_not(folder, figures):
    return dict.fromkeys((figure.name for figure in figures), "")


def writes(flags):
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def cache_of(configuration):
    """The folder, if any, that the user's own configuration names for what is kept between projects."""
    with contextlib.suppress(Exception):  # it was changed, and may be anything
        yield os.path.abspath(settings.machine([configuration]).cache)


def is_below(path, folders):
    if isinstance(path, int):
        return True
    allowed = (*map(os.path.realpath, folders), "/dev/", "/proc/")
    return os.path.realpath(os.fsdecode(path)).startswith(allowed)


class Ended:
    def __init__(self, status):
        self.returncode = status


def made_here(command, **_):
    """What Snakemake would do for `cmr rerun`, without it: the stages of the configuration that was written."""
    directory = Path(command[command.index("--directory") + 1])
    with chdir(directory):
        try:
            plan, machine = Plan(config.load("config.yaml")), settings.machine(["config.yaml"])
            for result in plan.results():
                if result.stage not in ("collect", "report") and not Path(result.record).exists():
                    importlib.import_module(f"cmr.stages.{result.stage}").make(result, machine)
        except UserError as error:
            print(f"error: {error}")
            return Ended(1)
    return Ended(0)


def fuzz(home, cases, seed=0, first=0, tell=lambda line: None):
    """Counts how ``cases`` changed copies of a project end, a command at a time; returns the counts and what is wrong."""
    counts, wrong = Counter(), []
    outside = (home.parent / SECRET).resolve()
    before = {path: path.read_bytes() for path in outside.iterdir()}
    todo = commands(home)
    shutil.copytree(home, home.parent / "copy")
    draw_all = page.draw_all
    page.draw_all = drawn_not
    warmed(home.parent / "copy", todo)
    page.draw_all = draw_all
    for case in range(first, first + cases):
        rng = random.Random(f"{seed} {case}")
        copy = home.parent / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        done = change(copy, rng)
        for command in todo:
            if command[0] == "rerun" and "/run-" not in done and "config" not in done:
                continue  # all that it reads is as it was
            outcome = tried(copy, command, outside)
            word = outcome.partition(":")[0]
            counts[f"{command[0]}: {word}"] += 1
            if word not in ("0", "1"):
                tell(f"case {case}, {done}, {command[0]}: {outcome}")
            if word not in ("0", "1", "unforeseen"):
                wrong.append(f"case {case}, {done}, {command[0]}: {outcome}")
        if {path: path.read_bytes() for path in outside.iterdir()} != before:
            wrong.append(f"case {case}, {done}: what lies outside was changed")
            break
    return counts, wrong


@pytest.mark.long
def test_a_sample(tmp_path, cases):
    cases(SAMPLE)
    home = make_project(tmp_path / "project")
    counts, wrong = fuzz(home, SAMPLE)
    assert not wrong, "\n".join(wrong)
    assert counts["summary: 0"] > SAMPLE / 4  # most of what is changed is not read by it
    assert counts["verify: 1"] > SAMPLE / 4


def test_what_is_watched_is_seen(tmp_path):
    (tmp_path / SECRET).mkdir()
    (tmp_path / SECRET / "x.csv").write_text("")
    opened = Opened(tmp_path / SECRET)
    assert (tmp_path / SECRET / "x.csv").read_text() == ""
    assert opened.names() == ["x.csv"]
    opened = Opened(tmp_path / SECRET)
    os.stat(tmp_path / SECRET / "x.csv")
    assert opened.names() == []
