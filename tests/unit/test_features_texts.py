"""Fitted text extractors equal their libraries called directly, and embed a new text later as they did before."""

import hashlib
import re
import unicodedata
from functools import partial

import gensim.models.doc2vec
import numpy as np
import pytest
from gensim.models.doc2vec import Doc2Vec, TaggedDocument, pseudorandom_weak_vector
from hypothesis import given, settings
from hypothesis import strategies as st
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


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_words_of_ascii_texts_are_runs_of_letters_and_digits(text):
    assert words(text) == re.findall(PATTERN, text.lower())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("红苹果。iPhone手机2023年", "红 红苹 苹 苹果 果 iphone 手 手机 机 2023 年"),
        ("コーヒーを飲む", "コー ーヒ ヒー ーを を飲 飲 飲む"),
        ("ひ", "ひ"),
        ("ที่บ้าน ดี", "ที่บ้ บ้า าน ดี"),
        ("ໝາ", "ໝາ"),
        ("ផ្កា", "ផ្កា"),
        ("ချယ်ရီ", "ချယ် ယ်ရီ"),
        ("हिन्दी में लिखी", "हिन्दी में लिखी"),
        ("كِتَابٌ جَدِيدٌ", "كِتَابٌ جَدِيدٌ"),
        ("می‌خواهم", "می‌خواهم"),
        ("한국어 텍스트", "한국어 텍스트"),
        ("İstanbul ΟΔΟΣ Straße", "i̇stanbul οδος straße"),
    ],
)
def test_words_of_other_scripts(text, expected):
    assert words(text) == expected.split()


def test_composed_and_decomposed_accents_are_one_word():
    text = "Éléphant à Huế"
    assert words(unicodedata.normalize("NFD", text)) == words(text) == ["éléphant", "à", "huế"]


@pytest.mark.parametrize("name", ["bow", "lda", "doc2vec", "word2vec_cnn"])
def test_texts_without_blanks_share_words(name):
    """Sentences that have a word in common are nearer to each other than to those of the other subject."""
    animals, foods = ["猫", "小狗", "老虎", "山羊"], ["面包", "米饭", "蜂蜜", "奶酪"]
    texts = [f"昨天{a}和{b}都在那里" for subject in (animals, foods) for a in subject for b in subject if a != b]
    labels = np.eye(2, dtype=np.uint8)[np.repeat([0, 1], 12)]
    small = {"lda": {"topics": 4}, "doc2vec": {"dimensions": 8}, "word2vec_cnn": {"dimensions": 8, "maps": 4}}
    ours = extractor(name, **small.get(name, {}))
    ours.fit(texts, labels)
    features = ours.transform(texts) - ours.transform(texts).mean(axis=0)
    similar = features @ features.T
    own = np.repeat([0, 1], 12)
    same = (own[:, None] == own) & ~np.eye(24, dtype=bool)
    assert similar[same].mean() > 0 > similar[own[:, None] != own].mean()


@pytest.mark.parametrize("name", ["bow", "lda", "doc2vec", "word2vec_cnn"])
def test_texts_without_a_known_word_are_counted(name):
    ours = extractor(name, **({"min_count": 1} if name == "doc2vec" else {}))
    ours.fit(TRAIN, np.eye(2, dtype=np.uint8)[np.arange(15) % 2])
    later = extractor(name)
    later.load_state(ours.state())
    for known in (ours, later):
        gap = known.gaps(["a cat on the road", "zebra zebra", "", "红苹果", "bus"])["no_known_word"]
        assert str(gap) == "3 of 5 texts have no word that was learned"
        assert known.gaps(["red road", "zebra car"]) == {}


@pytest.mark.parametrize("stop_words", ["english", "none"])
@pytest.mark.parametrize("weighting", ["counts", "binary", "tfidf"])
@pytest.mark.parametrize("size", [6, 5000])
def test_bow_is_scikit_learns(weighting, stop_words, size):
    """But for which of equally frequent words are kept, which there depends on the processor: here the first."""
    library = TfidfVectorizer if weighting == "tfidf" else CountVectorizer
    options = {"token_pattern": PATTERN, "stop_words": None if stop_words == "none" else stop_words}
    options |= {"binary": True} if weighting == "binary" else {}
    counter = CountVectorizer(**options)
    totals = counter.fit_transform(TRAIN).toarray().sum(axis=0)
    most = sorted(zip(-totals, counter.get_feature_names_out(), strict=True))[:size]
    direct = library(**options, vocabulary=sorted(word for _, word in most)).fit(TRAIN)
    ours = fitted("bow", weighting=weighting, stop_words=stop_words, vocabulary=size)
    np.testing.assert_array_equal(ours.transform(NEW), direct.transform(NEW).toarray().astype(np.float32))
    assert ours.state()["vocabulary"].tolist() == direct.get_feature_names_out().tolist()
    again = extractor("bow", weighting=weighting)
    again.load_state(ours.state())
    np.testing.assert_array_equal(again.transform(NEW), ours.transform(NEW))


