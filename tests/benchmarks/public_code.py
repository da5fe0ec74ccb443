"""What the authors' public code gives on the rows of a finished fit: DSCMR, DRSL and SDML.

    python tests/benchmarks/public_code.py dscmr CHECKOUT results/fits/wikipedia/2173_231_462/sift-…+lda10-…/cca-…/0

CHECKOUT is a clone of github.com/penghu-cs/DSCMR, wangxu-scu/DRSL or penghu-cs/SDML. Its networks, losses, optimiser and
metric run as they are, with the values of its main file, on features as they are stored. Replaced is what reads the
authors' files, and the GPU where there is none. DSCMR's code keeps the epoch that is best on the test rows, DRSL's the
last of 20, SDML's the best on validation rows, of a fixed seed. Prints mAP@all of both directions for each seed.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from chosen_on_test import fit_of
from torch.utils.data import DataLoader, TensorDataset

from cmr.data import Part
from cmr.row_source import RowSource

Figures = tuple[float, float]
"""mAP@all, image→text and text→image."""


class Rows(NamedTuple):
    """Paired rows of a part: features (n, d) float32 and the number of the class (n,)."""

    image: np.ndarray
    text: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, part: Part) -> "Rows":
        image, text = part["image"], part["text"]
        assert image.ids.tolist() == text.ids.tolist()
        return cls(image.features[:], text.features[:], image.labels.argmax(1))


class Parts(NamedTuple):
    train: Rows
    validation: Rows
    test: Rows

    @classmethod
    def of(cls, folder: Path) -> "Parts":
        rows = RowSource.of(fit_of(folder))
        data = rows.training_data(with_labels=True)
        return cls(*map(Rows.of, (data.train, data.held_out, rows.test_rows(with_labels=True))))

    @property
    def count(self) -> int:
        return int(self.train.classes.max()) + 1


def dscmr(parts: Parts) -> Figures:
    import load_data
    import model
    import train_model

    parted = {"train": parts.train, "test": parts.test}
    loaders = {
        name: DataLoader(
            load_data.CustomDataSet(rows.image, rows.text, np.eye(parts.count, dtype=int)[rows.classes]), 100
        )
        for name, rows in parted.items()
    }
    sizes = {"img_input_dim": parts.test.image.shape[1], "text_input_dim": parts.test.text.shape[1]}
    network = model.IDCM_NN(**sizes, output_dim=parts.count)
    network = network.cuda() if torch.cuda.is_available() else network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.5, 0.999))
    _, image, text, _ = train_model.train_model(network, loaders, optimizer, 1e-3, 1e-1, num_epochs=500)
    best = int(np.argmax(np.add(image, text)))
    return image[best], text[best]


def drsl(parts: Parts) -> Figures:
    import model
    import train
    from wxeval import wx_calc_map_label

    parted, found = {"train": parts.train, "test": parts.test}, []
    sets = {
        name: TensorDataset(*map(torch.from_numpy, (rows.image, rows.text, rows.classes[:, None])))
        for name, rows in parted.items()
    }
    loaders = {name: DataLoader(rows, 200, shuffle=name == "train") for name, rows in sets.items()}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = model.Model(parts.test.image.shape[1], parts.test.text.shape[1], 1024, 1024, 1024, 300, 300, 1).to(device)

    def told(relation: np.ndarray, classes: np.ndarray) -> None:
        found.extend(wx_calc_map_label(scores, classes) for scores in (relation, relation.T))

    train.cal_map_bi = told
    train.train2(network, loaders, device, {name: len(rows) for name, rows in sets.items()}, num_epochs=20)
    return found[0], found[1]


def sdml(parts: Parts) -> Figures:
    import data_loader
    import SDML

    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda tensor: tensor
    read = [array for rows in parts for array in ([rows.image, rows.text], [rows.classes, rows.classes])]
    data_loader.load_deep_features = lambda name: (*read, -1)
    of_main: dict[str, Any] = {"lr": [1e-4, 2e-4], "beta1": 0.5, "beta2": 0.999, "batch_size": 100, "alpha": 0.5}
    of_main |= {"output_shape": 512, "epochs": 200, "sample_interval": 1, "cuda_list": [0], "view_id": -1}
    off = dict.fromkeys(("compute_all", "just_valid", "multiprocessing", "running_time"), False)
    os.mkdir("features")
    _, (_, whole) = SDML.Solver(argparse.Namespace(datasets="rows", **of_main, **off)).train()
    return whole[0, 1], whole[1, 0]


CODES = {"dscmr": dscmr, "drsl": drsl, "sdml": sdml}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("code", choices=CODES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("fit", type=Path, help="folder of a finished fit on image and text")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    parts, checkout = Parts.of(given.fit), given.checkout.resolve()
    sys.path.insert(0, str(checkout))
    for seed in range(given.seeds):
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), open(os.devnull, "w") as nowhere:
            for file in checkout.glob("*.mat"):
                shutil.copy(file, folder)
            with contextlib.redirect_stdout(nowhere):
                image, text = CODES[given.code](parts)
        print(f"{given.code}, seed {seed}: {image:.3f}, {text:.3f}", flush=True)


if __name__ == "__main__":
    main()
