"""Shards: where data are cut, what is joined, and that it is what one job gives, bit for bit."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from test_features_extraction import Gapped, Lengths
from test_sets import Letters

from cmr import expected, job, store
from cmr.errors import UserError
from cmr.features import joining
from cmr.features.base import Gap
from cmr.features.extraction import CHUNK, Task, extract, extract_shard, learn, publish
from cmr.machine import Machine
from cmr.plan import shards_of
from cmr.reporting.unfinished import with_unfinished
from cmr.shards import ROWS_PER_JOB, count, cut, in_whole_chunks
from cmr.sharing import prune
from cmr.stages import extract as stage
from toy_plan import Project, experiment

TEXTS = [f"text {i} " + "x" * (i % 7) for i in range(25)]
IDS = np.array([f"item{i}" for i in range(25)])
CHUNK_OF_4 = 4


# Where data are cut ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 23, 24])
@pytest.mark.parametrize("size", [1, 4, 8, 100])
def test_shards_are_all_rows_in_order_and_as_long_as_asked_for_but_the_last(rows, size):
    shards = cut(rows, size)
    assert [row for shard in shards for row in shard] == list(range(rows))
    assert {len(shard) for shard in shards[:-1]} <= {size}
    assert 1 <= len(shards[-1]) <= size


def test_shards_are_whole_chunks_of_each_device_that_the_configuration_may_mean():
    assert CHUNK["cuda"] % CHUNK["cpu"] == 0
    assert [in_whole_chunks(rows, "cpu") for rows in (1, 256, 257)] == [256, 256, 512]
    assert [in_whole_chunks(rows, device) for device in ("auto", "cuda") for rows in (1, 4097)] == 2 * [4096, 8192]
    assert in_whole_chunks(ROWS_PER_JOB, "cuda") == ROWS_PER_JOB


def test_the_footer_of_a_table_says_how_many_items_have_a_modality(tmp_path):
    table = pd.DataFrame({"id": list("abcde"), "image": ["x", None, "y", None, None], "text": list("vwxyz")})
    table.to_parquet(tmp_path / "items.parquet", index=False, row_group_size=2)
    assert [count(tmp_path / "items.parquet", modality) for modality in ("image", "text", "audio")] == [2, 5, 0]
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes((tmp_path / "items.parquet").read_bytes()[:-9])
    for file in (damaged, tmp_path / "none.parquet"):
        with pytest.raises(UserError, match=rf"{file.name}: not a readable items table"):
            count(file, "text")


# What is joined ----------------------------------------------------------------------------------------------------


def sharded(folder, make, size, contents=TEXTS, training=None):
    """The file of features that shards of ``size`` rows are joined to, as the stages do it."""
    n = len(contents)
    states = {} if training is None else learn(Task(make(), contents, IDS[:n], training), "learned")
    files, gaps = [folder / f"{rows.start}.h5" for rows in cut(n, size)], []
    for rows, file in zip(cut(n, size), files, strict=True):
        extractor = make()
        if training is not None:
            extractor.load_state(states)
        some = Task(extractor, contents[rows.start : rows.stop], IDS[rows.start : rows.stop])
        resolved, left_out = extract_shard({"/": some}, file, "key", CHUNK_OF_4)
        gaps.append(left_out)
    left_out = joining.gaps(gaps, n)
    told = {"gaps": {name: vars(gap) for name, gap in left_out.items()}} if left_out else {}
    publish(folder / "joined.h5", IDS[:n], {"/": joining.features(files, "/")}, {}, resolved | told, states)
    return folder / "joined.h5"


def in_one(folder, make, contents=TEXTS, training=None):
    task = Task(make(), contents, IDS[: len(contents)], training)
    extract(task, folder / "one.h5", {}, folder / "partial.h5", "key", CHUNK_OF_4)
    return folder / "one.h5"


@pytest.mark.parametrize("rows", [1, 4, 5, 24, 25])
@pytest.mark.parametrize("size", [4, 8, 20, 24, 28])
@pytest.mark.parametrize("make", [Lengths, Gapped, Letters])
def test_shards_give_the_bytes_of_one_job(tmp_path, make, size, rows):
    joined, one = sharded(tmp_path, make, size, TEXTS[:rows]), in_one(tmp_path, make, TEXTS[:rows])
    assert joined.read_bytes() == one.read_bytes()


def test_a_fitted_extractor_learns_once(tmp_path):
    training = np.arange(3, 20, 2)
    joined, one = sharded(tmp_path, Lengths, 8, training=training), in_one(tmp_path, Lengths, training=training)
    assert joined.read_bytes() == one.read_bytes()


def test_a_shard_that_was_finished_keeps_what_is_the_same_when_it_is_asked_for_again(tmp_path):
    changed = [*TEXTS[:6], "a text that is longer than the others are", *TEXTS[7:8]]
    for contents, seen in ((TEXTS[:8], TEXTS[:8]), (TEXTS[:8], []), (changed, changed[4:])):
        extractor = Letters()
        extract_shard({"/": Task(extractor, contents, IDS[:8])}, tmp_path / "a.h5", "key", CHUNK_OF_4)
        assert extractor.seen == seen
    publish(
        tmp_path / "joined.h5", IDS[:8], {"/": joining.features([tmp_path / "a.h5"], "/")}, {"resolved": {}}, {}, {}
    )
    assert (tmp_path / "joined.h5").read_bytes() == in_one(tmp_path, Letters, changed).read_bytes()


def test_a_content_that_cannot_be_read_is_named_by_its_item(tmp_path):
    with pytest.raises(UserError, match=r"item 'item14'.*cannot be read"):
        extract_shard({"/": Task(Lengths(bad=TEXTS[14]), TEXTS[12:20], IDS[12:20])}, tmp_path / "a.h5", "key")


def test_stacked_rows_are_those_of_all_files(tmp_path):
    parts = [np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32) for n in (4, 0, 1, 7)]
    files = [tmp_path / f"{number}.h5" for number in range(4)]
    for file, part in zip(files, parts, strict=True):
        with h5py.File(file, "w") as opened:
            opened["features"] = part
    stacked, whole = joining.Stacked(files, "features"), np.concatenate(parts)
    assert (len(stacked), stacked.shape, stacked.dtype) == (12, (12, 3), np.float32)
    for start in range(13):
        for stop in range(start, 14):
            np.testing.assert_array_equal(stacked[start:stop], whole[start:stop])


def test_what_features_leave_out_adds_up_over_shards():
    shards = [
        {"cut": Gap(2, 4, "are cut")},
        {},
        {"cut": Gap(1, 4, "are cut"), "unknown": Gap(3, 4, "are unknown", "take")},
    ]
    assert joining.gaps(shards, 11) == {"cut": Gap(3, 11, "are cut"), "unknown": Gap(3, 11, "are unknown", "take")}


# Through the stages ------------------------------------------------------------------------------------------------

ROWS = 600
TABLE = {"file": "my.csv", "id": "key", "image": "picture", "text": "caption", "label": "class", "split": "part"}
CONFIG = {
    "datasets": [{"id": "mine", "dataset": "table", "params": TABLE}],
    "features": [
        {"id": "bow", "extractor": "bow"},
        {"id": "lda", "extractor": "lda", "params": {"topics": 3}},
        {"id": "cnn", "extractor": "word2vec_cnn", "params": {"vectors": "vec.txt", "maps": 2, "epochs": 1}},
        {"id": "sequence", "extractor": "word_vectors", "params": {"vectors": "vec.txt"}},
        "sift_bovw",
    ],
    "metrics": ["mean_average_precision"],
    "device": "cpu",
}
WORDS = [f"word{number}" for number in range(12)]


def project(root, feature, rows_per_job=256):
    """Six hundred texts of which few words are known; the project is the working directory."""
    root.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, 1 + row % 9)) if row % 11 else "§" for row in range(ROWS)]
    parts = ["train" if row % 3 else "test" for row in range(ROWS)]
    Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8)).save(root / "a.png")
    rows = [[f"k{row}", "a.png", texts[row], "ab"[row % 2], parts[row]] for row in range(ROWS)]
    pd.DataFrame(rows, columns=["key", "picture", "caption", "class", "part"]).to_csv(root / "my.csv", index=False)
    lines = [f"{word} {' '.join(map(str, generator.normal(size=5).round(3)))}" for word in WORDS]
    (root / "vec.txt").write_text(f"{len(WORDS)} 5\n" + "\n".join(lines) + "\n")
    inputs, method = ([feature], "random") if feature != "sequence" else (["sift_bovw", feature], "attention_pool")
    runs = {"experiments": [{"id": "main", "data": ["mine"], "inputs": [inputs], "methods": [method]}]}
    return Project(root, {**CONFIG, **runs, "rows_per_job": rows_per_job})


ORIGINS = ("usage", "shards", "hardware")
"""What a record may say otherwise when its result was joined."""


@pytest.mark.parametrize("feature", ["bow", "lda", "cnn", "sequence"])
def test_joined_features_have_bytes_identity_and_facts_of_one_job(tmp_path, monkeypatch, feature):
    records = []
    for name, rows_per_job in (("one", ROWS), ("joined", 200)):
        made = project(tmp_path / name, feature, rows_per_job)
        monkeypatch.chdir(made.root)
        result = made.make(made.results("extract")[-1])
        assert len(made.shards(result)) == (3 if name == "joined" else 0)
        assert not list(Path("results/.partial").rglob("*.*"))
        records.append((made.path(result.files[0]).read_bytes(), made.record(result)))
    (one, of_one), (joined, of_joined) = records
    assert joined == one
    assert of_joined["shards"] == 3
    assert {k: v for k, v in of_joined.items() if k not in ORIGINS} == {
        k: v for k, v in of_one.items() if k not in ORIGINS
    }
    assert set(of_joined["usage"]) == set(of_one["usage"])


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A project all of whose shards are made and not joined."""
    made = project(tmp_path / "begun", "bow")
    monkeypatch.chdir(made.root)
    features = made.only("extract")
    for source in features.made_from:
        made.make(source)
    for shard in made.shards(features):
        made.make(shard)
    return made


