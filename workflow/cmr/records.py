"""The record beside each result: what it is, what it was made from, and by which code.

A record is written last, so that a result without one is unfinished, and its ``identity`` is that of the code that ran
and of the inputs that were read. Planning compares it with what the present code, data and configuration would make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cmr.boundary import check_name
from cmr.errors import Damaged, UserError
from cmr.params import canonical_hash
from cmr.publish import read_json

SCHEMA_VERSION = 2
R = TypeVar("R", bound=BaseModel)
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=60)]
Kind = Literal["datasets", "extractors", "dictionaries", "methods", "metrics"]


class Project(BaseModel):
    """The version of this project, and the commit of the checkout; ``changed``: with edits that are not committed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    commit: str | None = None
    changed: bool | None = None

    def __str__(self) -> str:
        if not self.commit:
            return f"version {self.version}"
        edits = {True: " with changes", False: "", None: ", with changes or not"}[self.changed]
        return f"version {self.version}, commit {self.commit[:10]}{edits}"


class Acceptance(BaseModel):
    """That a result was taken for one of other code, since ``compared`` runs came out the same (see `cmr accept`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str = Field(description="before")
    code: str = Field(description="before")
    compared: list[str] = Field(description="runs that were made again and gave the same figures, bit for bit")
    project: Project


class Usage(BaseModel):
    """Of the stage's process; on a GPU ``peak_gpu_memory_mb`` too."""

    model_config = ConfigDict(extra="allow", frozen=True)

    seconds: Finite
    peak_memory_mb: Finite


class Record(BaseModel):
    """What all records hold. What a stage adds for its readers is kept as it stands."""

    model_config = ConfigDict(extra="allow", frozen=True)

    schema_version: int = Field(description="of the forms of all results")
    stage: ModuleName = Field(description="the rule that made it")
    identity: str = Field(description="hash of code, configuration, own files and what it is made from")
    code: str = Field(description="hash of all code that the stage runs with these plug-ins")
    plugins: list[tuple[Kind, ModuleName]] = Field(description="kind and name of the plug-ins")
    made_from: dict[str, str] = Field(description="record of each result that was read → its identity")
    own_files: dict[str, str] = Field(description="file that the configuration names → sha256")
    contents: str = Field(description="sha256 of the list of pictures and sounds; empty where there are none")
    input_hashes: dict[str, str] = Field(description="file that was read → sha256")
    output_hashes: dict[str, str] = Field(description="file that was written → sha256")
    project: Project
    versions: dict[str, str] = Field(description="of Python and the packages")
    hardware: dict[str, Any] = Field(description="processor, threads and GPU")
    usage: Usage = Field(description="seconds, peak_memory_mb, and on a GPU peak_gpu_memory_mb; a MB is 10⁶ bytes")
    warnings: list[str] = Field(default=[], description="lines that the log has too")
    accepted: list[Acceptance] = Field(default=[], description="other code that it was accepted from")


class RecordedEntry(BaseModel):
    """An entry of the configuration, as a record repeats it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$", max_length=60)
    params: dict[str, Any]


class RecordedData(RecordedEntry):
    dataset: ModuleName


class RecordedFeature(RecordedEntry):
    extractor: ModuleName
    modality: Annotated[str, AfterValidator(check_name)]


class RecordedDictionary(RecordedEntry):
    dictionary: ModuleName


class RecordedMethod(RecordedEntry):
    method: ModuleName
    dictionary: str | None
    tune: dict[str, list[Any]]


class RecordedMetric(RecordedEntry):
    metric: ModuleName


class Selection(BaseModel):
    """How a fit's parameters were chosen (`cmr.selection`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    chosen: dict[str, Any]
    at_edge: dict[str, Literal["lowest", "highest", "bound", "last allowed"]] = {}


class ModelRecord(Record):
    """What makes a fitted method of arrays: of ``fit.json``, and of what `cmr.Model.save` writes."""

    dictionary: RecordedDictionary | None
    method: RecordedMethod
    seed: int = Field(strict=True, ge=0)
    modalities: list[Annotated[str, AfterValidator(check_name)]]
    selection: Selection


class FitRecord(ModelRecord):
    """``fit.json``, as far as its readers rely on it."""

    data: RecordedData
    split: str
    features: list[RecordedFeature] = Field(min_length=1)


class RunRecord(Record):
    """``run.json``, as far as its readers rely on it."""

    fits: list[FitRecord] = Field(min_length=1)
    metrics: list[RecordedMetric]
    queries: int | None = Field(default=None, strict=True, ge=1)
    measured_by: str


class CodesRecord(Record):
    """``codes/{data}/{split}/{inputs}/{dictionary}/{seed}.json``, as far as its dictionary is used again."""

    dictionary: RecordedDictionary


class FeaturesRecord(Record):
    """The record of features, as far as its readers rely on it."""

    weights: dict[str, Any]


OLD = "made by another version of this project; it is made again by `snakemake`, or read by the version that made it"


def read(path: str | Path) -> Record:
    """Raises `UserError` for a file that is no record, or one of another schema."""
    return _checked(Record, read_json(path), path)


def as_it_stands(path: str | Path, model: type[Record]) -> dict[str, Any]:
    """A record that is one of ``model``. Raises `UserError` as `read` does."""
    value: dict[str, Any] = read_json(path)
    _checked(model, value, path)
    return value


def read_run(path: str | Path) -> dict[str, Any]:
    return as_it_stands(path, RunRecord)


def _checked(model: type[R], value: Any, path: str | Path) -> R:
    if not isinstance(value, dict):
        raise Damaged(f"{path}: not a record; delete it and run again")
    if value.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path}: schema {value.get('schema_version')}, this version reads {SCHEMA_VERSION}: {OLD}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(f"{path}: not a record: {where}: {first['msg']}; delete it and run again") from None


def recorded_identity(path: str | Path) -> str | None:
    """A result's identity as its record says; None where there is no record of this schema."""
    try:
        value = read_json(path)
    except (OSError, UserError):
        return None
    if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
        return None
    return value.get("identity")


def recorded_warnings(path: str | Path) -> list[str]:
    """What a result's record warns of; nothing where there is no record of this schema."""
    try:
        return read(path).warnings
    except (OSError, UserError):
        return []


@dataclass(frozen=True)
class Origin:
    """All that makes a result what it is. ``settings``: the part of the configuration, without names of entries."""

    stage: str
    code: str
    settings: Any
    made_from: Mapping[str, str]
    own_files: Mapping[str, str]
    contents: str = ""

    @property
    def identity(self) -> str:
        parts = [self.stage, self.code, self.settings, dict(self.made_from), dict(self.own_files), self.contents]
        return canonical_hash(parts)[:16]


def joint_key(identity: str, hashes: Mapping[str, str]) -> str:
    """Names unfinished work by all that it depends on."""
    return canonical_hash([identity, dict(hashes)])[:16]
