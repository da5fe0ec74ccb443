"""Raw files of data sets: from their sources into the cache, whole and checked, or placed there by hand.

``resources/sources.csv`` has a row for each file and address: data set, file, access, address, sha256, git_blob
(the object id of a file in a git repository, a checksum too), bytes, licence, note. Several rows of one file are
mirrors, tried in their order. ``access`` is

- open: downloaded, from the user's mirror where there is one (`cmr.mirror`), resumed where a download was cut;
- archive: taken out of another file of the data set, whose name stands in the place of the address; of several
  archives the first that can be had;
- by hand: behind a form, or gone; the user places the file in the folder that the message names.
"""

import errno
import hashlib
import logging
import os
import shutil
import tarfile
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Self

import requests

from cmr import project, transfer
from cmr.boundary import MAX_RATIO, BoundaryError
from cmr.datasets.base import Dataset
from cmr.errors import UserError
from cmr.mirror import on_mirror
from cmr.provenance import file_hash
from cmr.publish import CANNOT_WRITE, alone, atomic, atomic_folder

SOURCES = project.path("resources/sources.csv")
OPEN, ARCHIVE, BY_HAND = "open", "archive", "by hand"
ARCHIVE_UNPACKED_FREELY = 2**30
"""Bytes that any archive may unpack to; more only up to `MAX_RATIO` times its own size, and never `MAX_UNPACKED`."""
MAX_UNPACKED = 2**38
MAX_HEADER = 2**20
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
BLOCK = 4096
"""What a member takes on disk beside its content: there may be millions of empty ones."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One row of ``sources.csv``; checksums and ``bytes`` are '' where they are not known."""

    dataset: str
    file: str
    access: str
    address: str
    sha256: str
    git_blob: str
    bytes: str
    licence: str
    note: str

    @property
    def described(self) -> str:
        """Name, size, hash and address, for a message."""
        facts = [f"{int(self.bytes):,} bytes" if self.bytes else "", f"sha256 {self.sha256}" if self.sha256 else ""]
        inside = "; ".join(filter(None, [*facts, self.note]))
        return f"{self.file}{f' ({inside})' if inside else ''} from {self.address}"


class Downloaded(Dataset):
    """A data set with raw files in ``sources.csv``, under the name of its folder in the cache (``raw`` in INFO)."""

    @abstractmethod
    def files(self) -> list[str]:
        """The raw files that these parameters need."""

    def download(self) -> dict[str, str]:
        return fetch(self.raw.name, self.files(), self.raw)

    def unpacked(self, archive: str) -> Path:
        """The folder that a raw file is unpacked to, which happens at the first call, and again where another archive
        has replaced one whose checksum nobody knows.
        """
        folder, file = self.raw / f"{archive}.unpacked", self.raw / archive
        known = any(source.sha256 or source.git_blob for source in sources(self.raw.name, archive))
        if known or not file.exists():
            if not folder.exists():
                _unpack_once(self.existing(archive), folder)
            return folder
        found = file.stat()
        content, mark = _hash_of(file, found.st_size, found.st_mtime_ns), self.raw / f"{archive}.unpacked.sha256"
        if not _is_of(content, folder, mark):
            _unpack_again(file, folder, mark, content)
        return folder

    def existing(self, file: str) -> Path:
        """A raw file. Raises `UserError` where it is gone from the cache since the download."""
        if not (self.raw / file).exists():
            raise UserError(f"{self.raw / file} is gone; delete {self.folder / 'raw.json'} and run again")
        return self.raw / file


def _unpack_once(archive: Path, folder: Path) -> None:
    with alone(folder):
        if not folder.exists():
            unpack(archive, folder)


def _unpack_again(archive: Path, folder: Path, mark: Path, content: str) -> None:
    """Unless another process has done so meanwhile."""
    with alone(folder):
        if not _is_of(content, folder, mark):
            shutil.rmtree(folder, ignore_errors=True)
            unpack(archive, folder)
            mark.write_text(content)