def test_ready_features_are_never_cut(tmp_path):
    made = Project(
        tmp_path,
        {
            "datasets": [{"id": "made", "dataset": "precomputed", "params": {"features": {"a": "a.npy"}}}],
            "features": [{"id": "a", "extractor": "ready", "modality": "a"}],
            "rows_per_job": 1,
            **experiment(["a"], "random"),
        },
    )
    assert shards_of(made.only("extract"), 10**9) == ()


def test_a_plan_finds_a_shard_by_its_record(begun):
    features = begun.only("extract")
    for result in (*begun.shards(features), begun.shards(features)[0].source("learn")):
        found = begun.plan.result_at(result.record)
        assert (found.stage, found.files, found.identifying) == (result.stage, result.files, result.identifying)
    with pytest.raises(UserError, match="the plan has no such result"):
        begun.plan.result_at(
            features.record.replace("features/", ".partial/features/").replace(".json", ".h5.shards/x.json")
        )


@pytest.mark.parametrize("damage", ["bytes", "record", "other identity", "other device"])
def test_a_shard_that_is_not_what_it_should_be_is_not_joined(begun, damage):
    features = begun.only("extract")
    shard = begun.shards(features)[1]
    file, record = Path(shard.files[0]), Path(shard.record)
    if damage == "bytes":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        message = rf"{file.name}: other bytes than .*{record.name} says; delete both"
    elif damage == "record":
        record.unlink()
        message = record.name
    elif damage == "other identity":
        record.write_text(record.read_text().replace('"identity": "', '"identity": "0', 1))
        message = rf"{record.name}: made from other data or by other code; delete it"
    else:
        record.write_text(record.read_text().replace('"device": "cpu"', '"device": "cuda"', 1))
        message = r"bow\.h5\.shards: shards of unlike machines \(CPU and GPU, say\); delete it and run again"
    with pytest.raises((UserError, FileNotFoundError), match=message):
        stage.make(features, begun.machine)
    assert not Path(features.files[0]).exists()


