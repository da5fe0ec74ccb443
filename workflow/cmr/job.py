"""What a rule's job runs: ``job.py --plan FILE --log FILE RECORD`` makes the result whose record has that path.

The plan's file holds the checked configuration and what is particular to the machine, for all jobs of a run.
"""

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cmr import process, progress, registry
from cmr.config import Config
from cmr.errors import Printable, UserError, printable
from cmr.machine import Machine
from cmr.params import canonical, canonical_hash
from cmr.plan import Plan
from cmr.publish import read_json, write_json

FOLDER = ".snakemake/cmr"
LINE = "%(asctime)s %(name)s: %(message)s"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="job.py", description="Makes one result of a plan.")
    parser.add_argument("record", help="the result's record, which is written last")
    parser.add_argument("--plan", required=True, help="written by `snakemake` when it starts")
    parser.add_argument("--log", required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    process.prepare()
    with job(options.log):
        registry.use(plugin_folder(options.plan))
        plan, machine = read(options.plan, options.threads)
        result = plan.result_at(options.record)
        with progress.told(result.stage, result.record):
            importlib.import_module(f"cmr.stages.{result.stage}").make(result, machine)


def write(config: Config, machine: Machine, report: str) -> str:
    """The file that jobs read the plan from, named by what it holds; one of that name that holds something else, which
    may have come along with somebody's results, is replaced.
    """
    value = {"config": config.model_dump(mode="json"), "machine": vars(machine), "report": report}
    path = f"{FOLDER}/{canonical_hash(value)[:12]}.json"
    if not _holds(path, value):
        write_json(path, value)
    return path


def _holds(path: str, value: Any) -> bool:
    try:
        return canonical(read_json(path)) == canonical(value)
    except (OSError, UserError):
        return False


def plugin_folder(path: str) -> str | None:
    """The folder of plug-ins that the user's configuration named when the plan was written."""
    return _parsed(path)["machine"].get("plugins")


def read(path: str, threads: int) -> tuple[Plan, Machine]:
    """The plan and the machine of a file. Executes no plug-in: the file may be a stranger's (see `cmr.sharing`)."""
    value = _parsed(path)
    machine = Machine(**value["machine"] | {"threads": threads})
    return Plan(Config.model_validate(value["config"]), value["report"]), machine


def _parsed(path: str) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, UserError) as error:
        raise UserError(f"{path}: no plan ({error}); run `snakemake` again, which writes it") from None


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Runs the block as one job.

    A `UserError` ends the process with status 1 and one line, in the log and on the terminal; any other error leaves
    its traceback in the log. Files that the job makes are writable by its group, as a shared folder needs.
    """
    path = Path(log)
    os.umask(0o002)
    logging.raiseExceptions = False  # on a full disk the log would say so line by line
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(filename=path, filemode="w", level=logging.INFO, encoding="utf-8")
        for handler in logging.root.handlers:
            handler.setFormatter(Printable(LINE))  # Snakemake shows the log on the terminal
    except OSError as error:
        _fail(path, f"error: {path}: cannot be written: {error.strerror}")
    try:
        yield
    except UserError as error:
        _fail(path, f"error: {error}")
    except Exception as error:
        _fail(path, f"error: {type(error).__name__}: {error}", traceback.format_exc())


def _fail(log: Path, message: str, details: str = "") -> None:
    print(printable(message if not details else f"{message} (traceback in {log})"), file=sys.stderr)
    with suppress(OSError), log.open("a", encoding="utf-8") as file:  # the disk may be full, which has been said then
        file.write(printable(f"{details}{message}\n"))
    sys.exit(1)
