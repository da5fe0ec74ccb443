"""Extractors that learn: visual words, the sentence CNN, the fine-tuned network; and sounds."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import soundfile
import torch
from gensim.models import KeyedVectors
from PIL import Image
from sklearn.cluster import KMeans
from torch import nn

from cmr import registry
from cmr.errors import BadContent, UserError
from cmr.features import classic_networks, mfcc, sift_bovw, vgg19_finetuned
from cmr.features.word2vec_cnn import SentenceCNN


def extractor(name, threads=1, **params):
    return registry.load("extractors", name)(
        registry.params_model("extractors", name)(**params), "cache", "cpu", threads
    )


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for path in paths:
        noise = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
        noise.resize((128, 96), Image.Resampling.BICUBIC).save(path)
    return paths


def test_visual_words_are_counted(pictures):
    ours = extractor("sift_bovw", words=5, sample=300)
    ours.fit(pictures)
    codebook = ours.state()["codebook"]
    for path, row in zip(pictures, ours.transform(pictures), strict=True):
        grey = np.asarray(Image.open(path).convert("L"))
        _, descriptors = cv2.SIFT_create().detectAndCompute(grey, None)
        counts = np.zeros(5)
        for descriptor in descriptors:
            counts[np.argmin([((descriptor - word) ** 2).sum() for word in codebook])] += 1
        np.testing.assert_allclose(row, counts / len(descriptors), rtol=1e-6)


@pytest.mark.parametrize(("seed", "iterations", "side"), [(0, 100, 128), (3, 1, 64)])
def test_the_codebook_are_centres_of_a_seeded_sample(pictures, seed, iterations, side):
    ours = extractor("sift_bovw", words=5, sample=101, seed=seed, iterations=iterations, longest_side=side)
    ours.fit(pictures)
    taken = []
    for path, own in zip(pictures, np.random.SeedSequence(seed).spawn(8), strict=True):
        grey = Image.open(path).convert("L")
        grey.thumbnail((side, side))
        _, descriptors = cv2.SIFT_create().detectAndCompute(np.asarray(grey), None)
        taken.append(np.random.default_rng(own).permutation(descriptors)[:13])  # an eighth of 101, rounded up
    sample = np.random.default_rng(seed).permutation(np.concatenate(taken))[:101]
    centres = KMeans(5, n_init=1, max_iter=iterations, random_state=seed).fit(sample).cluster_centers_
    np.testing.assert_allclose(ours.state()["codebook"], centres, rtol=1e-5)


def test_the_sample_leaves_no_picture_out_for_being_the_last(pictures, monkeypatch):
    """Two descriptors of each of eight pictures are six too many."""
    ours = extractor("sift_bovw", words=2, sample=10)
    monkeypatch.setattr(ours, "descriptors", lambda path: np.full((9, 2), pictures.index(path), np.float32))
    seen = []
    fitted = SimpleNamespace(cluster_centers_=np.zeros((2, 2)))
    monkeypatch.setattr(sift_bovw.KMeans, "fit", lambda self, rows: seen.append(rows) or fitted)
    ours.fit(pictures)
    assert seen[0].shape == (10, 2)
    assert {5, 6, 7} <= set(seen[0][:, 0])


def test_a_picture_without_keypoints_has_zeros(pictures, tmp_path):
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    ours = extractor("sift_bovw", words=5)
    ours.fit(pictures)
    assert not ours.transform([tmp_path / "white.png"]).any()
    with pytest.raises(UserError, match=r"0 keypoints, too few for 5 words"):
        extractor("sift_bovw", words=5).fit([tmp_path / "white.png"])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_codebook_does_not_depend_on_threads(pictures, threads):
    ours = extractor("sift_bovw", threads, words=5, sample=300)
    ours.fit(pictures)
    alone = extractor("sift_bovw", 1, words=5, sample=300)
    alone.fit(pictures)
    np.testing.assert_array_equal(ours.state()["codebook"], alone.state()["codebook"])


TEXTS = [
    "red cat sleeps",
    "blue dog runs",
    "the red cat",
    "a blue dog",
    "red red cats cat",
    "dog dog",
    "cat",
    "blue",
] * 3
LABELS = np.eye(2, dtype=np.uint8)[[0, 1, 0, 1, 0, 1, 0, 1] * 3]


def test_the_sentence_cnn_is_kims():
    """Against loops over windows and words, one text after the other."""
    torch.manual_seed(0)
    network = SentenceCNN(4, 2).double()
    lengths = [1, 7, 5, 0]
    vectors = torch.zeros(4, 9, 4, dtype=torch.float64)
    for row, length in enumerate(lengths):
        vectors[row, :length] = torch.randn(length, 4)
    found = network(vectors, torch.tensor(lengths)).detach().numpy()
    for row, length in enumerate(lengths):
        column = 0
        for layer in network.convolutions:
            window = layer.kernel_size[0]
            for weight, bias in zip(layer.weight, layer.bias, strict=True):
                values = []
                for start in range(max(length, 5) - window + 1):
                    value = bias + sum(weight[:, k] @ vectors[row, start + k] for k in range(window))
                    values.append(max(float(value.detach()), 0.0))
                assert found[row, column] == pytest.approx(max(values), abs=1e-9)
                column += 1


def test_the_sentence_cnn_learns_the_classes_and_is_the_same_again():
    first, second = (extractor("word2vec_cnn", dimensions=8, maps=4, epochs=30, rate=0.01) for _ in range(2))
    before = torch.get_rng_state()
    first.fit(TEXTS, LABELS)
    assert torch.equal(before, torch.get_rng_state())
    second.fit(TEXTS, LABELS)
    features = first.transform(TEXTS)
    np.testing.assert_array_equal(features, second.transform(TEXTS))
    centres = np.stack([features[LABELS[:, c] == 1].mean(0) for c in range(2)])
    nearest = np.linalg.norm(features[:, None] - centres, axis=2).argmin(1)
    assert (nearest == LABELS.argmax(1)).mean() > 0.9


def test_rate_and_seeds_of_what_learns_words_count():
    def convolution(**params):
        ours = extractor("word2vec_cnn", dimensions=4, maps=2, epochs=1, **params)
        ours.fit(TEXTS, LABELS)
        return ours.state()["convolutions.0.weight"]

    def vectors(seed):
        ours = extractor("word_vectors", dimensions=4, epochs=1, seed=seed)
        ours.fit(TEXTS)
        return ours.state()["vectors"]

    assert not np.allclose(convolution(rate=0.1), convolution())
    assert not np.allclose(convolution(seed=1), convolution())
    assert not np.allclose(vectors(1), vectors(0))


def test_word_vectors_are_read_from_a_file(tmp_path):
    table = KeyedVectors(3)
    table.add_vectors(["red", "cat", "house"], np.arange(9.0).reshape(3, 3))
    for name, binary in (("v.txt", False), ("v.bin", True)):
        table.save_word2vec_format(str(tmp_path / name), binary=binary)
        ours = extractor("word2vec_cnn", vectors=str(tmp_path / name), maps=2, epochs=1)
        ours.fit(TEXTS, LABELS)
        assert ours.state()["words"].tolist() == ["cat", "red"]
        assert ours.state()["vectors"].tolist() == [[3, 4, 5], [0, 1, 2]]
        assert ours.fetch()["name"] == name


class Small(nn.Module):
    """A network with the parts of VGG-19."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.classifier = nn.Sequential(
            nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0), nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0), nn.Linear(6, 9)
        )

    def forward(self, images):
        return self.classifier(self.features(images).flatten(1))


