"""The configuration a user writes: its schema, and errors that name the key, what was expected and the nearest name."""

import os
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from yaml import MarkedYAMLError, YAMLError

from cmr import registry
from cmr.boundary import check_name, read_yaml
from cmr.datasets.keyed import file_and_key
from cmr.errors import UserError, nearest, one_line
from cmr.info import BOTH, IN_WORDS, SET, VECTOR
from cmr.params import ID_PATTERN, OF_DICTIONARY, Identifier, Params, of_dictionary, of_method
from cmr.shards import ROWS_PER_JOB

MAX_SEEDS = 10_000
MAX_POINTS = 10_000
TEMPLATE = "__use_yte__"

shortened = reprlib.Repr()
shortened.maxlevel, shortened.maxstring = 2, 60


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(Model):
    """A configured plug-in. A bare name stands for the plug-in of that name with its defaults."""

    id: Identifier = Field(description="Name in paths and tables.")
    params: dict[str, Any] = Field(default={}, description="Parameters that differ from the plug-in's defaults.")

    KIND: ClassVar[str]  # the registry's name for these plug-ins
    FIELD: ClassVar[str]  # the key that names the plug-in

    @model_validator(mode="before")
    @classmethod
    def _plugin_defaults_to_id(cls, value: Any) -> Any:
        value = {"id": value} if isinstance(value, str) else value
        if isinstance(value, dict) and "id" in value:
            return {cls.FIELD: value["id"]} | value
        return value

    @model_validator(mode="after")
    def _check_plugin(self) -> "Entry":
        try:
            registry.check(self.KIND, self.plugin)
        except UserError as error:
            raise mistake(self.FIELD, str(error)) from None
        check_params(self.KIND, self.plugin, self.params)
        return self

    @property
    def plugin(self) -> str:
        return getattr(self, self.FIELD)

    @property
    def info(self) -> Any:
        return registry.info(self.KIND, self.plugin)

    def parameters(self) -> Params:
        """The plug-in's validated parameters."""
        return registry.params_model(self.KIND, self.plugin)(**self.params)

    def identifying(self) -> dict[str, Any]:
        """What tells its results from others: the plug-in and all parameters, not the id."""
        other = self.model_dump(mode="json", exclude={"id", "params"})
        return {**other, "params": self.parameters().model_dump(mode="json")}

    @property
    def code(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of the plug-in, as a result's ``plugins`` list them."""
        return ((self.KIND, self.plugin),)

    def own_files(self) -> list[str]:
        """The files that the parameters name, as they are written, without the keys of arrays in them."""
        params = self.parameters()
        named = [leaf for key in getattr(self.info, "files", ()) for leaf in _leaves(getattr(params, key))]
        return sorted({file_and_key(reference)[0] for reference in named if reference})


M = TypeVar("M", bound=Model)


def mistake(key: str, message: str) -> PydanticCustomError:
    """An error at ``key``, relative to the model that is being validated."""
    return PydanticCustomError("mistake", "{message}", {"key": key, "message": message})


def check_params(kind: str, plugin: str, params: Mapping[str, Any], key: str = "params") -> None:
    """Raises an error at ``key`` for a parameter that the plug-in does not have or whose value does not fit."""
    model = registry.params_model(kind, plugin)
    try:
        model(**params)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join([key, *map(str, first["loc"])])
        raise mistake(at, _message(first, model.model_fields)) from None


class DatasetEntry(Entry):
    KIND, FIELD = "datasets", "dataset"
    dataset: str = Field(description="Data set plug-in; default: the id.")


class FeatureEntry(Entry):
    KIND, FIELD = "extractors", "extractor"
    extractor: str = Field(description="Extractor plug-in; default: the id.")
    modality: str = Field(default="", description="Modality it reads; default: the extractor's own.")

    @model_validator(mode="after")
    def _modality_defaults_to_extractors(self) -> "FeatureEntry":
        if not self.modality and self.info.modality == "any":
            raise mistake("modality", f"required, as {self.extractor!r} takes any modality")
        if not self.modality:
            object.__setattr__(self, "modality", self.info.modality)
        try:
            check_name(self.modality)
        except ValueError as error:
            raise mistake("modality", f"expected {error}, found {shortened.repr(self.modality)}") from None
        if {self.modality, self.info.modality} in ({"text", "image"}, {"text", "audio"}):  # one is texts, one files
            raise mistake("modality", f"{self.extractor!r} reads {self.info.modality}, found {self.modality!r}")
        return self

    @property
    def form(self) -> str:
        """What it gives of an item: a vector, or a set."""
        gives = self.info.gives if self.info.gives != "any" else getattr(self.parameters(), "gives", VECTOR)
        return VECTOR if gives == VECTOR else SET


class DictionaryEntry(Entry):
    KIND, FIELD = "dictionaries", "dictionary"
    dictionary: str = Field(description="Dictionary plug-in; default: the id.")


class MetricEntry(Entry):
    KIND, FIELD = "metrics", "metric"
    metric: str = Field(description="Metric plug-in; default: the id.")


class MethodEntry(Entry):
    KIND, FIELD = "methods", "method"
    method: str = Field(description="Method plug-in; default: the id.")
    dictionary: str | None = Field(default=None, description="Dictionary whose coefficients replace the features.")
    pairing: Literal["ids", "class"] = Field(
        default="ids",
        description="What makes a pair of training rows: their ids, or, where modalities have no items in common, a "
        "draw within a class.",
    )
    tune: dict[str, Annotated[list, Field(min_length=1)]] = Field(
        default={},
        description="Parameter → values, chosen among on held-out rows inside one fit; `dictionary.lambda1` is that of "
        "the dictionary.",
    )
    sweep: dict[str, Annotated[list, Field(min_length=1)]] = Field(
        default={}, description="Parameter → values, one run each, for the papers' parameter grids."
    )

    @model_validator(mode="after")
    def _check_grids(self) -> "MethodEntry":
        if self.dictionary is None and (keys := of_dictionary(self.tune)):
            key = f"tune.{OF_DICTIONARY}{next(iter(keys))}"
            raise mistake(key, f"{self.id!r} takes no dictionary; name one under dictionary, or leave it out")
        for name, grid in (("tune", self.tune), ("sweep", self.sweep)):
            if (points := prod(map(len, grid.values()))) > MAX_POINTS:
                raise mistake(name, f"{points:,} combinations; {MAX_POINTS:,} are the most")
        for name, grid in (("tune", of_method(self.tune)), ("sweep", self.sweep)):
            for key, values in grid.items():
                if key in self.params or (name == "sweep" and key in self.tune):
                    other = "params" if key in self.params else "tune"
                    raise mistake(f"{name}.{key}", f"stands in {other} too; keep one")
                for value in values:
                    check_params(self.KIND, self.method, self.params | {key: value}, key=name)
        if self.pairing == "class":
            self._check_pairing()
        if self.info.implementation == "quoted":
            raise mistake("method", f"{self.method!r} is quoted from papers and cannot be run: {self.info.reason}")
        return self

    def _check_pairing(self) -> None:
        if not self.info.pairs:
            raise mistake("pairing", f"{self.method!r} needs no pairs; leave it out")
        if self.dictionary is not None:
            raise mistake("pairing", "a dictionary is learned from pairs by ids; take one of the two")

    def dictionary_points(self, entry: DictionaryEntry) -> list[DictionaryEntry]:
        """The dictionary's entry at each point of what is tuned of it; the entry itself where nothing is."""
        tuned = of_dictionary(self.tune)
        combinations = (dict(zip(tuned, values, strict=True)) for values in product(*tuned.values()))
        return [entry.model_copy(update={"params": entry.params | point}) for point in combinations]

    def check_tuned(self, entry: DictionaryEntry, where: str) -> None:
        """Raises an error at ``where`` for what is tuned of the dictionary and does not fit it."""
        for key, values in of_dictionary(self.tune).items():
            if key in entry.params:
                raise mistake(f"{where}.tune.{OF_DICTIONARY}{key}", f"stands in params of {entry.id!r} too; keep one")
            for value in values:
                check_params(entry.KIND, entry.dictionary, {**entry.params, key: value}, f"{where}.tune.dictionary")

    def points(self) -> list["MethodEntry"]:
        """One entry a point of the sweep; the entry itself where there is none."""
        if not self.sweep:
            return [self]
        combinations = (dict(zip(self.sweep, values, strict=True)) for values in product(*self.sweep.values()))
        return [self.model_copy(update={"params": self.params | point, "sweep": {}}) for point in combinations]


DEFAULT_METRICS: tuple[Any, ...] = (
    {"id": "map@all", "metric": "mean_average_precision"},
    {"id": "map@50", "metric": "mean_average_precision", "params": {"at": 50}},
    "precision_recall",
    "precision_scope",
)


class Experiment(Model):
    """All combinations of its data, inputs, methods and seeds."""

    id: Identifier
    data: list[str] = Field(min_length=1, description="Data set, or data set/split.")
    inputs: list[Annotated[list[str], Field(min_length=1)]] = Field(
        min_length=1, description="Lists of features, one of each modality; or a vector and a set of it."
    )
    methods: list[MethodEntry] = Field(min_length=1)
    seeds: int = Field(default=1, ge=1, le=MAX_SEEDS, description="Runs of a stochastic method; others run once.")
    makes: list[str] = Field(default=[], description="Tables and figures of a paper that it makes; changes no result.")

    def identifying(self) -> dict[str, Any]:
        """What tells its results from others."""
        return self.model_dump(mode="json", exclude={"makes"})


LEAVE_OUT = "leave_out"


class Config(Model):
    """``config.yaml``, extended by the files given with ``--configfile``."""

    title: str = Field(default="Cross-modal retrieval", description="Title of the report.")
    cache: str = Field(default=".cache", description="Folder of downloads and weights.")
    data_root: str | None = Field(default=None, description="The one folder that absolute data paths may lie in.")
    base: str | None = Field(default=None, description="Folder of relative data paths; null: that of the file.")
    plugins: str | None = Field(
        default=None, description="Folder of plug-ins of one's own; relative to the file that names it."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes a GPU where there is one.")
    missing_data: Literal["fail", "leave_out"] = Field(
        default="fail",
        description="What becomes of experiments on data that only their user can place, and has not yet: they fail, "
        "or are left out with one line a data set.",
    )
    not_made: dict[str, str] = Field(
        default={}, description="Tables and figures of a paper that no experiment of the file makes → why."
    )
    datasets: list[DatasetEntry] = Field(default=[])
    features: list[FeatureEntry] = Field(default=[])
    dictionaries: list[DictionaryEntry] = Field(default=[])
    metrics: list[MetricEntry] = Field(default=list(DEFAULT_METRICS), min_length=1, validate_default=True)
    queries: int | None = Field(
        default=None,
        ge=1,
        description="Test queries of each modality that are evaluated, drawn with a fixed seed, against the whole "
        "gallery; null: all.",
    )
    rows_per_job: int = Field(
        default=ROWS_PER_JOB,
        ge=1,
        description="Items whose features one job extracts, rounded up to whole chunks: 4096 items, or 256 with "
        "`device: cpu`. More items are several jobs, which together give the same file; changes no result.",
    )
    experiments: list[Experiment] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "Config":
        for key in ("datasets", "features", "dictionaries", "metrics", "experiments"):
            ids = [entry.id for entry in getattr(self, key)]
            for position, identity in enumerate(ids):
                if identity in ids[:position]:
                    raise mistake(f"{key}[{position}].id", f"{identity!r} stands twice; ids must differ")
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> "Config":
        for e, experiment in enumerate(self.experiments):
            where = f"experiments[{e}]"
            for d, name in enumerate(experiment.data):
                self.data(name, f"{where}.data[{d}]")
            for i, names in enumerate(experiment.inputs):
                features = [self.feature(name, f"{where}.inputs[{i}][{j}]") for j, name in enumerate(names)]
                given = [(feature.form, feature.modality) for feature in features]
                for j, (form, modality) in enumerate(given):
                    if (form, modality) in given[:j]:
                        key = f"{where}.inputs[{i}][{j}]"
                        raise mistake(key, f"a second {form} of modality {modality!r}; take one of each")
            for m, method in enumerate(experiment.methods):
                if method.dictionary is not None:
                    at = f"{where}.methods[{m}]"
                    method.check_tuned(self.dictionary(method.dictionary, f"{at}.dictionary"), at)
                for i, names in enumerate(experiment.inputs):
                    check_taken(method, [self.feature(name) for name in names], f"{where}.methods[{m}]", f"inputs[{i}]")
        return self

    def data(self, name: str, where: str = "data") -> tuple[DatasetEntry, str]:
        """The data set's entry and the split that ``name`` (``id`` or ``id/split``) stands for."""
        identity, _, split = name.partition("/")
        entry = _find(self.datasets, DatasetEntry, identity, where)
        splits = entry.info.splits
        split = split or next(iter(splits))
        if split not in splits:
            raise mistake(where, f"data set {identity!r} has no split {split!r}{nearest(split, splits)}")
        return entry, split

    def feature(self, name: str, where: str = "inputs") -> FeatureEntry:
        return _find(self.features, FeatureEntry, name, where)

    def dictionary(self, name: str, where: str = "dictionary") -> DictionaryEntry:
        return _find(self.dictionaries, DictionaryEntry, name, where)


def check_taken(method: MethodEntry, features: Sequence[FeatureEntry], key: str, inputs: str) -> None:
    """Raises an error at ``key`` where a method, or its dictionary, does not take what the features give of a modality.

    ``inputs``: what they are called in the message.
    """
    forms: dict[str, str] = {}
    for feature in features:
        forms[feature.modality] = BOTH if feature.modality in forms else feature.form
    for modality, form in forms.items():
        given = ", ".join(repr(feature.id) for feature in features if feature.modality == modality)
        found = f"{inputs} gives {IN_WORDS[form]} of {modality!r} ({given})"
        if form != VECTOR and method.dictionary is not None:
            raise mistake(f"{key}.dictionary", f"a dictionary takes vectors; {found}; leave one of the two out")
        if form not in method.info.takes:
            takes = " or ".join(IN_WORDS[wanted] for wanted in method.info.takes)
            fitting = [name for name in registry.names("methods") if form in registry.info("methods", name).takes]
            others = f"a method such as {fitting[0]}" if fitting else "another method"
            raise mistake(
                key, f"{method.id!r} takes {takes} of each modality; {found}; take other features, or {others}"
            )


def _find(entries: Iterable[Any], kind: type[Entry], name: str, where: str) -> Any:
    """The entry with the id ``name``, or the plug-in of that name with its defaults."""
    declared = {entry.id: entry for entry in entries}
    plugins = registry.names(kind.KIND)
    if name in declared:
        return declared[name]
    if name in plugins:
        return kind.model_validate(name)
    told = registry.without_info(kind.KIND, name)
    raise mistake(where, told or f"unknown {kind.FIELD} {name!r}{nearest(name, {*declared, *plugins})}")


def checked(kind: type[M], value: Any, source: str) -> M:
    """A configuration, or an entry that stands in none. Raises `UserError` with one line for each mistake."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        lines = dict.fromkeys(_line(details, kind) for details in error.errors())
        raise UserError("\n".join(f"{source}: {line}" for line in lines)) from None


def validate(value: Mapping[str, Any], source: str = "config.yaml") -> Config:
    """The checked configuration. Raises `UserError` with one line for each mistake."""
    return checked(Config, value, source)


def load(path: str | Path) -> Config:
    """Reads and checks one configuration file."""
    return validate(read(path), str(path))


def read(path: str | Path) -> dict[str, Any]:
    """The keys and values of a configuration file, unchecked. Raises `UserError` where they cannot be read, or where
    they would be others to Snakemake.
    """
    try:
        value = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: no YAML: {place}{error.problem or error.context}") from None
    except (UnicodeDecodeError, RecursionError, ValueError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {one_line(str(error))}") from None
    if not isinstance(value, dict | None):
        raise UserError(f"{path}: expected keys and values, found {type(value).__name__}")
    if value and TEMPLATE in value:
        raise UserError(
            f"{path}: {TEMPLATE}: a template of Snakemake's, which executes the code in it; do not run it unless you "
            "trust where it comes from, and write plain keys and values in its place"
        )
    return value or {}


Files = dict[str, dict[str, Any]]
"""What each configuration file says, by its path: the last extends those before it."""


def read_all(files: Sequence[str | Path]) -> Files:
    """What ``files`` say, each read once. One that is named twice extends those before its last place. Raises
    `UserError` as `read` does.
    """
    once = dict.fromkeys(str(file) for file in reversed(files))
    return {file: read(file) for file in reversed(once)}


def extended(files: Files) -> dict[str, Any]:
    """One configuration of several files: mappings are merged and lists replaced, as Snakemake's --configfile does."""
    return reduce(_merged, files.values(), {})


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(first[key], value) for key, value in second.items() if _are_mappings(first.get(key), value)}
    return {**first, **second, **inner}


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def data_base(files: Files) -> str:
    """The folder that relative data paths resolve against: that of the last file that configures data sets.

    Where that file has the key ``base``, the folder that it names; so has one that configures none, for those of the
    others. Relative to the folder of the results, so that the two can be moved together and nothing is made again.
    """
    return _folder_of("datasets", files)


def _folder_of(key: str, files: Files) -> str:
    """The folder that paths below ``key`` start at: the one that ``base`` names, relative to its file, else that of the
    last file with the key. A ``base`` beside paths that a later file replaces was for those.
    """
    last = next((file for file, value in reversed(files.items()) if key in value), None)
    free = [file for file, value in files.items() if not {"datasets", "features"} & value.keys()]
    named = [file for file, value in files.items() if value.get("base") and file in (last, *free)]
    if named:
        return os.path.relpath(Path(named[-1]).parent / files[named[-1]]["base"])
    return os.path.relpath(Path(last).parent) if last else "."


def check_is_of_files(value: Mapping[str, Any], files: Files) -> None:
    """Raises `UserError` where a folder is named on the command line: it would be relative to no file."""
    in_files = extended(files)
    for key in ("base", "plugins"):
        if value.get(key) != in_files.get(key):
            raise UserError(f"{key}: {value.get(key)}: it is relative to a configuration file; write it into one")


def with_located_features(value: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """The configuration, in which the files that features name are relative to `data_base`, as those of data sets are.

    As they are written, they are relative to the last file that configures features. What is not there, such as a
    name on a hub, stays.
    """
    base, folder, entries = data_base(files), _folder_of("features", files), value.get("features")
    if base == folder or not isinstance(entries, list):
        return dict(value)
    return {**value, "features": [_relocated(entry, folder, base) for entry in entries]}


def _relocated(entry: Any, folder: str, base: str) -> Any:
    params = entry.get("params") if isinstance(entry, Mapping) else None
    plugin = entry.get("extractor", entry.get("id")) if isinstance(entry, Mapping) else None
    if not isinstance(params, Mapping) or plugin not in registry.names("extractors"):
        return entry  # whatever is wrong with it is said where it is checked
    named = {key: params.get(key) for key in registry.info("extractors", plugin).files}
    own = {
        key: os.path.relpath(place, base)
        for key, name in named.items()
        if isinstance(name, str) and name and os.path.exists(place := os.path.join(folder, name))
    }
    return {**entry, "params": {**params, **own}}


def plugin_folder(files: Files) -> str | None:
    """The folder of plug-ins that the last file with the key ``plugins`` names, which is relative to that file.

    Relative to the working directory; None where no file names one. Raises `UserError` where there is no such folder.
    """
    naming = [(file, value["plugins"]) for file, value in files.items() if "plugins" in value]
    file, name = naming[-1] if naming else ("", None)
    if name is None:
        return None
    folder = Path(file).parent / str(name)
    if not folder.is_dir():
        raise UserError(f"{file}: plugins: no such folder: {folder}; the path is relative to the configuration file")
    return os.path.relpath(folder)


def check_own_files(entry: DatasetEntry, base: str) -> None:
    """Raises `UserError` where a file that a data set is made from is not there."""
    for name in entry.own_files():
        if not os.path.exists(file := os.path.join(base, name)):
            raise UserError(
                f"data set {entry.id!r}: no such file: {file}; paths are relative to the configuration file"
            )


def _leaves(value: Any) -> Iterable[str | None]:
    """The strings in a parameter that is a reference (FILE or FILE:KEY), none, or a mapping of such."""
    return [leaf for inner in value.values() for leaf in _leaves(inner)] if isinstance(value, Mapping) else [value]


MODELS: dict[str, type[Model]] = {
    "datasets": DatasetEntry,
    "features": FeatureEntry,
    "dictionaries": DictionaryEntry,
    "methods": MethodEntry,
    "metrics": MetricEntry,
    "experiments": Experiment,
}


def _line(details: ErrorDetails, checked: type[BaseModel] = Config) -> str:
    """``key.path: what is wrong and what was expected; the nearest name``. ``checked``: what the path begins in."""
    loc = list(details["loc"])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    parents = [part for part in loc[:-1] if isinstance(part, str)]
    model = MODELS[parents[-1]] if parents and parents[-1] in MODELS else checked
    if details["type"] == "mistake":
        where = f"{where}.{details['ctx']['key']}".lstrip(".")
    return f"{where}: {_message(details, model.model_fields)}"


def _message(details: ErrorDetails, known: Iterable[str]) -> str:
    kind, message = details["type"], details["msg"]
    if kind == "extra_forbidden":
        return f"unknown key{nearest(str(details['loc'][-1]), known)}"
    if kind == "missing":
        return "required, but missing"
    if kind == "mistake":
        return message
    if kind == "string_pattern_mismatch" and details["ctx"]["pattern"] == ID_PATTERN:
        allowed = re.sub(r"[^A-Za-z0-9._@]", "_", str(details["input"])).lstrip("._@")
        return f"expected letters, digits, '.', '_' and '@', found {details['input']!r}; write {allowed!r}, say"
    if kind == "too_short":
        return f"expected at least {details['ctx']['min_length']} entry, found none"
    message = message.removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    return f"expected {message}, found {shortened.repr(details['input'])}"
