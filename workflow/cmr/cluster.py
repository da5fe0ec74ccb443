"""A SLURM cluster's own values, and what is checked before the first job is sent to it."""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmr.boundary import BoundaryError, read_yaml
from cmr.errors import UserError, nearest, quantity
from cmr.memory import LONGEST

NO_ACCOUNTS = "none"
RESOURCES = ("gpu", "gres", "slurm_account", "slurm_partition", "qos")
SECONDS = 30  # an overloaded controller answers late
REMEMBERED = 30
"""Seconds that the controller must remember an ended job (`MinJobAge`): Snakemake asks every 10 at most."""
SHOW = ("sacctmgr", "--noheader", "--parsable2", "show")
GRES = r"gpu(:[\w.]+)?(:\d+)?"


class Site(BaseModel):
    """``slurm/site.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: str | None = Field(default=None, description="Whom the hours are charged to; none: no accounts here.")
    partition: str | None = Field(default=None, description="Of jobs on the CPU; default: the cluster's.")
    gpu_partition: str | None = Field(default=None, description="Of jobs that use a GPU; default: partition.")
    qos: str | None = Field(default=None, description="Quality of service of jobs on the CPU; default: the account's.")
    gpu_qos: str | None = Field(default=None, description="Of jobs that use a GPU; default: qos.")
    gres: str | None = Field(
        default=None, pattern=f"^{GRES}$", description="How a GPU is asked for where --gpus is not known."
    )
    environment: dict[str, str] = Field(default={}, description="Environment variables of the jobs.")

    def partitions(self, gpus: int) -> list[str]:
        """The names of those that a job may run in; empty: the cluster's default one."""
        named = self.gpu_partition or self.partition if gpus else self.partition
        return [name.strip() for name in (named or "").split(",") if name.strip()]

    def resources(self, gpus: int) -> dict[str, str | int]:
        """What a job that needs ``gpus`` tells SLURM of itself, in the terms of Snakemake's executor."""
        found: dict[str, str | int] = {}
        if partitions := self.partitions(gpus):
            found["slurm_partition"] = ",".join(partitions)
        if self.account and self.account != NO_ACCOUNTS:
            found["slurm_account"] = self.account
        if qos := self.gpu_qos or self.qos if gpus else self.qos:
            found["qos"] = qos
        if gpus and self.gres:
            found["gres"] = self.gres
        else:
            found["gpu"] = gpus
        return found


@dataclass(frozen=True)
class Association:
    """What an account, in small letters, allows whoever asks: ``jobs`` in the queue, None: any number, and the ``qos``
    that jobs may name.
    """

    account: str
    jobs: int | None
    qos: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """What `sinfo` says of nodes of a partition that are alike. ``minutes``: that a job may run, None: any time.
    ``gres``: what the nodes have, such as ``gpu:a100:4``.
    """

    name: str
    default: bool
    minutes: int | None
    gres: tuple[str, ...]

    def has(self, wanted: str) -> bool:
        """Whether its nodes have such a GPU as ``gpu`` or ``gpu:a100`` asks for, however many."""
        kinds = [gres.split(":") for gres in self.gres]
        return any(kind[: wanted.count(":") + 1] == wanted.split(":") for kind in kinds)


