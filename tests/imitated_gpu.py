"""A GPU for tests where there is none: within `imitated_gpu` the device "cuda" is the CPU by another name.

A tensor of it holds a CPU tensor, and every operation is computed on that. As on a real one, an operation on tensors of
both devices raises, save with a single number, and so does NumPy's view of a tensor that was not copied to the CPU
first. Random numbers are those of the CPU, so what is computed on either device is the same.

Not imitated: what has no form on the CPU (streams, graphs, memory, TF32), bfloat16, and how a GPU rounds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

GPU = torch.device("cuda:0")
CPU = torch.device("cpu")
ATEN = torch.ops.aten
COPY = {ATEN.copy_.default, ATEN._to_copy.default, ATEN.to.other}
TAKE_INDICES_OF_THE_CPU = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default}


@contextmanager
def imitated_gpu() -> Iterator[None]:
    torch._C._ensureCUDADeviceGuardSet()  # without a driver torch has none, and asks it for every such tensor
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor` moves what it makes by an operation
    properties = SimpleNamespace(total_memory=2**33)
    try:
        with (
            patch("torch.cuda._lazy_init"),
            patch("torch.cuda.get_device_properties", return_value=properties),
            patch.object(nn.Module, "to", _moved),
            patch("cmr.methods.steps.records", return_value=False),
            _Imitation(),
        ):
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


class _OnGpu(Tensor):
    """``held``: the CPU tensor. To torch's core, which has no driver to ask, this is a tensor of the meta device."""

    held: Tensor
    is_cuda, is_meta = True, False

    @staticmethod
    def __new__(cls, held: Tensor) -> "_OnGpu":
        with _disable_current_modes(), torch.inference_mode(False):
            meta = torch.empty_strided(held.size(), held.stride(), dtype=held.dtype, device="meta")
            made = torch.Tensor._make_subclass(cls, meta)
        made.held = held
        return made

    @property
    def device(self) -> torch.device:
        return GPU

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Imitation(TorchDispatchMode):
    """For operations that no tensor of the device takes part in, as those that make the first ones."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def _run(operation: Any, args: tuple, kwargs: dict) -> Any:
    """The operation on the CPU tensors; what it gives is on the device that it names, or else on that of its tensors."""
    given, form = pytree.tree_flatten((args, kwargs))
    tensors = [x for x in given if isinstance(x, Tensor)]
    _check(operation, tensors)
    args_held, kwargs_held = pytree.tree_unflatten([_held(x) for x in given], form)
    out = operation(*args_held, **kwargs_held)
    if operation is ATEN.copy_.default:
        return args[0]
    named = next((x for x in given if isinstance(x, torch.device)), None)
    deciding = tensors[1:] if operation is ATEN.to.other else tensors
    on_gpu = named != CPU if named else any(isinstance(x, _OnGpu) for x in deciding)
    same = {id(x.held): x for x in tensors if isinstance(x, _OnGpu)}  # what an operation in place gives back

    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if on_gpu:
            return same.get(id(x)) if id(x) in same else _OnGpu(x)
        return x.clone() if id(x) in same else x

    return pytree.tree_map(placed, out)


def _check(operation: Any, tensors: list[Tensor]) -> None:
    on_cpu = [x for x in tensors if not isinstance(x, _OnGpu)]
    if operation in COPY or len(on_cpu) in (0, len(tensors)):
        return
    if operation in TAKE_INDICES_OF_THE_CPU and isinstance(tensors[0], _OnGpu):
        return
    if any(x.dim() for x in on_cpu):
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device, but they are on two")


def _held(x: Any) -> Any:
    if isinstance(x, _OnGpu):
        return x.held
    return CPU if isinstance(x, torch.device) else x


def _moved(network: nn.Module, device: str, memory_format: Any = None) -> nn.Module:
    """The network with its weights on the device; a weight that two of its layers share stays one.

    `torch.nn.Module.to` cannot put another class of tensors into a parameter without breaking that.
    """
    moved: dict[int, tuple[Tensor, Tensor]] = {}
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                new = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
                setattr(module, name, moved.setdefault(id(parameter), (parameter, new))[1])
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                setattr(module, name, buffer.to(device))
    return network
