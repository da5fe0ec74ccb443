"""A metric as the configuration names it, and calls of its plug-in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from traceback import extract_tb
from types import ModuleType
from typing import Any

import numpy as np

from cmr import registry
from cmr.errors import UserError
from cmr.frozen import checked
from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.metrics.crossed import UNBOUNDED, bounds_of
from cmr.params import Params

ROUNDING = 1e-6
"""By which a value in float32 may lie beyond its range."""


@dataclass(frozen=True)
class ConfiguredMetric:
    """A metric as the configuration names it: ``id`` in results, ``name`` of the plug-in, its parameters."""

    id: str
    name: str
    params: Params

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> "ConfiguredMetric":
        """From ``id``, ``metric`` and ``params``; raises `UserError` where there is no such metric."""
        return cls(entry["id"], entry["metric"], registry.params_model("metrics", entry["metric"])(**entry["params"]))

    @cached_property
    def info(self) -> MetricInfo:
        return registry.info("metrics", self.name)

    @cached_property
    def module(self) -> ModuleType:
        return registry.module("metrics", self.name)

    def compute(self, ranking: Ranking) -> Any:
        """What the plug-in's ``compute`` gives of a block of queries: values (q,), or (q, k) of a gallery, or a
        curve's x and y.

        Raises `UserError` where it is not what INFO says: another shape, no real numbers, beyond its ``range``.
        """
        found, queries = self._called("compute", ranking), len(ranking.gains)
        if self.info.gives == "curve":
            return self._curve(found, queries)
        if self.info.gives == "gallery":
            return self._checked("compute", found, (queries, None))
        return self._checked("compute", found, (queries,), self.range)

    def chance(self, ranking: Ranking) -> np.ndarray:
        """The expectation (q,) of each value under random scores, where the plug-in knows it."""
        return self._checked("chance", self._called("chance", ranking), (len(ranking.gains),))

    def bounds(self, worst: Ranking, best: Ranking) -> tuple[np.ndarray, np.ndarray]:
        """The worst and the best values (q,) of all orders of tied items, of rankings with these resolved so."""
        if not hasattr(self.module, "bounds"):
            return self.compute(worst), self.compute(best)
        least, most = self._two("bounds", self._called("bounds", worst, best))
        shape = (len(worst.gains),)
        return self._checked("bounds", least, shape, self.range), self._checked("bounds", most, shape, self.range)

    @cached_property
    def range(self) -> tuple[float, float]:
        return bounds_of(self.name)

    def _curve(self, found: Any, queries: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = self._two("compute", found)
        y = self._checked("compute for y", y, (queries, None), self.range)
        points = y.shape[1:]
        return self._checked("compute for x", x, points if np.ndim(x) == 1 else y.shape), y

    def _two(self, function: str, found: Any) -> tuple[Any, Any]:
        if not isinstance(found, tuple) or len(found) != 2:
            raise UserError(f"metric {self.id!r}: {function} gave {type(found).__name__}, expected a pair of arrays")
        return found

    def _checked(
        self, function: str, found: Any, shape: tuple[int | None, ...], bounds: tuple[float, float] = UNBOUNDED
    ) -> np.ndarray:
        """NaN is a value, of a query that the metric is not defined for."""
        values = checked(f"metric {self.id!r}: {function}", found, shape)
        bad = np.isinf(values) | (values < bounds[0] - ROUNDING) | (values > bounds[1] + ROUNDING)
        if bad.any():
            what = "finite numbers or NaN" if bounds == UNBOUNDED else f"those of its range, {self.info.range}"
            raise UserError(f"metric {self.id!r}: {function} gave {values[bad][0]}, expected {what}")
        return values

    def _called(self, function: str, *rankings: Ranking) -> Any:
        """Raises `UserError` with the metric and the line in its file where the plug-in's function fails."""
        try:
            return getattr(self.module, function)(*rankings, self.params)
        except UserError:
            raise
        except Exception as error:  # of the user's own code
            lines = [f.lineno for f in extract_tb(error.__traceback__) if f.filename == self.module.__file__]
            place = f"{self.module.__file__}, line {lines[-1]}" if lines else function
            raise UserError(f"metric {self.id!r}: {place}: {type(error).__name__}: {error}") from error
