"""What differs between machines and changes no result."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """``cache``: folder of downloads and weights. ``base``: the folder that relative paths of the user's files resolve
    against. ``data_root``: the one folder that absolute ones may lie in. ``plugins``: that of the user's own plug-ins.
    ``trusted``: the entries whose files the user trusts, by `cmr.boundary.trusted_by`. ``named``: the files that the
    user's entries name. ``configured``: whether a configuration of the user's says all this.
    """

    cache: str = ".cache"
    device: str = "auto"
    base: str = "."
    data_root: str | None = None
    plugins: str | None = None
    threads: int = 1
    trusted: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    configured: bool = True

    def located(self, own_file: str) -> str:
        """Where a file lies that the configuration names."""
        return os.path.join(self.base, own_file)

    @property
    def folders(self) -> tuple[str, ...]:
        """The user's own folders, which results may refer to."""
        return tuple(folder for folder in (self.base, self.cache, self.data_root) if folder and self.configured)

    def anchored(self, folder: str | Path) -> str:
        """A folder of pictures, as a record may hold it: relative to what is known on every machine.

        ``results:data/emoji``, ``cache:datasets/ms_coco``, ``data_root:photos`` or ``base:pictures``; what lies
        elsewhere is named from ``base``.
        """
        place = os.path.abspath(folder)
        for name, root in self._anchors().items():
            root = os.path.abspath(root)
            if os.path.commonpath([place, root]) == root:
                return f"{name}:{os.path.relpath(place, root)}"
        return f"base:{os.path.relpath(place, os.path.abspath(self.base))}"

    def unanchored(self, place: str) -> str:
        """The folder that `anchored` wrote down, on this machine."""
        name, _, relative = place.partition(":")
        return os.path.normpath(os.path.join(self._anchors().get(name, "."), relative))

    def _anchors(self) -> dict[str, str]:
        roots = {"results": "results", "cache": self.cache}
        return roots | ({"data_root": self.data_root} if self.data_root else {}) | {"base": self.base}