def test_bow_by_hand():
    ours = extractor("bow", stop_words="none", vocabulary=2)
    ours.fit(["b b a", "b a c"])
    assert ours.state()["vocabulary"].tolist() == ["a", "b"]
    assert ours.transform(["B, b? c", ""]).tolist() == [[0, 2], [0, 0]]
    ours.fit(["d c b a", "d c b a"])
    assert ours.state()["vocabulary"].tolist() == ["a", "b"]


@pytest.mark.parametrize(("stop_words", "iterations"), [("english", 20), ("none", 3)])
@pytest.mark.parametrize("deterministic", [True, False])
def test_lda_is_scikit_learns(deterministic, stop_words, iterations):
    options = {"stop_words": stop_words, "iterations": iterations, "deterministic": deterministic}
    ours = fitted("lda", topics=3, seed=1, **options)
    counter = CountVectorizer(token_pattern=PATTERN, stop_words=None if stop_words == "none" else stop_words)
    model = LatentDirichletAllocation(3, max_iter=iterations, random_state=1, n_jobs=1)
    direct = model.fit(counter.fit_transform(TRAIN))
    features = ours.transform(NEW)
    np.testing.assert_array_equal(features, direct.transform(counter.transform(NEW)).astype(np.float32))
    np.testing.assert_allclose(features.sum(1), 1, rtol=1e-6)
    again = extractor("lda", topics=3, **options)
    again.load_state(ours.state())
    np.testing.assert_array_equal(again.transform(NEW), features)


def test_a_deterministic_extractor_learns_on_one_core_whatever_the_job_has():
    for deterministic, cores in ((True, 1), (False, 4)):
        assert extractor("lda", threads=4, deterministic=deterministic).model().n_jobs == cores
        doc2vec = extractor("doc2vec", threads=4, dimensions=4, epochs=1, deterministic=deterministic)
        doc2vec.fit(TRAIN)
        assert doc2vec.model.workers == cores


@pytest.mark.parametrize(("seed", "negative", "min_count"), [(0, 5, 2), (3, 2, 4)])
def test_doc2vec_is_gensims(monkeypatch, seed, negative, min_count):
    options = {"epochs": 7, "negative": negative, "min_count": min_count, "seed": seed}
    ours = fitted("doc2vec", dimensions=12, **options)
    documents = [TaggedDocument(words(text), [row]) for row, text in enumerate(TRAIN)]
    direct = Doc2Vec(documents, dm=0, vector_size=12, workers=1, **options)
    np.testing.assert_array_equal(ours.state()["weights"], direct.syn1neg)
    # gensim starts inference from Python's hash and its random numbers from where the last text left them
    monkeypatch.setattr(
        gensim.models.doc2vec, "pseudorandom_weak_vector", partial(pseudorandom_weak_vector, hashfxn=checksum)
    )
    for text, feature in zip(NEW, ours.transform(NEW), strict=True):
        known = [word for word in words(text) if word in direct.wv]
        direct.random = np.random.RandomState(checksum(" ".join(words(text))) ^ seed)
        expected = direct.infer_vector(words(text)) if known else np.zeros(12)
        np.testing.assert_array_equal(feature, expected)


def test_texts_of_more_words_than_gensim_takes_are_counted():
    ours = fitted("doc2vec", dimensions=2, epochs=1)
    gap = ours.gaps(["red " * 10_001, "red " * 10_000, "red " * 10_000 + "unknown", "cat"])["cut"]
    assert str(gap) == "1 of 4 texts are cut after some 10,000 words, as gensim cuts them"


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
    model.save(str(file), sep_limit=1)
    with pytest.raises(UserError, match=r"arrays of the model are in files beside it \(model\.bin\..*separately=\[\]"):
        pretrained.fit([])
    for beside in tmp_path.glob("model.bin.*"):
        beside.unlink()
    model.save(str(file), separately=[])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin"]


@pytest.mark.parametrize("name", ["bow", "lda", "doc2vec"])
def test_texts_without_words_are_refused(name):
    with pytest.raises(UserError, match=r"training texts"):
        extractor(name).fit(["", "!"])
