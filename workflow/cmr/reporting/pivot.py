"""Methods × protocols: the first metric's average over directions, and each method's mean rank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cmr.reporting.collect import AVERAGE
from cmr.reporting.headline import MEASURED, Block, Cell
from cmr.reporting.protocols import SEPARATOR

DECIMALS = 9
"""Figures that differ beyond have one rank: floats of the same values, in another order."""


@dataclass(frozen=True)
class Line:
    """One method: its cells by column, and its mean rank over the columns, where it has all of them."""

    name: str
    cells: Mapping[str, Cell]
    rank: float | None


@dataclass(frozen=True)
class Pivot:
    """``columns``: protocols, by what they differ in; ``datasets``: the data set of each. ``lines``: best mean rank
    first, then those without one.
    """

    metric: str
    columns: tuple[str, ...]
    datasets: tuple[str, ...]
    higher_is_better: bool
    lines: tuple[Line, ...]


def pivot(blocks: Sequence[Block]) -> Pivot | None:
    """Of the protocols that have the same first metric as the first one; None where fewer than two do.

    Ranks are among the methods that all these protocols have; equal values share the mean of their ranks.
    """
    first: dict[str, Block] = {}
    for block in blocks:
        first.setdefault(block.protocol.key, block)
    alike = [block for block in first.values() if block.metric == blocks[0].metric]
    if len(alike) < 2:
        return None
    found: dict[str, dict[str, Cell]] = {}
    columns = _columns([block.protocol.parts for block in alike])
    for column, block in zip(columns, alike, strict=True):
        for line in block.lines:
            if line.kind == MEASURED and AVERAGE in line.cells:
                found.setdefault(line.name, {})[column] = line.cells[AVERAGE]
    complete = [name for name, cells in found.items() if len(cells) == len(columns)]
    means = np.round([[found[name][column].mean for name in complete] for column in columns], DECIMALS)
    ranked = rankdata(-means if alike[0].higher_is_better else means, axis=1).mean(axis=0)
    ranks = dict(zip(complete, ranked.tolist(), strict=True))
    lines = [Line(name, cells, ranks.get(name)) for name, cells in found.items()]
    datasets = tuple(block.protocol.parts[0] for block in alike)
    lines.sort(key=lambda line: (line.rank is None, line.rank or 0.0))
    return Pivot(alike[0].metric, columns, datasets, alike[0].higher_is_better, tuple(lines))


def _columns(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The parts of protocols' names in which they differ."""
    differing = [place for place, found in enumerate(zip(*parts, strict=True)) if len(set(found)) > 1]
    return tuple(SEPARATOR.join(own[place] for place in differing) for own in parts)
