"""Runs arranged as people compare them: protocol (data set, split, inputs) → method → seeds."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from cmr import registry
from cmr.data import Items
from cmr.errors import UserError
from cmr.params import canonical
from cmr.paths import ITEMS
from cmr.reporting.collect import AVERAGE, Collection, Row, higher_is_better, measures, sample_of
from cmr.reporting.runs import Direction, Run, identity

SEPARATOR = " · "
FEW = 3
MOST = 30
"""Methods that plots and the gallery show: more fit neither a legend nor a page."""


@dataclass(frozen=True)
class Group:
    """One method with one set of parameters. ``style`` is the same in all figures; ``runs`` has one a seed, all
    evaluated alike, ``every`` all there are.
    """

    key: str
    name: str
    style: int
    runs: tuple[Run, ...]
    every: tuple[Run, ...] = ()

    def measuring(self, row: Mapping[str, Any]) -> list[Run]:
        """One run a seed that was evaluated as the row says."""
        of_seed = {run.seed: run for run in (*self.every, *self.runs) if measures(run, row)}
        return [of_seed[seed] for seed in sorted(of_seed)]

    @property
    def shown(self) -> Run:
        """The run that galleries and maps show: the first seed's."""
        return self.runs[0]

    @cached_property
    def held_out_score(self) -> float | None:
        """The validation score of what was chosen, mean over fits and seeds; None where a fit chose nothing."""
        scores = []
        for selection in (fit["selection"] for run in self.runs for fit in run.fits):
            chosen = [c for c in selection["candidates"] if c["parameters"] == selection["chosen"]]
            if not chosen:
                return None
            scores.append(chosen[0]["validation_score"])
        return mean(scores) if scores else None


def best_on_held_out(groups: Sequence[Group]) -> Group:
    """The first of those with the highest score; the first of all where one has none."""
    scores = [group.held_out_score for group in groups]
    known = [score for score in scores if score is not None]
    return groups[scores.index(max(known))] if len(known) == len(groups) else groups[0]


