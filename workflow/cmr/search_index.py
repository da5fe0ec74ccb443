"""Indexes of embeddings, which `cmr search` looks queries up in: by the exact ranking, or approximately by faiss.

An index is a folder with one inner folder for each modality. `ITEMS` holds the embeddings, brought to unit length, with
the ids, labels and contents of their items, so that a look-up reads no table of items. `hnsw` and `ivfpq` have a file
of faiss beside it, which proposes `CANDIDATES` items for each that is asked for; their exact scores rank these.
For one query the product with all embeddings is as quick as faiss's own exact index, so ``exact`` needs no faiss.

``hnsw``: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable
small world graphs", TPAMI 2020. ``ivfpq``: Jégou, Douze and Schmid, "Product quantization for nearest neighbor search",
TPAMI 2011.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from cmr import paths, registry
from cmr.boundary import check_name, plain
from cmr.data import Items
from cmr.directions import scores_by_cosine, smallest_hashes
from cmr.errors import UserError, quantity
from cmr.methods.base import unit_rows
from cmr.metrics.keys import tie_order
from cmr.metrics.ranking import row_blocks
from cmr.publish import atomic_folder, check_free, read_json, write_json
from cmr.records import SCHEMA_VERSION
from cmr.reporting.runs import Run
from cmr.store import TEXT, new_hdf5, open_hdf5, read_rows
from cmr.vectors import blocks

EXACT, HNSW, IVFPQ = KINDS = ("exact", "hnsw", "ivfpq")
ITEMS, PROPOSING, RECORD = "items.h5", "index.faiss", "index.json"
VECTORS, IDS, LABELS, CONTENTS = "embeddings", "ids", "labels", "contents"
DEPTH = 10
QUERIES = 1000
"""Whose recall@`DEPTH` against the exact ranking is measured."""
CANDIDATES = 10
SCORES_AT_ONCE = 2**24

LINKS, BUILD_WIDTH, SEARCH_WIDTH = 32, 80, 128
"""Of HNSW: links of an item, and how many items are looked at to insert one and to find one (M and ef there)."""
LISTS_PER_ROOT, TRAINED_ON, FEWEST, PROBED, PROBED_AT_LEAST = 4, 64, 39, 32, 16
"""Of IVF-PQ: lists by √n, items that each list is learned from, below how many of these faiss warns, the share of the
lists that a query looks into, and how many these are at the least.
"""
CODE_BYTES = 64  # of an item at most, and half as many as it has dimensions


@dataclass(frozen=True)
class Entries:
    """What an index holds of n items. ``labels`` (n,): each item's, a list in JSON; ``contents`` (n,): texts and paths
    as the items table has them. Of new items, whose embeddings alone are known, both are empty.
    """

    ids: np.ndarray
    vectors: Any
    labels: np.ndarray
    contents: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Index:
    """The index of one modality."""

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path, run: Run) -> "Index":
        """Raises `UserError` where the folder holds none, or that of another run."""
        if not (folder / RECORD).is_file():
            raise UserError(f"{folder}: no index; `python -m cmr index RUN --out FOLDER` makes one")
        record = read_json(folder / RECORD)
        if record.get("schema_version") != SCHEMA_VERSION or record.get("kind") not in KINDS:
            raise UserError(f"{folder / RECORD}: not the record of an index of this version; make it anew")
        if record["run_identity"] != run.record["identity"]:
            raise UserError(f"{folder}: the index of {record['run']} in another state; make it anew of {run.path}")
        return cls(folder, record)

    def __len__(self) -> int:
        return self.record["items"]

    @cached_property
    def vectors(self) -> np.ndarray:
        """Embeddings (n, k) float32 of unit length, mapped: a look-up needs little memory of its own."""
        file = self.folder / ITEMS
        with open_hdf5(file) as opened:
            values = opened.get(VECTORS)
            if values is None or values.shape != (len(self), self.record["dimensions"]) or values.dtype != np.float32:
                raise UserError(f"{file}: other embeddings than {RECORD} tells of; make the index anew")
            place = values.id.get_offset()
        return np.memmap(file, np.float32, "r", place, (len(self), self.record["dimensions"]))

    def nearest(self, queries: np.ndarray, k: int, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The rows (q, k) of the items that score highest for each query (q, d), best first, and their scores."""
        queries = unit_rows(np.asarray(queries, np.float32))
        k = min(k, len(self))
        if self.record["kind"] == EXACT:
            return exactly(queries, self.vectors, k)
        proposed = _proposed(self.folder / PROPOSING, queries, min(CANDIDATES * k, len(self)), threads)
        return _ranked(queries, self.vectors, proposed, k)

    def entries(self, rows: np.ndarray) -> Entries:
        """Of some rows (r,)."""
        order = np.argsort(rows)  # HDF5 reads them in its own order
        back = np.argsort(order)
        with open_hdf5(self.folder / ITEMS) as file:
            texts = [file[name].asstr(errors="replace")[rows[order]][back] for name in (IDS, LABELS, CONTENTS)]
        ids, labels, contents = texts
        return Entries(ids, self.vectors[rows], labels, contents)


