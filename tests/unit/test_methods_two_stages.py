"""CCL and CMDN: candidates share the parts below the last layers where these alone differ."""

import numpy as np
import pytest

from cmr.methods import ccl, cmdn
from synthetic import create, separable, small, with_sets

TRAIN, HELD_OUT = separable(30, seed=3), separable(24, seed=5)
METHODS = {"ccl": ccl.CCL, "cmdn": cmdn.CMDN}
UPPER = {"learning_rate": 0.02, "weight_decay": 0.01, "epochs": 2, "patience": 1, "code_scale": "centre"}
OF_UPPER = {
    "ccl": UPPER | {"hidden": 5, "dimension": 4, "margin": 0.7},
    "cmdn": UPPER | {"layers": (7,), "levels": (5, 3)},
}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_candidates_that_differ_in_the_last_layers_alone_share_the_others(monkeypatch, name, shared):
    """To the bit as alone."""
    method, kept = METHODS[name], small(name) | {"epochs": 3, "pretraining_epochs": 2}
    changed = kept | (OF_UPPER[name] if shared else {"pretraining_rate": 0.02})
    assert set(OF_UPPER[name]) == method.OF_UPPER
    data = [with_sets(part) if name == "ccl" else part for part in (TRAIN, HELD_OUT)]
    first, second, alone = create(name, **kept), create(name, **changed), create(name, **changed)
    first.fit(*data)
    history = alone.fit(*data)
    pretrained, pretrain = [], method.pretrain
    monkeypatch.setattr(method, "pretrain", lambda self, *a: (pretrained.append(self), pretrain(self, *a)))
    second.take_over(first)
    assert second.fit(*data).rows == history.rows
    assert bool(pretrained) != shared
    for key, values in alone.state().items():
        assert np.array_equal(second.state()[key], values), key


@pytest.mark.parametrize("name", METHODS)
def test_the_last_layers_see_standardised_rows_whatever_scale_says(name):
    method = create(name, **small(name) | {"epochs": 1, "pretraining_epochs": 1, "scale": "none"})
    train = with_sets(TRAIN) if name == "ccl" else TRAIN
    method.fit(train)
    for m, view in train.items():
        below = method.represented(m, view.features)
        seen = method.upper.scaling[m](below)[:, below.std(axis=0) > 1e-4]
        assert seen.shape[1] > 2
        assert np.allclose(seen.mean(axis=0), 0, atol=1e-3)
        assert np.allclose(seen.std(axis=0), 1, atol=1e-3)
