"""The files that `cmr new` begins plug-ins with: as they stand they pass the contract and run in the workflow."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cmr import templates
from toy_clones import ROOT, Clone, copy_project

CONFIG = {
    "title": "Own",
    "plugins": "my",
    "datasets": [{"id": "mine", "dataset": "my_dataset", "params": {"folder": "pictures"}}],
    "features": [
        {"id": "image", "extractor": "my_extractor", "params": {"grid": 2}},
        {"id": "text", "extractor": "bow"},
    ],
    "metrics": [{"id": "mine@3", "metric": "my_metric", "params": {"k": 3}}],
    "experiments": [
        {
            "id": "main",
            "data": ["mine"],
            "inputs": [["image", "text"]],
            "methods": [{"id": "mine", "method": "my_method", "tune": {"temperature": [0.05, 0.5]}}],
        }
    ],
}
WORDS = {"red": ["apple", "cherry", "rose"], "blue": ["sea", "sky", "ink"]}


@pytest.fixture
def begun(tmp_path):
    """A project beside a folder with a copy of each template."""
    root = tmp_path / "clone"
    root.mkdir()
    copy_project(root)
    for template in templates.KINDS:
        templates.new(template, f"my_{template}", root / "my")
    return Clone(root)


def write_pictures(folder):
    """Sixty pairs of two classes, so that two of one are held out: a colour with noise, and words that go with it."""
    generator = np.random.default_rng(0)
    for number in range(60):
        colour, words = list(WORDS.items())[number % 2]
        pixels = generator.integers(0, 60, (20, 30, 3), np.uint8)
        pixels[..., 0 if colour == "red" else 2] += 150
        (folder / colour).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / colour / f"{number}.png")
        (folder / colour / f"{number}.txt").write_text(f"{words[number % 3]} and {words[(number + 1) % 3]} {number}")


@pytest.mark.slow
def test_the_copies_pass_every_contract_test(begun):
    environment = os.environ | {"PYTEST_ADDOPTS": "-p no:cacheprovider -p no:xdist"}
    command = [sys.executable, "-m", "pytest", "-vv", "tests/contract", f"--plugins={begun.root / 'my'}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for template, least in {"method": 10, "extractor": 5, "dataset": 5, "metric": 5}.items():
        assert done.stdout.count(f"[my_{template}] PASSED") >= least, done.stdout


@pytest.mark.slow
def test_the_copies_run_in_a_workflow_of_nothing_but_own_plug_ins(begun):
    write_pictures(begun.root / "pictures")
    begun.configure(**CONFIG)
    begun.snakemake()
    assert len(list(begun.root.glob("results/runs/mine-*/default/image-*+text/mine-*/0/metrics*.json"))) == 1
    page = next(begun.root.glob("results/report*/index.html")).read_text()
    assert "My metric" in page
    assert begun.planned() == {}