def test_what_was_begun_is_known_and_is_made_again_where_it_would_be_another(begun):
    def stale():
        found = [*begun.plan.results(), *expected.begun(begun.plan)]
        return [one.result.stage for one in expected.Expected(begun.machine).stale(found)]

    assert [result.stage for result in expected.begun(begun.plan)] == ["shard"] * 3 + ["learn"]
    assert stale() == []
    table = Path("my.csv")
    table.write_text(table.read_text().replace("word1", "word2"))
    assert sorted(stale()) == ["learn", "prepare", "shard", "shard", "shard", "split"]


def test_an_edited_item_costs_a_chunk_and_no_other_shard(begun, monkeypatch):
    """Of the test items: what the extractor learned is the same."""
    table = Path("my.csv")
    lines = table.read_text().splitlines()
    assert lines[301].startswith("k300,")
    assert lines[301].endswith("test")
    lines[301] = "k300,a.png,word3 word4,a,test"
    table.write_text("\n".join(lines) + "\n")
    features, seen = begun.only("extract"), []
    monkeypatch.setattr("cmr.features.bow.BagOfWords.transform", counting(seen))
    for result in (*features.made_from, begun.shards(features)[0].source("learn"), *begun.shards(features)):
        begun.make(result, again=True)
    assert seen == [256]
    begun.make(features)
    assert store.read_matrix(features.files[0], "features").values[300].sum() > 0


