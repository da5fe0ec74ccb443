"""What is known to be missing before anything starts, and a configuration without the experiments that need it.

Missing are raw files that are given out by hand and that nobody has placed yet, and files of the user's that are not
where the configuration says. What can be downloaded is tried when it is needed, unless HF_HUB_OFFLINE=1 says that
there is no internet: then data and weights that are not in the cache are missing too.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable

from cmr import create
from cmr.config import LEAVE_OUT, Config, DatasetEntry, Entry, Experiment, FeatureEntry
from cmr.datasets.downloads import ARCHIVE, BY_HAND, Downloaded, Source, sources
from cmr.errors import UserError
from cmr.machine import Machine


def without_missing(config: Config, machine: Machine) -> tuple[Config, list[str]]:
    """The configuration less what cannot be made, and one line for each data set and each feature that is missing.

    Both as they are where the configuration does not say ``missing_data: leave_out``. An experiment keeps the data
    sets and the inputs that are here. Raises `UserError` where nothing is left.
    """
    if config.missing_data != LEAVE_OUT:
        return config, []
    missing = Missing(config, machine)
    kept = [here for experiment in config.experiments if (here := missing.without(experiment))]
    if not kept:
        raise UserError("\n".join(["nothing of the configuration can be made", *missing.lines()]))
    return config.model_copy(update={"experiments": kept}), missing.lines()


class Missing:
    """Looks each data set and each feature up once, and notes which experiments lack it."""

    def __init__(self, config: Config, machine: Machine):
        self.config, self.machine = config, machine
        self.reasons: dict[str, str] = {}
        self.lacking: dict[str, list[str]] = defaultdict(list)

    def without(self, experiment: Experiment) -> Experiment | None:
        """The experiment on what is here; None where that is nothing."""
        data = [name for name in experiment.data if not self._lacks_data(experiment, name)]
        inputs = [names for names in experiment.inputs if not self._lacks_features(experiment, names)]
        return experiment.model_copy(update={"data": data, "inputs": inputs}) if data and inputs else None

    def lines(self) -> list[str]:
        return [f"left out: {what} of {', '.join(ids)}: {self.reasons[what]}" for what, ids in self.lacking.items()]

    def _lacks_data(self, experiment: Experiment, name: str) -> bool:
        entry, _ = self.config.data(name)
        return self._lacks(experiment, f"data set {entry.id!r}", missing_data, entry)

    def _lacks_features(self, experiment: Experiment, names: Iterable[str]) -> bool:
        entries = [self.config.feature(name) for name in names]
        lacks = [self._lacks(experiment, f"feature {entry.id!r}", missing_weights, entry) for entry in entries]
        return any(lacks)  # each is looked up, so that all that is missing is told at once

    def _lacks(self, experiment: Experiment, what: str, look: Callable[..., str], entry: Entry) -> bool:
        if what not in self.reasons:
            self.reasons[what] = look(entry, self.machine)
        if self.reasons[what] and experiment.id not in self.lacking[what]:
            self.lacking[what].append(experiment.id)
        return bool(self.reasons[what])


def missing_data(entry: DatasetEntry, machine: Machine) -> str:
    """One line: which files to place where, and where they are given out; '' where nothing is known to be missing."""
    own = [place for name in entry.own_files() if not os.path.exists(place := machine.located(name))]
    if own:
        return f"no such file: {', '.join(own)}"
    dataset, absent = _absent(entry, machine)
    if not absent or dataset is None:
        return ""
    rows = dict.fromkeys(_origin(dataset, file) for file in absent)
    # One that downloads in a way of its own may bring what its sources do not offer.
    by_hand = [row for row in rows if row.access == BY_HAND and type(dataset).download is Downloaded.download]
    wanted = [*rows] if is_offline() else by_hand
    named = "; ".join(row.described for row in wanted)
    return f"place in {dataset.raw.absolute()}: {named}" if wanted else ""


def missing_weights(entry: FeatureEntry, machine: Machine) -> str:
    """One line: which weights to place where; '' where they are here, or may be downloaded."""
    if not entry.info.weights or not is_offline():
        return ""
    try:
        create.extractor(entry.model_dump(mode="json"), machine).fetch()
    except UserError as error:
        return str(error)
    return ""


def is_here(entry: DatasetEntry, machine: Machine) -> bool:
    """Whether no raw file of a data set has to be downloaded or placed any more, as far as its files are listed."""
    return not missing_data(entry, machine) and not _absent(entry, machine)[1]


def is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE") == "1"


def _absent(entry: DatasetEntry, machine: Machine) -> tuple[Downloaded | None, list[str]]:
    """A data set with raw files, and those that are neither in the cache nor in an archive that is."""
    dataset = create.dataset(entry.model_dump(mode="json"), create.data_folder(entry.id), machine)
    if not isinstance(dataset, Downloaded):
        return None, []
    return dataset, [file for file in dataset.files() if not _is_at_hand(dataset, file)]


def _origin(dataset: Downloaded, file: str) -> Source:
    """Where a file comes from: of one that is taken out of an archive, where the first of its archives does."""
    row = sources(dataset.raw.name, file)[0]
    return sources(dataset.raw.name, row.address)[0] if row.access == ARCHIVE else row


def _is_at_hand(dataset: Downloaded, file: str) -> bool:
    archives = [row.address for row in sources(dataset.raw.name, file) if row.access == ARCHIVE]
    return any((dataset.raw / name).exists() for name in (file, *archives))
