"""Fitted text extractors equal their libraries called directly, and embed a new text later as they did before."""

import hashlib
from functools import partial

import gensim.models.doc2vec
import numpy as np
import pytest
from gensim.models.doc2vec import Doc2Vec, TaggedDocument, pseudorandom_weak_vector
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from cmr import registry
from cmr.errors import UserError
from cmr.features.doc2vec import checksum
from cmr.features.texts import words

TRAIN = [
    "A red car on the road, and a bus.",
    "The bus and the car stop; the road is wet",
    "Two cats sleep on a red sofa",
    "A cat and a dog: the dog sleeps, the cat looks",
    "Red road, 2 cars",
] * 3
NEW = ["a cat on the road, a cat!", "nothing known here", "", "Dog DOG dog 2"]
PATTERN = r"[^\W_]+"


def extractor(name, threads=1, **params):
    return registry.load("extractors", name)(
        registry.params_model("extractors", name)(**params), "cache", "cpu", threads
    )


def fitted(name, **params):
    found = extractor(name, **params)
    found.fit(TRAIN)
    return found


def test_words():
    assert words("A_red CAR's 2nd, naïve—road!") == ["a", "red", "car", "s", "2nd", "naïve", "road"]


@pytest.mark.parametrize("stop_words", ["english", "none"])
@pytest.mark.parametrize("weighting", ["counts", "binary", "tfidf"])
@pytest.mark.parametrize("size", [6, 5000])
def test_bow_is_scikit_learns(weighting, stop_words, size):
    library = TfidfVectorizer if weighting == "tfidf" else CountVectorizer
    options = {"binary": True} if weighting == "binary" else {}
    direct = library(
        token_pattern=PATTERN, max_features=size, stop_words=None if stop_words == "none" else stop_words, **options
    ).fit(TRAIN)
    ours = fitted("bow", weighting=weighting, stop_words=stop_words, vocabulary=size)
    np.testing.assert_array_equal(ours.transform(NEW), direct.transform(NEW).toarray().astype(np.float32))
    assert ours.state()["vocabulary"].tolist() == direct.get_feature_names_out().tolist()


def test_bow_by_hand():
    ours = extractor("bow", stop_words="none", vocabulary=2)
    ours.fit(["b b a", "b a c"])
    assert ours.state()["vocabulary"].tolist() == ["a", "b"]
    assert ours.transform(["B, b? c", ""]).tolist() == [[0, 2], [0, 0]]


@pytest.mark.parametrize("deterministic", [True, False])
def test_lda_is_scikit_learns(deterministic):
    ours = fitted("lda", topics=3, seed=1, deterministic=deterministic)
    counter = CountVectorizer(token_pattern=PATTERN, stop_words="english", max_features=5000)
    direct = LatentDirichletAllocation(3, max_iter=20, random_state=1, n_jobs=1).fit(counter.fit_transform(TRAIN))
    features = ours.transform(NEW)
    np.testing.assert_array_equal(features, direct.transform(counter.transform(NEW)).astype(np.float32))
    np.testing.assert_allclose(features.sum(1), 1, rtol=1e-6)


def test_doc2vec_is_gensims(monkeypatch):
    ours = fitted("doc2vec", dimensions=12, epochs=7)
    documents = [TaggedDocument(words(text), [row]) for row, text in enumerate(TRAIN)]
    direct = Doc2Vec(documents, dm=0, vector_size=12, epochs=7, min_count=2, negative=5, seed=0, workers=1)
    np.testing.assert_array_equal(ours.state()["weights"], direct.syn1neg)
    # gensim starts inference from Python's hash and its random numbers from where the last text left them
    monkeypatch.setattr(
        gensim.models.doc2vec, "pseudorandom_weak_vector", partial(pseudorandom_weak_vector, hashfxn=checksum)
    )
    for text, feature in zip(NEW, ours.transform(NEW), strict=True):
        known = [word for word in words(text) if word in direct.wv]
        direct.random = np.random.RandomState(checksum(" ".join(words(text))))
        expected = direct.infer_vector(words(text)) if known else np.zeros(12)
        np.testing.assert_array_equal(feature, expected)


def test_doc2vec_starts_from_a_hash_that_every_process_shares():
    assert checksum("a") == 0xE8B7BE43  # CRC-32 as defined, where Python's own hash changes with each process


def test_a_pretrained_doc2vec_needs_trust_and_its_hash(tmp_path):
    model = fitted("doc2vec", dimensions=6, epochs=7).model
    file = tmp_path / "model.bin"
    model.save(str(file))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    given = {"pretrained": str(file), "epochs": 7}
    with pytest.raises(UserError, match=r"pickle.*trust: true and params.sha256: " + sha256):
        extractor("doc2vec", **given, sha256=sha256).fit(TRAIN)
    with pytest.raises(UserError, match=r"was not read"):
        extractor("doc2vec", **given, trust=True).fit(TRAIN)
    pretrained = extractor("doc2vec", **given, trust=True, sha256=sha256)
    pretrained.fit(["other texts"])
    np.testing.assert_array_equal(pretrained.transform(NEW), fitted("doc2vec", dimensions=6, epochs=7).transform(NEW))
    assert pretrained.state() == {}


@pytest.mark.parametrize("name", ["bow", "lda", "doc2vec"])
def test_texts_without_words_are_refused(name):
    with pytest.raises(UserError, match=r"training texts"):
        extractor(name).fit(["", "!"])
