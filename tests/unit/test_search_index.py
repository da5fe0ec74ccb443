"""Look-ups in indexes of embeddings: the exact one beside a literal loop, the approximate ones beside the exact one."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from cmr import cli, search_index, store
from cmr.errors import UserError
from cmr.metrics.ranking import tie_order
from cmr.search_index import EXACT, HNSW, IVFPQ, KINDS, Entries, Index, exactly


@dataclass
class ToyRun:
    """What an index reads of a run: its embeddings of texts, which are the queries."""

    folder: Path
    path: str = "runs/toy"
    record: dict = field(default_factory=lambda: {"identity": "one"})

    def file(self, name):
        return self.folder / name

    def files_of(self, space):
        return {file.stem: file for file in space.glob("*.h5")}


def vectors(n, d=20, seed=0):
    """Around forty centres, as embeddings of classes lie."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, d))
    return (centres[rng.integers(40, size=n)] + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


def entries(start, n):
    ids = np.array([f"item{row}" for row in range(start, start + n)], object)
    labels, contents = (
        np.array([form.format(row) for row in range(start, start + n)], object) for form in ('["{}"]', "{}.png")
    )
    return Entries(ids, vectors(n, seed=start), labels, contents)


@pytest.fixture
def run(tmp_path):
    texts = vectors(50, seed=99)
    store.write_matrix(
        tmp_path / "embeddings/text.h5", "embeddings", np.array([f"t{row}" for row in range(50)]), texts, {}
    )
    return ToyRun(tmp_path)


def made(run, kind, *parts, before=None, name="index"):
    folder = run.folder / name
    search_index._write(folder, run, kind, Path("image"), parts, before, 1)
    return Index.open(folder, run)


def literally(query, rows, k):
    scores = [float(np.float32(query / np.linalg.norm(query)) @ np.float32(row / np.linalg.norm(row))) for row in rows]
    return sorted(range(len(rows)), key=lambda row: -scores[row])[:k]


def test_the_exact_index_ranks_as_a_loop_does(run):
    items = entries(0, 200)
    index = made(run, EXACT, items)
    queries = vectors(6, seed=5)
    rows, scores = index.nearest(queries, 7)
    for query, found, own in zip(queries, rows, scores, strict=True):
        assert found.tolist() == literally(query, items.vectors, 7)
        assert (np.diff(own) <= 0).all()
    told = index.entries(rows[0])
    assert told.ids.tolist() == [f"item{row}" for row in rows[0]]
    assert told.contents.tolist() == [f"{row}.png" for row in rows[0]]
    assert [json.loads(own) for own in told.labels] == [[str(row)] for row in rows[0]]


def test_equal_scores_stand_in_the_order_of_the_metrics():
    items = np.ones((9, 2), np.float32)
    rows, scores = exactly(np.ones((1, 2), np.float32), items, 4)
    assert rows[0].tolist() == np.argsort(tie_order(9))[:4].tolist()
    assert scores[0].tolist() == [2, 2, 2, 2]


def test_blocks_of_queries_change_nothing(monkeypatch):
    queries, items = vectors(9), vectors(50, seed=1)
    whole = exactly(queries, items, 5)[0]
    monkeypatch.setattr(search_index, "SCORES_AT_ONCE", 100)
    assert (exactly(queries, items, 5)[0] == whole).all()


@pytest.mark.parametrize("kind", [HNSW, IVFPQ])
def test_an_approximate_index_says_how_much_of_the_exact_ranking_it_finds(run, kind):
    pytest.importorskip("faiss")
    items = entries(0, 10_000)
    index, exact = made(run, kind, items), made(run, EXACT, items, name="exact")
    queries = store.read_matrix(run.folder / "embeddings/text.h5", "embeddings").values
    rows, scores = index.nearest(queries, 10)
    best, best_scores = exact.nearest(queries, 10)
    shares = [len(set(a.tolist()) & set(b.tolist())) / 10 for a, b in zip(rows, best, strict=True)]
    told = index.record["recall"]["text"]
    assert told == {"queries": 50, "recall_at_10": pytest.approx(np.mean(shares))}
    assert 0.5 < told["recall_at_10"] <= 1
    assert f"recall@10 {told['recall_at_10']:.4f} of 50 text queries" in search_index.described(index)
    for row, score, found in zip(rows, scores, queries, strict=True):  # the scores are the exact ones
        unit = found / np.linalg.norm(found)
        assert score == pytest.approx(index.vectors[row] @ unit, abs=1e-6)
        assert (np.diff(score) <= 0).all()
    assert (scores[:, 0] <= best_scores[:, 0] + 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_is_found_beside_what_was_there(run, kind):
    if kind != EXACT:
        pytest.importorskip("faiss")
    first, second = entries(0, 10_000), entries(10_000, 30)
    before = made(run, kind, first)
    grown = made(run, kind, second, before=before, name="grown")
    assert (len(before), len(grown)) == (10_000, 10_030)
    rows, scores = grown.nearest(second.vectors, 1)
    assert rows[:, 0].tolist() == list(range(10_000, 10_030))
    assert scores == pytest.approx(1, abs=1e-5)
    assert (grown.vectors[:10_000] == before.vectors).all()
    assert grown.entries(np.array([10_029, 3])).ids.tolist() == ["item10029", "item3"]
    with pytest.raises(UserError, match="item 'item10000' would be in the index twice"):
        made(run, kind, second, before=grown, name="twice")


@pytest.mark.parametrize("kind", KINDS)
def test_parts_stand_one_after_the_other_as_if_they_were_one(run, kind):
    if kind != EXACT:
        pytest.importorskip("faiss")
    index, parts = made(run, kind, entries(0, 10_000)), (entries(0, 10_000), entries(10_000, 500), entries(10_500, 7))
    several = made(run, kind, *parts, name="several")
    assert len(several) == 10_507
    assert several.entries(np.array([0, 10_000, 10_506])).ids.tolist() == ["item0", "item10000", "item10506"]
    assert (several.vectors[:10_000] == index.vectors).all()
    assert several.nearest(parts[2].vectors, 1)[0][:, 0].tolist() == list(range(10_500, 10_507))
    with pytest.raises(UserError, match="item 'item3' would be in the index twice"):
        made(run, kind, entries(0, 10_000), entries(3, 1), name="twice")


def test_files_of_one_modality_are_one_index(run, monkeypatch):
    run.record["identity"], run.spaces = "one", [run.folder / "embeddings"]
    files = [run.folder / name for name in ("a.h5", "b.h5", "c.h5")]
    for file, start, modality in zip(files, (0, 5, 0), ("image", "image", "text"), strict=True):
        items = entries(start, 5)
        told = {"run_identity": "one", "modality": modality}
        store.write_matrix(file, "embeddings", items.ids, items.vectors, told)
    found = search_index._sources(run, files)
    assert {place.name: [part.ids.tolist() for part in parts] for place, parts in found.items()} == {
        "image": [[f"item{row}" for row in range(5)], [f"item{row}" for row in range(5, 10)]],
        "text": [[f"item{row}" for row in range(5)]],
    }


def test_too_few_items_for_codes_are_told(run):
    pytest.importorskip("faiss")
    with pytest.raises(UserError, match="100 items are too few for the kind ivfpq, which learns from 9,984"):
        made(run, IVFPQ, entries(0, 100))


def test_without_faiss_the_exact_kind_works_and_the_others_say_so(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    assert len(made(run, EXACT, entries(0, 10))) == 10
    with pytest.raises(UserError, match="the kinds hnsw and ivfpq need faiss, which is not installed"):
        made(run, HNSW, entries(0, 10), name="other")


def test_the_command_knows_all_kinds():
    assert cli.INDEX_KINDS == KINDS


def test_a_damaged_index_is_one_line(run):
    pytest.importorskip("faiss")
    index = made(run, HNSW, entries(0, 20))
    (index.folder / "index.faiss").write_bytes(b"no index")
    with pytest.raises(UserError, match=r"index.faiss: not a readable index; make it anew"):
        index.nearest(vectors(1), 2)
    (index.folder / "index.json").write_text("{}")
    with pytest.raises(UserError, match="not the record of an index of this version"):
        Index.open(index.folder, run)
