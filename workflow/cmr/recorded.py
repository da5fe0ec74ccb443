"""The configuration and the plan that records of runs lead to: enough to make them again and to find their files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cmr import boundary, config, registry
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.params import canonical
from cmr.plan import Plan, RunName


def configuration(runs: Sequence[Mapping[str, Any]], experiments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As a user would write it: each entry of the runs' records once, and the experiments as they are given."""
    fits = [fit for run in runs for fit in run["fits"]]
    return {
        "datasets": _distinct(fit["data"] for fit in fits),
        "features": features_of(fits),
        "dictionaries": _distinct(fit["dictionary"] for fit in fits if fit["dictionary"]),
        "metrics": _distinct(metric for run in runs for metric in run["metrics"]),
        "queries": runs[0].get("queries"),
        "experiments": list(experiments),
    }


def features_of(fits: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The configured features of fits, by their records, each once."""
    return _distinct(feature for fit in fits for feature in fit["features"])


def _distinct(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({canonical(entry): entry for entry in entries}.values())


def check(run: Mapping[str, Any], machine: Machine, source: str) -> None:
    """Raises `UserError` where the record asks for trust that the user's own configuration does not give, or names
    files that lie outside of the user's folders and that the configuration does not name.
    """
    data = _distinct(fit["data"] for fit in run["fits"])
    features = features_of(run["fits"])
    boundary.check_trust([*data, *features], machine.trusted, source)
    models = [(config.DatasetEntry, entry) for entry in data] + [(config.FeatureEntry, entry) for entry in features]
    for model, entry in models:
        for name in _own_files(model, entry):
            if name not in machine.named:
                boundary.check_own_file(name, machine.base, machine.folders, source)


def _own_files(model: type[config.Entry], entry: Mapping[str, Any]) -> list[str]:
    try:
        return model.model_validate(entry).own_files()
    except ValidationError:  # no plug-in of this clone with such parameters: none that could read files
        return []


def configuration_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration whose last run is the recorded one."""
    first, features = run["fits"][0], features_of(run["fits"])
    experiment = {
        "id": "recorded",
        "data": [f"{first['data']['id']}/{first['split']}"],
        "inputs": [[feature["id"] for feature in features]],
        "methods": [first["method"]],
        "seeds": first["seed"] + 1,
    }
    return configuration([run], [experiment])


def plan_of(run: Mapping[str, Any], source: str) -> tuple[Plan, RunName]:
    """The plan that a run's record leads to, and the run in it. Raises `UserError` for plug-ins not known here."""
    recorded = configuration_of(run)
    check_known(recorded, source)
    plan = Plan(config.validate(recorded, source))
    return plan, plan.runs[-1]


def check_known(recorded: Mapping[str, Any], source: str) -> None:
    """Raises `UserError` for a plug-in that is not here, with the way to name a folder of one's own."""
    methods = [method for experiment in recorded["experiments"] for method in experiment["methods"]]
    for entries, model in (
        (recorded["datasets"], config.DatasetEntry),
        (recorded["features"], config.FeatureEntry),
        (recorded["dictionaries"], config.DictionaryEntry),
        (recorded["metrics"], config.MetricEntry),
        (methods, config.MethodEntry),
    ):
        for name in (entry.get(model.FIELD, entry["id"]) for entry in entries):
            try:
                registry.check(model.KIND, name)
            except UserError as error:
                raise UserError(f"{source}: {error}") from None
