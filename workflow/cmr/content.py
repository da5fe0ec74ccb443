"""What files hold, as sha256. The hash decides whether a file has changed; size, times and inode only remember it."""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cmr.boundary import plain
from cmr.errors import Damaged, UserError
from cmr.provenance import file_hash
from cmr.publish import atomic

RACY_NS = 2 * 10**9
THREADS = 8
ABSENT = ""
ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}
CHARACTERS = {code: character for character, code in ESCAPES.items()}

Status = tuple[int, int, int, int]
"""Size, times of change (of the content, of the file) in nanoseconds, inode."""


def joint_hash(files: Iterable[tuple[str, str]]) -> str:
    """sha256 of (name, sha256) pairs, in the form that ``sha256sum`` writes and checks."""
    return hashlib.sha256("".join(map(line, files)).encode("utf-8", "surrogateescape")).hexdigest()


def line(pair: tuple[str, str]) -> str:
    """``<sha256>  <name>``; as ``sha256sum`` does, with a backslash in front where the name needs escapes."""
    name, found = pair
    escaped = re.sub(r"[\\\n\r]", lambda character: ESCAPES[character[0]], name)
    mark = "" if escaped == name else "\\"
    return f"{mark}{found}  {escaped}\n"


def _pair(text: str) -> tuple[str, str]:
    """What `line` wrote, without the end of the line."""
    marked = text.startswith("\\")
    found, name = text[marked : marked + 64], text[marked + 66 :]
    return re.sub(r"\\[\\nr]", lambda code: CHARACTERS[code[0]], name) if marked else name, found


class Hashes:
    """sha256 of files, each read once as long as it does not change.

    ``folder`` keeps what is known from run to run, a file for each folder that files were hashed in. A file that has
    changed within two seconds of being hashed is hashed again: a later change could have left the same times.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder) / "hashes"
        self.known: dict[str, dict[str, tuple[Status, str]]] = {}
        self.changed: set[str] = set()

    def of(self, path: str | Path) -> str:
        """The hash of one file, or of all files of a folder together."""
        if os.path.isdir(path):
            inside = sorted(os.path.relpath(f, path) for f in _files_below(path))
            return joint_hash(zip(inside, self.of_all([os.path.join(path, name) for name in inside]), strict=True))
        (found,) = self.of_all([path])
        if found == ABSENT:
            raise UserError(f"{path}: no such file")
        return found

    def of_all(self, paths: Iterable[str | Path]) -> list[str]:
        """The hashes of files, in their order; `ABSENT` for those that are not there, and for what is no file."""
        places = [os.path.abspath(path) for path in paths]
        statuses = [_status(place) for place in places]
        found = [self._remembered(p, s) if s else ABSENT for p, s in zip(places, statuses, strict=True)]
        unknown = [number for number, known in enumerate(found) if known is None]
        with ThreadPoolExecutor(THREADS) as pool:
            for number, value in zip(unknown, pool.map(file_hash, [places[n] for n in unknown]), strict=True):
                found[number] = value
                self._remember(places[number], statuses[number], value)
        self._save()
        return [value or ABSENT for value in found]

    def _remembered(self, place: str, status: Status) -> str | None:
        before, value = self._of_folder(os.path.dirname(place)).get(os.path.basename(place), (None, ""))
        return value if before == status else None

    def _remember(self, place: str, status: Status | None, value: str) -> None:
        if status and time.time_ns() - max(status[1:3]) > RACY_NS and status == _status(place):
            folder, name = os.path.split(place)
            self._of_folder(folder)[name] = status, value
            self.changed.add(folder)

    def _of_folder(self, folder: str) -> dict[str, tuple[Status, str]]:
        if folder not in self.known:
            try:
                text = self._file(folder).read_bytes().decode("utf-8", "surrogateescape")
                self.known[folder] = dict(_parsed(line) for line in text.split("\n")[:-1])
            except (OSError, ValueError):  # not there, or not of ours: it is only a memory
                self.known[folder] = {}
        return self.known[folder]

    def _file(self, folder: str) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.txt"

    def _save(self) -> None:
        while self.changed:
            folder = self.changed.pop()
            text = "".join(
                f"{value} {' '.join(map(str, status))} {name}\n"
                for name, (status, value) in self.known[folder].items()
                if "\n" not in name
            )
            try:
                with atomic(self._file(folder)) as temporary:
                    temporary.write_text(text, "utf-8", "surrogateescape")
            except (OSError, UserError):
                return  # a cache that cannot be written costs time, nothing else


def _files_below(folder: str | Path) -> Iterator[str]:
    for inner, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not leads_up(os.path.join(inner, name))]
        yield from (os.path.join(inner, name) for name in names)


def leads_up(place: str | Path) -> bool:
    """Whether a path is a link to a folder that it lies in, so that following it would never end."""
    if not os.path.islink(place):
        return False
    return f"{os.path.realpath(os.path.dirname(place))}/".startswith(f"{os.path.realpath(place)}/")


def _status(place: str) -> Status | None:
    try:
        found = os.stat(place)
    except (OSError, ValueError):  # a name that no file can have is a ValueError
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _parsed(text: str) -> tuple[str, tuple[Status, str]]:
    value, size, modified, changed, inode, name = text.split(" ", 5)
    return name, ((int(size), int(modified), int(changed), int(inode)), value)


def read_list(path: str | Path) -> Iterator[tuple[str, str]]:
    """The (name, sha256) pairs of a file of such lines, one by one."""
    try:
        with open(plain(path), encoding="utf-8", newline="\n") as file:
            yield from (_pair(text[:-1]) for text in file if text.endswith("\n"))
    except UnicodeDecodeError as error:
        raise Damaged(f"{path}: not a list of files and their sha256; delete it and run again ({error})") from None


def write_list(path: str | Path, pairs: Iterable[tuple[str, str]]) -> None:
    with atomic(path) as temporary:
        temporary.write_text("".join(map(line, pairs)), "utf-8")