# Looking up --------------------------------------------------------------------------------------------------------


def exactly(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """As `Index.nearest`, by all scores."""
    order, best = tie_order(len(vectors)), []
    for rows in row_blocks(len(queries), len(vectors), SCORES_AT_ONCE):
        for scores in queries[rows] @ vectors.T:
            least = np.partition(scores, -k)[-k]
            among_best = np.flatnonzero(scores >= least)  # with all that are as good as the last
            first = np.lexsort((order[among_best], -scores[among_best]))[:k]
            best.append((among_best[first], scores[among_best[first]]))
    return np.stack([rows for rows, _ in best]), np.stack([scores for _, scores in best])


def _ranked(queries: np.ndarray, vectors: np.ndarray, proposed: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of ``proposed`` rows (q, c), of which -1 is none, by their exact scores."""
    scores = np.einsum("qd,qcd->qc", queries, vectors[proposed])
    scores[proposed < 0] = -np.inf
    best = np.lexsort((tie_order(len(vectors))[proposed], -scores), axis=1)[:, :k]
    found, scores = np.take_along_axis(proposed, best, axis=1), np.take_along_axis(scores, best, axis=1)
    if (found < 0).any():  # lists that a query looked into may hold fewer items
        enough = int((found >= 0).sum(axis=1).min())
        found, scores = found[:, :enough], scores[:, :enough]
    return found, scores


def _proposed(file: Path, queries: np.ndarray, count: int, threads: int) -> np.ndarray:
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)
    return _read(file).search(queries, count)[1]


def _read(file: Path, mapped: bool = True) -> Any:
    faiss = _faiss()
    try:
        return faiss.read_index(str(plain(file)), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: not a readable index; make it anew ({reason})") from None


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise UserError(
            "the kinds hnsw and ivfpq need faiss, which is not installed: pip install '.[index]'; "
            "the kind exact needs nothing"
        ) from None
    return faiss


# Making ------------------------------------------------------------------------------------------------------------


def make(run: Run, out: Path, kind: str, files: Sequence[Path], threads: int) -> list[Index]:
    """Indexes of the run's embedded test items, or, where ``files`` of new items are given, of these.

    ``files``: what `cmr embed` wrote with the run. Raises `UserError` where the run's method scores otherwise than by
    the cosine, for embeddings of another run, and where something stands at ``out``.
    """
    check_free(out)
    _check_cosine(run)
    if kind != EXACT:
        _faiss()
    with atomic_folder(out) as temporary:
        for place, parts in _sources(run, files).items():
            _write(temporary / place, run, kind, place, parts, None, threads)
    return [Index.open(record.parent, run) for record in sorted(out.rglob(RECORD))]


def add(run: Run, folder: Path, files: Sequence[Path], threads: int) -> list[Index]:
    """Adds new items, embedded by the run, to the index of their modality; what faiss has learned stays as it is.

    Raises `UserError` as `make` does, and for an item that the index has already.
    """
    grown = []
    for place, parts in _sources(run, files).items():
        before = Index.open(folder / place, run)
        with atomic_folder(folder / place) as temporary:
            _write(temporary, run, before.record["kind"], place, parts, before, threads)
        grown.append(Index.open(folder / place, run))
    return grown


def place_of(run: Run, number: int, modality: str) -> Path:
    """Where the embeddings of a fit's modality lie below a folder, and so their index: where there are several spaces,
    in a folder named after the fit's inputs.
    """
    alone = any(run.file("embeddings").glob("*.h5"))
    return Path(modality) if alone else Path(run.fit_folders[number].parents[1].name, modality)


def _check_cosine(run: Run) -> None:
    for name in {fit["method"]["method"] for fit in run.fits}:
        if not scores_by_cosine(registry.load("methods", name)):
            raise UserError(f"{run.path}: {name} scores pairs otherwise than by the cosine, by which an index ranks")


def _sources(run: Run, files: Sequence[Path]) -> dict[Path, list[Entries]]:
    """Place below the index's folder → what it holds, of several files of new items one after the other."""
    found: dict[Path, list[Entries]] = {}
    for place, entries in map(partial(_new, run), files) if files else _tested(run):
        found.setdefault(place, []).append(entries)
    return found


def _tested(run: Run) -> Iterator[tuple[Path, Entries]]:
    """The run's test items."""
    items = Items.read(run.place(paths.ITEMS.format(data=run.data)))
    for space in run.spaces:
        for modality, file in run.files_of(space).items():
            rows = read_rows(file, "embeddings")
            known = items.table.iloc[items.rows(rows.ids)]
            labels = np.array([json.dumps(list(own)) for own in known["labels"]], object)
            place = file.relative_to(run.file("embeddings")).with_suffix("")
            yield place, Entries(rows.ids, rows.values, labels, known[modality].to_numpy(object))


def _new(run: Run, file: Path) -> tuple[Path, Entries]:
    """New items as `cmr.embedding.embed` wrote them; of another form are those of a run of several spaces."""
    if len(run.spaces) > 1:
        raise UserError(f"{run.path}: it has a space for each pair of modalities; an index of new items needs one")
    with _made_by_embed():
        with open_hdf5(file) as opened:
            attributes = dict(opened.attrs)
        if attributes.get("run_identity") != run.record["identity"]:
            raise UserError(f"{file}: not embedded by {run.path} as it is now; make the file with `cmr embed`")
        rows = read_rows(file, "embeddings")
    labels, contents = (np.full(len(rows.ids), empty, object) for empty in ("[]", ""))
    return Path(_modality(file, attributes)), Entries(rows.ids, rows.values, labels, contents)


@contextmanager
def _made_by_embed() -> Iterator[None]:
    """The remedy for files of the workflow is not the one for a file that the user names."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("delete it and run again", "make the file with `cmr embed`")) from None


def _modality(file: Path, attributes: Mapping[str, Any]) -> str:
    try:
        return check_name(attributes.get("modality", ""))
    except ValueError as error:
        raise UserError(f"{file}: its attribute modality is none ({error}); make the file with `cmr embed`") from None


def _write(
    folder: Path, run: Run, kind: str, place: Path, parts: Sequence[Entries], before: Index | None, threads: int
) -> None:
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    _write_items(folder / ITEMS, parts, before)
    known = 0 if before is None else len(before)
    record = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "modality": place.name,
        "run": run.path,
        "run_identity": run.record["identity"],
        "items": known + sum(map(len, parts)),
        "dimensions": parts[0].vectors.shape[1],
    }
    index = Index(folder, record)
    if kind != EXACT:
        _write_proposing(index, known, before, threads)
    measured = {} if kind == EXACT else _recall(index, run, place, threads)
    write_json(folder / RECORD, record | {"recall": measured, "seconds": round(time.monotonic() - started, 3)})


def _write_items(file: Path, parts: Sequence[Entries], before: Index | None) -> None:
    """The items of an index before, where there is one, and then those of each part."""
    d = parts[0].vectors.shape[1]
    old = None if before is None else before.entries(np.arange(len(before)))
    if before is not None and before.record["dimensions"] != d:
        raise UserError(f"{before.folder}: embeddings of {d} columns, the index has {before.record['dimensions']}")
    known = set() if old is None else set(old.ids.tolist())
    for item in (item for part in parts for item in part.ids.tolist()):
        if item in known:
            raise UserError(
                f"item {item!r} would be in the index twice; name each file once, and files of other texts otherwise"
            )
        known.add(item)
    parts = parts if old is None else [old, *parts]
    with new_hdf5(file) as opened:
        vectors = opened.create_dataset(VECTORS, (sum(map(len, parts)), d), np.float32)
        start = 0
        for part in parts:
            for rows in blocks(len(part), 4 * d):
                block = np.asarray(part.vectors[rows])
                vectors[start : start + len(block)] = block if part is old else unit_rows(block)
                start += len(block)
        for name in (IDS, LABELS, CONTENTS):
            texts = np.concatenate([np.asarray(getattr(part, name), object) for part in parts])
            opened.create_dataset(name, data=texts, dtype=TEXT)


def _write_proposing(index: Index, known: int, before: Index | None, threads: int) -> None:
    """faiss's part: grown from the one before, or learned."""
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)
    if before is None:
        proposing = (_graph if index.record["kind"] == HNSW else _lists)(index.vectors)
    else:
        proposing = _read(before.folder / PROPOSING, mapped=False)
    for rows in blocks(len(index) - known, 4 * index.record["dimensions"]):
        proposing.add(np.ascontiguousarray(index.vectors[known + rows.start : known + rows.stop]))
    faiss.write_index(proposing, str(index.folder / PROPOSING))


def _graph(vectors: np.ndarray) -> Any:
    faiss = _faiss()
    graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
    return graph


def _lists(vectors: np.ndarray) -> Any:
    """Inverted lists of product codes, learned from a sample of the items that depends on their number alone."""
    faiss = _faiss()
    n, d = vectors.shape
    if n < (needed := FEWEST * 2**8):
        raise UserError(f"{n:,} items are too few for the kind {IVFPQ}, which learns from {needed:,}; take {EXACT}")
    lists = min(int(LISTS_PER_ROOT * np.sqrt(n)), n // FEWEST)
    codes = min(CODE_BYTES, -(-d // 2))
    sample = np.sort(np.random.default_rng(0).permutation(n)[: max(TRAINED_ON * lists, needed)])
    width = codes * -(-d // codes)
    found = faiss.index_factory(d, f"Pad{width},IVF{lists},PQ{codes}np", faiss.METRIC_INNER_PRODUCT)
    found.train(vectors[sample])
    faiss.extract_index_ivf(found).nprobe = max(lists // PROBED, PROBED_AT_LEAST)
    return found


def _recall(index: Index, run: Run, place: Path, threads: int) -> dict[str, Any]:
    """Of each other modality's test items as queries, those with the smallest hashes: what share of the `DEPTH` best by
    the exact ranking the index finds.
    """
    found = {}
    for modality, file in run.files_of(run.file("embeddings") / place.parent).items():
        if modality == place.name:
            continue
        rows = read_rows(file, "embeddings")
        chosen = smallest_hashes(rows.ids, QUERIES)
        queries = np.asarray(rows.values[chosen])
        best, _ = exactly(unit_rows(queries), index.vectors, min(DEPTH, len(index)))
        proposed, _ = index.nearest(queries, DEPTH, threads)
        hits = [len(np.intersect1d(a, b)) for a, b in zip(best, proposed, strict=True)]
        found[modality] = {"queries": len(chosen), f"recall_at_{DEPTH}": float(np.mean(hits) / best.shape[1])}
    return found


def described(index: Index) -> str:
    """A line of what was made."""
    recall = "".join(
        f", recall@{DEPTH} {found[f'recall_at_{DEPTH}']:.4f} of {found['queries']} {modality} queries"
        for modality, found in index.record["recall"].items()
    )
    items = quantity(len(index), f"{index.record['modality']} item")
    return f"{index.folder}: {items}, {index.record['kind']}{recall}"
