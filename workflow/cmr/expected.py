"""What the results would be, made now: by the present code, from the present data, as the configuration asks.

A result whose record says another identity is made again, whatever the times of files say.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmr import code, content, paths, records
from cmr.content import Hashes
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Plan, Result
from cmr.publish import read_json
from cmr.recording import own_hashes

NOUNS = {
    "download": "downloads",
    "prepare": "data sets",
    "split": "splits",
    "weights": "weights",
    "learn": "fitted extractors",
    "shard": "shards",
    "extract": "features",
    "encode": "codes",
    "fit": "fits",
    "evaluate": "runs",
    "collect": "experiments",
    "report": "reports",
}


GONE = "gone"


@dataclass(frozen=True)
class Stale:
    """A result that is there, but is not what would be made now. ``causes``: what differs in it itself, none where
    only that which it is made from differs; `GONE` where it is not there, though an experiment's index lists it.
    """

    result: Result
    causes: tuple[str, ...]


class Expected:
    """The identities of results, each computed once."""

    def __init__(self, machine: Machine):
        self.machine = machine
        self.hashes = Hashes(machine.cache)
        self.origins: dict[str, records.Origin] = {}

    def of(self, result: Result) -> records.Origin:
        if result.record not in self.origins:
            self.origins[result.record] = records.Origin(
                result.stage,
                code.of_stage(result.stage, result.plugins),
                result.identifying,
                {source.record: self.of(source).identity for source in result.made_from},
                self.own_files(result),
                self.contents(result),
            )
        return self.origins[result.record]

    def own_files(self, result: Result) -> dict[str, str]:
        """The hashes of the files that the configuration names; those that are not here count as recorded."""
        here = own_hashes(result, self.machine, self.hashes)
        if len(here) == len(result.own_files):
            return here
        with suppress(UserError, FileNotFoundError):
            then = records.read(result.record).own_files
            here |= {name: value for name, value in then.items() if name in result.own_files and name not in here}
        return here

    def contents(self, result: Result) -> str:
        """The hash of the list of files that a stage found, as they are now; those that are not here count as found.
        That of weights is as it was found: they lie in a cache, which may be another machine's.

        Empty where there are none, and where the list is gone or damaged, so that the stage makes it again.
        """
        if result.stage not in ("download", "prepare", "weights") or records.recorded_identity(result.record) is None:
            return ""
        record = read_json(result.record)
        if result.stage == "weights":
            return str(record.get("contents", ""))
        try:
            pairs = _listed(result, record) if record["contents"] else []
            folder = self.machine.unanchored(record["root"])
        except (KeyError, FileNotFoundError):
            return ""
        if not pairs:
            return ""
        now = self.hashes.of_all([f"{folder}/{name}" for name, _ in pairs])
        return content.joint_hash((name, new or old) for (name, old), new in zip(pairs, now, strict=True))

    def stale(self, results: Iterable[Result]) -> Iterator[Stale]:
        """Of the results that are there, those that would be another one now; and runs of a finished experiment that
        have lost a file. What an experiment's index lists was made, so Snakemake would not look for it.

        Features, codes and models may be deleted to save room: they are made again where something needs them.
        """
        for result in results:
            identity = records.recorded_identity(result.record)
            origin = self.of(result)
            if identity != origin.identity and Path(result.record).exists():
                yield Stale(result, tuple(_causes(result.record, origin)))
            if result.stage == "collect" and identity:
                yield from (Stale(run, (GONE,)) for run in result.sources("evaluate") if not _is_whole(run))


def _is_whole(result: Result) -> bool:
    return all(Path(file).exists() for file in (result.record, *result.files))


def begun(plan: Plan) -> Iterator[Result]:
    """What there is of features that are not joined yet: shards of a run that was interrupted."""
    for features in plan.results():
        if features.stage == "extract":
            for record in sorted(Path(paths.shards(features.files[0])).glob("*.json")):
                with suppress(UserError):  # of a file that is no shard's
                    yield plan.result_at(str(record))


def _listed(result: Result, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, sha256) of the files that a stage found."""
    return list(record["files"].items()) if result.stage == "download" else list(content.read_list(result.files[1]))


def _causes(path: str, now: records.Origin) -> Iterator[str]:
    try:
        then = records.read(path)
    except UserError:
        yield "an older form"
        return
    if then.code != now.code:
        yield "other code"
    if (then.own_files, then.contents) != (now.own_files, now.contents):
        yield "other data"
    if not list(_upstream(then, now)) and (then.code, then.own_files, then.contents) == (
        now.code,
        dict(now.own_files),
        now.contents,
    ):
        yield "other parameters"


def _upstream(then: records.Record, now: records.Origin) -> Iterator[str]:
    yield from (name for name, identity in now.made_from.items() if then.made_from.get(name) != identity)


def described(found: Iterable[Stale]) -> str:
    """A line or two: what is made again where it is asked for, and why: the first cause, not what follows from it."""
    counts: dict[tuple[str, str], int] = {}
    following = 0
    for stale in found:
        if not stale.causes:
            following += 1
        for cause in stale.causes:
            key = NOUNS[stale.result.stage], cause
            counts[key] = counts.get(key, 0) + 1
    gone = [f"{number} {noun}" for (noun, cause), number in counts.items() if cause == GONE]
    parts = [f"{number} {noun} ({cause})" for (noun, cause), number in counts.items() if cause != GONE]
    parts += [f"{following} made from them"] if following and parts else []
    told = {
        "made by other code, data or parameters, and made again where asked for": parts,
        "without all of their files, and made again where asked for": gone,
    }
    return "\n".join(f"{line}: {', '.join(found)}" for line, found in told.items() if found)
