"""The whole process group of a run killed at random moments, and the run started again each time."""

import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from cmr import publish
from robustness.toys import WHOLE, measured, temporaries, temporaries_in
from toy_clones import clone
from toy_plan import Project, experiment, of_features, written_features

SHARE = 0.4  # of the time of a whole run, within which a kill falls: a run that always dies young would never end
LONG = 120  # seconds: a process that takes as long hangs
RULES = ("download", "prepare", "split", "extract", "encode", "fit", "evaluate", "collect", "page")


def started(made, *arguments):
    """A run in a process group of its own. What killed runs wrote stands before in the log.

    With Snakemake's own text, which says when a job begins: a line a job comes when it has ended.
    """
    environment = os.environ | {"PYTHONPATH": ""}
    with (made.root / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "snakemake", "--printshellcmds", *arguments]
        return subprocess.Popen(command, cwd=made.root, env=environment, stdout=log, stderr=log, start_new_session=True)


def finished(made, *arguments):
    assert started(made, *arguments).wait() == 0, (made.root / "log.txt").read_text()


def killed_after(made, seconds, *arguments):
    """Whether the run was still going on when it was killed, after ``seconds``."""
    process = started(made, *arguments)
    try:
        assert process.wait(seconds) == 0, (made.root / "log.txt").read_text()
        return False
    except subprocess.TimeoutExpired:
        return killed(process)


def killed_in(made, rule, seconds, *arguments):
    """As `killed_after`, ``seconds`` after a job of the rule has begun; False where none began or the run was faster."""
    log = made.root / "log.txt"
    before = log.stat().st_size if log.exists() else 0
    process = started(made, *arguments)
    while process.poll() is None:
        if re.search(rf"^(local)?(rule|checkpoint) {rule}:$", log.read_text()[before:], re.MULTILINE):
            time.sleep(seconds)
            return process.poll() is None and killed(process)
        time.sleep(0.02)
    return False


def killed(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def in_flight(made):
    """The rules that had begun and not ended when the last run was killed."""
    text = (made.root / "log.txt").read_text().rpartition("Building DAG of jobs")[2]
    begun = dict(
        re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):(?:\n    .*)*?\n    jobid: (\d+)$", text, re.MULTILINE)
    )
    ended = set(re.findall(r"^Finished jobid: (\d+)", text, re.MULTILINE))
    return {rule for rule, job in begun.items() if job not in ended}


def survives(tmp_path, kills, configuration, target, seed):
    """A kill in every rule, one run after the other, then as many at random moments, until ``kills`` have met a run.

    Each time the run is started again; whenever it comes to its end, its results are compared, and it begins anew.
    Returns the rules that the kills met.
    """
    made = clone(tmp_path / "clone")
    made.configure(**configuration)
    reference = made.copy(tmp_path / "reference")
    begun = time.monotonic()
    finished(reference, *target)
    whole = time.monotonic() - begun
    moments = random.Random(seed)
    met, done, ended, rules = set(), 0, 0, list(RULES)
    while done < kills:
        if rules:
            still_going = killed_in(made, rules[0], moments.uniform(0, 0.5), *target)
            rules = rules[still_going:]
        else:
            still_going = killed_after(made, moments.uniform(0, SHARE * whole), *target)
        if still_going:
            done += 1
            met |= in_flight(made)
            finished(made, "--unlock")  # the one command that is documented
        if not still_going or done == kills:
            ended += 1
            assert ended < kills, (
                f"no job of the rule {rules[0]} begins" if rules else "runs end before they are killed"
            )
            finished(made, *target)
            assert measured(made) == measured(reference)
            assert measured(made)
            assert temporaries(made) == []
            assert made.planned(*target) == {}
            shutil.rmtree(made.root / "results")
    return met


def chain(root):
    """Every stage that is not done yet, as the rules' jobs make them."""
    made = project(root)
    made.make(made.only("evaluate"))


def project(root):
    dictionaries = [{"id": "coupled", "params": {"atoms": [4, 4], "iterations": 2}}]
    method = {"id": "cca", "params": {"components": 2}, "dictionary": "coupled"}
    data = of_features(("image", "text"), PARTS)
    return Project(root, {**data, "dictionaries": dictionaries, **experiment(("image", "text"), method)})


PARTS = ("train", "validation", "test")
COMPARED = ("items.parquet", "contents.sha256", "default.csv", "image-*.h5", "text-*.h5", "codes/**/0.h5")
COMPARED += ("model.safetensors", "metrics.json")


def written(root):
    generator = np.random.default_rng(0)
    values = {"image": generator.normal(size=(300, 60)), "text": generator.normal(size=(300, 40))}
    written_features(root, values, np.arange(300) % 3, np.array(PARTS)[np.arange(300) % 5 // 2])
    return root


def processes():
    """Processes that find everything imported, forked from one that runs no thread: after a fork, threads' locks stay."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([name for name in sys.modules if name.startswith("cmr.")])
    return context


def runs_through(root, seconds=LONG):
    """Runs the chain in a process, which is killed after ``seconds``; whether it came to its end."""
    process = processes().Process(target=chain, args=(root,))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


KILLS = 6


@pytest.mark.mended(
    "temporary files of killed processes stayed for ever; the next writer in the folder removes those of dead "
    "processes of its machine"
)
@pytest.mark.slow
def test_kills_within_the_stages(tmp_path, cases):
    """Without Snakemake's own marks of incomplete jobs: what stands under its final name is whole."""
    cases(KILLS)
    reference, tried = written(tmp_path / "reference"), written(tmp_path / "tried")
    assert runs_through(reference)  # in such a process too: as many threads, so the same bits. Starts the server
    begun = time.monotonic()
    assert runs_through(tried)
    whole = time.monotonic() - begun
    shutil.rmtree(tried / "results")
    moments, done = random.Random(3), 0
    while done < KILLS:
        if runs_through(tried, moments.uniform(0, whole)):
            shutil.rmtree(tried / "results")
        else:
            done += 1
    assert runs_through(tried)
    for name in COMPARED:
        (file,) = (reference / "results").rglob(name)
        assert (tried / file.relative_to(reference)).read_bytes() == file.read_bytes(), name
    assert temporaries_in(tried / "results") == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = ended.pid
    host = publish._place()
    left = [tmp_path / f".a.json.{host}.{dead}.tmp", tmp_path / f".0.{host}.{dead}.tmp"]
    living = [tmp_path / f".b.json.{host}.{os.getppid()}.tmp", tmp_path / f".c.json.elsewhere.{dead}.tmp"]
    living.append(tmp_path / f".d.json.{socket.gethostname()}-another.{dead}.tmp")  # of a container of the same name
    left[1].mkdir()
    for path in [left[0], left[1] / "model", *living]:
        path.write_text("half")
    publish.write_json(tmp_path / "new.json", {})
    assert sorted(path for path in tmp_path.iterdir() if path.suffix == ".tmp") == sorted(living)


@pytest.mark.long
def test_thirty_kills_of_a_whole_run(tmp_path, cases):
    cases(30)
    met = survives(tmp_path, 30, WHOLE, (), seed=2)
    assert len(met) >= 6, met
