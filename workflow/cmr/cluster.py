"""A SLURM cluster's own values, and what is checked before the first job is sent to it."""

import getpass
import os
import shutil
import subprocess
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmr.boundary import BoundaryError, read_yaml
from cmr.errors import UserError, nearest

NO_ACCOUNTS = "none"
RESOURCES = ("gpu", "gres", "slurm_account", "slurm_partition")
SECONDS = 30  # an overloaded controller answers late


class Site(BaseModel):
    """``slurm/site.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: str | None = Field(default=None, description="Whom the hours are charged to; none: no accounts here.")
    partition: str | None = Field(default=None, description="Of jobs on the CPU; default: the cluster's.")
    gpu_partition: str | None = Field(default=None, description="Of jobs that use a GPU; default: partition.")
    gres: str | None = Field(default=None, description="How a GPU is asked for where --gpus is not known.")
    environment: dict[str, str] = Field(default={}, description="Environment variables of the jobs.")

    def resources(self, gpus: int) -> dict[str, str | int]:
        """What a job that needs ``gpus`` tells SLURM of itself, in the terms of Snakemake's executor."""
        found: dict[str, str | int] = {}
        partition = self.gpu_partition or self.partition if gpus else self.partition
        if partition:
            found["slurm_partition"] = partition
        if self.account and self.account != NO_ACCOUNTS:
            found["slurm_account"] = self.account
        if gpus and self.gres:
            found["gres"] = self.gres
        else:
            found["gpu"] = gpus
        return found


def load(path: str | Path) -> Site:
    """Reads and checks the site's file; without one, nothing is set."""
    if not Path(path).exists():
        return Site()
    try:
        return Site(**(read_yaml(path) or {}))
    except (OSError, UnicodeDecodeError, BoundaryError, yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        details = error.errors()[0]
        key = ".".join(map(str, details["loc"]))
        if details["type"] == "extra_forbidden":
            raise UserError(f"{path}: {key}: unknown key{nearest(key, Site.model_fields)}") from None
        raise UserError(f"{path}: {key}: {details['msg']}, found {details['input']!r}") from None


def preflight(site: Site, source: str | Path) -> None:
    """Raises `UserError`, in one line, for what would let all jobs fail: before the first is sent."""
    if shutil.which("sbatch") is None:
        raise UserError("--profile slurm: there is no sbatch on this machine; type it where the cluster takes jobs")
    if site.account is None:
        yours = _accounts()
        hint = f"yours: {', '.join(yours)}" if yours else f"or {NO_ACCOUNTS!r}, where the cluster has no accounts"
        raise UserError(f"{source}: account: name the one that the jobs are charged to ({hint})")
    if site.account != NO_ACCOUNTS and (yours := _accounts()) and site.account.lower() not in yours:
        raise UserError(f"{source}: account: {site.account!r} is not one of yours{nearest(site.account, yours)}")
    partitions = [name.strip() for name in _answer("sinfo", "--noheader", "--format=%R")]
    for key in ("partition", "gpu_partition"):
        name = getattr(site, key)
        if name is not None and name not in partitions:
            raise UserError(f"{source}: {key}: the cluster has no partition {name!r}{nearest(name, partitions)}")


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


def _accounts() -> list[str]:
    """The accounts of whoever asks; empty where the cluster keeps none or does not say."""
    user = getpass.getuser()
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", "format=account"]
    try:
        return sorted({name.lower() for name in _answer(*command)})
    except UserError:
        return []


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
