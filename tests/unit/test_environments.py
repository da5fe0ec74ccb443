"""The conda environments pin what pyproject.toml pins."""

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PINNED = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
SNAKEMAKE_ITSELF = {"snakemake", "snakemake-executor-plugin-slurm"}


def packages(name):
    *_, pip = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())["dependencies"]
    return set(pip["pip"])


@pytest.mark.parametrize("name", ["base", "torch"])
def test_pins_are_those_of_the_project(name):
    assert packages(name) <= PINNED


def test_the_larger_environment_has_all_but_snakemake():
    missing = {pin.partition("==")[0] for pin in PINNED - packages("torch")}
    assert missing == SNAKEMAKE_ITSELF
    assert packages("base") < packages("torch")
