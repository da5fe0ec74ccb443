"""Around every stage: what is read is checked and hashed before, what was written after; the record comes last."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cmr import code, provenance, records
from cmr.content import Hashes
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Result
from cmr.publish import ASK, write_json
from cmr.warned import warnings_of

REMEMBERED_FROM = 2**20
"""Bytes from which a result's hash is worth remembering."""


@dataclass
class Recording:
    """``origin`` is known before the stage begins, but for ``contents``: the list of files that it finds itself.

    ``project``: the code, as it was when the stage began. ``facts``: what the stage adds to its record. ``key`` names
    unfinished work: of another key it is of no use.
    """

    result: Result
    machine: Machine
    hashes: Hashes
    origin: records.Origin
    input_hashes: dict[str, str]
    project: records.Project
    facts: dict[str, Any] = field(default_factory=dict)
    contents: str = ""

    @property
    def key(self) -> str:
        return records.joint_key(self.origin.identity, self.input_hashes)


@contextmanager
def recording(result: Result, machine: Machine, reads: bool = True) -> Iterator[Recording]:
    """Runs the block as the work of one stage, and writes the record when it ends without an error.

    ``reads``: false for a stage that only lists what it is made from.

    Raises `UserError` where a file that it reads is not what that file's record says, and where a file of the user's
    changed meanwhile.
    """
    hashes = Hashes(machine.cache)
    own = own_hashes(result, machine, hashes)
    origin = _origin(result, own)
    inputs = _checked_inputs(result, hashes) if reads else {}
    made = Recording(result, machine, hashes, origin, inputs, provenance.project())
    with provenance.used() as usage, warnings_of() as warned:
        yield made
    if (now := own_hashes(result, machine, hashes)) != own:
        changed = next(name for name in {**own, **now} if own.get(name) != now.get(name))
        raise UserError(f"{machine.located(changed)}: it changed while it was read; run again")
    _write(made, usage, [without_folders(line, machine) for line in warned])


def check(part: Result, made: Recording) -> None:
    """Raises `UserError` where a result that is joined to another one is not what would be made now, or has other
    bytes than its record says.
    """
    record = records.read(part.record)
    if record.identity != _origin(part, own_hashes(part, made.machine, made.hashes)).identity:
        raise UserError(f"{part.record}: made from other data or by other code; delete it and run again")
    for file in part.files:
        if record.output_hashes.get(file) != _hash(file, made.hashes):
            raise UserError(f"{file}: other bytes than {part.record} says; delete both and run again")


def _origin(result: Result, own: dict[str, str]) -> records.Origin:
    return records.Origin(
        result.stage,
        code.of_stage(result.stage, result.plugins),
        result.identifying,
        {source.record: records.read(source.record).identity for source in result.made_from},
        own,
    )


def own_hashes(result: Result, machine: Machine, hashes: Hashes) -> dict[str, str]:
    """Of the files that the configuration names and that are here, by their names in it."""
    here = [name for name in result.own_files if Path(machine.located(name)).exists()]
    return {name: hashes.of(machine.located(name)) for name in here}


def _checked_inputs(result: Result, hashes: Hashes) -> dict[str, str]:
    """The hashes of all files that the stage may read, each checked against its record."""
    found: dict[str, str] = {}
    for source in result.made_from:
        expected = records.read(source.record).output_hashes
        for file in _files(source):
            found[file] = _hash(file, hashes)
            if expected.get(file) != found[file]:
                raise UserError(f"{file}: other bytes than {source.record} says; delete both and run again")
    return found


def _hash(file: str, hashes: Hashes) -> str:
    try:
        large = Path(file).stat().st_size >= REMEMBERED_FROM
        return hashes.of(file) if large else provenance.file_hash(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; run again") from None
    except PermissionError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; {ASK}") from None


def _files(result: Result) -> list[str]:
    """The files of a result; of a folder those in it, by name, without those that Snakemake hides there."""
    inside = [file for path in map(Path, result.files) for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(str(file) for file in inside if not file.is_dir() and not file.name.startswith("."))


def without_folders(line: str, machine: Machine) -> str:
    """A line that names the user's files as the configuration does: records hold no path of a machine."""
    for folder in set(machine.folders) - {"."}:
        line = re.sub(rf"(?<![\w./-]){re.escape(folder.rstrip('/'))}/", "", line)
    return line


def _write(made: Recording, usage: dict[str, float], warned: list[str]) -> None:
    result, origin = made.result, replace(made.origin, contents=made.contents)
    record = records.Record(
        schema_version=records.SCHEMA_VERSION,
        stage=result.stage,
        identity=origin.identity,
        code=origin.code,
        plugins=list(result.plugins),  # type: ignore[arg-type]  # their kinds are checked there
        made_from=dict(origin.made_from),
        own_files=dict(origin.own_files),
        contents=origin.contents,
        input_hashes=made.input_hashes,
        output_hashes={file: _hash(file, made.hashes) for file in _files(result)},
        project=made.project,
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        usage=records.Usage.model_validate(usage),
        warnings=warned,
    )
    write_json(result.record, {**record.model_dump(mode="json"), **result.settings, **made.facts})
