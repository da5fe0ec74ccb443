"""From feature and code files to the rows that a method fits on and the rows that a run is evaluated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from cmr import create, registry
from cmr.data import TEST, TRAIN, Items, Part, Split, TrainingData, View, check_ids, rows_of
from cmr.errors import UserError
from cmr.methods.checks import check_memory
from cmr.pairing import paired_by_class
from cmr.plan import Result
from cmr.sets import Sets, VectorsAndSets
from cmr.store import SELECTION, Rows, read_rows
from cmr.vectors import Vectors


def read_features(
    sources: Sequence[Result], items: Items, group: str = "", by_the_block: bool = False
) -> dict[str, Rows]:
    """The features of the inputs by modality, each checked against the items and its configuration.

    ``group``: `SELECTION` for features to choose on, which differ where the extractor learned from labels.
    ``by_the_block``: vectors that are many stay in their file, as `Vectors`.
    """
    found: dict[str, Rows] = {}
    for source in sources:
        (file,), feature = source.files, source.settings["feature"]
        rows = read_rows(file, "features", group if group and create.learns_from_labels(feature) else "/")
        expected = items.ids[items.has(feature["modality"])]
        check_ids(file, rows, expected)
        written_by = rows.attributes.get("extractor")
        if written_by != feature["extractor"]:
            raise UserError(
                f"{file}: written by the extractor {written_by!r}, but the configuration's {feature['id']!r} "
                f"is {feature['extractor']!r}; give it another id or delete the file"
            )
        values = np.asarray(rows.values) if isinstance(rows.values, Vectors) and not by_the_block else rows.values
        rows = replace(rows, ids=expected, values=values)  # the items' own texts stand in memory once
        modality = feature["modality"]
        found[modality] = _with_other(found[modality], rows) if modality in found else rows
    return found


def _with_other(first: Rows, second: Rows) -> Rows:
    """The rows of a modality of which there is a vector and a set of each item."""
    vectors, sets = (second, first) if isinstance(first.values, Sets) else (first, second)
    return Rows(first.ids, VectorsAndSets(np.asarray(vectors.values), sets.values), vectors.attributes)


def in_memory(view: View) -> View:
    """The same rows, read where they are `Vectors`."""
    return replace(view, features=np.asarray(view.features)) if isinstance(view.features, Vectors) else view


@dataclass(frozen=True)
class RowSource:
    """Where the rows of one fit come from: its items, its split, and its features or the coefficients made of them."""

    fit: Result
    items: Items
    split: Split

    @classmethod
    def of(cls, fit: Result) -> "RowSource":
        items = Items.read(fit.source("prepare").files[0], contents=False)
        return cls(fit, items, Split.read(fit.source("split").files[0]))

    @property
    def names(self) -> tuple[str, ...]:
        """The path components of the fit's inputs."""
        return tuple(self.fit.folder.split("/")[-3].split("+"))

    def training_data(self, with_labels: bool, tuned: Mapping[str, Any] = MappingProxyType({})) -> TrainingData:
        """What a fit may see: training rows and held-out rows. Labels only where the method takes them.

        ``tuned``: the values of what is tuned; those of the dictionary tell whose coefficients are taken.

        Where the split has no validation rows, held-out rows and those to choose with are what the dictionary, or an
        extractor that learns from labels, makes of rows that it has not seen, as test rows will be.

        ``pairing: class`` in the method's entry draws pairs where modalities have no items in common, of training rows
        among themselves. Held-out rows are scored by their labels; they need pairs where the method takes no labels.
        """
        final, split = self._read(tuned), self.split
        choosing = final if split.has_validation else self._read(tuned, SELECTION)
        train = self._part(final, split.ids(TRAIN), with_labels)
        pairs, held_out = self._in_pairs(train), self._part(choosing, split.held_out, with_labels)
        return TrainingData(
            train=pairs,
            selection_train=pairs
            if split.has_validation
            else self._in_pairs(self._part(choosing, split.selection_train, with_labels)),
            held_out=held_out if with_labels else self._in_pairs(held_out),
            has_validation=split.has_validation,
            drawn_pairs=0 if pairs is train else len(next(iter(pairs.values()))),
        )

    def test_rows(self, with_labels: bool, tuned: Mapping[str, Any] = MappingProxyType({})) -> Part:
        return self._part(self._read(tuned), self.split.ids(TEST), with_labels)

    def folds(self, query: View, gallery: View) -> list[tuple[slice, slice]]:
        """The rows of test queries and gallery that are evaluated together; nothing where all are."""
        asked, answering = self.split.folds(query.ids), self.split.folds(gallery.ids)
        if list(asked) != list(answering):
            raise UserError(f"folds {', '.join(asked)} of the queries, {', '.join(answering)} of the gallery")
        return list(zip(asked.values(), answering.values(), strict=True))

    def _in_pairs(self, part: Part) -> Part:
        """With pairs by class where the method's entry asks for them and ids make none."""
        if self.fit.settings["method"]["pairing"] == "ids":
            return part
        if not self.items.has_classes:
            raise UserError("pairing: class draws pairs within a class, and the data have no labels; leave it out")
        return paired_by_class(part, self.items.labels, self.fit.settings["seed"])

    def _read(self, tuned: Mapping[str, Any], group: str = "") -> dict[str, Rows]:
        """All rows by modality: coefficients where the fit takes them, else features."""
        if self.fit.settings["dictionary"] is None:
            return read_features(self.fit.sources("extract"), self.items, group, by_the_block=True)
        modalities = [feature["modality"] for feature in self.fit.settings["features"]]
        (file,) = self.codes(tuned).files
        return {m: read_rows(file, "features", f"{group}/{m}") for m in modalities}

    def codes(self, tuned: Mapping[str, Any]) -> Result:
        """The coefficients, of those that the fit chooses among, whose dictionary has the ``tuned`` values."""
        entry = create.tuned_dictionary(self.fit.settings["dictionary"], tuned)
        made = self.fit.sources("encode")
        return next(codes for codes in made if create.same_dictionary(codes.settings["dictionary"], entry))

    def _part(self, matrices: Mapping[str, Rows], ids: pd.Series, with_labels: bool) -> Part:
        views = {modality: rows_of(matrix, ids, self.items, with_labels) for modality, matrix in matrices.items()}
        info = registry.info("methods", self.fit.settings["method"]["method"])
        if info.memory == "block of rows":
            return views
        check_memory(info, views.values())
        return {modality: in_memory(view) for modality, view in views.items()}
