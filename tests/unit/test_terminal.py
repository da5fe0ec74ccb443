"""A line a job: what is counted, what is said, and how long the rest will take."""

import inspect
import logging
from enum import Enum

import pytest
import snakemake.api  # before its parts
from snakemake.scheduling import job_scheduler

from cmr import terminal
from cmr.terminal import Lines, Progress

Event = Enum("Event", "JOB_INFO JOB_FINISHED PROGRESS RUN_INFO SHELLCMD JOB_ERROR")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Said(logging.Handler):
    """Collects what a terminal would show."""

    def __init__(self, lines):
        super().__init__()
        self.text = []
        self.setFormatter(lines)
        self.addFilter(lines.shown)

    def emit(self, record):
        self.text += [line for line in self.format(record).splitlines() if line]


@pytest.fixture
def told():
    """An object with the clock, the lines so far, and functions that log events as Snakemake does."""
    clock = Clock()
    said = Said(Lines(logging.Formatter("%(message)s"), Progress(clock)))

    class Told:
        text = said.text

        def log(self, event=None, message="", **fields):
            record = logging.LogRecord("snakemake", logging.INFO, "", 0, message, (), None)
            record.__dict__ |= fields | ({"event": event} if event else {})
            said.handle(record)

        def plan(self, **stats):
            self.log(Event.RUN_INFO, "Job stats:\n", stats=stats | {"total": sum(stats.values())})

        def begin(self, jobid, rule, **wildcards):
            self.log(Event.JOB_INFO, jobid=jobid, rule_name=rule, wildcards=wildcards)

        def end(self, done, total, *jobids, after=0.0):
            clock.now += after
            for jobid in jobids:
                self.log(Event.JOB_FINISHED, job_id=jobid)
            self.log(Event.PROGRESS, None, done=done, total=total)

    return Told()


def test_a_job_is_one_line_when_it_has_ended(told):
    told.plan(prepare=1, fit=11)
    told.begin(7, "prepare", data="emoji")
    told.log(Event.SHELLCMD, "python job.py")
    assert told.text == ["12 jobs: 1 prepare, 11 fit"]
    told.end(1, 12, 7, after=3.0)
    assert told.text[1:] == [" 1 of 12  prepare      3.0 s  emoji"]
    told.begin(8, "fit", data="emoji", method="dla", seed="2")
    told.end(2, 12, 8, after=61.0)
    assert told.text[2] == " 2 of 12  fit        1.0 min  emoji dla seed 2  (about 10.2 min left)"


def test_jobs_of_a_group_end_together_and_each_has_its_line(told):
    told.plan(fit=2, evaluate=2)
    told.begin(1, "fit", seed="0")
    told.begin(2, "evaluate", seed="0")
    told.end(2, 4, 1, 2, after=5.0)
    assert [line.split()[:4] for line in told.text[1:]] == [
        ["1", "of", "4", "fit"],
        ["2", "of", "4", "evaluate"],
    ]
    assert "left" not in told.text[1]
    assert told.text[2].endswith("(about 5.0 s left)"), "two at once: ten seconds of jobs, half of them on the clock"


def test_time_left_is_not_said_while_most_kinds_of_jobs_are_unknown(told):
    told.plan(prepare=1, fit=5, page=1)
    told.begin(1, "prepare")
    told.end(1, 7, 1, after=1.0)
    assert "left" not in told.text[-1]
    told.begin(2, "fit")
    told.end(2, 7, 2, after=4.0)
    assert told.text[-1].endswith("(about 18 s left)"), "four fits of 4 s, and a page of (1 + 4) / 2 s"


def test_failures_and_plain_lines_are_said_as_they_are_but_for_snakemakes_own_particulars(told):
    told.log(message="Select jobs to execute...")
    told.log(message="Using shell: /bin/bash")
    told.log(message="Nothing to be done (all requested files are present and up to date).")
    told.log(Event.JOB_ERROR, "Error in rule fit:\n    log: x.log")
    assert told.text == [
        "Nothing to be done (all requested files are present and up to date).",
        "Error in rule fit:",
        "    log: x.log",
    ]


def test_an_interrupted_run_ends_with_what_to_do_and_a_failed_one_as_it_did(told):
    ends = "WorkflowError:\nAt least one job did not complete successfully."
    told.log(message=ends)
    told.log(message="Terminating processes on user request, this might take some time.")
    told.log(message=ends)
    assert told.text[-4::3] == ["WorkflowError:", "interrupted; type the same command to go on"]
    source = inspect.getsource(snakemake.api.Workflow) + inspect.getsource(job_scheduler)
    assert all(words in source for words in (terminal.STOPPING, terminal.FAILED))  # Snakemake's own
