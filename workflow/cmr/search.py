"""Looks one new query up in a finished run: extractor, dictionary and model as they were saved, the run's embeddings.

The query goes the way that test rows went: features, coefficients where the run used a dictionary, embedding, scores of
the method against the embedded test items of every other modality.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmr import create, new_items, paths, registry, search_index, store
from cmr.data import Items
from cmr.directions import scoring
from cmr.errors import UserError, one_line
from cmr.machine import Machine
from cmr.methods.base import Method
from cmr.metrics.ranking import rank
from cmr.publish import atomic
from cmr.recorded import check
from cmr.reporting.runs import Run, identity, located
from cmr.sets import Features, Sets

log = logging.getLogger(__name__)

TEXT, IMAGE = "text", "image"
FORM = paths.RUN.format(data="DATA", split="SPLIT", inputs="INPUTS", method="METHOD", seed="SEED")


@dataclass(frozen=True)
class Hit:
    """``content``: the item's text, or its file relative to the data set's folder."""

    rank: int
    score: float
    id: str
    labels: tuple[str, ...]
    content: str


@dataclass(frozen=True)
class Answer:
    """The best of one modality's ``size`` embedded items. ``kind``: image, text, audio or ready. ``place``: of what."""

    modality: str
    kind: str
    size: int
    hits: tuple[Hit, ...]
    place: str = "the test part"


def find(folder: Path, folders: tuple[str, ...] = ()) -> Run:
    """The finished run in a folder, as it was measured last, which a warning says where it was several times.

    Raises `UserError` where there is none. ``folders``: see `Run`.
    """
    found = measurements(folder, folders)
    if len(found) > 1:
        newest = found[-1].file("run.json").name
        log.warning("%s: measured %d times; the newest is taken, %s", folder, len(found), newest)
    return found[-1]


def measurements(folder: Path, folders: tuple[str, ...] = ()) -> list[Run]:
    """The finished run in a folder by each set of metrics that it was measured with, the newest last."""
    found = located(folder)
    if found is None:
        raise UserError(f"{folder}: not a run's folder; expected one such as {FORM}")
    results, path = found
    place = results / path
    if not place.is_dir():
        raise UserError(f"{folder}: no such run{_why_never(identity(place.parent.name))}")
    records = sorted(place.glob("run*.json"), key=lambda record: record.stat().st_mtime_ns)
    if not records:
        raise UserError(f"{folder}: the run is not finished, it has no run.json; run `snakemake metrics` first")
    return [Run(results, path, record.stem.partition("-")[2], folders) for record in records]


def _why_never(method: str) -> str:
    if method in registry.names("methods") and registry.info("methods", method).implementation == "quoted":
        return f"; {method!r} is quoted from papers and has no runs: {registry.info('methods', method).reason}"
    return ""


def search(
    run: Run, modality: str, content: str | Path, k: int, machine: Machine, index: Path | None = None
) -> list[Answer]:
    """The ``k`` items of each other modality that score highest for a new text or picture, best first.

    They are the test items, or, of the modalities that it has, those of an ``index`` (`cmr.search_index`). Equal scores
    stand in the order of `cmr.metrics.ranking`. Raises `UserError` where the run's files do not tell how to embed a new
    query.
    """
    if not isinstance(k, int | np.integer) or k < 1:
        raise UserError(f"k: expected a whole number, at least 1, found {k!r}")
    if modality == TEXT and not str(content).strip():
        raise UserError("text: it is empty")
    machine = replace(machine, device="cpu", threads=1)  # one item gains nothing by more
    check(run.record, machine, str(run.file("run.json")))
    table = run.place(paths.ITEMS.format(data=run.data))
    kinds = Items.read_kinds(table)
    new_items.check_modality(run, modality, kinds)
    made, _ = new_items.extractor(run, modality, machine)
    for gap in made.gaps([content]).values():
        log.warning("the query: %s", gap)
    found = made.query(content)
    features = Sets.flat(found, np.array([0, len(found)])) if found.ndim == 2 else found[None]
    others = [other for other in new_items.components(run) if other != modality]
    if index is not None:
        return _from_index(run, modality, features, others, index, kinds, k, machine)
    items = Items.read(table)
    return [_answer(run, modality, features, gallery, items, k, machine) for gallery in others]


def _answer(
    run: Run, modality: str, features: Features, gallery: str, items: Items, k: int, machine: Machine
) -> Answer:
    number, method, embedded = _embedded(run, modality, features, gallery, machine)
    place = search_index.place_of(run, number, gallery)
    stored = store.read_matrix(run.own((run.file("embeddings") / place).with_suffix(".h5")), "embeddings")
    known = items.table.iloc[items.rows(stored.ids)]
    scores = method.scores(modality, embedded, gallery, stored.values)
    if np.ptp(scores) == 0:
        log.warning("every %s scores the same: the features of the query tell nothing apart", gallery)
    best = rank(scores, np.zeros(scores.shape, bool), top=k, depth=k).top[0]
    hits = [
        Hit(place, float(scores[0, row]), str(item["id"]), tuple(item["labels"]), str(item[gallery]))
        for place, row in enumerate(best, 1)
        for item in [known.iloc[row]]
    ]
    return Answer(gallery, items.kinds[gallery], len(stored.ids), tuple(hits))


