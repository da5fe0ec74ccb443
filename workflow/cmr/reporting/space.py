"""A 2-D map of the common space: the two directions in which test embeddings of all modalities vary most."""

from collections.abc import Iterator

import numpy as np

from cmr.methods.base import unit_rows
from cmr.reporting.figures import Figure, Series, name_of, short
from cmr.reporting.protocols import Group, Protocol
from cmr.store import read_matrix

MAX_ROWS = 500


def maps(protocol: Protocol) -> Iterator[Figure]:
    """A map a method: principal components of unit embeddings, colours for classes, markers for modalities."""
    for group in protocol.shown:
        ids, points, explained, shares = _projected(group)
        strata = np.array(protocol.items.strata, object)
        first = {modality: strata[protocol.items.rows(shown)] for modality, shown in ids.items()}
        series = [
            Series(
                f"{name}, {modality}" if name else modality,
                x=short(points[modality][chosen, 0]),
                y=short(points[modality][chosen, 1]),
                style=number,
                marker=marker,
                items=list(ids[modality][chosen]),
            )
            for number, name in enumerate(protocol.items.classes or [""])
            for marker, modality in enumerate(points)
            if (chosen := first[modality] == name).any()
        ]
        part = ", ".join(f"{share:.0%} of the {modality} rows" for modality, share in shares.items() if share < 1)
        yield Figure(
            name=name_of("map", protocol, group.shown.variant),
            section="map",
            protocol=protocol.label,
            kind="map",
            title=f"Test embeddings of {group.name}",
            x=f"principal component 1 ({explained[0]:.0%} of variance)",
            y=f"component 2 ({explained[1]:.0%})",
            series=tuple(series),
            method=group.name,
            note="First seed." + (f" Shown: {part}." if part else ""),
        )


def _projected(group: Group) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, dict[str, float]]:
    """Ids and coordinates (n, 2) by modality of the first common space, the shares of variance, the shares of rows."""
    files = group.shown.files_of(group.shown.spaces[0])
    matrices = {modality: read_matrix(file, "embeddings") for modality, file in files.items()}
    kept = {m: _evenly(len(matrix.ids)) for m, matrix in matrices.items()}
    ids = {m: matrix.ids[kept[m]] for m, matrix in matrices.items()}
    rows = {m: unit_rows(matrix.values[kept[m]].astype(float)) for m, matrix in matrices.items()}
    points, explained = principal_components(np.concatenate(list(rows.values())))
    ends = np.cumsum([len(part) for part in rows.values()])[:-1]
    coordinates = dict(zip(rows, np.split(points, ends), strict=True))
    return ids, coordinates, explained, {m: len(kept[m]) / len(matrices[m].ids) for m in matrices}


def _evenly(n: int) -> np.ndarray:
    """At most `MAX_ROWS` of n rows, at even distances."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_ROWS)).round().astype(int))


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n, 2) on the first two principal components, and the shares (2,) of variance they explain.

    A component's sign is chosen so that its largest loading is positive; missing components are zeros.
    """
    centred = rows - rows.mean(axis=0)
    _, singular, loadings = np.linalg.svd(centred, full_matrices=False)
    loadings = (
        loadings[:2] * np.sign(loadings[:2][np.arange(len(loadings[:2])), np.abs(loadings[:2]).argmax(axis=1)])[:, None]
    )
    points = np.zeros((len(rows), 2))
    points[:, : len(loadings)] = centred @ loadings.T
    variance = np.zeros(2)
    variance[: len(singular[:2])] = singular[:2] ** 2 / max((singular**2).sum(), 1e-30)
    return points, variance
