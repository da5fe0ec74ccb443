"""Each thing that the rules need of Snakemake's inside, tried on a small workflow: a release that changes it fails here."""

import os
import re
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from cmr import snakemake_internals
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


def test_a_group_ends_where_its_minutes_would_pass_the_longest(monkeypatch):
    import_module("snakemake.api")  # the modules below import each other, and this one all of them
    from snakemake import dag
    from snakemake.jobs import GroupJob
    from snakemake.resources import GroupResources

    monkeypatch.setattr(dag, "group_into_chunks", dag.group_into_chunks)
    monkeypatch.setattr(GroupResources, "basic_layered", lambda **_: {"mem_mb": 10, "runtime": 20})
    assert "group_into_chunks" in dag.DAG._update_group_components.__code__.co_names
    assert "basic_layered" in GroupJob.resources.fget.__code__.co_names
    snakemake_internals.bound_groups(lambda gpus: 99 if gpus else 15)

    def component(*minutes):
        return SimpleNamespace(jobs=[SimpleNamespace(resources={"runtime": number}) for number in minutes])

    runs = [*(component(4, 1) for _ in range(4)), component(20, 1), *(component(0, 1) for _ in range(6))]
    assert [len(chunk) for chunk in dag.group_into_chunks(5, runs)] == [3, 1, 1, 5, 1]
    for minutes, asked in ((4, 15), (18, 18)):
        levels = [component(minutes, 1).jobs]
        assert GroupResources.basic_layered(toposorted_jobs=levels) == {"mem_mb": 10, "runtime": asked}


def test_the_executor_asks_before_ended_jobs_are_forgotten():
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    executor = SimpleNamespace(_next_seconds_between_status_checks=None)
    settings = SimpleNamespace(init_seconds_before_status_checks=20)
    before = RemoteExecutor.next_seconds_between_status_checks
    try:
        snakemake_internals.ask_within(SimpleNamespace(executor_settings=settings), 60)
        asked = RemoteExecutor.next_seconds_between_status_checks
        for wanted, found in ((20, 20), (180, 30)):
            asked.fset(executor, wanted)
            assert executor._next_seconds_between_status_checks == asked.fget(executor) == found
        assert settings.init_seconds_before_status_checks == 20
        snakemake_internals.ask_within(SimpleNamespace(executor_settings=settings), 45)
        assert settings.init_seconds_before_status_checks == 15
    finally:
        RemoteExecutor.next_seconds_between_status_checks = before


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