def _from_index(
    run: Run,
    modality: str,
    features: Features,
    galleries: Sequence[str],
    folder: Path,
    kinds: Mapping[str, str],
    k: int,
    machine: Machine,
) -> list[Answer]:
    """Raises `UserError` where the index has none of the galleries."""
    answers = []
    for gallery in galleries:
        number, _, embedded = _embedded(run, modality, features, gallery, machine)
        place = folder / search_index.place_of(run, number, gallery)
        if place.is_dir():
            index = search_index.Index.open(place, run)
            rows, scores = index.nearest(embedded, k)
            found = index.entries(rows[0])
            told = zip(scores[0].tolist(), found.ids, found.labels, found.contents, strict=True)
            hits = [
                Hit(nth, score, item, tuple(json.loads(labels)), content)
                for nth, (score, item, labels, content) in enumerate(told, 1)
            ]
            answers.append(Answer(gallery, kinds[gallery], len(index), tuple(hits), "the index"))
    if not answers:
        raise UserError(
            f"{folder}: no index of {' or '.join(galleries)}; `python -m cmr index RUN --out FOLDER` makes one"
        )
    return answers


def _embedded(
    run: Run, modality: str, features: Features, gallery: str, machine: Machine
) -> tuple[int, Method, np.ndarray]:
    """Of the fit that scores a query against a gallery: its number, its method, and the query's embedding (1, k)."""
    number, _ = scoring([record["modalities"] for record in run.fits], modality, gallery)
    fitted = new_items.fitted(run, number, machine)
    return number, fitted.method, fitted.embed(modality, features)


def table(answers: Sequence[Answer], width: int = 80) -> str:
    """What is printed: a block a modality, a line an item; texts are cut at ``width`` characters."""
    blocks = []
    for answer in answers:
        cells = [("rank", "score", "id", "labels", answer.modality)]
        for hit in answer.hits:
            content = " ".join(hit.content.split())
            shown = content if answer.kind != TEXT or len(content) <= width else f"{content[: width - 2]} …"
            cells.append((str(hit.rank), f"{hit.score:.4f}", hit.id, ", ".join(hit.labels), shown))
        title = f"{len(answer.hits)} of {answer.size} {answer.modality} items of {answer.place}"
        blocks.append("\n".join([title, *aligned(cells)]))
    return "\n\n".join(blocks)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; \
style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title>
<style>
body { font: 16px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .75rem; padding: 0; }
li { list-style: none; border: 1px solid #767676; border-radius: .25rem; padding: .5rem; overflow-wrap: anywhere; }
img { display: block; margin-bottom: .25rem; }
small { color: #595959; display: block; }
</style>
<h1>{{ title }}</h1>
<p>Query: {{ query }}</p>
{% if picture %}<img src="data:image/webp;base64,{{ picture }}" alt="the query">{% endif %}
{% for answer, pictures in answers %}
<h2>{{ answer.modality }}: the best of {{ answer.size }} items of {{ answer.place }}</h2>
<ol>
{% for hit, data in pictures %}
<li>{% if data %}<img src="data:image/webp;base64,{{ data }}" alt="{{ hit.id }}">{% else %}{{ hit.content }}{% endif %}
{{ hit.labels | join(", ") }}<small>{{ hit.rank }}. {{ "%.4f" | format(hit.score) }} {{ hit.id }}</small></li>
{% endfor %}
</ol>
{% endfor %}
</html>
"""


def pictures(run: Run, machine: Machine) -> Path:
    """The folder that the run's pictures are in; raises `UserError` where the configuration does not tell."""
    data = run.fits[0]["data"]
    try:
        return create.dataset(data, str(run.results / "data" / run.data), machine).root()
    except UserError as error:
        told = f"--html shows pictures of the data set {data['id']!r}: {error}"
        raise UserError(f"{told}; --config names the configuration that the run was made with") from None


def write_page(
    path: Path, run: Run, query: str | Path, answers: Sequence[Answer], root: Path, folders: tuple[str, ...] = ()
) -> None:
    """One self-contained page with thumbnails of the query and of what was found. ``root``: what `pictures` gives."""
    from jinja2 import Template

    from cmr.reporting.gallery import Catalogue, thumbnail

    catalogue = Catalogue(Items.read(run.place(paths.ITEMS.format(data=run.data))), root, run.results, folders)
    shown = [
        (a, [(hit, catalogue.thumbnail(hit.content) if a.kind == IMAGE and hit.content else None) for hit in a.hits])
        for a in answers
    ]
    picture = thumbnail(query) if isinstance(query, Path) else None
    title = f"{identity(run.variant)} on {run.data}, {run.inputs}, seed {run.seed}"
    page = Template(PAGE, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    with atomic(path) as temporary:
        temporary.write_text(page.render(title=title, query=str(query), picture=picture, answers=shown), "utf-8")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, each as wide as its widest cell."""
    shown = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in shown]
