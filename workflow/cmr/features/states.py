"""The state of a network of the user's: weights by name, as training scripts write them, into an architecture."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cmr.errors import UserError
from cmr.features.networks import read_weights

NAMED, LETTERS = 3, 60
"""How many names a message lists, and the longest that it shows whole."""
COUNTERS = "num_batches_tracked"
"""Of batch normalisation: states of old versions lack them, and inference does not read them."""


def load_state(network: nn.Module, file: Path, left_out: Sequence[str] = ()) -> None:
    """Gives the network the weights in a .pt, .pth or .safetensors file; nothing in the file is executed.

    A checkpoint may hold the state beside other things, and its names may have a prefix, such as ``module.``, that
    those of the network have not. ``left_out``: modules of the network, the classifier, whose weights are not needed:
    the file's may be of another size, or not be there. All others must be there. Raises `UserError` that counts names
    that are missing, that the network does not have, or whose weights are of another shape, hold NaN or infinite
    values, or are no plain numbers (sparse, quantised, complex, on no device), and lists the first.
    """
    wanted = {name: weight for name, weight in network.state_dict().items() if not _within(name, left_out)}
    named = without_prefix(state_of(read_weights(file), file), [name for name, _ in network.named_children()])
    state = {name: weight for name, weight in named.items() if not _within(name, left_out)}
    known = {name: weight for name, weight in wanted.items() if name in state}
    odd = [name for name, weight in known.items() if not _is_plain(state[name], weight)]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(weight.shape)}"
        for name, weight in known.items()
        if name not in odd and state[name].shape != weight.shape
    ]
    infinite = [
        name
        for name, weight in known.items()
        if name not in odd and state[name].shape == weight.shape and not state[name].to(weight.dtype).isfinite().all()
    ]
    problems = [
        _listed("missing", (name for name in wanted if name not in state and not name.endswith(COUNTERS))),
        _listed("not of this network", (name for name in state if name not in wanted)),
        _listed("of another shape", shapes),
        _listed("of another kind of values", odd),
        _listed("with NaN or infinite values", infinite),
    ]
    if any(problems):
        raise UserError(
            f"{file}: weights of another architecture than params.model: {'; '.join(filter(None, problems))}"
        )
    network.load_state_dict({n: w.detach().to(wanted[n].dtype) for n, w in state.items()}, strict=False, assign=True)


def _is_plain(weight: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Dense numbers of the network's kind: floats where it has floats, as those of a quantised network are not."""
    dense = weight.layout == torch.strided and weight.device.type == "cpu"
    dense = dense and not (weight.is_nested or weight.is_quantized)
    return dense and weight.is_floating_point() == wanted.is_floating_point() and not weight.is_complex()


def state_of(content: Any, file: Path) -> Mapping[str, torch.Tensor]:
    """The state in what a file holds: all of it, or the one mapping from names to weights among other things."""
    if _is_state(content):
        return content
    found = {key: value for key, value in content.items() if _is_state(value)} if isinstance(content, Mapping) else {}
    if len(found) > 1:
        raise UserError(f"{file}: holds {_listed('states', map(str, found))}; save the one that is meant alone")
    if not found:
        raise UserError(f"{file}: holds no state, names with their weights; save network.state_dict()")
    return next(iter(found.values()))


def _is_state(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(weight, torch.Tensor) for name, weight in value.items())


def without_prefix(state: Mapping[str, torch.Tensor], children: Iterable[str]) -> dict[str, torch.Tensor]:
    """The state without a first word that all names share and no child of the network has: a wrapper's."""
    named, known = dict(state), set(children)
    while len(words := {name.partition(".")[0] for name in named}) == 1 and not words & known:
        if not all(name.partition(".")[2] for name in named):
            break
        named = {name.partition(".")[2]: weight for name, weight in named.items()}
    return named


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _listed(what: str, names: Iterable[str]) -> str:
    """``5 missing (a, b, c, …)``; '' where there is none."""
    found = list(names)
    more = ", …" if len(found) > NAMED else ""
    shown = [name if len(name) <= LETTERS else f"{name[:LETTERS]}…" for name in found[:NAMED]]
    return f"{len(found)} {what} ({', '.join(shown)}{more})" if found else ""
