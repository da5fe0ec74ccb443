"""How much it flatters to choose the epoch and the parameters on test rows, as many public codes do.

    python tests/benchmarks/chosen_on_test.py results/fits/wikipedia/2173_693/sift-…+lda10-…/dscmr-… […]

Takes finished fits, a folder of seeds each. Mean mAP@all of both directions on the test rows, mean ± standard deviation
over the seeds: of the model as the workflow chose it, and of what the same candidates give when the best epoch and
candidate on the test rows are kept. Only this script does that; the workflow has no such option.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from cmr import inputs, publish, registry, stages
from cmr.data import Items, Split, TrainingData
from cmr.selection import select_and_fit


def both(folder: Path) -> tuple[float, float]:
    """Test scores of a fit as it was chosen, and chosen on the test rows."""
    method, record = stages.load_method(folder, "cpu")
    items_file, split_file, *files = record["input_hashes"]
    what = (files, record["features"], Items.read(items_file), Split.read(split_file), bool(record["dictionary"]))
    train, test = inputs.training_data(*what, with_labels=True).train, inputs.test_rows(*what, with_labels=True)

    info = registry.info("methods", record["method"]["method"])
    on_test = TrainingData(train, selection_train=train, held_out=test, has_validation=True)
    with tempfile.TemporaryDirectory() as partial:
        create = stages.method_factory(record, method.modalities, "cpu", Path(partial))
        flattered, _, _ = select_and_fit(create, record["method"]["tune"], info.chooses, on_test)
    return method.validation_score(test), flattered.validation_score(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    print(
        "| method | seeds | chosen on held-out training rows | chosen on test rows | gain |\n| --- | --- | --- | --- | --- |"
    )
    for folder in parser.parse_args().folders:
        scores = np.array([both(fit) for fit in sorted(folder.iterdir())])
        name = publish.read_json(next(folder.iterdir()) / "fit.json")["method"]["id"]
        columns = [*scores.T, scores[:, 1] - scores[:, 0]]
        cells = [f"{c.mean():.3f} ± {c.std(ddof=1):.3f}" if len(c) > 1 else f"{c.mean():.3f}" for c in columns]
        print(f"| {name} | {len(scores)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
