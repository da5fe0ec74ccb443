"""Seconds and peak memory of the closed-form methods on many rows and features.

    python tests/benchmarks/baselines_scale.py [--rows 40000] [--image 4096] [--text 300] [METHOD …]

Made-up rows of twenty classes, a process a method. Methods that are stochastic or fitted a modality at a time are
not in the default list; `kcca` requires items × items and is there to show that it refuses.
"""

import argparse
import json
import subprocess
import sys

import numpy as np

from cmr import provenance, registry
from cmr.data import View
from cmr.errors import UserError

METHODS = ["cca", "pls", "mcca", "cca_3v", "ml_cca", "gmlda", "mvda", "mvda_vc", "mdcr", "lcfs", "jfssl", "jrl", "cmcp"]
METHODS += ["kcca"]
CLASSES = 20


def rows(n: int, dimensions: dict[str, int]) -> dict[str, View]:
    generator = np.random.default_rng(0)
    kinds = generator.integers(CLASSES, size=n)
    labels, ids = np.eye(CLASSES, dtype=np.uint8)[kinds], np.arange(n).astype(str)
    views = {}
    for modality, d in dimensions.items():
        features = generator.standard_normal((n, d), dtype=np.float32)
        features += generator.standard_normal((CLASSES, d), dtype=np.float32)[kinds]
        views[modality] = View(ids, features, labels)
    return views


def run(name: str, n: int, dimensions: dict[str, int]) -> str:
    part = rows(n, dimensions)
    method = registry.load("methods", name)(registry.params_model("methods", name)(), tuple(part))
    if not registry.info("methods", name).labels:
        part = {m: view.without_labels() for m, view in part.items()}
    try:
        with provenance.used() as usage:
            method.fit(part)
    except UserError as error:
        return f"refused: {error}"
    return f"{usage['seconds']:.0f} s | {usage['peak_memory_mb'] / 1024:.1f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--image", type=int, default=4096)
    parser.add_argument("--text", type=int, default=300)
    parser.add_argument("--one", action="store_true", help="run the one method here")
    options = parser.parse_args()
    sizes = ["--rows", str(options.rows), "--image", str(options.image), "--text", str(options.text)]
    if options.one:
        print(json.dumps(run(options.methods[0], options.rows, {"image": options.image, "text": options.text})))
        return
    print(f"{options.rows} rows, {options.image} and {options.text} features: seconds | peak memory with the data")
    for name in options.methods:
        command = [sys.executable, __file__, name, "--one", *sizes]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(f"{name} | {json.loads(done.stdout) if done.returncode == 0 else 'failed'}", flush=True)


if __name__ == "__main__":
    main()
