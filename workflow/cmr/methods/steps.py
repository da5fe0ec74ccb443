"""The steps of training. On a GPU a step is recorded once and replayed, where its method says that this is the same.

A step of a small network is some hundred operations, which a GPU computes faster than the processor asks for them. As a
CUDA graph they are asked for at once. The graph holds operations and places in memory: whatever Python computes, a
learning rate, say, is a constant of it. So steps are recorded again where an optimiser's options change, and a method
says of itself whether its terms are the same operations for any rows.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from cmr.errors import UserError

log = logging.getLogger(__name__)

Terms = Mapping[str, Tensor]
"""Loss terms by name, weighted; the step minimises their sum."""

WARM_UP = 2
"""Steps of a batch size before one is recorded: optimisers and libraries set themselves up in them."""


@dataclass(frozen=True)
class Update:
    """One optimiser's step on a batch: ``terms(rows)`` gives the loss terms of the row numbers ``rows`` (b,)."""

    optimizer: Optimizer
    terms: Callable[[Tensor], Terms]


@dataclass(frozen=True)
class Recorded:
    """A step on the row numbers that ``rows`` holds, and the names of the terms that it adds up."""

    graph: torch.cuda.CUDAGraph
    rows: Tensor
    names: list[str]


class Steps:
    """Takes steps, and adds up their loss terms over an epoch."""

    def __init__(self, updates: list[Update], device: str, replayed: bool = False) -> None:
        self.updates, self.replayed = updates, replayed and records(device)
        self._sums: dict[str, Tensor] = {}
        self._finite: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()  # an update may take several turns on a batch
        self._taken: Counter[int] = Counter()
        self._recorded: dict[int, Recorded] = {}
        self._pool: Any = None
        self._settings: list[dict[str, Any]] = []
        for update in updates:
            prepare(update.optimizer, self.replayed)

    def begin(self) -> None:
        """An epoch, in which no step has been taken."""
        for found in (*self._sums.values(), *self._finite.values()):
            found.zero_()
        self._counts.clear()
        settings = [_settings(group) for update in self.updates for group in update.optimizer.param_groups]
        if settings != self._settings:
            self._recorded.clear()
            self._taken = Counter(dict.fromkeys(self._taken, WARM_UP - 1))  # what comes once an epoch is not recorded
        self._settings = settings

    def take(self, rows: Tensor) -> None:
        """Every update in turn, on the row numbers ``rows`` (b,)."""
        self._counts.update(self._take_or_replay(rows) if self.replayed else self._take(rows))

    def means(self) -> dict[str, float]:
        """Of each term over the epoch's steps."""
        return {name: float(self._sums[name]) / count for name, count in self._counts.items()}

    def finite_shares(self) -> dict[str, float]:
        """In how many of the epoch's steps each term was finite, from 0 to 1."""
        return {name: float(self._finite[name]) / count for name, count in self._counts.items()}

    def _take(self, rows: Tensor) -> list[str]:
        names: list[str] = []
        for update in self.updates:
            terms = update.terms(rows)
            loss = torch.stack([term.float() for term in terms.values()]).sum()
            update.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            update.optimizer.step()
            for name, term in terms.items():
                self._add(name, term.detach())
            names += terms
        return names

    def _add(self, name: str, term: Tensor) -> None:
        if name not in self._sums:
            self._sums[name], self._finite[name] = (torch.zeros((), device=term.device) for _ in range(2))
        self._sums[name] += term.float()
        self._finite[name] += torch.isfinite(term)

    def _take_or_replay(self, rows: Tensor) -> list[str]:
        size = len(rows)
        if size not in self._recorded and self._taken[size] < WARM_UP:
            self._taken[size] += 1
            return self._watched(rows)
        if size not in self._recorded:
            self._recorded[size] = self._record(rows)
        recorded = self._recorded[size]
        recorded.rows.copy_(rows)
        recorded.graph.replay()
        return recorded.names

    def _record(self, rows: Tensor) -> Recorded:
        """Takes no step. Raises `UserError` where the step cannot be recorded."""
        if not self._recorded:  # the pool of graphs that are gone cannot be used again
            self._pool = torch.cuda.graph_pool_handle()
        graph, own = torch.cuda.CUDAGraph(), rows.clone()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # nothing that is free now is taken while a step is recorded, or was in a graph before
        graph.capture_begin(pool=self._pool)
        try:
            names = self._take(own)
        except Exception as error:
            with suppress(RuntimeError):  # of what was interrupted
                graph.capture_end()
            if isinstance(error, torch.OutOfMemoryError) or not isinstance(error, RuntimeError):
                raise
            raise UserError(f"a step cannot be recorded ({error}); the method must not say `replayed`") from error
        graph.capture_end()
        return Recorded(graph, own, names)

    def _watched(self, rows: Tensor) -> list[str]:
        """Takes a step. Where it waits for the GPU, as one does that looks at a result, no step is recorded."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                names = self._take(rows)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits = [found for found in caught if "called a synchronizing" in str(found.message)]
        if waits:
            log.info("steps are not replayed: the method waits for the GPU %d times in one", len(waits))
            self.replayed = False
            self._recorded.clear()
        for found in caught:
            if found not in waits and "debug mode" not in str(found.message):  # which is of torch's watching itself
                warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)
        return names


def records(device: str) -> bool:
    """Whether steps can be recorded on the device."""
    return torch.device(device).type == "cuda"


def prepare(optimizer: Optimizer, recorded: bool) -> None:
    """Has an optimiser whose steps are recorded count them on the GPU, without a warning of one that is not.

    A checkpoint may say otherwise, of another machine.
    """
    optimizer._warned_capturable_if_run_uncaptured = True
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = recorded


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


@contextmanager
def own_stream() -> Iterator[None]:
    """A GPU's queue other than the default one, of which nothing can be recorded; the default one waits for it."""
    stream, before = _stream(), torch.cuda.current_stream()
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        before.wait_stream(stream)


@cache
def _stream() -> torch.cuda.Stream:
    """One for all fits of the process, as libraries keep memory for each."""
    return torch.cuda.Stream()
