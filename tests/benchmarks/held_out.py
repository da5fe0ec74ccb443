"""Held-out scores of an experiment's runs beside their test scores: what defaults are chosen by, and what comes of it.

    python tests/benchmarks/held_out.py results/experiments/ID-DIGEST.json […]

A row a method: mean ± standard deviation over the seeds of the best candidate's score on the held-out rows (mAP@all, or
paired recall@10 for methods without labels), and of mAP@all on the test rows; what was chosen in how many runs.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cmr.publish import read_json

METRIC = "map@all"


def scores(run: Path, names: dict[str, str]) -> tuple[list[float], str]:
    """Held-out score, test scores of each direction and their mean, and the chosen parameters of a run of one fit."""
    (fit,) = read_json(run / names["run"])["fits"]
    metrics = read_json(run / names["metrics"])
    tried = [candidate["validation_score"] for candidate in fit["selection"]["candidates"]]
    directions = [task["metrics"][METRIC]["value"] for task in metrics["tasks"]]
    chosen = {k: v for k, v in fit["selection"]["chosen"].items() if k != "epochs"}
    return [max(tried), *directions, float(np.mean(directions))], " ".join(f"{k} {v}" for k, v in chosen.items())


def cell(values: np.ndarray) -> str:
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="+", type=Path)
    for file in parser.parse_args().experiments:
        experiment: dict[str, Any] = read_json(file)
        methods: dict[Path, list[tuple[list[float], str]]] = {}
        for run in map(Path, experiment["runs"]):
            folder = file.parents[1] / run if not run.exists() else run
            methods.setdefault(folder.parent, []).append(scores(folder, experiment))
        print("| method | seeds | held out | image→text | text→image | average | chosen |\n" + "| --- " * 7 + "|")
        for folder, runs in methods.items():
            columns = np.array([values for values, _ in runs]).T
            chosen = "; ".join(f"{what} ({n})" for what, n in Counter(what for _, what in runs).items() if what)
            print(f"| {folder.name} | {len(runs)} | {' | '.join(map(cell, columns))} | {chosen} |", flush=True)


if __name__ == "__main__":
    main()