def counting(seen):
    from cmr.features.bow import BagOfWords

    transform = BagOfWords.transform

    def counted(self, contents):
        seen.append(len(contents))
        return transform(self, contents)

    return counted


def configured(made):
    """Writes the project's configuration into its folder, as a user has it."""
    Path("config.yaml").write_text(yaml.safe_dump(made.plan.config.model_dump(mode="json")))


def test_prune_keeps_shards_as_long_as_they_are_not_joined(begun):
    configured(begun)
    features = begun.only("extract")
    folder = Path(begun.shards(features)[0].record).parent
    assert prune("results", []).found == []
    begun.make(features)
    assert not folder.exists()
    folder.mkdir()
    (folder / "0-256.h5").write_bytes(b"left by a kill")
    assert [found.path for found in prune("results", []).found] == [folder]


def test_prune_keeps_what_an_interrupted_run_of_another_configuration_has_made(begun):
    """Before its first fit too: features may have taken hours."""
    job.write(begun.plan.config, Machine(), "results/report")
    features = begun.only("extract")
    begun.make(features)
    lda = [feature for feature in CONFIG["features"] if feature != "sift_bovw" and feature["id"] == "lda"]
    other = CONFIG | {
        "features": lda,
        **experiment(["lda"], "random"),
        "datasets": [{**CONFIG["datasets"][0], "id": "x"}],
    }
    other["experiments"][0]["data"] = ["x"]
    Path("config.yaml").write_text(yaml.safe_dump(other))
    (file,) = Path(job.FOLDER).glob("*.json")
    pruned = prune("results", [])
    assert pruned.found == []
    assert any(str(file) in line for line in pruned.kept_for)
    file.unlink()
    assert any(Path(features.files[0]).is_relative_to(found.path) for found in prune("results", []).found)


def test_a_summary_names_the_shard_that_failed(begun):
    configured(begun)
    shard = begun.shards(begun.only("extract"))[1]
    for name, line in (("0-256", "done"), ("256-512", "error: item 'k300': cannot be read")):
        log = Path(shard.record.replace("results/.partial", "results/.logs/shard")).with_name(f"{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{line}\n")
    with pytest.raises(UserError) as told:
        with_unfinished("results", [])
    assert "k300" not in str(told.value)
    Path(shard.record).unlink()
    with pytest.raises(UserError, match=r"shard of .*bow\.h5\.shards: item 'k300': cannot be read"):
        with_unfinished("results", [])