@pytest.fixture
def small_vgg(monkeypatch, tmp_path):
    torch.manual_seed(0)
    torch.save(Small().state_dict(), tmp_path / "small.pth")
    monkeypatch.setitem(classic_networks.ARCHITECTURES, "vgg19", (Small, "small.pth", {"fc7": 5}))
    return str(tmp_path / "small.pth")


def test_fine_tuning_steps_are_sgds(small_vgg, pictures, monkeypatch):
    """One epoch of one batch, no flips: one step of gradient descent, the last layer's ten times as long."""
    monkeypatch.setattr(vgg19_finetuned.torch, "rand", lambda *size: torch.ones(size))
    labels = np.array([[1, 0], [0, 1], [1, 1], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0]])
    ours = extractor("vgg19_finetuned", weights=small_vgg, epochs=1, batch=8, rate=0.1, weight_decay=0.01, seed=3)
    ours.fit(pictures, labels)

    network = Small()
    network.load_state_dict(torch.load(small_vgg))
    torch.manual_seed(3)
    network.classifier[-1] = nn.Linear(6, 2)
    from cmr.features.networks import as_input

    images = as_input(next(ours.feed(pictures, 8)), ours.preprocessing)
    targets = torch.tensor(labels / labels.sum(1, keepdims=True))
    loss = -(targets * torch.log_softmax(network(images), 1)).sum(1).mean()
    loss.backward()
    state = ours.state()
    assert sorted(state) == sorted(n for n in network.state_dict() if not n.startswith("classifier.6"))
    for name, parameter in network.named_parameters():
        if name in state:
            expected = parameter - 0.1 * (parameter.grad + 0.01 * parameter)
            np.testing.assert_allclose(state[name], expected.detach().numpy(), atol=1e-6)
            assert not np.allclose(state[name], parameter.detach().numpy(), atol=1e-7)


