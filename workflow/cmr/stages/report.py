"""The page of all experiments of a configuration."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmr import create, paths
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording
from cmr.reporting.page import build

log = logging.getLogger(__name__)


def make(result: Result, machine: Machine) -> None:
    with recording(result, machine, reads=False):
        indices = [Path(index.record) for index in result.sources("collect")]
        roots = picture_roots(result.settings["data"], machine)
        build(Path(paths.RESULTS), Path(result.folder), indices, result.settings["title"], roots, machine.folders)


def picture_roots(entries: Mapping[str, Mapping[str, Any]], machine: Machine) -> dict[str, Path]:
    """Path component of a data set → the folder that the paths of its items are relative to, where it is here."""
    roots = {}
    for name, entry in entries.items():
        try:
            roots[name] = create.dataset(entry, create.data_folder(name), machine).root()
        except UserError as error:
            log.warning("the page has no pictures of %s: %s", name, error)
    return roots
