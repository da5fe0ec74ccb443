"""What configuration files say, put together as `snakemake --configfile` does it: later files extend earlier ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmr import registry
from cmr.boundary import files_named_by, trusted_by
from cmr.config import Config, Files, data_base, extended, plugin_folder, read_all, with_located_features
from cmr.errors import UserError
from cmr.machine import Machine

DEFAULT = "config.yaml"


def files_of(given: Sequence[str]) -> list[str]:
    """``config.yaml`` of this folder, which is always read where there is one, and the files that extend it."""
    own = [DEFAULT] if Path(DEFAULT).exists() and not any(_same(file, DEFAULT) for file in given) else []
    return [*own, *given]


def _same(file: str, other: str) -> bool:
    return Path(file).exists() and Path(file).samefile(other)


def merged(given: Sequence[str], plugins: str | Path | None = None) -> dict[str, Any]:
    """Keys and values of ``config.yaml`` and the files that extend it: mappings are merged, lists are replaced.

    From here on, the user's own plug-ins are those of the folder that these files name, or where they name none those
    of ``plugins``.
    """
    return _merged(read_all(files_of(given)), plugins)


def _merged(files: Files, plugins: str | Path | None) -> dict[str, Any]:
    registry.use(plugin_folder(files) or plugins)
    return with_located_features(extended(files), files)


def machine(given: Sequence[str], plugins: str | Path | None = None) -> Machine:
    """What the configuration says of this machine, whatever else is wrong in it. ``plugins``: as in `merged`."""
    files = read_all(files_of(given))
    found = _merged(files, plugins)
    settings = {key: found.get(key, Config.model_fields[key].default) for key in ("cache", "device", "data_root")}
    for key, value in settings.items():
        if not isinstance(value, str | None):
            raise UserError(f"{', '.join(files)}: {key}: expected a string, found {value!r}")
    return Machine(
        **settings,
        base=data_base(files),
        plugins=plugin_folder(files),
        trusted=trusted_by(found),
        named=files_named_by(found),
        configured=bool(files),
    )
