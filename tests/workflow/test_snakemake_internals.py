"""Each thing that the rules need of Snakemake's inside, tried on a small workflow: a release that changes it fails here."""

import os
import re
import subprocess
import sys

import pytest

from toy_clones import ROOT

BEGIN = f"""
import sys
sys.path.insert(0, {str(ROOT / "workflow")!r})
from cmr import snakemake_internals
"""
CHAIN = """
rule all:
    input: "c"
rule a:
    output: "a"
    shell: "echo a > a"
rule b:
    input: "a"
    output: "b"
    shell: "echo b > b"
rule c:
    input: "b"
    output: "c"
    shell: "echo c > c"
"""


@pytest.fixture
def snakemake(tmp_path):
    """Runs Snakemake on a Snakefile of these lines; returns its output."""

    def run(text, *arguments):
        (tmp_path / "Snakefile").write_text(text)
        environment = os.environ | {"PYTHONPATH": ""}
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        told = done.stdout + done.stderr
        assert done.returncode == 0, f"cmr/snakemake_internals.py does not fit this Snakemake: {told}"
        return told

    return run


def jobs(told):
    return dict(re.findall(r"^([abc]) +(\d)$", told.rpartition("Job stats:")[2], re.MULTILINE))


@pytest.mark.slow
def test_forced_files_are_made_again_with_what_follows_and_nothing_else_is_asked_for(snakemake):
    snakemake(CHAIN)
    assert "Nothing to be done" in snakemake(BEGIN + CHAIN + "snakemake_internals.force([])\n", "-n")
    force_b = BEGIN + CHAIN + "snakemake_internals.force(['b'])\n"
    assert jobs(snakemake(force_b, "-n")) == {"b": "1", "c": "1"}, "DAG.forcefiles is no longer looked at"
    assert "Nothing to be done" in snakemake(force_b, "-n", "a"), "a forced file has become a target"
    assert "Nothing to be done" in snakemake(CHAIN, "-n")


def test_the_rate_limit_can_be_lifted(snakemake):
    ask = "onstart:\n    assert workflow.scheduler.job_rate_limiter is not None\n"
    ask += "    snakemake_internals.lift_rate_limit(workflow)\n"
    assert "3 of 4 steps" in snakemake(BEGIN + ask + CHAIN)


def test_a_resource_is_limited_as_on_the_command_line(snakemake):
    limited = CHAIN.replace('shell: "echo b', 'resources: brief=1\n    shell: "echo b')
    ask = "onstart:\n    assert workflow.global_resources['brief'] == 1, 'register_resource is no longer a limit'\n"
    snakemake(BEGIN + "snakemake_internals.limit(workflow, 'brief', 1)\n" + ask + limited, "--forceall")


def test_a_group_takes_as_many_jobs_as_it_is_told(snakemake):
    ask = "onstart:\n    snakemake_internals.join_group(workflow, 'short', 7)\n"
    ask += "    assert dict(workflow.group_settings.group_components) == {'long': 2, 'short': 7}\n"
    snakemake(BEGIN + ask + CHAIN, "--group-components", "long=2")


@pytest.mark.slow
def test_a_job_is_a_line_on_the_terminal_and_whole_in_the_log(snakemake, tmp_path):
    short = BEGIN + "snakemake_internals.say_a_line_a_job(workflow)\n" + CHAIN
    told = snakemake(short)
    assert re.findall(r"^(\d) of 4  (\w+) ", told, re.MULTILINE) == [("1", "a"), ("2", "b"), ("3", "c"), ("4", "all")]
    assert "4 jobs: " in told
    assert not re.search(r"^(local)?rule a:$|Select jobs|Finished jobid", told, re.MULTILINE)
    (log,) = (tmp_path / ".snakemake/log").glob("*.log")
    assert re.search(r"^(local)?rule a:$", log.read_text(), re.MULTILINE)
    assert "Nothing to be done" in snakemake(short)
    whole = snakemake(short, "--forceall", "--printshellcmds")
    assert re.search(r"^(local)?rule a:$", whole, re.MULTILINE)
    assert re.search(r"^Finished jobid: \d+", whole, re.MULTILINE), "tests of killed runs look for these lines"


def test_a_failure_is_said_in_full(tmp_path):
    failing = CHAIN.replace('shell: "echo b > b"', 'log: "b.log"\n    shell: "echo what went wrong > b.log; false"')
    (tmp_path / "Snakefile").write_text(BEGIN + "snakemake_internals.say_a_line_a_job(workflow)\n" + failing)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--show-failed-logs"]
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode
    assert "Error in rule b:" in done.stderr
    assert "what went wrong" in done.stderr


@pytest.mark.parametrize("made", ["made", ""])
def test_a_rule_that_is_made_a_checkpoint_decides_which_jobs_follow(snakemake, tmp_path, made):
    """``made``: what its output says is made; without it the rule says nothing new, and is no checkpoint."""
    text = """
rule count:
    output: "count"
    shell: "echo one two > count"
rule part:
    output: "{part}.part"
    shell: "echo {wildcards.part} > {output}"
rule joined:
    input: lambda w: [f"{part}.part" for part in parts()]
    output: "joined"
    shell: "cat {input} > {output}"
"""
    begin = f"""{BEGIN}
import os
def parts():
    if not os.path.exists("count"):
        checkpoints.count.get()
    return open("count").read().split()
"""
    end = "if not os.path.exists('count'):\n    snakemake_internals.make_checkpoint(workflow, 'count')\n"
    if not made:
        (tmp_path / "count").write_text("three")
    snakemake(f"{begin}{text}{end}", "joined")
    assert (tmp_path / "joined").read_text() == ("one\ntwo\n" if made else "three\n")
