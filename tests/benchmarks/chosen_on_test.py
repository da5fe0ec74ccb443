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

from cmr import create, publish, registry
from cmr.data import TrainingData
from cmr.machine import Machine
from cmr.plan import Result
from cmr.row_source import RowSource
from cmr.selection import select_and_fit
from cmr.sharing import plan_of

MACHINE = Machine(device="cpu")


def fit_of(folder: Path) -> Result:
    """The fit that a folder's record describes."""
    record = {"fits": [publish.read_json(folder / "fit.json")], "metrics": [{"id": "mean_average_precision"}]}
    plan, run = plan_of(record, str(folder))
    (fit,) = map(plan.fit, plan.fits(run))
    if Path(fit.folder) != folder:
        raise SystemExit(f"{folder}: name it as {fit.folder}, from the folder that has results/ in it")
    return fit


def both(folder: Path) -> tuple[float, float]:
    """Test scores of a fit as it was chosen, and chosen on the test rows."""
    method, record = create.fitted_method(folder, MACHINE)
    rows = RowSource.of(fit_of(folder))
    train, test = rows.training_data(with_labels=True).train, rows.test_rows(with_labels=True)

    info = registry.info("methods", record["method"]["method"])
    on_test = TrainingData(train, selection_train=train, held_out=test, has_validation=True)
    with tempfile.TemporaryDirectory() as partial:
        made = create.methods(record, method.modalities, MACHINE, Path(partial))
        flattered, _, _ = select_and_fit(made, record["method"]["tune"], info.chooses, lambda point: on_test)
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
