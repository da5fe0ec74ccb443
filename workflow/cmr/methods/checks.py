"""What every method asks of its training rows before it fits."""

from collections.abc import Iterable, Sequence

import numpy as np

from cmr.boundary import memory_here
from cmr.data import Part, View, paired
from cmr.errors import UserError
from cmr.info import IN_WORDS, MethodInfo
from cmr.methods.scaling import named
from cmr.sets import Features, Sets, VectorsAndSets, form
from cmr.vectors import PAIR_BYTES, Vectors, read_blocks

COLUMNS_AT_ONCE = 256  # features vary, most often, within the first ones


def training_views(info: MethodInfo, modalities: Sequence[str], train: Part) -> list[View]:
    """The training rows of each modality, in order, checked against the method's ``INFO``.

    Where it says ``pairs``, row i of every view is the same item; otherwise each modality has all of its own rows.
    Raises `UserError` for a number of modalities, or a form of features, that the method cannot take, for features that
    are the same in all rows and, where it needs labels, for missing labels and for rows of one class only.
    """
    check_modalities(info, modalities)
    views = paired(train, modalities) if info.pairs else [train[m] for m in modalities]
    check_memory(info, views)
    for modality, view in zip(modalities, views, strict=True):
        check_form(info, modality, view.features)
        check_features(info, modality, view.features)
        if info.labels:
            check_labels(info, modality, view.labels)
    return views


def labels_of(view: View) -> np.ndarray:
    """The labels (n, c) of a view that `training_views` found to have them."""
    assert view.labels is not None
    return view.labels


def check_memory(info: MethodInfo, views: Iterable[View]) -> None:
    """Raises `UserError` where what the method holds of the training rows, at the least, takes more than there is.

    Of all rows that is float32 as they are read and float64 as they are scaled; of pairs of rows what a job asks for.
    """
    if info.memory == "block of rows":
        return
    found = [view for view in views if not isinstance(view.features, Sets | VectorsAndSets)]
    rows = max(map(len, found), default=0)
    needed = sum(len(view) * view.features.shape[1] * 12 for view in found)
    if info.memory == "pairs of rows":
        needed = max(needed, PAIR_BYTES * rows**2)
    if needed > (memory := memory_here()):
        raise UserError(
            f"{info.title}: holds {info.memory}: of {rows:,} rows {needed / 1e9:,.0f} GB at the least, and a job here "
            f"may take {memory / 1e9:,.0f} GB; take fewer rows, more memory, or a method that holds a block of rows"
        )


def check_modalities(info: MethodInfo, modalities: Sequence[str]) -> None:
    """Raises `UserError` where the method cannot be fitted on so many modalities at once."""
    takes, given = info.modalities, len(modalities)
    if (takes == "any" and given < 2) or (takes != "any" and given != takes):
        wanted = "two or more modalities" if takes == "any" else f"{takes} modalit{'y' if takes == 1 else 'ies'}"
        raise UserError(
            f"{info.title}: fitted on {wanted} at a time, given {given} ({', '.join(modalities)}); "
            f"give its inputs {takes if takes != 'any' else 'at least 2'} at a time"
        )


def check_form(info: MethodInfo, modality: str, features: Features) -> None:
    """Raises `UserError` where the method takes no vectors, no sets, or not both of a modality."""
    given = form(features)
    if given not in info.takes:
        takes = " or ".join(IN_WORDS[wanted] for wanted in info.takes)
        raise UserError(f"{info.title}: takes {takes} of each modality, given {IN_WORDS[given]} of {modality}")


def check_features(info: MethodInfo, modality: str, features: Features) -> None:
    """Raises `UserError` where several rows have the same features, up to rounding; of sets, where all elements are."""
    if len(features) > 1 and any(map(_are_the_same, named(modality, features).values())):
        raise UserError(
            f"{info.title}: the {modality} features of all {len(features)} training rows are the same, so nothing "
            "can be learned from them; check the file or the extractor, and subtract an offset that float32 cannot hold"
        )


def _are_the_same(features: np.ndarray | Vectors | Sets) -> bool:
    if isinstance(features, Sets):
        first = features[0][:1]  # beside each block's, as blocks may differ
        return all(_is_constant(np.concatenate([first, block.elements()])) for block in features.blocks())
    if isinstance(features, Vectors):
        first = np.asarray(features[:1])
        return all(_are_the_same(np.concatenate([first, block])) for block in read_blocks(features))
    starts = range(0, features.shape[1], COLUMNS_AT_ONCE)
    return all(_is_constant(features[:, start : start + COLUMNS_AT_ONCE]) for start in starts)


def _is_constant(columns: np.ndarray) -> bool:
    """Whether no column of (n, k) deviates from its mean by more than a float32 is rounded by."""
    deviation, mean = columns.std(axis=0, dtype=np.float64), columns.mean(axis=0, dtype=np.float64)
    return bool((deviation <= np.finfo(np.float32).eps * np.abs(mean)).all())


def check_counts(info: MethodInfo, modality: str, features: np.ndarray | Sets) -> None:
    """Raises `UserError` that names the first row, or set, of which a number is negative."""
    row = next((row for row, own in enumerate(features) if (own < 0).any()), None)
    if row is not None:
        raise UserError(
            f"{info.title}: the {modality} features of row {row} are below 0, so they are no counts; set first_units "
            "or second_units of this modality to gaussian"
        )


def check_labels(info: MethodInfo, modality: str, labels: np.ndarray | None) -> None:
    """Raises `UserError` where there are no labels or only one class."""
    if labels is None:
        raise UserError(
            f"{info.title}: needs class labels and the {modality} rows have none; use a data set with labels"
        )
    classes = np.count_nonzero(labels.any(axis=0))
    if classes < 2:
        raise UserError(
            f"{info.title}: needs at least two classes and the {modality} training rows have {classes}; "
            "check the split or the labels of the data set"
        )
