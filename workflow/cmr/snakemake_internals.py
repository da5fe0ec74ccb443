"""What the rules need of Snakemake that it does not document. A release that changes it fails a test of its own."""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from os.path import exists
from typing import Any

from cmr.terminal import Lines, Progress


def leave_to_records() -> None:
    """Takes away what else lets Snakemake make a result again: times of files, and its own notes of code and inputs.

    Whatever profile a user passes. What stays: missing files, what is forced, and what depends on a job that runs.
    """
    from snakemake.dag import DAG
    from snakemake.io import _IOFile
    from snakemake.workflow import Workflow

    async def never(file: Any, time: float) -> bool:
        return False

    async def unchecked(dag: Any, job: Any, outputs: Any) -> None:
        pass  # it ends a job whose input is from a clock that was ahead

    _IOFile.is_newer = never
    DAG.check_output_mtime = unchecked
    Workflow.rerun_triggers = property(lambda workflow: frozenset())


def force(files: Iterable[str]) -> None:
    """Makes the jobs that write these files run where the targets need them, as files that were left incomplete do."""
    from snakemake.dag import DAG

    forced, check = set(files), DAG.check_incomplete

    async def check_and_force(dag: Any) -> None:
        await check(dag)
        dag.forcefiles.update(forced)

    if forced:
        DAG.check_incomplete = check_and_force


def keep_what_is_whole() -> None:
    """Of a group that failed, the jobs that have all their output keep it, and only the others are told of.

    Snakemake takes a failed group's whole output for damaged. Here a job's record is written last.
    """
    from snakemake.jobs import GroupJob, Job

    cleanup, log_error = Job.cleanup, GroupJob.log_error

    async def cleanup_unless_whole(job: Any, skipped: Any) -> None:
        if not all(map(exists, job.output)):
            await cleanup(job, skipped)

    def log_error_of_failed(group: Any, *arguments: Any, **named: Any) -> None:
        told = copy(group)
        told.jobs = frozenset(job for job in group.jobs if _has_failed(job)) or group.jobs
        log_error(told, *arguments, **named)

    Job.cleanup = cleanup_unless_whole
    GroupJob.log_error = log_error_of_failed


def _has_failed(job: Any) -> bool:
    """Whether a job of a failed group could begin, and did not make all of its output."""
    return all(map(exists, job.input)) and not all(map(exists, job.output))


def go_on(stale: Callable[[], Iterable[str]]) -> None:
    """In a job on a cluster: one of a group that fails does not end the others, and a further attempt repeats none that
    was made. The executor hands on no ``--keep-going``, and ``--force`` always.

    ``stale``: files that are there and are made again nevertheless; asked for in a further attempt alone.
    """
    from snakemake.dag import DAG

    check = DAG.check_incomplete

    async def check_and_go_on(dag: Any) -> None:
        await check(dag)
        settings = dag.workflow.execution_settings
        settings.keep_going = True
        if settings.attempt > 1:
            dag.forcerules.clear()
            dag.forcefiles.clear()
            dag.forcefiles.update(stale())

    DAG.check_incomplete = check_and_go_on


def make_checkpoint(workflow: Any, rule: str) -> None:
    """As the keyword ``checkpoint``, of a rule that only sometimes is one: a plan with a checkpoint takes longer."""
    made = workflow.get_rule(rule)
    made.is_checkpoint = True
    workflow.globals["checkpoints"].register(made)


def lift_rate_limit(workflow: Any) -> None:
    """Takes away the limit of jobs a second, 100 by default, which wakes the scheduler a second after it was awake.

    Every job that ends adds one more such chain, and after hundreds of jobs they keep a core busy.
    """
    workflow.scheduler.job_rate_limiter = None


def say_a_line_a_job(workflow: Any) -> Progress:
    """Formats what goes to the terminal as `cmr.terminal` does; the log file keeps Snakemake's own text.

    A dry run, ``--verbose`` and ``--printshellcmds`` ask for that text on the terminal too. Returns what counts the
    jobs, to be told of those that a checkpoint adds.
    """
    from snakemake.logging import logger

    said, progress = workflow.output_settings, Progress()
    if said.dryrun or said.verbose or said.printshellcmds:
        return progress
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            lines = Lines(handler.formatter, progress, handler.stream.isatty())
            handler.setFormatter(lines)
            handler.addFilter(lines.shown)
    return progress


def limit(workflow: Any, resource: str, amount: int) -> None:
    """As ``--resources`` on the command line, which a job on a cluster does not read again."""
    workflow.register_resource(resource, amount)


def join_group(workflow: Any, group: str, jobs: int) -> None:
    """As ``--group-components``, which the executor does not hand on to the jobs."""
    settings = workflow.group_settings
    settings.group_components = {**settings.group_components, group: jobs}


def bound_groups(longest: Callable[[int], int]) -> None:
    """A group of independent jobs ends where the sum of their minutes would pass ``longest(gpus)``, and asks for no
    more, or as much as one of them does. The second is for what is not known yet when the groups are made.
    """
    from snakemake import dag
    from snakemake.resources import GroupResources

    layered = GroupResources.basic_layered

    def chunks(most: int, components: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
        chunk: list[Any] = []
        total = 0
        for component in components:
            minutes = sum(map(_minutes, component.jobs))
            if chunk and (len(chunk) == most or total + minutes > longest(ask_for_gpu(component.jobs))):
                yield tuple(chunk)
                chunk, total = [], 0
            chunk.append(component)
            total += minutes
        if chunk:
            yield tuple(chunk)

    def bounded(toposorted_jobs: Any, **named: Any) -> dict[str, Any]:
        found = dict(layered(toposorted_jobs=toposorted_jobs, **named))
        if "runtime" in found:
            jobs = [job for level in toposorted_jobs for job in level]
            found["runtime"] = min(found["runtime"], max([longest(ask_for_gpu(jobs)), *map(_minutes, jobs)]))
        return found

    dag.group_into_chunks = chunks
    GroupResources.basic_layered = staticmethod(bounded)


def ask_for_gpu(jobs: Iterable[Any]) -> int:
    """1 where one of the jobs asks for a GPU."""
    return int(any(job.resources.get("gpu") or job.resources.get("gres") for job in jobs))


def _minutes(job: Any) -> int:
    minutes = job.resources.get("runtime")
    return minutes if isinstance(minutes, int) else 0


def ask_within(workflow: Any, remembered: int) -> None:
    """The SLURM executor asks for its jobs at least twice while the controller remembers an ended one, in seconds.

    By itself it waits longer and longer, up to 180 seconds, and never learns of an end that was forgotten meanwhile. It
    asks `squeue` where its first wait is no longer than a third of that time.
    """
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor  # type: ignore[import-untyped]

    settings = workflow.executor_settings
    settings.init_seconds_before_status_checks = min(settings.init_seconds_before_status_checks, remembered // 3)
    wait = RemoteExecutor.next_seconds_between_status_checks

    def set_wait(executor: Any, seconds: int) -> None:
        wait.fset(executor, min(seconds, remembered // 2))

    RemoteExecutor.next_seconds_between_status_checks = property(wait.fget, set_wait)
