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
from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params


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
        """What the plug-in's ``compute`` gives of a block of queries."""
        return self._called("compute", ranking)

    def chance(self, ranking: Ranking) -> np.ndarray:
        """The expectation (q,) of each value under random scores, where the plug-in knows it."""
        return self._called("chance", ranking)

    def bounds(self, worst: Ranking, best: Ranking) -> tuple[np.ndarray, np.ndarray]:
        """The worst and the best values (q,) of all orders of tied items, of rankings with these resolved so."""
        if hasattr(self.module, "bounds"):
            return self._called("bounds", worst, best)
        return self.compute(worst), self.compute(best)

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
