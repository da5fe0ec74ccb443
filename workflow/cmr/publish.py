"""How files appear: whole or not at all, and with a line that names the file where the disk does not let them.

Every file is written under a temporary name in its own folder and moved into place with `os.replace`, so a
reader sees either nothing or a whole file, and two writers of the same result cannot mix their bytes.
"""

import csv
import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from cmr.boundary import finite, plain
from cmr.errors import Damaged, UserError

log = logging.getLogger(__name__)

MAKE_ROOM = "make room and run again"
ASK = "it needs an owner who lets you, or take another folder with --directory"
CANNOT_WRITE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), MAKE_ROOM) | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS), ASK
)
"""Error number → remedy."""


@contextmanager
def write_errors_told(path: str | Path) -> Iterator[None]:
    """Makes a full disk, a quota, a limit of file size or a lack of rights a `UserError` that names the file.

    ``path``: what is written, named where the library that met the error does not name a file itself.
    """
    try:
        yield
    except Exception as error:
        met = _met_first(error)
        told = re.search(r"os error (\d+)", str(met))  # of safetensors, whose error has no number of its own
        number = int(told[1]) if told else getattr(met, "errno", None)
        if number not in CANNOT_WRITE:
            raise
        named = getattr(met, "filename", None) if CANNOT_WRITE[number] == ASK else None
        remedy = CANNOT_WRITE[number]
        raise UserError(f"{named or path}: cannot be written: {os.strerror(number)}; {remedy}") from error


def _met_first(error: BaseException) -> BaseException:
    """On Python 3.13 h5py meets an error again as it closes its file, and a SystemError is made of the two."""
    while isinstance(error, SystemError) and error.__context__:
        error = error.__context__
    return error


def _beside(path: Path) -> Path:
    """A temporary name that no other process has, on this machine or on another one of a cluster."""
    _sweep(path.parent)
    return path.with_name(f".{path.name}.{_place()}.{os.getpid()}.tmp")


@cache
def _place() -> str:
    """Where numbers of processes are told apart: the host, since it started, and the container. Its name alone may be
    that of others too.
    """
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return f"{facts[0][:20]}-{hashlib.sha256(' '.join(facts).encode()).hexdigest()[:8]}"


@cache
def _sweep(folder: Path) -> None:
    """Removes what killed processes of this machine left in a folder; once a process, as folders may be large."""
    for left in folder.glob(f".*.{glob.escape(_place())}.*.tmp"):
        owner = left.name.split(".")[-2]
        if owner.isdigit() and not _is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; moves it into place when the block ends without an error.

    Raises `UserError` where a folder, a device or a pipe stands there: root would replace /dev/null by a file.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        with write_errors_told(path):
            if path.exists() and not path.is_file():
                raise UserError(f"{path}: a folder, a device or a pipe; name a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # of a disk that is read-only, where none was written
            temporary.unlink(missing_ok=True)


def check_no_file(path: str | Path) -> None:
    """Raises `UserError` where a file stands that one named by the user would replace."""
    if Path(path).is_file() or Path(path).is_symlink():
        raise UserError(f"{path}: stands there already, and what is in it would be lost; name a new file")


def check_free(path: str | Path) -> None:
    """Raises `UserError` where something stands that a folder named by the user would replace: an empty folder may."""
    if os.path.lexists(path) and not (Path(path).is_dir() and not Path(path).is_symlink() and not os.listdir(path)):
        raise UserError(f"{path}: stands there already, and what is in it would be lost; name a new folder")


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """As `atomic`, for a folder of results. A folder that stands there already is replaced; see `check_free`."""
    path = Path(path)
    temporary = _beside(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with write_errors_told(path):
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """One process at a time, of all that share the file system, makes ``path``; the others wait, and look again.

    For what is gone on with where it was cut, or is read as soon as it is there, so that the last of two writers may
    not simply win. A file system without locks lets all of them in at once.
    """
    lock = Path(path).with_name(f".{Path(path).name}.lock")
    with write_errors_told(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        while not _is_at(held := os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), lock, path):
            os.close(held)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(held)


def _is_at(held: int, lock: Path, path: str | Path) -> bool:
    """Locks the open file ``held``; whether it still lies at ``lock``, from where who had it before has removed it."""
    with suppress(OSError):
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process makes it; waiting", path)
            fcntl.flock(held, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(held), os.stat(lock))
    except FileNotFoundError:
        return False


def write_json(path: str | Path, value: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def read_json(path: str | Path) -> Any:
    """The value of a file of JSON, in which all numbers are finite and all texts can be written again."""
    try:
        text = plain(path).read_text("utf-8")
        value = json.loads(text, parse_float=finite, parse_constant=finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return value
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: not valid JSON ({error}); delete it and run again") from None


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV; the columns are the keys of all rows, in the order of their first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
