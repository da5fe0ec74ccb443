"""The state of a network of the user's: weights by name, as training scripts write them, into an architecture."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cmr.errors import UserError
from cmr.features.networks import read_weights

NAMED = 3
"""How many names a message lists."""
COUNTERS = "num_batches_tracked"
"""Of batch normalisation: states of old versions lack them, and inference does not read them."""


def load_state(network: nn.Module, file: Path, left_out: Sequence[str] = ()) -> None:
    """Gives the network the weights in a .pt, .pth or .safetensors file; nothing in the file is executed.

    A checkpoint may hold the state beside other things, and its names may have a prefix, such as ``module.``, that
    those of the network have not. ``left_out``: modules of the network, the classifier, whose weights are not needed:
    the file's may be of another size, or not be there. All others must be there. Raises `UserError` that counts names
    that are missing, that the network does not have, or whose weights are of another shape, and lists the first.
    """
    wanted = {name: weight for name, weight in network.state_dict().items() if not _within(name, left_out)}
    named = without_prefix(state_of(read_weights(file), file), [name for name, _ in network.named_children()])
    state = {name: weight for name, weight in named.items() if not _within(name, left_out)}
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    problems = [
        _listed("missing", (name for name in wanted if name not in state and not name.endswith(COUNTERS))),
        _listed("not of this network", (name for name in state if name not in wanted)),
        _listed("of another shape", shapes),
    ]
    if any(problems):
        raise UserError(
            f"{file}: weights of another architecture than params.model: {'; '.join(filter(None, problems))}"
        )
    network.load_state_dict({n: w.to(wanted[n].dtype) for n, w in state.items()}, strict=False, assign=True)


def state_of(content: Any, file: Path) -> Mapping[str, torch.Tensor]:
    """The state in what a file holds: all of it, or the one mapping from names to weights among other things."""
    if _is_state(content):
        return content
    found = {key: value for key, value in content.items() if _is_state(value)} if isinstance(content, Mapping) else {}
    if len(found) > 1:
        raise UserError(
            f"{file}: holds several states ({', '.join(map(str, found))}); save the one that is meant alone"
        )
    if not found:
        raise UserError(f"{file}: holds no state, names with their weights; save network.state_dict()")
    return next(iter(found.values()))


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(w, torch.Tensor) for w in value.values())


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
    return f"{len(found)} {what} ({', '.join(found[:NAMED])}{more})" if found else ""
