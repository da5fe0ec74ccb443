"""What the page's gallery and hover cards show: items with thumbnails, and the top results of each query."""

import base64
import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr import boundary, registry
from cmr.data import Items
from cmr.errors import BadContent, UserError
from cmr.evaluation import scorer
from cmr.metrics.ranking import own_columns, rank
from cmr.pictures import read_rgb
from cmr.reporting.collect import higher_is_better
from cmr.reporting.protocols import Group, Protocol
from cmr.reporting.runs import Direction

log = logging.getLogger(__name__)

MAX_QUERIES = 400
MAX_RESULTS = 200_000  # of all queries and methods together, one direction
SIDE = 96
QUALITY = 70
MAX_TEXT = 280


@dataclass
class Catalogue:
    """The items of one data set that the page shows, numbered in the order of their first mention.

    ``root``: what their files are relative to. Those elsewhere than there and in ``folders`` are not opened.
    """

    items: Items
    root: Path
    results: Path
    folders: tuple[str, ...] = ()
    numbers: dict[str, int] = field(default_factory=dict)
    left_out: int = 0

    def number(self, item: str) -> int:
        return self.numbers.setdefault(item, len(self.numbers))

    def ids(self, numbers: Iterable[int]) -> list[str]:
        known = list(self.numbers)
        return [known[number] for number in numbers]

    @property
    def picture_columns(self) -> list[str]:
        return [modality for modality, kind in self.items.kinds.items() if kind == "image"]

    @property
    def table(self) -> pd.DataFrame:
        """The rows that the page shows, in the order of their numbers."""
        return self.items.table.set_index("id").loc[list(self.numbers)]

    def columns(self) -> dict[str, Any]:
        """Ids, groups, classes and texts of the items, as the page's script reads them."""
        table, classes = self.table, self.items.classes
        number = {name: place for place, name in enumerate(classes)}
        texts = [modality for modality, kind in self.items.kinds.items() if kind == "text"]
        return {
            "ids": list(self.numbers),
            "classes": classes,
            "groups": pd.factorize(self.items.groups_of(np.asarray(list(self.numbers), str)))[0].tolist(),
            "labels": [[number[name] for name in names] for names in table["labels"]],
            "texts": {modality: [_clipped(text) for text in table[modality]] for modality in texts},
        }

    def thumbnails(self, budget: int) -> dict[str, list[str | None]]:
        """Thumbnails by modality, in the items' order, until ``budget`` bytes are spent.

        ``left_out`` counts those that are there and came too late.
        """
        found: dict[str, list[str | None]] = {modality: [] for modality in self.picture_columns}
        spent = self.left_out = 0
        for paths in self.table[self.picture_columns].itertuples(index=False):
            for modality, path in zip(self.picture_columns, paths, strict=True):
                affordable = spent < budget
                data = self.thumbnail(path) if isinstance(path, str) and affordable else None
                found[modality].append(data)
                spent += len(data or "")
                self.left_out += isinstance(path, str) and not affordable
        return found

    def thumbnail(self, path: str) -> str | None:
        """As `thumbnail`; a file that the results must not name is said and not opened."""
        try:
            return thumbnail(boundary.content(self.root, path, self.results, self.folders))
        except UserError as error:
            log.warning("no picture: %s", error)
        except (OSError, ValueError):  # not here, or a name that no file can have
            pass
        return None


def _clipped(text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT].rstrip()} …"


def thumbnail(file: Path) -> str | None:
    """A WebP of at most 96 × 96 pixels as base64, on white; None where the picture is not there or not readable."""
    try:
        picture = read_rgb(file, 2 * SIDE)
    except BadContent:
        return None
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def of_protocol(protocol: Protocol, catalogue: Catalogue) -> dict[str, Any]:
    """The gallery of one protocol: every direction's queries with each method's top results, as item numbers."""
    return {
        "methods": [group.name for group in protocol.with_headline],
        "metric": protocol.headline_metric,
        "by": "instance" if _by_instance(protocol) else "class",
        "directions": [_direction(protocol, direction, catalogue) for direction in protocol.directions],
    }


def _by_instance(protocol: Protocol) -> bool:
    """Whether the headline metric is about a query's pairs, so that these are what counts as found."""
    plugin = protocol.headline["plugin"]
    return plugin in registry.names("metrics") and registry.info("metrics", plugin).paired


def _direction(protocol: Protocol, direction: Direction, catalogue: Catalogue) -> dict[str, Any]:
    """Queries from worst to best by their mean score over methods, those without one last; evenly thinned where there
    are many.
    """
    query, gallery = direction
    metric = protocol.headline_metric
    ids = protocol.with_headline[0].shown.tasks[direction].ids
    tasks = [_aligned(group, direction, ids) for group in protocol.with_headline]
    scores = np.array([group.shown.tasks[direction].per_query[metric][rows] for group, rows, _ in tasks])
    groups = protocol.items.groups_of
    sign = 1 if higher_is_better(protocol.headline) else -1
    order = np.argsort(sign * scores.mean(axis=0), kind="stable")
    most = min(len(order), MAX_QUERIES, max(1, MAX_RESULTS // sum(top.shape[1] for _, _, top in tasks)))
    shown = order[np.unique(np.linspace(0, len(order) - 1, most).round().astype(int))]
    return {
        "query": query,
        "gallery": gallery,
        "queries": [catalogue.number(ids[row]) for row in shown],
        "of": len(ids),
        "size": len(tasks[0][0].shown.embeddings(direction)[gallery].ids),
        "scores": [[None if np.isnan(v) else round(float(v), 3) for v in row[shown]] for row in scores],
        "top": [[_numbers(catalogue, top[row]) for row in shown] for _, _, top in tasks],
        "pair": [_pair_ranks(group, direction, rows[shown], groups) for group, rows, _ in tasks],
    }


def _pair_ranks(
    group: Group, direction: Direction, queries: np.ndarray, groups_of: Callable[[np.ndarray], np.ndarray]
) -> list[int | None]:
    """The best rank of each query's own pairs in the whole gallery.

    Ranked by the cosine of the embeddings, as nearly all methods do; None where the first results, which the run keeps,
    are others, as of a method that scores otherwise or of folds, and where the gallery has no pair.
    """
    found = group.shown.embeddings(direction)
    query, gallery = (found[modality] for modality in direction)
    asked = group.shown.tasks[direction]
    row_of = {item: row for row, item in enumerate(query.ids)}
    rows = [row_of[item] for item in asked.ids[queries]]
    scores = scorer(query.values[rows], gallery.values)(slice(0, len(rows)))
    own = own_columns(groups_of(asked.ids[queries]), groups_of(gallery.ids))
    depth = asked.top.shape[1]
    ranked = rank(scores, np.zeros(scores.shape, bool), own, top=depth, depth=depth)
    alike = (ranked.top == asked.top[queries]).all(axis=1)
    return [int(place) if same and place else None for place, same in zip(ranked.pair_rank, alike, strict=True)]


def _aligned(group: Group, direction: Direction, ids: np.ndarray) -> tuple[Group, np.ndarray, np.ndarray]:
    """The rows of ``ids`` among the group's queries, and the gallery ids (q, k) it retrieves for them."""
    task = group.shown.tasks[direction]
    row_of = {item: row for row, item in enumerate(task.ids)}
    rows = np.array([row_of[item] for item in ids])
    gallery = group.shown.embeddings(direction)[direction[1]].ids
    return group, rows, gallery[task.top][rows]


def _numbers(catalogue: Catalogue, ids: Iterable[str]) -> list[int]:
    return [catalogue.number(item) for item in ids]
