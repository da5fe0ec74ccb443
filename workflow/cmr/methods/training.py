"""The training loop that all methods with networks share.

Mini-batches are drawn on the device; a method gives, for a batch of row numbers, its loss terms. Every epoch seeds the
random generators from the run's seed and its own number, so a fit that is killed and resumed from its checkpoint
repeats what an uninterrupted one does.
"""

import logging
import pickle
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cmr.errors import UserError
from cmr.methods.base import History
from cmr.methods.steps import Steps, Update, own_stream
from cmr.provenance import went_on_after
from cmr.publish import atomic

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKPOINTS = 20
SECONDS_BETWEEN_LINES = 5  # of the log
INPUT_BYTES = 2**27
"""Of the rows that a network is applied to at once."""


class _Uncompiled(Optimizer):
    """An optimiser without what tells torch's compiler to keep out: importing it takes a second of every job."""

    add_param_group = Optimizer.add_param_group.__wrapped__  # type: ignore[attr-defined]
    state_dict = Optimizer.state_dict.__wrapped__  # type: ignore[attr-defined]
    load_state_dict = Optimizer.load_state_dict.__wrapped__  # type: ignore[attr-defined]
    zero_grad = Optimizer.zero_grad.__wrapped__  # type: ignore[attr-defined]


class Adam(_Uncompiled, torch.optim.Adam):
    """Adam in one pass over each parameter, where torch's default makes twelve, each a read of all weights."""

    def __init__(self, parameters: Any, learning_rate: float, **options: Any) -> None:
        super().__init__(parameters, learning_rate, **options, fused=True)

    step = torch.no_grad()(torch.optim.Adam.step.__wrapped__)  # type: ignore[attr-defined]


class RMSprop(_Uncompiled, torch.optim.RMSprop):
    step = torch.no_grad()(torch.optim.RMSprop.step.__wrapped__)  # type: ignore[attr-defined]


class SGD(_Uncompiled, torch.optim.SGD):
    step = torch.no_grad()(torch.optim.SGD.step.__wrapped__)  # type: ignore[attr-defined]


def train(
    network: nn.Module,
    updates: list[Update],
    rows: int,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str,
    patience: int = 0,
    validate: Callable[[], float] | None = None,
    checkpoint: Path | None = None,
    each_epoch: Callable[[int], None] | None = None,
    announce: Callable[[Tensor], None] | None = None,
    replayed: bool = False,
) -> History:
    """Trains ``network`` for ``epochs`` epochs over ``rows`` training rows; each batch takes the updates in turn.

    With ``validate`` (higher is better) the network ends with the weights of the best epoch, which `History.chosen`
    names, and training stops after ``patience`` epochs without a better one (0: never). Without it all epochs are
    trained and the last weights stay. A last batch of a single row is left out, as batch statistics need two.

    ``each_epoch`` is called with the epoch's number before it starts, to change a learning rate, say; ``announce`` with
    the rows of the next batch before a batch is computed with, so that they can be read meanwhile. ``replayed``: the
    terms are the same operations for any rows, which a GPU may be given at once (`cmr.methods.steps`).
    Raises `UserError` that names the epoch and the term where the loss is not finite.
    """
    progress = _Progress.resume(checkpoint, network, updates, device)
    steps = Steps(updates, device, replayed)
    with own_stream() if steps.replayed else nullcontext():
        while progress.epoch < epochs and not progress.is_over(patience):
            epoch = progress.epoch + 1
            torch.manual_seed(_epoch_seed(seed, epoch))
            if each_epoch:
                each_epoch(epoch)
            row = {"epoch": epoch, **_train_epoch(network, steps, rows, batch_size, seed, epoch, device, announce)}
            if validate:
                network.eval()
                with torch.inference_mode():
                    row["validation"] = validate()
            progress.record(row, network)
            progress.tell(row, epochs)
            if checkpoint and progress.is_due(last=epoch == epochs or progress.is_over(patience)):
                progress.save(checkpoint, network, updates)
        if progress.best is not None:
            network.load_state_dict(progress.best)
    network.eval()
    chosen = {"epochs": progress.best_epoch} if validate else {}
    return History(progress.rows, chosen)


