"""CUDA graphs for tests where there is no GPU: within `imitated_graphs` steps are recorded and replayed on the CPU.

A graph remembers its operations and the tensors that they took and gave, each in memory of its own. Recording leaves
all tensors and the random generator as they were. A replay computes the operations again, into the same memory: what
Python decided when they were recorded is decided for good, as in a graph. An operation that a graph cannot hold, since
it waits for the GPU or gives as many numbers as it finds, raises.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten
INDEXING = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default}  # by a mask
IMPOSSIBLE = {
    ATEN.equal.default,
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.masked_select.default,
    ATEN.randperm.default,
    ATEN.multinomial.default,
    ATEN.linalg_cholesky_ex.default,
}


@contextmanager
def imitated_graphs() -> Iterator[list["Graph"]]:
    """Gives the graphs that were recorded within it."""
    graphs: list[Graph] = []

    def made() -> Graph:
        graphs.append(Graph())
        return graphs[-1]

    with (
        patch("cmr.methods.steps.records", return_value=True),
        patch("cmr.methods.training.own_stream", nullcontext),
        patch("torch.cuda.CUDAGraph", made),
        patch("torch.cuda.graph_pool_handle"),
        patch("torch.cuda.synchronize"),
        patch("torch.cuda.set_sync_debug_mode"),
        patch("torch.optim.rmsprop._get_capturable_supported_devices", return_value=["cpu"]),
    ):
        yield graphs


class Graph(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0
        self._before: dict[int, tuple[Tensor, Tensor]] = {}  # tensors from before, and what they held
        self._made: set[int] = set()  # those that the operations made, which are kept

    def capture_begin(self, pool: Any) -> None:
        self._generator = torch.get_rng_state()
        self.__enter__()

    def capture_end(self) -> None:
        self.__exit__(None, None, None)
        torch.set_rng_state(self._generator)
        with torch.no_grad():
            for changed, held in self._before.values():
                changed.copy_(held)
        self._before.clear()

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for function, args, kwargs, given in self.operations:
                again = function(*args, **kwargs)
                for memory, found in zip(tree_leaves(given), tree_leaves(again), strict=True):
                    if isinstance(memory, Tensor) and memory.data_ptr() != found.data_ptr():
                        memory.copy_(found)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        masked = any(isinstance(x, Tensor) and x.dtype == torch.bool for x in tree_leaves(args[1:2]))
        if function in IMPOSSIBLE or (function in INDEXING and masked):
            raise RuntimeError(f"a graph cannot hold {function}")
        for tensor in tree_leaves((args, kwargs)):  # any may be changed: batch normalisation does not say that it does
            if isinstance(tensor, Tensor) and id(tensor) not in self._made:
                self._before.setdefault(id(tensor), (tensor, tensor.detach().clone()))
        given = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, given))
        self._made.update(map(id, tree_leaves(given)))
        return given