@dataclass(frozen=True)
class Protocol:
    """``groups``: all methods at all parameters, which tables and grids show."""

    key: str
    label: str
    groups: tuple[Group, ...]

    @cached_property
    def ranked(self) -> tuple[Group, ...]:
        """Best first by the headline metric's mean over directions and seeds; of a sweep, an id with many sets of
        parameters, only the one that is best on held-out rows, or the first where fits were not scored on them.
        """
        kept = {
            group.key
            for members in self.families.values()
            for group in (members if len(members) <= FEW else [best_on_held_out(members)])
        }
        return tuple(sorted((group for group in self.groups if group.key in kept), key=self._rank))

    def _rank(self, group: Group) -> tuple[bool, float]:
        """Sorts by value, best first, and what has none last."""
        if not measures(group.shown, self.headline):
            return True, 0.0
        value = mean(run.metrics["average"][self.headline_metric] for run in group.runs)
        return False, -value if higher_is_better(self.headline) else value

    @property
    def shown(self) -> tuple[Group, ...]:
        """What plots and the gallery show."""
        return self.ranked[:MOST]

    @cached_property
    def headline(self) -> dict[str, Any]:
        """What bars, costs, grids and the gallery show: the first metric that gives a number a query, with the options
        and the sample of queries of most groups. As a row's ``key``, ``plugin``, ``params`` and ``sample``.
        """
        found = [one for group in self.groups for one in numbers(group.shown)]
        if not found:
            raise UserError(
                f"{self.first.path}: no metric gives a number a query; configure one, mean_average_precision say"
            )
        alike = [canonical(one) for one in found if one["key"] == found[0]["key"]]
        return next(one for one in found if canonical(one) == max(alike, key=alike.count))

    @property
    def headline_metric(self) -> str:
        name: str = self.headline["key"]
        return name

    @property
    def with_headline(self) -> tuple[Group, ...]:
        """Of the groups that are shown, those that the headline was measured for, so that they can be compared."""
        return tuple(group for group in self.shown if measures(group.shown, self.headline))

    def averages(self, rows: Iterable[Row], direction: Direction = (AVERAGE, AVERAGE)) -> dict[str, Row]:
        """Group → its row of the headline's mean over directions, or of one direction."""
        wanted = self.headline | {"query": direction[0], "gallery": direction[1]}
        return {row["group"]: row for row in rows if all(row[key] == value for key, value in wanted.items())}

    @property
    def families(self) -> dict[str, list[Group]]:
        """Entry's id → its groups."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.shown.method["id"], []).append(group)
        return found

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
        return list(dict.fromkeys(direction for group in self.shown for direction in group.shown.tasks))

    @cached_property
    def items(self) -> Items:
        return Items.read(self.first.place(ITEMS.format(data=self.first.data)))


def numbers(run: Run) -> list[dict[str, Any]]:
    """The metrics of a run that give a number a query: ``key``, ``plugin``, ``params`` and ``sample``."""
    task = run.metrics["tasks"][0]
    return [
        {"key": name, "plugin": entry["metric"], "params": entry["params"], "sample": sample_of(task)}
        for name, entry in task["metrics"].items()
        if "per_class" in entry
    ]


def in_file_name(text: str) -> str:
    """Somebody's words as part of a file's name: letters, digits, '_', '@', '.', '+' and hyphens for all else."""
    return re.sub(r"[^\w@.+-]+", "-", text).strip("-")


def protocols(collection: Collection) -> list[Protocol]:
    """All protocols of a collection, in the order of its runs."""
    names = variant_names(collection)
    styles = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    members: dict[str, dict[str, list[Run]]] = {}
    for run in collection.runs:
        members.setdefault(run.protocol, {}).setdefault(run.variant, []).append(run)
    labels = protocol_labels(list(members))
    return [
        Protocol(
            key,
            labels[key],
            tuple(
                Group(f"{key}/{variant}", names[variant], styles[names[variant]], _by_seed(runs), tuple(runs))
                for variant, runs in variants.items()
            ),
        )
        for key, variants in members.items()
    ]


def _by_seed(runs: Sequence[Run]) -> tuple[Run, ...]:
    """One run a seed, all evaluated with the same metrics: those that most seeds were evaluated with."""
    digests = [run.digest for run in runs]
    most = max(digests, key=digests.count)
    return tuple(sorted((run for run in runs if run.digest == most), key=lambda run: run.seed))


def protocol_labels(keys: list[str]) -> dict[str, str]:
    """``emoji-1a2b3c/default/lite0+bert`` → ``emoji · default · lite0+bert``, with digests where ids are shared."""
    short = {key: SEPARATOR.join("+".join(map(identity, part.split("+"))) for part in key.split("/")) for key in keys}
    shown = list(short.values())
    return {key: key.replace("/", SEPARATOR) if shown.count(label) > 1 else label for key, label in short.items()}


def variant_names(collection: Collection) -> dict[str, str]:
    """Method's path component → name to show: its id, with the settings that differ where an id has several."""
    settings = {run.variant: _settings(run.fits[0]) for run in collection.runs}
    names = {}
    for variant, own in settings.items():
        differing = differing_keys([other for name, other in settings.items() if identity(name) == identity(variant)])
        shown = ", ".join(f"{key} {value_in_words(own[key])}" for key in differing if key in own)
        names[variant] = f"{identity(variant)} ({shown})" if shown else identity(variant)
    taken = list(names.values())
    return {variant: variant if taken.count(name) > 1 else name for variant, name in names.items()}


def differing_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all."""
    keys = sorted({key for own in settings for key in own})
    return [key for key in keys if len({canonical(own.get(key)) for own in settings}) > 1]


def _settings(fit: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a method's variant besides its id: its parameters, and those of its dictionary."""
    method, dictionary = fit["method"], fit["dictionary"]
    found = parameters("methods", method) | ({"tune": method["tune"]} if method["tune"] else {})
    found |= {"pairing": method.get("pairing", "ids")}
    if not dictionary:
        return found | {"dictionary": None}
    coded = parameters("dictionaries", dictionary)
    return found | {"dictionary": dictionary["id"]} | {f"dictionary {key}": value for key, value in coded.items()}


def value_in_words(value: Any) -> str:
    """A parameter's value; of a grid that is tuned over, the parameters' names."""
    if isinstance(value, Mapping):
        return " and ".join(value)
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def parameters(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of an entry, with the defaults where this version has the plug-in."""
    plugin = entry[registry.KEYS[kind]]
    if plugin not in registry.names(kind):
        return dict(entry["params"])
    return registry.params_model(kind, plugin)(**entry["params"]).model_dump(mode="json")