def load(path: str | Path) -> Site:
    """Reads and checks the site's file; without one, nothing is set."""
    if not Path(path).exists():
        return Site()
    try:
        found = read_yaml(path) or {}
    except (OSError, UnicodeDecodeError, BoundaryError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no keys; write `account: lab`, with a space after the colon")
    try:
        return Site.model_validate(found)
    except ValidationError as error:
        details = error.errors()[0]
        key = ".".join(map(str, details["loc"]))
        if details["type"] == "extra_forbidden":
            raise UserError(f"{path}: {key}: unknown key{nearest(key, Site.model_fields)}") from None
        raise UserError(f"{path}: {key}: {_wrong(details['type'], details['input']) or details['msg']}") from None


def _wrong(kind: str, value: object) -> str | None:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"YAML takes the value for {value!r}; write it in quotes"
    if kind == "string_pattern_mismatch":
        return f"write gpu:1, or gpu:a100:1 for a model; found {value!r}"
    return None


def preflight(site: Site, source: str | Path, jobs: int | None = None, gpus: bool = False) -> None:
    """Raises `UserError`, in one line, for what would let all jobs fail: before the first is sent.

    ``jobs``: how many are in the queue at most. ``gpus``: whether one of the jobs needs a GPU.
    """
    if shutil.which("sbatch") is None:
        raise UserError("--profile slurm: there is no sbatch on this machine; type it where the cluster takes jobs")
    associations = _associations()
    _check_account(site, source, associations)
    limits = _limits(site, source, associations, gpus)
    for name, limit in limits.items():
        if limit is not None and jobs is not None and limit < jobs:
            raise UserError(f"{name} lets you have {quantity(limit, 'job')} in the queue; type --jobs {limit}")
    partitions = _partitions()
    names = sorted({partition.name for partition in partitions})
    for key in ("partition", "gpu_partition"):
        for name in site.partitions(key == "gpu_partition"):
            if name not in names and getattr(site, key) is not None:
                raise UserError(f"{source}: {key}: the cluster has no partition {name!r}{nearest(name, names)}")
    if gpus:
        _check_gpus(site, source, partitions)


def _check_account(site: Site, source: str | Path, associations: Iterable[Association]) -> None:
    yours = sorted({association.account for association in associations})
    if site.account is None:
        hint = f"yours: {', '.join(yours)}" if yours else f"or {NO_ACCOUNTS!r}, where the cluster has no accounts"
        raise UserError(f"{source}: account: name the one that the jobs are charged to ({hint})")
    if site.account != NO_ACCOUNTS and yours and site.account.lower() not in yours:
        raise UserError(f"{source}: account: {site.account!r} is not one of yours{nearest(site.account, yours)}")


def _limits(site: Site, source: str | Path, associations: Iterable[Association], gpus: bool) -> dict[str, int | None]:
    """Jobs that may be in the queue, None: any number; by what sets the limit. Raises `UserError` where a quality of
    service is not one of the account's.
    """
    asked = [association for association in associations if association.account == (site.account or "").lower()]
    found = {f"account {site.account}": min((a.jobs for a in asked if a.jobs is not None), default=None)}
    yours = sorted({qos for association in asked for qos in association.qos})
    named = {key: name for key in ("qos", "gpu_qos")[: gpus + 1] if (name := getattr(site, key))}
    of_qos = _jobs_of_qos() if yours and named else {}
    for key, name in named.items():
        if yours and name.lower() not in yours:
            raise UserError(
                f"{source}: {key}: account {site.account} has no quality of service {name!r}{nearest(name, yours)}"
            )
        found[f"quality of service {name}"] = of_qos.get(name.lower())
    return found


def _check_gpus(site: Site, source: str | Path, partitions: Sequence[Partition]) -> None:
    wanted = re.sub(r":\d+$", "", site.gres or "gpu")
    asked = _asked(partitions, site.partitions(1))
    if any(partition.has(wanted) for partition in asked):
        return
    names = ", ".join(sorted({partition.name for partition in asked}))
    with_gpu = ", ".join(sorted({partition.name for partition in partitions if partition.has("gpu")})) or "none"
    if any(partition.has("gpu") for partition in asked):
        here = ", ".join(sorted({gres for partition in asked for gres in partition.gres}))
        raise UserError(f"{source}: gres: no node of partition {names} has {wanted}; there is {here}")
    raise UserError(
        f"{source}: gpu_partition: no node of partition {names} has a GPU (sinfo lists them in: {with_gpu}); "
        "name one that has, or set `device: cpu` in config.yaml"
    )


def longest(site: Site, gpus: int) -> int:
    """Minutes that a job may ask for: `LONGEST`, or less where one of its partitions does not allow as much.

    SLURM never starts a job that asks for more. Where SLURM does not answer it is `LONGEST`; `preflight` says so then.
    """
    try:
        partitions = _partitions()
    except UserError:
        return LONGEST
    asked = _asked(partitions, site.partitions(gpus))
    return min([LONGEST, *(partition.minutes for partition in asked if partition.minutes)])


def remembered() -> int | None:
    """Seconds for which the controller knows a job that has ended; None where it does not say.

    Raises `UserError` where Snakemake would miss the end of jobs, and wait for ever.
    """
    told = re.search(r"^MinJobAge *= *(\d+)", "\n".join(_answer("scontrol", "show", "config")), re.MULTILINE)
    seconds = int(told[1]) if told else None
    if seconds is not None and seconds < REMEMBERED:
        raise UserError(
            f"SLURM forgets an ended job after {seconds} seconds (MinJobAge), before Snakemake asks for it; "
            f"ask the administrators for {REMEMBERED} seconds or more"
        )
    return seconds


def _asked(partitions: Sequence[Partition], names: Sequence[str]) -> list[Partition]:
    return [partition for partition in partitions if partition.name in names or (not names and partition.default)]


def _partitions() -> list[Partition]:
    """All of the cluster, hidden ones too; a partition whose nodes differ comes several times."""
    lines = (line.split("|") for line in _answer("sinfo", "--all", "--noheader", "--format=%P|%l|%G"))
    return [
        Partition(name.strip().rstrip("*"), name.strip().endswith("*"), _minutes(limit), tuple(_split(gres)))
        for name, limit, gres in lines
    ]


def _split(gres: str) -> Iterable[str]:
    """``gpu:a100:4`` and ``tmp:10`` of ``gpu:a100:4(S:0-1),tmp:10``."""
    return [part.strip() for part in re.sub(r"\([^)]*\)", "", gres).split(",") if part.strip()]


def _minutes(limit: str) -> int | None:
    """Of SLURM's ``days-hours:minutes:seconds``; None of ``infinite``."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):\d+", limit.strip())
    if not found:
        return None
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def check_writable(folder: str | Path) -> None:
    """Raises `UserError` where nothing can be written to ``folder``, or be made where it does not exist yet."""
    there = Path(folder).absolute()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"{there}: you cannot write there; ask the owner for the group's rights "
            "(chmod -R g+rwX, docs/sharing.md), or take another folder with --directory"
        )


def _associations() -> list[Association]:
    """Of whoever asks; none where the cluster keeps no accounts or does not say."""
    try:
        lines = _answer(*SHOW, "associations", f"user={getpass.getuser()}", "format=account,maxsubmitjobs,qos")
    except UserError:
        return []
    parts = (line.lower().split("|") for line in lines)
    return [Association(account, int(jobs) if jobs else None, tuple(_split(qos))) for account, jobs, qos in parts]


def _jobs_of_qos() -> dict[str, int | None]:
    """By quality of service: how many jobs a user may have in the queue, None: any number."""
    lines = _answer(*SHOW, "qos", "format=name,maxsubmitjobsperuser")
    parts = (line.lower().split("|") for line in lines)
    return {name: int(jobs) if jobs else None for name, jobs in parts}


def _answer(*command: str) -> list[str]:
    """The lines of a SLURM command's answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: no such command on this machine, although there is sbatch") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM does not answer: {command[0]} took over {SECONDS} seconds; try again later") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"SLURM does not answer: {said}; try again when the controller is up (sinfo)")
    return [line for line in done.stdout.splitlines() if line.strip()]