def test_fine_tuned_features_come_from_the_learned_weights(small_vgg, pictures):
    ours = extractor("vgg19_finetuned", weights=small_vgg, epochs=2, batch=3)
    ours.fit(pictures, np.eye(2)[[0, 1] * 4])
    features = ours.transform(pictures)
    assert features.shape == (8, 6)
    later = extractor("vgg19_finetuned", weights=small_vgg)
    later.load_state(ours.state())
    np.testing.assert_array_equal(later.transform(pictures), features)
    again = extractor("vgg19_finetuned", weights=small_vgg, epochs=2, batch=3)
    again.fit(pictures, np.eye(2)[[0, 1] * 4])
    np.testing.assert_array_equal(again.transform(pictures), features)
    half = extractor("vgg19_finetuned", weights=small_vgg, precision="bf16")
    half.load_state(ours.state())
    half.transform(pictures)
    assert half.state()["classifier.0.weight"].dtype == np.float32


LIBROSA = """
-427.702 78.771 20.365 18.276 -33.912 -58.195 -12.726 -4.015 -22.399 6.149 10.915 -24.423 -9.519 13.067 -13.032 -7.430
21.683 -2.206 -15.477 13.902 4.189 -15.724 10.480 11.226 -16.007 1.739 14.562 -11.606 -3.947
"""


def test_mfcc_is_librosas_mean_over_time(tmp_path):
    """Numbers of ``librosa.feature.mfcc(y=sound, sr=22050, n_mfcc=29).mean(1)``, librosa 0.11.0."""
    time = np.arange(11025) / 22050
    sound = 0.5 * np.sin(2 * np.pi * (200 * time + 800 * time**2)) + 0.1 * np.sin(2 * np.pi * 3000 * time)
    soundfile.write(tmp_path / "a.wav", sound.astype(np.float32), 22050, subtype="FLOAT")
    found = extractor("mfcc").transform([tmp_path / "a.wav"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[float(number) for number in LIBROSA.split()]], atol=1e-3)


def test_silence_is_at_librosas_least_power(tmp_path):
    """-100 dB, that of 1e-10: a constant, which the first coefficient alone tells."""
    soundfile.write(tmp_path / "a.wav", np.zeros(5000), 22050)
    (found,) = extractor("mfcc").transform([tmp_path / "a.wav"])
    np.testing.assert_allclose(found, [-100 * 128**0.5, *[0] * 28], atol=1e-3)


