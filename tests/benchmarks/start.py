"""How long commands take to start and Snakemake to plan, beside Python alone and a bare Snakefile of as many jobs.

    python tests/benchmarks/start.py
    python tests/benchmarks/start.py --scheduling   # what Snakemake's limit of jobs a second costs in a long run

Processor seconds (user and system) of whole processes, the least of three: other work on the machine weighs little.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
REPEATS = 3
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PLAN = [*SNAKEMAKE, "--dry-run", "--quiet"]
SWEPT = {"margin": [0.01, 0.03, 0.1, 0.3, 1], "learning_rate": [0.0001, 0.0003, 0.001, 0.003, 0.01]}
RUNS_500 = {  # 4 inputs × 25 points × 5 seeds
    "experiments": [
        {
            "id": "many",
            "data": ["emoji"],
            "inputs": [["lite0", text] for text in ("bert", "doc2vec", "lda", "bow")],
            "methods": [{"id": "dla", "method": "dla_cmr", "sweep": SWEPT}],
            "seeds": 5,
        }
    ]
}
# A fit and an evaluation a run, as here, without anything of this project: what Snakemake itself needs.
BARE = """
rule all:
    input: expand("runs/{n}/metrics.json", n=range(500))
rule prepare:
    output: "items.parquet"
    script: "x.py"
rule fit:
    input: "items.parquet"
    output: "fits/{n}/model", "fits/{n}/history", "fits/{n}/record"
    log: "logs/fit/{n}"
    script: "x.py"
rule evaluate:
    input: "items.parquet", "fits/{n}/model", "fits/{n}/history", "fits/{n}/record"
    output: "runs/{n}/metrics.json", "runs/{n}/curves", "runs/{n}/record", directory("runs/{n}/embeddings")
    log: "logs/evaluate/{n}"
    script: "x.py"
"""

# 600 jobs that sleep, eight at once: what is left is Snakemake's work, with its limit of jobs a second and without.
SLEEPING = """
onstart:
    {}
rule all:
    input: expand("out/{{n}}", n=range(600))
rule sleep:
    output: "out/{{n}}"
    shell: "sleep 2; touch {{output}}"
"""


def scheduling(folder: Path) -> None:
    for name, line in {"with the limit": "pass", "without": "workflow.scheduler.job_rate_limiter = None"}.items():
        (folder / name).mkdir()
        (folder / name / "Snakefile").write_text(SLEEPING.format(line))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*SNAKEMAKE, "--cores", "8"], cwd=folder / name, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"600 jobs, {name}: {taken:.1f} s of processor time")


def seconds(command: list[str], folder: Path) -> float:
    """Processor seconds of the command, the least of several."""
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow"), "OMP_NUM_THREADS": "1"}
    taken = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def jobs(folder: Path, *arguments: str) -> int:
    """Number of planned jobs."""
    done = subprocess.run([*SNAKEMAKE, "-n", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return int(re.findall(r"^total +(\d+)$", done.stdout + done.stderr, re.MULTILINE)[-1])


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        if sys.argv[1:] == ["--scheduling"]:
            return scheduling(Path(temporary))
        here, bare = Path(temporary) / "here", Path(temporary) / "bare"
        for name in ("workflow", "profiles", "slurm", "envs", "resources"):
            shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, here)
        (here / "many.yaml").write_text(yaml.safe_dump(RUNS_500))
        bare.mkdir()
        (bare / "Snakefile").write_text(BARE)
        (bare / "x.py").write_text("")
        many = ["--configfile", "many.yaml"]
        results = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "results")
        rows = {
            "python -c pass": ([sys.executable, "-c", "pass"], here),
            "import numpy, h5py, pydantic": ([sys.executable, "-c", "import numpy, h5py, pydantic"], here),
            "cmr list": ([sys.executable, "-m", "cmr", "list"], here),
            f"cmr summary {results}": ([sys.executable, "-m", "cmr", "summary", results], here),
            "snakemake --version": ([*SNAKEMAKE, "--version"], here),
            f"plan of the default, {jobs(here)} jobs": (PLAN, here),
            f"plan of 500 runs, {jobs(here, *many)} jobs": ([*PLAN, *many], here),
            f"plan of a bare Snakefile, {jobs(bare)} jobs": (PLAN, bare),
        }
        for what, (command, folder) in rows.items():
            print(f"{what:<50} {seconds(command, folder):6.2f} s", flush=True)
    return None


if __name__ == "__main__":
    main()