def _is_of(content: str, folder: Path, mark: Path) -> bool:
    """Whether the folder is unpacked from an archive of that hash, which ``mark`` holds."""
    return folder.exists() and mark.exists() and mark.read_text() == content


def holding(folder: Path, name: str) -> Path:
    """The folder that ``name`` lies in: ``folder``, or one of those in it (archives often have one at their top)."""
    for candidate in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (candidate / name).exists():
            return candidate
    raise UserError(f"{folder}: no {name} in it or one level below")


@lru_cache(maxsize=8)
def _hash_of(file: Path, size: int, changed: int) -> str:
    """sha256, read again where the file has another size or time of change."""
    return file_hash(file)


def sources(dataset: str, file: str) -> list[Source]:
    """The rows of one file."""
    found = [Source(**row) for row in project.rows(SOURCES, [field.name for field in fields(Source)])]
    return [source for source in found if (source.dataset, source.file) == (dataset, file)]


def fetch(dataset: str, files: Iterable[str], folder: Path) -> dict[str, str]:
    """Brings ``files`` into ``folder``; returns file → sha256.

    What is there already is checked, not downloaded. Raises `UserError`, once for all files, for a wrong checksum (the
    bad file is kept aside under another name), for what cannot be downloaded, and for what the user has to place.
    """
    found, by_hand, problems = {}, [], []
    for file in files:
        rows = sources(dataset, file)
        if rows[0].access == BY_HAND and not (folder / file).exists():
            by_hand.append(rows[0])
            continue
        try:
            found[file] = _brought(folder / file, rows)
        except UserError as error:
            problems.append(str(error))
    if by_hand:
        wanted = "".join(f"\n  {source.described}" for source in by_hand)
        problems.append(f"{dataset} cannot be downloaded; place in {folder.absolute()} and run again:{wanted}")
    if problems:
        lines = "\n".join(problems).splitlines()
        raise UserError("\n".join(dict.fromkeys(lines)))  # files of one archive miss it alike
    return found


def _brought(path: Path, rows: list[Source]) -> str:
    """The sha256 of a file, once it is there; '' for a folder that the user placed."""
    if path.is_dir():
        return ""
    if not path.exists():
        with alone(path):
            if not path.exists():
                return _download(path, rows) if rows[0].access == OPEN else _take_out(path, rows)
    return _checked(path, path, rows[0])


def _take_out(path: Path, archives: list[Source]) -> str:
    """Takes a file out of the first of several archives that can be had and has it; returns its sha256."""
    problems = []
    for source in archives:
        try:
            fetch(source.dataset, [source.address], path.parent)
            extract_member(path.parent / source.address, path.name, path)
            return _checked(path, path, source)
        except UserError as error:
            problems.append(str(error))
    wanted = f"place it in {path.parent.absolute()}:\n  {archives[0].described}"
    raise UserError(f"{path.name} cannot be had; {wanted}\n" + "\n".join(problems))


def bring(address: str, path: Path) -> None:
    """Downloads one file that has no row of its own, such as a picture that a page names."""
    _brought(path, [Source("", path.name, OPEN, address, "", "", "", "", "")])


def _download(path: Path, mirrors: list[Source]) -> str:
    """The sha256 of the file, once it is there; raises `UserError` where no mirror gives it."""
    part = path.with_name(f"{path.name}.part")
    problems = []
    for source in mirrors:
        try:
            transfer.resume(on_mirror(source.address), part)
            return _checked(part, path, source)
        except UserError as error:
            problems.append(str(error))
        except requests.RequestException as error:
            problems.append(transfer.reason(error))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                size = f", {source.file} takes {int(source.bytes):,} bytes" if source.bytes else ""
                raise UserError(f"{path.parent}: no space left{size}; what has arrived is kept") from None
            raise
    wanted = "".join(f"\n  {source.described}" for source in mirrors)
    raise UserError(f"{'; '.join(problems)}. Run again to resume, or place in {path.parent.absolute()}:{wanted}")


