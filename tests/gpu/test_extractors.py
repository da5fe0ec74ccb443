"""Every extractor that uses a GPU, on CUDA against the CPU: a new extractor file is tested without more.

In float32 features agree within ROUNDING of the largest value (TF32 is off). In bfloat16 the difference is less than
HALF_PRECISION of the features, both as norms.
The same contents twice give the same bits. Weights that no package brings are random.
"""

import gc

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from cmr import registry
from cmr.features import feeding
from cmr.features.classic_networks import empty
from random_weights import dual_encoder, timm_network, write_state

DEVICE = "cuda"
NAMES = [name for name in registry.names("extractors") if registry.info("extractors", name).gpu]
N = 12
ROUNDING = 1e-3
HALF_PRECISION = 0.1
"""On the CPU it is 0.07 at most, with EfficientNet-Lite0 and pictures of noise."""
LABELS = np.eye(3, dtype=np.uint8)[np.arange(N) % 3]
SMALL = {"epochs": 1, "dimensions": 8, "maps": 2}
WORDS = ["red", "blue", "cat", "dog", "house", "tree", "runs", "sleeps", "near", "the", "big", "small"]


def contents(name, folder):
    generator = np.random.default_rng(0)
    if registry.info("extractors", name).modality == "text":
        return [" ".join(generator.choice(WORDS, 8)) for _ in range(N)]
    paths = [folder / f"{number}.png" for number in range(N)]
    for path in paths:
        noise = Image.fromarray(generator.integers(0, 256, (12, 12, 3), np.uint8))
        noise.resize((96, 80), Image.Resampling.BICUBIC).save(path)
    return paths


def weights(name, folder):
    """The parameter that names random weights; none where a package brings the extractor's own."""
    library = name.partition("_")[0]
    file, model = folder / f"{library}.pth", folder / library
    if library in ("vgg19", "alexnet"):
        return {"weights": str(write_state(empty(library), file))}
    if library == "torchvision":
        with torch.device("meta"):
            network = torchvision.models.get_model("resnet50")
        return {"weights": str(write_state(network, file))}
    if library == "timm":
        timm_network(model)
    elif library in ("clip", "siglip"):
        dual_encoder(model, library)
    return {"model": str(model)} if model.exists() else {}


def created(name, device, folder, **params):
    model = registry.params_model("extractors", name)
    given = {key: value for key, value in SMALL.items() if key in model.model_fields}
    given |= {"storage": "float32"} if "storage" in model.model_fields else {}
    given |= weights(name, folder)
    extractor = registry.load("extractors", name)(model(**given | params), folder / "cache", device, 2)
    extractor.fetch()
    return extractor


@pytest.fixture
def features(tmp_path, monkeypatch):
    """Features of the same contents on a device; fitted ones take what was learned on the CPU."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(feeding, "FEW", 0)  # processes decode
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the library has read it already
    states = {}

    def made(name, device, **params):
        extractor, given = created(name, device, tmp_path, **params), contents(name, tmp_path)
        if registry.info("extractors", name).kind == "fitted":
            if name not in states:
                learner = created(name, "cpu", tmp_path)
                learner.fit(given, LABELS if registry.info("extractors", name).uses_labels else None)
                states[name] = learner.state()
            extractor.load_state(states[name])
        return np.concatenate([np.atleast_2d(row) for row in extractor.transform(given)])

    return made


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_cpu(name, features):
    expected, found = features(name, "cpu"), features(name, DEVICE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())
    np.testing.assert_array_equal(features(name, DEVICE), found)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if "precision" in registry.params_model("extractors", n).model_fields]
)
def test_half_precision_is_near(name, features):
    expected, found = features(name, DEVICE), features(name, DEVICE, precision="bf16")
    assert np.linalg.norm(found - expected) < HALF_PRECISION * np.linalg.norm(expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_on_a_gpu_is_the_same_twice(name, features, tmp_path):
    if registry.info("extractors", name).kind != "fitted":
        pytest.skip("a fixed extractor learns nothing")
    labels = LABELS if registry.info("extractors", name).uses_labels else None
    states = []
    for _ in range(2):
        extractor = created(name, DEVICE, tmp_path)
        extractor.fit(contents(name, tmp_path), labels)
        states.append(extractor.state())
    assert [key for key in states[0] if not np.array_equal(states[0][key], states[1][key])] == []


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_that_of_the_network_once_features_are_made(name, features):
    def allocated():
        features(name, DEVICE)
        gc.collect()  # some libraries' networks refer to themselves
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    before = allocated()
    assert allocated() <= before
