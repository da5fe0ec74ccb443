"""Small made-up data for tests of methods: classes that separate, and pairs that share more than their class."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cmr import registry
from cmr.data import Part, View
from cmr.methods.base import History, Method
from cmr.methods.deep import DeepMethod
from cmr.methods.two_stages import TwoStages
from cmr.sets import Features, Sets, VectorsAndSets

DIMENSIONS = {"image": 12, "text": 8, "audio": 10}
CLASSES = 3
# The defaults are the papers' sizes. Here every method gets those of these parameters that it has, then its own.
SMALL = {
    "epochs": 20,
    "batch_size": 20,
    "learning_rate": 0.005,
    "components": 2,
    "neighbours": 5,
    "hidden": 32,
    "dimension": 16,
}
OWN_SMALL = {
    "algcn": {"label_dimension": 6, "graph_layers": (8, 8), "adaptation_rate": 1.0, "batch_size": 20},
    "cbt": {
        "region_units": 12,
        "word_units": 8,
        "first_layer": 24,
        "second_layer": 16,
        "shared": 20,
        "batch_size": 20,
        "learning_rate": 0.5,
        "label_weight": 0.5,
    },
    "ccl": {
        "first_layers": (16, 12),
        "second_layers": (16, 12),
        "code": 12,
        "joint_units": 16,
        "layers": (16, 16),
        "pretraining_epochs": 5,
        "epochs": 10,
        "pretraining_rate": 0.01,
    },
    "clip4cmr": {"dropout": 0.0, "batch_size": 20},
    "cmdn": {
        "autoencoder_layers": (16, 8),
        "first_layers": (16, 12),
        "second_layers": (16, 12),
        "joint_units": 16,
        "fused_units": 12,
        "layers": (16, 16),
        "levels": (12, 8),
        "pretraining_epochs": 10,
    },
    "dagnn": {"label_dimension": 6, "graph_layers": 2, "first_generator": 8, "second_generator": 8, "batch_size": 20},
    "dla_cmr": {"first_layers": (32, 16), "second_layers": (32, 16), "batch_size": 20},
    "drsl": {"representation": 16, "batch_size": 20},
    "gpldan": {"classifier_hidden": 8, "batch_size": 20},
    "mcsm": {
        "region_units": 12,
        "word_units": 8,
        "convolutions": ((10, 3, 2),),
        "batch_size": 20,
        "learning_rate": 0.001,
        "epochs": 10,
    },
    "mrl": {"layers": (32,), "batch_size": 20},
    "sdml": {"dimensions": 16, "batch_size": 20, "learning_rates": {}},
    "smcr": {"discriminator_layers": (8, 4), "batch_size": 20},
}


def separable(n: int = 60, modalities: Sequence[str] = ("image", "text"), seed: int = 0, aligned: bool = False) -> Part:
    """``n`` items of three classes. A modality is a fixed linear map of the item's latent row, with noise added.

    Rows with different seeds are drawn from the same distribution, so that one may train and another test.
    ``aligned``: all modalities have the first one's map, as the features of a dual encoder do.
    """
    world, generator = np.random.default_rng(7), np.random.default_rng(seed)
    centres = 2 * world.normal(size=(CLASSES, 6))
    maps = {m: world.normal(size=(6, d)) for m, d in DIMENSIONS.items()}
    labels = np.eye(CLASSES, dtype=np.uint8)[np.arange(n) % CLASSES]
    latent = labels @ centres + 0.7 * generator.normal(size=(n, 6))
    if aligned:
        maps = dict.fromkeys(maps, maps["image"])
    noise = {m: 0.3 * generator.normal(size=(n, maps[m].shape[1])) for m in maps}
    ids = np.array([f"{seed}-{row}" for row in range(n)])
    return {m: View(ids, (latent @ maps[m] + noise[m]).astype(np.float32), labels) for m in modalities}


def for_method(name: str, part: Part, seed: int = 0) -> Part:
    """The same items in a form that the method takes: vectors, or vectors and sets."""
    return part if "vector" in registry.info("methods", name).takes else with_sets(part, seed)


def with_sets(part: Part, seed: int = 0) -> Part:
    """The same items with a set beside each vector: one to four elements, which are the vector with noise added."""
    generator = np.random.default_rng(seed)

    def added(vectors: np.ndarray) -> VectorsAndSets:
        lengths = generator.integers(1, 5, len(vectors))
        elements = np.repeat(vectors, lengths, axis=0)
        elements = elements + 0.3 * generator.normal(size=elements.shape)
        offsets = np.concatenate([[0], lengths.cumsum()])
        return VectorsAndSets(vectors, Sets.flat(elements.astype(np.float32), offsets))

    return {m: replace(view, features=added(view.features)) for m, view in part.items()}


def mapped(function: Callable[[np.ndarray], np.ndarray], features: Features) -> Features:
    """Features whose numbers, of vectors and of elements, are what ``function`` makes of them."""
    if isinstance(features, VectorsAndSets):
        return VectorsAndSets(function(features.vectors), mapped(function, features.sets))
    if isinstance(features, Sets):
        return Sets(function(features.values), features.starts, features.lengths)
    return function(features)


def small(name: str) -> dict:
    """Parameters that make a method small enough for tests."""
    fields = registry.params_model("methods", name).model_fields
    return {key: value for key, value in SMALL.items() if key in fields} | OWN_SMALL.get(name, {})


def permuted(part: Part, seed: int = 1) -> Part:
    """The same items in another order, the same one for every modality."""
    order = np.random.default_rng(seed).permutation(len(next(iter(part.values()))))
    return {m: view.rows(order) for m, view in part.items()}


def create(name: str, modalities: Sequence[str] = ("image", "text"), seed: int = 0, **params) -> Method:
    model = registry.params_model("methods", name)
    return registry.load("methods", name)(model(**params), tuple(modalities), seed)


def fitted(name: str, part: Part, seed: int = 0, unlabelled_part: Part | None = None, **params) -> Method:
    """The method fitted on all modalities of ``part`` at once."""
    method = create(name, tuple(part), seed, **params)
    history = method.fit(part, None, unlabelled_part)
    assert isinstance(history, History)
    return method


def may_be_replayed(name: str) -> bool:
    """Whether a GPU may replay steps of the method, of vectors."""
    method = registry.load("methods", name)
    return issubclass(method, TwoStages) or (issubclass(method, DeepMethod) and method.replayed)