def _checked(path: Path, target: Path, source: Source) -> str:
    """Moves ``path`` to ``target`` if its checksum is right, aside if it is wrong; returns the sha256."""
    found = file_hash(path)
    if source.sha256:
        actual, expected = found, source.sha256
    else:
        actual, expected = git_blob(path), source.git_blob
    if expected and actual != expected:
        aside = target.with_name(f"{target.name}.wrong-{found[:8]}")
        os.replace(path, aside)
        raise UserError(f"{target}: checksum {actual}, expected {expected}; kept aside as {aside.name}")
    if not expected:
        log.warning("%s: no checksum is known to check it against; its sha256 is %s", target, found)
    os.replace(path, target)
    return found


def git_blob(path: Path) -> str:
    """The object id that git gives a file: SHA-1 of a header with the size, and the content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while chunk := file.read(transfer.CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar file, whole or not at all. Members that would leave ``folder`` are refused."""
    with atomic_folder(folder) as temporary, _reading(archive) as opened:
        if isinstance(opened, zipfile.ZipFile):
            _refuse_escapes(archive, opened.namelist())
            _refuse_bombs(archive, (member.file_size for member in opened.infolist()))
            opened.extractall(temporary)
        else:
            _refuse_bombs(archive, (member.size for member in opened))
            opened.extractall(temporary, filter="data")


def extract_member(archive: Path, name: str, target: Path) -> None:
    """Takes the one file called ``name`` (in any folder) out of an archive."""
    with _reading(archive) as opened, atomic(target) as temporary:
        names = opened.namelist() if isinstance(opened, zipfile.ZipFile) else opened.getnames()
        members = [member for member in names if PurePosixPath(member).name == name]
        if len(members) != 1:
            raise UserError(f"{archive}: {len(members)} members are called {name!r}, expected one")
        size = (
            opened.getinfo(members[0]).file_size
            if isinstance(opened, zipfile.ZipFile)
            else opened.getmember(members[0]).size
        )
        _refuse_bombs(archive, [size])
        source = opened.open(members[0]) if isinstance(opened, zipfile.ZipFile) else opened.extractfile(members[0])
        if source is None:
            raise UserError(f"{archive}: {members[0]} is not a file")
        with source, open(temporary, "wb") as file:
            shutil.copyfileobj(source, file)


class _Member(tarfile.TarInfo):
    """Names and the like, which stand before a member and are read as a whole, are small."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in HEADERS and found.size > MAX_HEADER:
            raise BoundaryError(f"a header of {found.size:,} bytes")
        return found


@contextmanager
def _reading(archive: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    try:
        with (
            zipfile.ZipFile(archive)
            if zipfile.is_zipfile(archive)
            else tarfile.open(archive, tarinfo=_Member) as opened
        ):
            yield opened
    except tarfile.FilterError as error:
        raise UserError(f"{archive}: refused: {error}") from None
    except UserError:
        raise
    except Exception as error:  # there is none that the unpackers do not raise for some damaged file
        if getattr(error, "errno", None) in CANNOT_WRITE:
            raise
        reason = str(error).partition("\n")[0]
        raise UserError(f"{archive}: damaged or not an archive; delete it and run again ({reason})") from None


def _refuse_bombs(archive: Path, sizes: Iterable[int]) -> None:
    """Raises `UserError` once the members, by their sizes, are more than an archive of data unpacks to."""
    allowed, total = min(MAX_UNPACKED, max(ARCHIVE_UNPACKED_FREELY, MAX_RATIO * archive.stat().st_size)), 0
    for size in sizes:
        total += size + BLOCK
        if total > allowed:
            raise UserError(f"{archive}: refused: it would unpack to more than {allowed:,} bytes")


def _refuse_escapes(archive: Path, names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise UserError(f"{archive}: refused: {name!r} would be outside the destination")
