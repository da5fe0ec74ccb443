"""Runs arranged as people compare them: protocol (data set, split, inputs) → method → seeds."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cmr.data import Items
from cmr.params import canonical
from cmr.reporting.collect import Collection
from cmr.reporting.runs import Direction, Run, identity

SEPARATOR = " · "


@dataclass(frozen=True)
class Group:
    """One method with one set of parameters. ``style`` is the same in all figures; ``runs`` has one a seed."""

    key: str
    name: str
    style: int
    runs: tuple[Run, ...]

    @property
    def shown(self) -> Run:
        """The run that galleries and maps show: the first seed's."""
        return self.runs[0]


@dataclass(frozen=True)
class Protocol:
    key: str
    label: str
    groups: tuple[Group, ...]

    @property
    def first(self) -> Run:
        return self.groups[0].runs[0]

    @property
    def slug(self) -> str:
        """The key as part of a file's name."""
        return self.key.replace("/", "--")

    @property
    def parts(self) -> list[str]:
        """Data set, split and inputs, as they are shown."""
        return self.label.split(SEPARATOR)

    @property
    def directions(self) -> list[Direction]:
        return list(dict.fromkeys(direction for group in self.groups for direction in group.shown.tasks))

    @cached_property
    def items(self) -> Items:
        return Items.read(self.first.results / "data" / self.first.data / "items.parquet")


def protocols(collection: Collection) -> list[Protocol]:
    """All protocols of a collection, in the order of its runs."""
    names = variant_names(collection)
    styles = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    members: dict[str, dict[str, dict[str, Run]]] = {}
    for run in collection.runs:
        by_path = members.setdefault(run.protocol, {}).setdefault(run.variant, {})
        by_path.setdefault(run.path, run)  # several evaluations of one run: the first
    labels = protocol_labels(list(members))
    return [
        Protocol(
            key,
            labels[key],
            tuple(
                Group(f"{key}/{variant}", names[variant], styles[names[variant]], _by_seed(runs))
                for variant, runs in variants.items()
            ),
        )
        for key, variants in members.items()
    ]


def _by_seed(runs: dict[str, Run]) -> tuple[Run, ...]:
    return tuple(sorted(runs.values(), key=lambda run: run.seed))


def protocol_labels(keys: list[str]) -> dict[str, str]:
    """``emoji-1a2b3c/default/lite0+bert`` → ``emoji · default · lite0+bert``, with digests where ids are shared."""
    short = {key: SEPARATOR.join("+".join(map(identity, part.split("+"))) for part in key.split("/")) for key in keys}
    shown = list(short.values())
    return {key: key.replace("/", SEPARATOR) if shown.count(label) > 1 else label for key, label in short.items()}


def variant_names(collection: Collection) -> dict[str, str]:
    """Method's path component → name to show: its id, with the settings that differ where an id has several."""
    settings = {run.variant: _settings(run.method) for run in collection.runs}
    names = {}
    for variant, own in settings.items():
        family = [other for name, other in settings.items() if identity(name) == identity(variant)]
        keys = sorted({key for other in family for key in other})
        differing = [key for key in keys if len({canonical(other.get(key)) for other in family}) > 1]
        shown = ", ".join(f"{key} {own[key]}" if key in own else f"{key} default" for key in differing)
        names[variant] = f"{identity(variant)} ({shown})" if shown else identity(variant)
    return names


def _settings(method: dict[str, Any]) -> dict[str, Any]:
    """What identifies a method's entry besides its id."""
    extra = {key: method[key] for key in ("dictionary", "tune") if method.get(key)}
    return method["params"] | extra
