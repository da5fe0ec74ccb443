"""Do image extractors make sense? Class accuracy on the pictures of the OpenMoji data set.

``python tests/benchmarks/image_sense.py``. Extractors are fitted on the training rows of the default split, a logistic
regression as in text_sense.py too; accuracy on the test rows, beside that of always guessing the largest class.
Extractors whose weights are not here (``--cache`` names the folder of weights) stand in the table with the reason.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from text_sense import classifier

from cmr import registry
from cmr.data import TEST, TRAIN, among
from cmr.errors import UserError

NAMES = ("efficientnet_lite0", "sift_bovw", "vgg19_fc7", "alexnet_fc7", "clip_image")


def accuracy(
    name: str, contents: list[Path], classes: np.ndarray, train: np.ndarray, test: np.ndarray, cache: Path
) -> str:
    extractor = registry.load("extractors", name)(registry.params_model("extractors", name)(), cache, "cpu", 2)
    try:
        extractor.fetch()
    except UserError:
        return "weights are not here"
    start = time.perf_counter()
    if registry.info("extractors", name).kind == "fitted":
        extractor.fit([contents[row] for row in np.flatnonzero(train)])
    features = extractor.transform(contents)
    seconds = time.perf_counter() - start
    found = classifier().fit(features[train], classes[train]).score(features[test], classes[test])
    return f"{found:.3f}  ({seconds:.0f} s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    cache = parser.parse_args().cache
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        params = registry.params_model("datasets", "openmoji")()
        dataset = registry.load("datasets", "openmoji")(params, Path(folder), cache)
        items = dataset.prepare()
        split, contents = dataset.split(items, "default"), dataset.contents(items, "image")
        train, test = (among(items.ids, split.ids(part)) for part in (TRAIN, TEST))
        classes = np.array([labels[0] for labels in items.table["labels"]])
        largest = max((classes[test] == name).mean() for name in set(classes))
        print(f"{len(classes)} pictures, {len(set(classes))} classes\n{'largest class':<20}{largest:.3f}")
        for name in NAMES:
            print(f"{name:<20}{accuracy(name, contents, classes, train, test, cache)}", flush=True)


if __name__ == "__main__":
    main()
