"""What a run of the workflow says on the terminal: a line a job that has ended, and failures in full.

Snakemake's own text goes on into its log file. The events and their fields are those of its interface for logger
plug-ins (snakemake-interface-logger-plugins, `LogEvent`).
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from cmr.errors import quantity
from cmr.progress import ERASE, duration

DROPPED = {"JOB_INFO", "GROUP_INFO", "SHELLCMD", "JOB_STARTED", "RESOURCES_INFO", "WORKFLOW_STARTED"}
UNKNOWN = 0.25
SELECTING = "Select jobs to execute..."
UPDATED = ("DAG of jobs will be updated", "Updating checkpoint dependencies")
REMARKS = ("Using shell: ", "Conda environments: ", "Group jobs: ", "Assuming unrestricted ", SELECTING, *UPDATED)
"""How lines begin that are about Snakemake itself and that nobody acts on."""
STOPPING, FAILED = "Terminating processes on user request", "At least one job did not complete successfully"
"""How Snakemake answers Ctrl-C, and with what it ends then, as after a job that failed."""


@dataclass(frozen=True)
class Begun:
    """A job that runs: its rule, what it is about, and when it began, in seconds of a clock."""

    rule: str
    about: str
    at: float


@dataclass
class Progress:
    """Counts jobs, and reckons how long those that are left will take."""

    clock: Any = time.monotonic
    started: float | None = None
    left: Counter[str] = field(default_factory=Counter)
    running: dict[int, Begun] = field(default_factory=dict)
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def begin(self, jobid: int, rule: str, about: str) -> None:
        now = self.clock()
        self.started = now if self.started is None else self.started
        self.running[jobid] = Begun(rule, about, now)

    def end(self, jobid: int) -> tuple[Begun, float] | None:
        """The job and the seconds that it took; None for one whose beginning was not seen."""
        job = self.running.pop(jobid, None)
        if job is None:
            return None
        seconds = self.clock() - job.at
        self.seconds[job.rule].append(seconds)
        self.left[job.rule] -= 1
        return job, seconds

    def seconds_left(self) -> float | None:
        """From the mean time of each rule's jobs, and as many at once as so far.

        Jobs of rules of which none has ended count with the mean of all. None where they are more than `UNKNOWN` of
        those that wait.
        """
        waiting = {rule: count for rule, count in self.left.items() if count > 0}
        unknown = sum(count for rule, count in waiting.items() if rule not in self.seconds)
        done = [seconds for of_rule in self.seconds.values() for seconds in of_rule]
        if self.started is None or not sum(done) or unknown > UNKNOWN * sum(waiting.values()):
            return None
        ahead = sum(count * mean(self.seconds.get(rule, done)) for rule, count in waiting.items())
        return (self.clock() - self.started) * ahead / sum(done)


class Lines(logging.Formatter):
    """Formats the events of jobs as lines, and leaves all others to ``other``.

    ``live``: to a terminal, where a line takes the place of what a job says of its progress.
    """

    def __init__(self, other: logging.Formatter, progress: Progress | None = None, live: bool = False):
        super().__init__()
        self.other = other
        self.live = live
        self.progress = progress or Progress()
        self.ended: list[int] = []
        self.interrupted = False

    def shown(self, record: logging.LogRecord) -> bool:
        """A filter, since a handler may write before it formats. It sees all events, and keeps count of them."""
        event = event_of(record)
        if event == "JOB_INFO":
            said = record.__dict__
            self.progress.begin(said["jobid"], said["rule_name"], about(said["wildcards"]))
        elif event == "JOB_FINISHED":
            self.ended.append(record.__dict__["job_id"])
        self.interrupted |= record.getMessage().startswith(STOPPING)
        return event not in {*DROPPED, "JOB_FINISHED"} and not record.getMessage().startswith(REMARKS)

    def format(self, record: logging.LogRecord) -> str:
        text = self._text(record)
        return f"{ERASE}{text}" if text and self.live else text

    def _text(self, record: logging.LogRecord) -> str:
        event, said = event_of(record), record.__dict__
        if event == "RUN_INFO":
            return self._plan(said["stats"])
        if event == "PROGRESS":
            return self._ended(said["done"], said["total"])
        if self.interrupted and FAILED in record.getMessage():
            return "interrupted; type the same command to go on"
        return self.other.format(record)

    def _plan(self, stats: Mapping[str, int]) -> str:
        """``13 jobs: 1 download, 3 fit``."""
        jobs = {rule: count for rule, count in stats.items() if rule != "total"}
        self.progress.left = Counter(jobs)
        return f"{quantity(sum(jobs.values()), 'job')}: " + ", ".join(f"{count} {rule}" for rule, count in jobs.items())

    def _ended(self, done: int, total: int) -> str:
        """A line a job that ended since the last progress; the last one says how long the rest will take."""
        found = [ended for jobid in self.ended if (ended := self.progress.end(jobid))]
        self.ended.clear()
        first, width = done - len(found) + 1, len(str(total))
        lines = [
            f"{place:>{width}} of {total}  {job.rule:<9} {duration(seconds):>8}  {job.about}"
            for place, (job, seconds) in enumerate(found, first)
        ]
        left = self.progress.seconds_left()
        if lines and left is not None and done < total:
            lines[-1] += f"  (about {duration(left)} left)"
        return "\n".join(line.rstrip() for line in lines)


def event_of(record: logging.LogRecord) -> str | None:
    """The name of Snakemake's event that a record tells of; None for a plain line."""
    return getattr(getattr(record, "event", None), "name", None)


def about(wildcards: Mapping[str, Any]) -> str:
    """``emoji default lite0+bert cca seed 0``."""
    return " ".join(f"seed {value}" if key == "seed" else str(value) for key, value in wildcards.items())
