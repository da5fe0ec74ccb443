"""Backbones and dual encoders by name: their libraries' features, with small networks of random weights."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from transformers import AutoTokenizer, CLIPImageProcessor, PreTrainedTokenizerFast, Siglip2ImageProcessor

from cmr import registry
from cmr.errors import UserError
from cmr.features import torchvision_backbone
from cmr.features.images import Preprocessing
from cmr.features.networks import computing, prepare
from cmr.pictures import read_rgb
from random_weights import dual_encoder, timm_network

TEXTS = ["a cat", "two dogs run across the wide green field", "sun, moon"]


def extractor(name, cache, **params):
    return registry.load("extractors", name)(registry.params_model("extractors", name)(**params), cache)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, size in zip(paths, [(300, 200), (64, 64), (90, 130)], strict=True):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(path)
    return paths


def seeded(make):
    torch.manual_seed(0)
    return make()


@pytest.mark.parametrize(("name", "last"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")])
def test_torchvision_backbone_gives_the_classifiers_input(name, last, pictures, tmp_path, monkeypatch):
    network = seeded(lambda: torchvision.models.get_model(name)).eval()
    file = tmp_path / "checkpoints" / torchvision.models.get_model_weights(name).DEFAULT.url.rsplit("/", 1)[1]
    file.parent.mkdir()
    torch.save(network.state_dict(), file)
    monkeypatch.setattr(torchvision_backbone.weights, "download", lambda url, sha256, cache: file)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    features = extractor("torchvision_backbone", tmp_path, model=name).transform(pictures)

    seen = []
    network.get_submodule(last).register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    with torch.inference_mode():
        network(torch.stack([transform(read_rgb(path)) for path in pictures]))
    np.testing.assert_allclose(features, seen[0].numpy(), rtol=1e-3, atol=1e-4 * float(seen[0].abs().max()))


@pytest.mark.parametrize(
    ("name", "resize", "crop", "interpolation"),
    [
        ("inception_v3", 342, 299, "BILINEAR"),
        ("efficientnet_b1", 255, 240, "BILINEAR"),
        ("vit_h_14", 518, 518, "BICUBIC"),
    ],
)
def test_torchvision_backbones_are_given_pictures_of_their_size(name, resize, crop, interpolation, tmp_path):
    found = extractor("torchvision_backbone", tmp_path, model=name).preprocessing
    assert (found.resize, found.crop, found.interpolation) == (resize, crop, Image.Resampling[interpolation])


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_own_weights_are_of_the_network_that_torchvision_builds_with_its_own(name, tmp_path, monkeypatch):
    state = seeded(lambda: torchvision.models.get_model(name, weights=None, init_weights=False)).state_dict()
    torch.save(state, tmp_path / "own.pt")
    weights = torchvision.models.get_model_weights(name)
    monkeypatch.setattr(weights, "get_state_dict", lambda *_, **__: state)
    theirs = torchvision_backbone.without_classifier(torchvision.models.get_model(name, weights=weights.DEFAULT)).eval()
    ours = extractor("torchvision_backbone", tmp_path, model=name, weights=str(tmp_path / "own.pt")).build().eval()
    picture = torch.rand(1, 3, 299, 299)
    with torch.inference_mode():
        assert torch.equal(ours(picture), theirs(picture))


def test_own_weights_of_a_transformer_are_for_pictures_as_large_as_torchvisions(tmp_path):
    assert extractor("torchvision_backbone", tmp_path, model="vit_h_14").options() == {"image_size": 518}


def test_an_unknown_torchvision_network_has_a_nearest_name(tmp_path):
    with pytest.raises(UserError, match=r"did you mean 'resnet18'"):
        extractor("torchvision_backbone", tmp_path, model="resnet_18").fetch()


@pytest.mark.parametrize("kept", ["conv1", "nothing"])
def test_a_timm_folder_without_some_weights_is_told(kept, pictures, tmp_path):
    """timm itself would leave them random."""
    folder = tmp_path / "net"
    timm_network(folder)
    file = folder / "model.safetensors"
    state = {name: weight for name, weight in load_file(file).items() if name.startswith(kept)}
    save_file(state or {"x": torch.ones(1)}, file)
    ours = extractor("timm_backbone", tmp_path, model=str(folder))
    with pytest.raises(UserError, match=r"net: \d+ weights of the model are missing \(bn1\.bias"):
        ours.transform(pictures)


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_timm_backbone_is_timms(pictures, tmp_path, crop_mode):
    folder = tmp_path / "net"
    network = timm_network(folder, crop_mode=crop_mode)
    ours = extractor("timm_backbone", tmp_path, model=str(folder))
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network), is_training=False)
    with torch.inference_mode():
        inputs = torch.stack([transform(read_rgb(path)) for path in pictures])
        expected = network.forward_head(network.forward_features(inputs), pre_logits=True).numpy()
    np.testing.assert_allclose(ours.transform(pictures), expected, atol=1e-4 * np.abs(expected).max(), rtol=1e-3)
    assert ours.fetch()["source"] == "local folder"


def test_a_timm_network_that_crops_in_another_way_is_refused(pictures, tmp_path):
    timm_network(tmp_path / "net", crop_mode="border")
    with pytest.raises(UserError, match="crop mode 'border' is not known"):
        extractor("timm_backbone", tmp_path, model=str(tmp_path / "net")).transform(pictures)


def test_own_weights_of_a_timm_network_with_two_classifiers_may_lack_both(tmp_path):
    network = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False)
    assert network.pretrained_cfg["classifier"] == ("head", "head_dist")
    save_file({n: w for n, w in network.state_dict().items() if not n.startswith("head")}, tmp_path / "own.safetensors")
    model = {"model": "deit_tiny_distilled_patch16_224", "weights": str(tmp_path / "own.safetensors")}
    ours = extractor("timm_backbone", tmp_path, **model).build().eval()
    picture = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = network.eval().forward_head(network.forward_features(picture), pre_logits=True)
        assert torch.equal(ours(picture), expected)


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_image_towers_prepare_pictures_as_their_processor_says(resample, tmp_path):
    dual_encoder(tmp_path / "model", "clip")
    says = {"resample": resample, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    sides = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**sides, **says).save_pretrained(tmp_path / "model")
    found = extractor("clip_image", tmp_path, model=str(tmp_path / "model")).preprocessing
    assert found == Preprocessing(40, 32, resample, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    sides = {"size": {"height": 32, "width": 40}, "do_center_crop": False}
    CLIPImageProcessor(**sides, **says).save_pretrained(tmp_path / "model")
    found = extractor("clip_image", tmp_path, model=str(tmp_path / "model")).preprocessing
    assert (found.resize, found.crop) == ((32, 40), 32)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_image_towers_are_transformers(kind, pictures, tmp_path):
    model, processor = dual_encoder(tmp_path / "model", kind)
    features = extractor(f"{kind}_image", tmp_path, model=str(tmp_path / "model")).transform(pictures)
    with torch.inference_mode():
        pixels = [processor(read_rgb(path), return_tensors="pt")["pixel_values"] for path in pictures]
        expected = model.get_image_features(pixel_values=torch.cat(pixels)).pooler_output.numpy()
    # the library resizes tensors, we resize pictures: pixels differ by rounding
    np.testing.assert_allclose(features, expected, atol=0.02 * np.abs(expected).max())
    assert np.abs(expected[0] - expected[1]).max() > 0.1 * np.abs(expected).max()


def test_a_tower_whose_pictures_have_no_common_size_is_refused(pictures, tmp_path):
    """As SigLIP 2's of native resolution."""
    dual_encoder(tmp_path / "model", "siglip")
    Siglip2ImageProcessor().save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="gives pictures of several sizes; choose another model"):
        extractor("siglip_image", tmp_path, model=str(tmp_path / "model")).transform(pictures)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_text_towers_are_transformers(kind, tmp_path):
    model, _ = dual_encoder(tmp_path / "model", kind)
    ours = extractor(f"{kind}_text", tmp_path, model=str(tmp_path / "model"))
    features = ours.transform(TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    for text, feature in zip(TEXTS, features, strict=True):
        padding = {"padding": "max_length", "max_length": 20} if kind == "siglip" else {}
        tokens = tokenizer(text, return_tensors="pt", **padding)
        inputs = {"input_ids": tokens["input_ids"]}
        with torch.inference_mode():
            expected = model.get_text_features(**inputs).pooler_output[0].numpy()
        np.testing.assert_allclose(feature, expected, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_texts_that_a_text_tower_cuts_are_counted(kind, tmp_path):
    dual_encoder(tmp_path / "model", kind)
    ours = extractor(f"{kind}_text", tmp_path, model=str(tmp_path / "model"))
    found = ours.gaps(["red " * 18, "red " * 19, "แมวและหมา"])
    assert str(found["cut"]) == "1 of 3 texts are cut after 20 tokens"
    assert found["unknown_tokens"].count == 1


def test_gaps_are_those_of_the_letters_that_siglip_is_given(tmp_path):
    """Where the tokenizer tells capitals apart: it is given none."""
    dual_encoder(tmp_path / "model", "siglip")
    pieces = ["[PAD]", "[UNK]", "red", "R", "##E", "##D"]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        tmp_path / "model"
    )
    ours = extractor("siglip_text", tmp_path, model=str(tmp_path / "model"))
    assert np.array_equal(*ours.transform(["red " * 10, "RED " * 10]))
    assert ours.gaps(["red " * 10, "RED " * 10]) == {}
    assert ours.gaps(["red " * 20, "RED " * 21])["cut"].count == 1


def test_parts_of_letters_tell_nothing(tmp_path):
    """Where tokens are bytes: of a script without merges of its own each is a part of a letter."""
    dual_encoder(tmp_path / "model", "clip")
    bytes_of = {character: number for number, character in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(bytes_of | {"re": 256, "red": 257}, [("r", "e"), ("re", "d")]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="!").save_pretrained(tmp_path / "model")
    ours = extractor("clip_text", tmp_path, model=str(tmp_path / "model"))
    assert ours.gaps(["red", "redred"]) == {}
    assert ours.gaps(["red", "แมว", "ж"])["unknown_tokens"].count == 2


def tiny_transformer():
    network = torchvision.models.VisionTransformer(64, 16, 1, 2, 16, 32)
    network.heads = torch.nn.Identity()  # its start is zero
    return network


@pytest.mark.parametrize("make", [tiny_transformer, torchvision.models.swin_t, torchvision.models.convnext_tiny])
def test_bf16_works_in_transformers_and_convnets(make):
    """Attention with merged weights and layer norms meet the casts of `prepare` in their own ways."""
    network, images = seeded(make).eval(), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images)
        with computing("cpu", "bf16"):
            found = prepare(network, "cpu", "bf16")(images).float()
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))
