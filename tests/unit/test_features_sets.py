"""Extractors of sets: the maps, the states of tokens and the vectors of words are those of the networks and tables."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from gensim.models import KeyedVectors
from PIL import Image
from torchvision.models import VGG19_Weights, vgg19

from cmr import code, registry
from cmr.errors import BadContent, UserError
from cmr.features import image_patches, states, torchvision_backbone
from cmr.features.image_patches import NETWORKS, boxes
from cmr.features.sentence_bow import sentences
from cmr.features.timm_grid import Unpooled
from cmr.pictures import read_rgb


def extractor(name, cache="cache", **params):
    model = registry.params_model("extractors", name)
    return registry.load("extractors", name)(model(**{"storage": "float32", **params}), cache)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path, size in zip(paths, [(300, 200), (90, 130)], strict=True):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(path)
    return paths


def assert_grid(found, maps):
    """Element by element: position (row, column) of picture i."""
    assert len(found) == len(maps)
    _, d, rows, columns = maps.shape
    scale = float(np.abs(maps).max())
    for i, item in enumerate(found):
        assert item.shape == (rows * columns, d)
        for row in range(rows):
            for column in range(columns):
                np.testing.assert_allclose(
                    item[row * columns + column], maps[i, :, row, column], rtol=1e-3, atol=1e-4 * scale
                )


def test_the_grid_of_vgg19_is_its_last_pooled_map(pictures, monkeypatch, tmp_path):
    torch.manual_seed(0)
    network = vgg19().eval()
    monkeypatch.setattr(states, "read_weights", lambda file: network.state_dict())
    (tmp_path / "own.pth").touch()
    ours = extractor("vgg19_grid", tmp_path, weights=str(tmp_path / "own.pth"))
    transform = VGG19_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        maps = network.features(torch.stack([transform(read_rgb(path)) for path in pictures])).numpy()
    assert maps.shape == (2, 512, 7, 7)
    assert_grid(ours.transform(pictures), maps)
    assert ours.resolved() == {"precision": "fp32", "layer": "pool5"}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_the_mean_of_a_torchvision_grid_is_what_the_network_pools(name, pictures, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name).eval()
    torch.save(network.state_dict(), tmp_path / "own.pt")
    grid = extractor("torchvision_grid", tmp_path, model=name, weights=str(tmp_path / "own.pt")).transform(pictures)
    seen = []
    network.avgpool.register_forward_hook(lambda _, given, output: seen.append((given[0].clone(), output)))
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    with torch.inference_mode():
        network(torch.stack([transform(read_rgb(path)) for path in pictures]))
    assert_grid(grid, seen[0][0].numpy())
    means = np.array([item.mean(0) for item in grid])
    np.testing.assert_allclose(means, seen[0][1].flatten(1), rtol=1e-3, atol=1e-4)


def test_a_network_without_a_map_to_pool_is_refused(pictures, tmp_path):
    torch.save(torchvision.models.vit_b_32().state_dict(), tmp_path / "own.pt")
    ours = extractor("torchvision_grid", tmp_path, model="vit_b_32", weights=str(tmp_path / "own.pt"))
    with pytest.raises(UserError, match="pools no map over its positions"):
        ours.transform(pictures)


@pytest.mark.parametrize(("name", "elements"), [("test_resnet", 25), ("test_vit", 100), ("test_convnext", 25)])
def test_a_timm_grid_is_what_timm_pools(name, elements, pictures, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    timm.models.save_for_hf(network, tmp_path / "net", safe_serialization=True)
    grid = extractor("timm_grid", tmp_path, model=str(tmp_path / "net")).transform(pictures)
    assert grid.lengths.tolist() == [elements] * 2
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network), is_training=False)
    with torch.inference_mode():
        features = network.forward_features(torch.stack([transform(read_rgb(path)) for path in pictures]))
    if name == "test_vit":  # the class token is none of the patches
        features = features[:, 1:].transpose(1, 2)[:, :, :, None]
    assert_grid(grid, features.numpy())


def test_a_timm_network_whose_maps_have_channels_last_gives_the_same_form(pictures, tmp_path):
    torch.manual_seed(0)
    options = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 1), "window_size": 7}
    network = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **options).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        maps, theirs = Unpooled(network)(images), network.forward_features(images)
    assert maps.shape == (2, 16, 28, 28)
    assert torch.equal(maps.permute(0, 2, 3, 1), theirs)


def test_the_patches_of_a_timm_transformer_come_without_all_of_its_other_tokens():
    network = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False, depth=1, img_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        maps, tokens = Unpooled(network)(images), network.forward_features(images)
    assert maps.shape == (2, 192, 4, 1)
    assert torch.equal(maps[:, :, :, 0], tokens[:, 2:].transpose(1, 2))


def test_a_timm_network_whose_tokens_may_be_anything_is_refused():
    network = timm.create_model("mixer_s32_224", pretrained=False, img_size=64).eval()
    with torch.inference_mode(), pytest.raises(UserError, match="which of this network's tokens are patches"):
        Unpooled(network)(torch.randn(1, 3, 64, 64))


def test_the_vector_of_lite0_is_the_mean_of_its_grid(pictures, tmp_path):
    grid = extractor("efficientnet_lite0_grid", tmp_path).transform(pictures)
    vectors = registry.load("extractors", "efficientnet_lite0")(
        registry.params_model("extractors", "efficientnet_lite0")(), tmp_path
    ).transform(pictures)
    assert grid.lengths.tolist() == [49, 49]
    np.testing.assert_allclose([item.mean(0) for item in grid], vectors, rtol=1e-4, atol=1e-5)


TEXTS = ["a red fruit", "x", "Übergrößenträger, 漢字 and \U0001f600!", "word " * 300, " ", "two dogs run"]


def test_the_vector_of_bert_is_the_mean_of_its_tokens(tmp_path):
    tokens, bert = extractor("bert_tokens", tmp_path), registry.load("extractors", "bert")
    vectors = bert(registry.params_model("extractors", "bert")(), tmp_path).transform(TEXTS)
    sets = tokens.transform(TEXTS)
    assert sets.lengths.tolist() == [len(ids) for ids in tokens.tokens(TEXTS)["input_ids"]]
    assert sets.lengths.max() == 128
    np.testing.assert_allclose([item.mean(0) for item in sets], vectors, atol=1e-5)
    for text, item in zip(TEXTS, sets, strict=True):
        np.testing.assert_allclose(tokens.query(text), item, atol=1e-5)
    assert set(tokens.gaps(TEXTS)) == {"cut", "unknown_tokens"}


def test_words_have_their_vectors_in_order_and_a_text_without_any_has_zeros(tmp_path):
    table = KeyedVectors(3)
    table.add_vectors(["red", "cat", "house", "never"], np.arange(12.0).reshape(4, 3))
    table.save_word2vec_format(str(tmp_path / "v.txt"))
    ours = extractor("word_vectors", vectors=str(tmp_path / "v.txt"))
    ours.fit(["a red cat", "the house"])
    assert ours.state()["words"].tolist() == ["cat", "house", "red"]
    found = ours.transform(["Red cat, red house", "nothing known", "never"])
    assert [item.tolist() for item in found] == [
        [[0, 1, 2], [3, 4, 5], [0, 1, 2], [6, 7, 8]], [[0, 0, 0]], [[0, 0, 0]],
    ]  # fmt: skip
    assert str(ours.gaps(["red", "nothing known"])["no_known_word"]).startswith("1 of 2 texts")
    again = extractor("word_vectors", vectors=str(tmp_path / "v.txt"))
    again.load_state(ours.state())
    assert again.transform(["red"]).values.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("at_once", [1, 64])
def test_patches_are_pictures_of_their_own(pictures, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(image_patches, "AT_ONCE", at_once)
    ours = extractor("image_patches", tmp_path, side=2)
    sets = ours.transform(pictures)
    assert sets.lengths.tolist() == [4, 4]
    network = registry.load("extractors", "efficientnet_lite0")(
        registry.params_model("extractors", "efficientnet_lite0")(), tmp_path
    )
    for path, item in zip(pictures, sets, strict=True):
        image = read_rgb(path)
        w, h = image.width // 2, image.height // 2
        corners = [(0, 0), (w, 0), (0, h), (w, h)]
        files = [tmp_path / f"{left}-{top}.bmp" for left, top in corners]
        for (left, top), file in zip(corners, files, strict=True):
            image.crop((left, top, left + w, top + h)).save(file)
        np.testing.assert_allclose(item, network.transform(files), rtol=1e-4, atol=1e-5)
    assert ours.fetch() == network.fetch()


def test_patches_go_through_the_network_in_the_precision_that_is_asked_for(pictures, tmp_path):
    full, half = (extractor("image_patches", tmp_path, side=2, precision=p) for p in ("fp32", "bf16"))
    assert (full.resolved()["precision"], half.resolved()["precision"]) == ("fp32", "bf16")
    assert not np.array_equal(full.transform(pictures)[0], half.transform(pictures)[0])


def test_patches_cover_each_pixel_once_and_a_picture_of_too_few_is_named(tmp_path):
    seen = np.zeros((11, 17), int)
    for left, top, right, bottom in boxes(Image.new("RGB", (17, 11)), 3):
        seen[top:bottom, left:right] += 1
    assert (seen == 1).all()
    Image.new("RGB", (40, 2)).save(tmp_path / "small.png")
    with pytest.raises(UserError, match=r"small\.png: 40 × 2 pixels: too few for 3 × 3 patches"):
        extractor("image_patches", tmp_path).transform([tmp_path / "small.png"])
    Image.new("RGB", (5, 450)).save(tmp_path / "long.png")
    with pytest.raises(BadContent, match=r"long\.png: 5 × 450 pixels: its patches' sides are too unlike") as raised:
        extractor("image_patches", tmp_path).transform([tmp_path / "long.png"])
    assert raised.value.content == tmp_path / "long.png"


def test_the_code_of_every_network_counts_as_that_of_the_patches():
    found = code.modules("extract", (("extractors", "image_patches"),))
    named = registry.params_model("extractors", "image_patches").model_json_schema()["properties"]["network"]["enum"]
    assert {f"cmr.features.{name}" for name in named} == set(NETWORKS)
    assert set(NETWORKS) <= found


SENTENCES = {
    "One two. Three four! Five?": ["One two.", "Three four!", "Five?"],
    'He said "go." Then he went.': ['He said "go."', "Then he went."],
    "version 3.14 is out": ["version 3.14 is out"],
    "a line\nanother\n\nand one": ["a line", "another", "and one"],
    "红苹果。一只猫！": ["红苹果。", "一只猫！"],
    "... !!! word": ["word"],
    "...": ["..."],
    " ": [" "],
}


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_of_a_text(text):
    assert sentences(text) == SENTENCES[text]


def test_the_bags_of_a_texts_sentences_sum_to_its_own():
    texts = ["A red cat. The cat runs, the dog runs.", "Dogs sleep", "!"]
    ours = extractor("sentence_bow", stop_words="none")
    ours.fit(texts)
    whole = registry.load("extractors", "bow")(registry.params_model("extractors", "bow")(stop_words="none"), "cache")
    whole.fit(texts)
    sets = ours.transform(texts)
    assert sets.lengths.tolist() == [2, 1, 1]
    np.testing.assert_array_equal([item.sum(0) for item in sets], whole.transform(texts))
    column = ours.state()["vocabulary"].tolist().index("cat")
    assert sets[0][:, column].tolist() == [1, 1]


def test_torchvisions_own_weights_are_those_of_the_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(
        torchvision_backbone.weights, "download", lambda url, sha256, cache: cache / url.rsplit("/")[-1]
    )
    grid = extractor("torchvision_grid", tmp_path, model="resnet18")
    backbone = registry.load("extractors", "torchvision_backbone")(
        registry.params_model("extractors", "torchvision_backbone")(model="resnet18"), tmp_path
    )
    assert grid.file() == backbone.file()