def _epoch_seed(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch


def _train_epoch(
    network: nn.Module,
    steps: Steps,
    rows: int,
    batch_size: int,
    seed: int,
    epoch: int,
    device: str,
    announce: Callable[[Tensor], None] | None,
) -> dict[str, float]:
    """One pass over the rows in random order; the mean of each term over its steps."""
    network.train()
    generator = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
    order = torch.randperm(rows, generator=generator).to(device)
    batches = [batch for batch in order.split(batch_size) if len(batch) > 1 or rows == 1]
    steps.begin()
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        if announce and following is not None:
            announce(following)
        steps.take(batch)
    means = steps.means()
    if not np.isfinite(list(means.values())).all():
        finite = steps.finite_shares()
        first = min(finite, key=lambda name: finite[name])  # the others became so later
        remedy = "lower the learning rate or scale the features"
        raise UserError(f"epoch {epoch}: the loss term {first!r} is {means[first]}; {remedy}")
    return means


@dataclass
class _Progress:
    """What a checkpoint holds beside the weights and the optimisers' state."""

    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_epoch: int = 0
    best_score: float = -np.inf
    saved_at: float = 0.0
    told_at: float = -np.inf
    seconds: float = 0.0
    """Of training before this process."""
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def resume(cls, checkpoint: Path | None, network: nn.Module, updates: list[Update], device: str) -> "_Progress":
        if checkpoint is None or not checkpoint.exists():
            return cls(saved_at=time.monotonic())
        try:
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(f"{checkpoint}: not a checkpoint ({reason}); delete it and run again") from None
        network.load_state_dict(saved.pop("network"))
        for update, state in zip(updates, saved.pop("optimizers"), strict=True):
            update.optimizer.load_state_dict(state)
        went_on_after(saved["seconds"])
        return cls(**saved, saved_at=time.monotonic())

    def record(self, row: dict[str, Any], network: nn.Module) -> None:
        self.epoch = row["epoch"]
        self.rows.append(row)
        if row.get("validation", -np.inf) > self.best_score:
            self.best_score, self.best_epoch = row["validation"], self.epoch
            self.best = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def tell(self, row: dict[str, Any], epochs: int) -> None:
        """A line of the log for the first epoch and then every few seconds, so that one sees how far a fit is."""
        if time.monotonic() - self.told_at > SECONDS_BETWEEN_LINES or row["epoch"] == epochs:
            losses = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
            log.info("epoch %d of %d: %s", row["epoch"], epochs, losses)
            self.told_at = time.monotonic()

    def is_over(self, patience: int) -> bool:
        return bool(patience) and self.best is not None and self.epoch - self.best_epoch >= patience

    def is_due(self, last: bool) -> bool:
        return last or time.monotonic() - self.saved_at > SECONDS_BETWEEN_CHECKPOINTS

    def save(self, checkpoint: Path, network: nn.Module, updates: list[Update]) -> None:
        state = {
            "network": network.state_dict(),
            "optimizers": [update.optimizer.state_dict() for update in updates],
            "epoch": self.epoch,
            "rows": self.rows,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "seconds": self.seconds + time.monotonic() - self.began,
        }
        with atomic(checkpoint) as temporary:
            torch.save(state, temporary)
        self.saved_at = time.monotonic()


class ByModality(nn.ModuleDict):
    """Modules by the names of modalities, also such as torch takes none for: ``image.v2``, or ``type``, its own."""

    def __setitem__(self, name: str, module: nn.Module) -> None:
        super().__setitem__(_key(name), module)

    def __getitem__(self, name: str) -> nn.Module:
        return super().__getitem__(_key(name))

    def __contains__(self, name: str) -> bool:
        return super().__contains__(_key(name))


def _key(name: str) -> str:
    """No modality's name has a colon."""
    key = name.replace(".", ":")
    return f"{key}:" if hasattr(nn.ModuleDict, key) or key == "training" else key


def shares_of(labels: Tensor) -> Tensor:
    """Labels (n, c), divided so that those of a row add up to 1: in a cross-entropy all rows then weigh the same."""
    return labels / labels.sum(1, keepdim=True)


def total(terms: Iterable[Tensor]) -> Tensor:
    """The sum of one or more terms: `sum` would begin with the number 0."""
    return reduce(torch.add, terms)


def tensor(array: np.ndarray, device: str) -> Tensor:
    """A float32 tensor on the device, which on the CPU may share the array's memory: not to be changed in place."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.as_tensor(np.ascontiguousarray(array, np.float32), device=device)


def network_state(network: nn.Module, prefix: str = "network.") -> dict[str, np.ndarray]:
    """A network's weights as arrays, for `Method.state`."""
    return {prefix + name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def load_network(network: nn.Module, state: Mapping[str, np.ndarray], prefix: str = "network.") -> None:
    weights = {name.removeprefix(prefix): torch.as_tensor(v) for name, v in state.items() if name.startswith(prefix)}
    network.load_state_dict(weights)
    network.eval()


def apply(network: Callable[[Any], Tensor], features: Any, device: str, block: int = 8192) -> np.ndarray:
    """``network`` over rows (n, d), a block at a time, without gradients; float32.

    Rows of another form (`cmr.methods.batches`) give a block on the device themselves. A block has as many rows as
    `INPUT_BYTES` hold, ``block`` at most.
    """
    size = features[:1].nbytes if isinstance(features, np.ndarray) else features.row_bytes
    step = max(1, min(block, INPUT_BYTES // max(size, 1)))
    with torch.inference_mode():
        parts = (features[start : start + step] for start in range(0, len(features), step))
        blocks = [network(tensor(x, device) if isinstance(x, np.ndarray) else x).float().cpu() for x in parts]
    return torch.cat(blocks).numpy()


def feed_forward(
    sizes: tuple[int, ...], activation: Callable[[], nn.Module], last_activation: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Linear layers sizes[0] → sizes[1] → …, an activation after each, ``last_activation`` (or none) after the last."""
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(sizes), 1):
        layers.append(nn.Linear(inner, outer))
        follow = activation if number < len(sizes) - 1 else last_activation
        if follow:
            layers.append(follow())
    return nn.Sequential(*layers)
