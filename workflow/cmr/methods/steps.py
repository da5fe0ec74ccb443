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
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

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
        self._options: list[dict[str, Any]] = []
        if self.replayed:
            for update in updates:
                prepare(update.optimizer)

    def begin(self) -> None:
        """An epoch, in which no step has been taken."""
        for found in (*self._sums.values(), *self._finite.values()):
            found.zero_()
        self._counts.clear()
        options = [_options(group) for update in self.updates for group in update.optimizer.param_groups]
        if options != self._options:
            self._recorded.clear()
        self._options = options

    def take(self, rows: Tensor) -> None:
        """Every update in turn, on the row numbers ``rows`` (b,)."""
        self._counts.update(self._take_or_replay(rows) if self.replayed else self._take(rows))

    def means(self) -> dict[str, float]:
        """Of each term over the epoch's steps."""
        return {name: float(found) / self._counts[name] for name, found in self._sums.items()}

    def finite_shares(self) -> dict[str, float]:
        """In how many of the epoch's steps each term was finite, from 0 to 1."""
        return {name: float(found) / self._counts[name] for name, found in self._finite.items()}

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
        """Takes no step."""
        if not self._recorded:  # the pool of graphs that are gone cannot be used again
            self._pool = torch.cuda.graph_pool_handle()
        torch.cuda.synchronize()
        graph, own = torch.cuda.CUDAGraph(), rows.clone()
        graph.capture_begin(pool=self._pool)
        try:
            names = self._take(own)
        finally:
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
        for found in caught:
            if found not in waits and "debug mode" not in str(found.message):  # which is of torch's watching itself
                warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)
        return names


def records(device: str) -> bool:
    """Whether steps can be recorded on the device."""
    return torch.device(device).type == "cuda"


def prepare(optimizer: Optimizer) -> None:
    """Lets an optimiser's steps be recorded: it then counts them on the GPU, and does not warn of one that is not."""
    optimizer._warned_capturable_if_run_uncaptured = True
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


@contextmanager
def own_stream() -> Iterator[None]:
    """A GPU's queue other than the default one, of which nothing can be recorded; the default one waits for it."""
    stream, before = _stream(), torch.cuda.current_stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        yield
    before.wait_stream(stream)


@cache
def _stream() -> torch.cuda.Stream:
    """One for all fits of the process, as libraries keep memory for each."""
    return torch.cuda.Stream()
