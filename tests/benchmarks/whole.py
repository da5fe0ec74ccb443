"""Where the time of a whole run goes: ``python tests/benchmarks/whole.py [CONFIGFILE …]``.

    python tests/benchmarks/whole.py                                            # the default
    python tests/benchmarks/whole.py resources/experiments/baselines.yaml

Runs the configuration in a copy of the working tree, then again when there is nothing to be done. Prints the seconds of
every rule's jobs on the clock, the processor seconds of all processes, and how many of them are imports: the start of
Python's processes, which Python itself reports. ``--keep FOLDER`` keeps the copy with its results.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "__pycache__", "_build")
IMPORT = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\w+)", re.MULTILINE)


def run(folder: Path, arguments: list[str]) -> tuple[float, float, Counter[str]]:
    """Seconds on the clock, processor seconds of all processes, and those of imports by package."""
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1", "PYTHONPATH": str(folder / "workflow")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        errors.seek(0)
        text = errors.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit("".join(line for line in text.splitlines(True) if not line.startswith("import time:")))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    imports: Counter[str] = Counter()
    for microseconds, package in IMPORT.findall(text):
        imports[package] += int(microseconds) / 1e6
    return time.perf_counter() - start, processor, imports


def jobs(folder: Path) -> dict[str, list[float]]:
    """Seconds on the clock of every rule's jobs, as Snakemake noted them."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for file in (folder / ".snakemake" / "metadata").rglob("*"):
        if file.is_file():
            record = json.loads(file.read_text())
            job = json.dumps(record["log"])  # stands with each of its outputs
            found[record["rule"]][job] = record["endtime"] - record["starttime"]
    return {rule: list(seconds.values()) for rule, seconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configfiles", nargs="*")
    parser.add_argument("--keep", type=Path, help="a folder that does not exist")
    options = parser.parse_args()
    arguments = ["--configfile", *options.configfiles] if options.configfiles else []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "copy"
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
        first, again = run(folder, arguments), run(folder, arguments)
        print("| rule | jobs | seconds on the clock |\n| --- | --- | --- |")
        for rule, seconds in sorted(jobs(folder).items(), key=lambda pair: -sum(pair[1])):
            print(f"| `{rule}` | {len(seconds)} | {sum(seconds):.1f} |")
    for name, (clock, processor, imports) in {"the run": first, "nothing to be done": again}.items():
        print(
            f"{name}: {clock:.1f} s on the clock with {os.cpu_count()} cores, {processor:.1f} s of processor time, "
            f"of it {imports.total():.1f} s imports ({imports.total() / processor:.0%}): "
            + ", ".join(f"{package} {seconds:.1f} s" for package, seconds in imports.most_common(8))
        )


if __name__ == "__main__":
    main()