def test_stereo_at_another_rate_becomes_mono(tmp_path):
    time = np.arange(44100) / 44100
    left, right = np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 880 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), 44100, subtype="FLOAT")
    mono = extractor("mfcc").read(tmp_path / "a.wav")
    inner = slice(1000, -1000)  # the filter that resamples sees zeros beyond the ends
    np.testing.assert_allclose(mono[inner], (left + right)[::2][inner] / 2, atol=2e-3)


@pytest.mark.parametrize("rate", [8000, 22050])
def test_bands_lie_where_slaneys_mels_say(rate):
    """A tone of 1000 Hz, 15 of his mels, is loudest in the band nearest to it of 128 between 0 and half the rate."""
    filters = extractor("mfcc", rate=rate).mel_filters  # (frequencies, bands)
    highest = 15 + 27 * np.log(rate / 2 / 1000) / np.log(6.4)
    assert abs(filters[round(1000 / rate * 2048)].argmax() - (15 / highest * 129 - 1)) < 1


def test_the_bound_of_samples_counts_channels_and_what_they_are_resampled_to(tmp_path, monkeypatch):
    monkeypatch.setattr(mfcc, "MAX_SAMPLES", 3000)
    soundfile.write(tmp_path / "long.wav", np.zeros(3001), 22050)
    soundfile.write(tmp_path / "stereo.wav", np.zeros((1501, 2)), 44100)
    soundfile.write(tmp_path / "slow.wav", np.zeros(1100), 8000)
    for name in ("long", "stereo", "slow"):
        with pytest.raises(BadContent, match=r"samples of all channels; at most 3,000 are read"):
            extractor("mfcc").read(tmp_path / f"{name}.wav")
    soundfile.write(tmp_path / "short.wav", np.zeros((1500, 2)), 44100)
    assert len(extractor("mfcc").read(tmp_path / "short.wav")) == 750


def test_an_empty_sound_is_refused(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 22050)
    with pytest.raises(BadContent, match=r"empty\.wav: an empty sound"):
        extractor("mfcc").transform([tmp_path / "empty.wav"])


@pytest.mark.parametrize("content", [None, b"no sound"])
def test_what_is_no_sound_is_refused_by_name(tmp_path, content):
    if content:
        (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(BadContent, match=r"bad\.wav"):
        extractor("mfcc").transform([tmp_path / "bad.wav"])


def sound_file(folder, ending):
    soundfile.write(folder / f"whole.{ending}", np.random.default_rng(0).normal(size=22050) / 10, 22050)
    return (folder / f"whole.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ["wav", "rf64", "w64", "aiff", "au", "ogg", "flac"])
def test_a_sound_that_was_cut_is_refused(tmp_path, ending):
    whole = sound_file(tmp_path, ending)
    (tmp_path / f"cut.{ending}").write_bytes(whole[: len(whole) * 9 // 10])  # whole pages of an Ogg stream are left
    assert len(extractor("mfcc").read(tmp_path / f"whole.{ending}")) == 22050
    with pytest.raises(BadContent, match=rf"cut\.{ending}"):
        extractor("mfcc").read(tmp_path / f"cut.{ending}")


def test_an_ogg_stream_is_whole_with_its_last_page_alone(tmp_path):
    whole = sound_file(tmp_path, "ogg")
    last = whole.rindex(b"OggS")
    for length in (last, last + 4, last + 26, last + 27, last + 100, len(whole) - 1):
        (tmp_path / "cut.ogg").write_bytes(whole[:length])
        with pytest.raises(BadContent, match="its end is missing: the stream has no last page"):
            extractor("mfcc").read(tmp_path / "cut.ogg")
    (tmp_path / "tagged.ogg").write_bytes(whole + b"TAG" + bytes(125))
    assert len(extractor("mfcc").read(tmp_path / "tagged.ogg")) == 22050


def test_a_sound_that_was_written_into_a_pipe_is_whole(tmp_path):
    whole = sound_file(tmp_path, "wav")
    unknown = (0xFFFFFFFF).to_bytes(4, "little")
    (tmp_path / "piped.wav").write_bytes(whole[:4] + unknown + whole[8:40] + unknown + whole[44:])
    assert len(extractor("mfcc").read(tmp_path / "piped.wav")) == 22050
