"""What comes from outside, and how far it is believed: results, configurations and data of others.

A record, a table or a matrix is data. It names files within its own tree, it holds finite numbers, it takes no more
memory than its size on disk allows, and it never says what is to be trusted. Everything that reads files of others asks
here first; what is refused is a `UserError` of one line.
"""

import errno
import fcntl
import json
import math
import os
import re
import stat
import traceback
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from cmr.datasets.keyed import file_and_key
from cmr.errors import UserError

UNPACKED_FREELY = 2**28
"""Bytes that a compressed array or table may always take; more only up to `MAX_RATIO` times its size on disk."""
MAX_RATIO = 100
GZIP, SHUFFLE = 1, 2
"""Filters of HDF5 by their numbers. The second is left out for texts, even where it is asked for."""
DESCRIPTIONS = 2**20  # of texts, that are looked at at once
IN_USE = ".in_use"
CGROUPS = Path("/sys/fs/cgroup")
_OPENED: ContextVar[str] = ContextVar("opened", default="")
"""The file that was read last."""


class BoundaryError(ValueError):
    """What is wrong with a part of a file; whoever reads the file says which."""


@contextmanager
def reading(tree: str | Path) -> Iterator[None]:
    """Makes what comes of files that are what they should be each by itself, but do not fit together, a `UserError`,
    which names the one that was opened last.
    """
    _OPENED.set("")
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        last = f" (the last one read: {_OPENED.get()})" if _OPENED.get() else ""
        raise UserError(
            f"{tree}: its files do not fit together{last}: `python -m cmr verify` names what is damaged; where it "
            f"names nothing, this is a mistake of the program, in {Path(place.filename).name}, line {place.lineno}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error


# Files and paths -------------------------------------------------------------------------------------------------


def plain(path: str | Path) -> Path:
    """The path of a file of bytes, which ends. Raises `UserError` for a pipe, a device or a socket, which could be read
    for ever; `OSError` for a folder, and where there is nothing.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: a pipe, a device or a socket, not a file; name a file, or remove it")
    _OPENED.set(str(path))
    return Path(path)


def plain_parquet(path: str | Path, columns: Collection[str] | None = None) -> Path:
    """As `plain`, for a table in parquet whose cells take no more memory than its size allows. May raise what pyarrow
    raises. ``columns``: those that will be read, where these are not all.
    """
    from pyarrow.parquet import ParquetFile, read_metadata

    told = read_metadata(plain(path))
    groups = [told.row_group(number) for number in range(told.num_row_groups)]
    schema = [told.schema.column(number) for number in range(told.num_columns)]
    cells = [max(told.num_rows, sum(group.column(n).num_values for group in groups)) for n in range(len(schema))]
    values = sum(n * max(8, column.length or 0) for n, column in zip(cells, schema, strict=True))
    check_size(max(sum(group.total_byte_size for group in groups), values), os.path.getsize(path))
    texts = [c.path for c in schema if c.physical_type == "BYTE_ARRAY" and (columns is None or _is_of(c.path, columns))]
    with ParquetFile(path, read_dictionary=texts) as opened:
        read = (batch for text in texts for batch in opened.iter_batches(columns=[text]))
        check_size(sum(_written_out(column) for batch in read for column in batch.columns), os.path.getsize(path))
    return Path(path)


def _is_of(path: str, columns: Collection[str]) -> bool:
    """Whether cells lie in one of the columns: ``picture.bytes`` in ``picture``."""
    return any(path == column or path.startswith(f"{column}.") for column in columns)


def _written_out(array: Any) -> int:
    """Bytes of a column of pyarrow, where a text that stands in many cells may be stored once."""
    from pyarrow import ChunkedArray, compute, types

    if isinstance(array, ChunkedArray):
        return sum(map(_written_out, array.chunks))
    if types.is_dictionary(array.type):
        lengths = compute.cast(compute.binary_length(array.dictionary), "int64")
        return compute.sum(compute.take(lengths, array.indices)).as_py() or 0
    if types.is_map(array.type):
        return _written_out(array.keys) + _written_out(array.items)
    if types.is_struct(array.type):
        return sum(map(_written_out, array.flatten()))
    return _written_out(array.flatten()) if types.is_nested(array.type) else array.nbytes


def named(tree: str | Path, path: str) -> Path:
    """Where a path lies that a record names in ``tree``. Raises `UserError` where its name leaves the tree."""
    parts = path.split("/") if isinstance(path, str) else [".."]
    if {"", ".", ".."} & set(parts) or "\0" in path:
        raise UserError(f"{tree}: a record names {path!r}, which is no path within the results; it is not opened")
    return Path(tree, path)


def within(tree: str | Path, path: str | Path, folders: Iterable[str | Path] = ()) -> Path:
    """``path`` where its real place, behind all links, is in the tree or in one of the user's own ``folders``.

    Raises `UserError` elsewhere.
    """
    place = os.path.realpath(path)
    if not any(_is_below(place, os.path.realpath(folder)) for folder in (tree, *folders)):
        raise UserError(
            f"{path}: a link that leaves {tree}; copy what it points to into its place, or name a folder above that "
            "as data_root in your configuration"
        )
    return Path(path)


def content(root: str | Path, name: str, results: str | Path, folders: Iterable[str | Path] = ()) -> Path:
    """The file of an item, named relative to ``root``, in a data set's folder in ``results`` or the user's ``folders``.

    Links are followed in the user's own folders alone. Raises `UserError` for what lies elsewhere.
    """
    path = os.path.abspath(os.path.join(root, name))
    allowed = [*folders, *([root] if _lies_in(root, results) else [])]
    if not any(_lies_in(path, folder) for folder in allowed):
        raise UserError(
            f"{name}: outside of {root} and of the folders that your configuration names (--config); it is not opened"
        )
    if _lies_in(path, results):
        within(results, path, folders)
    return plain(path)


def _lies_in(path: str | Path, folder: str | Path) -> bool:
    """By names alone."""
    return _is_below(os.path.abspath(path), os.path.abspath(folder))


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


@contextmanager
def in_use(folder: str | Path) -> Iterator[None]:
    """Tells others, whichever name they know the folder by, that somebody works in it as long as the block lasts.

    Raises `UserError` where a link or a pipe has the place of the file that tells it.
    """
    with _told_by(folder, os.O_RDWR | os.O_CREAT) as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def is_in_use(folder: str | Path) -> bool:
    """Raises `UserError` as `in_use` does."""
    # Over NFS and SMB an exclusive lock takes a file that is open for writing.
    flags = os.O_RDWR if os.access(Path(folder) / IN_USE, os.W_OK) else os.O_RDONLY
    try:
        with _told_by(folder, flags) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody ever worked there, or a file system without locks
        return False
    return False


@contextmanager
def _told_by(folder: str | Path, flags: int) -> Iterator[int]:
    """The file that tells who works in a folder, which may have come along with somebody's results."""
    path = Path(folder) / IN_USE
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise UserError(f"{path}: a link or a pipe, not a file; remove it")
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        yield file
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)  # which a process that was started meanwhile would hold on to
        os.close(file)


# Values ----------------------------------------------------------------------------------------------------------


def finite(text: str) -> float:
    """A number of JSON. Raises `ValueError` where it is too large for one, or none: Infinity, NaN."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def is_number(value: object) -> bool:
    """Whether a value of JSON is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


NAME = r"[A-Za-z0-9](\.?[A-Za-z0-9_@-])*"
"""What becomes part of paths and of names in files: letters, digits, '.', '_', '@' and '-', without '..'."""
MAX_NAME = 40
TAKEN = ("id", "labels", "part", "state", "selection", "average")
"""Names that items, features and tables use themselves beside those of modalities."""


def check_name(name: str) -> str:
    """The name of a modality. Raises ValueError for what is none."""
    if not isinstance(name, str) or len(name) > MAX_NAME or not re.fullmatch(NAME, name) or name in TAKEN:
        raise ValueError(
            f"a modality's name: up to {MAX_NAME} letters a to z, digits, '.', '_', '@' and '-', and not "
            + ", ".join(TAKEN)
        )
    return name


# Trust -----------------------------------------------------------------------------------------------------------


def trusted_by(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """The entries for which the user's own configuration says ``trust: true``, as `_trusted` writes them."""
    lists = [entries for key in ("datasets", "features") if isinstance(entries := configuration.get(key), list)]
    return tuple(_trusted(entry) for entries in lists for entry in entries if asks_for_trust(entry))


def asks_for_trust(entry: Any) -> bool:
    params = entry.get("params") if isinstance(entry, Mapping) else None
    return isinstance(params, Mapping) and bool(params.get("trust"))


def _trusted(entry: Mapping[str, Any]) -> str:
    """What trust is given to: a plug-in with parameters, which name the file and its sha256."""
    plugin = entry.get("dataset", entry.get("extractor", entry.get("id")))
    return json.dumps([plugin, entry["params"]], sort_keys=True, default=str)


def check_trust(entries: Iterable[Mapping[str, Any]], given: Iterable[str], source: str) -> None:
    """Raises `UserError` for an entry of somebody's record that asks for trust which the user has not given.

    ``given``: what `trusted_by` says of the user's own configuration.
    """
    for entry in entries:
        if asks_for_trust(entry) and _trusted(entry) not in set(given):
            raise UserError(
                f"{source}: {entry['id']!r} asks to load a file that can execute code; its trust: true does not count "
                "here. If you trust that file, put the same entry into a configuration of yours and name it with "
                "--config"
            )


def files_named_by(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """All texts in the parameters of the user's own configuration: among them the files that it names."""
    lists = [entries for key in ("datasets", "features") if isinstance(entries := configuration.get(key), list)]
    params = [entry.get("params") for entries in lists for entry in entries if isinstance(entry, Mapping)]
    return tuple(file_and_key(text)[0] for found in params for text in _texts(found))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def check_own_file(name: str, base: str, folders: Iterable[str | Path], source: str) -> None:
    """Raises `UserError` for a file that somebody's record names outside of the user's own ``folders``."""
    place = os.path.join(base, name)
    if not any(_lies_in(place, folder) for folder in (base, *folders)):
        raise UserError(
            f"{source}: it names {name!r}, outside of the folders that your configuration names; it is not read. If it "
            "should be, put the same entry into a configuration of yours and name it with --config"
        )


def without_trust(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry as others may copy it: trust is theirs to give."""
    if not asks_for_trust(entry):
        return entry
    return {**entry, "params": {key: value for key, value in entry["params"].items() if key != "trust"}}


# YAML ------------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key twice in a mapping."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            raise BoundaryError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands twice; keep one")
        seen.add(key.value)
    yield from loader.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(path: str | Path) -> Any:
    """The value in a file. Raises `yaml.YAMLError` for what is none, `BoundaryError` for a key that stands twice."""
    return yaml.load(plain(path).read_text("utf-8"), _Loader)


# Arrays in HDF5 --------------------------------------------------------------------------------------------------


def check_links(file: Any) -> None:
    """Raises `BoundaryError` where an open HDF5 file has a link to another file."""

    found = file.visititems_links(lambda name, link: name if hasattr(link, "filename") else None)  # ExternalLink
    if found is not None:  # raised here, as h5py does not pass errors on
        raise BoundaryError(f"{found} is a link to another file; copy what it points to into this one")


def check_array(array: Any) -> None:
    """Raises `BoundaryError` for an HDF5 dataset that would not be read from its own file, whole, within its size.

    That is: values in other files (external storage, virtual layout), values that were never written, which would be
    read as zeros, and more than `MAX_RATIO` times what is stored.
    """
    if array.external or array.is_virtual:
        raise BoundaryError("its values lie in other files; copy them into one")
    if array.shape is None or not array.size:
        return
    stored, size = array.id.get_storage_size(), array.size * array.dtype.itemsize
    if array.chunks is None:
        written = stored >= size
    else:
        chunks = math.prod(-(-length // step) for length, step in zip(array.shape, array.chunks, strict=True))
        written = array.id.get_num_chunks() == chunks
    if not written:
        raise BoundaryError("some of its values were never written, and would be read as zeros; write the file anew")
    check_size(size, stored)
    if "vlen" in (array.dtype.metadata or {}):  # each value is of a length of its own, as texts are
        check_size(_length_of_texts(array), os.path.getsize(array.file.filename))


def _length_of_texts(array: Any) -> int:
    """Of values of lengths of their own together, as the file tells before they are read: for each value it holds its
    length in 4 bytes, and where it lies, an address and a number of 4 bytes (HDF5 File Format, IV.B).
    """
    size = 8 + array.file.id.get_create_plist().get_sizes()[0]
    if size % 4:
        raise BoundaryError("texts in a form that is not measured; write the file anew")
    stored = (raw[: len(raw) // size * size] for raw in _descriptions(array, size))
    return sum(sum(memoryview(raw).cast("I")[:: size // 4]) for raw in stored)


def _descriptions(array: Any, size: int) -> Iterator[bytes]:
    """The bytes of such an array, ``size`` for each value, some at a time.

    Raises `BoundaryError` where another filter than gzip keeps them from being looked at.
    """
    if array.chunks is None:
        with open(array.file.filename, "rb") as file:
            file.seek(array.id.get_offset())
            for start in range(0, array.size, DESCRIPTIONS):
                yield file.read(size * min(DESCRIPTIONS, array.size - start))
        return
    properties = array.id.get_create_plist()
    filters = [properties.get_filter(n)[0] for n in range(properties.get_nfilters())]
    if filters not in ([], [GZIP], [SHUFFLE, GZIP]):
        raise BoundaryError("texts in a compression that is not measured; store them with gzip, or without")
    for number in range(array.id.get_num_chunks()):
        left_out, raw = array.id.read_direct_chunk(array.id.get_chunk_info(number).chunk_offset)
        if GZIP in filters and not left_out >> filters.index(GZIP) & 1:
            try:
                raw = zlib.decompressobj().decompress(raw, size * math.prod(array.chunks))
            except zlib.error as error:
                raise BoundaryError(f"texts that cannot be unpacked ({error})") from None
        yield raw


def check_zip(path: str | Path) -> None:
    """Raises `BoundaryError` where a zip file, as .npz and .pt are, would unpack to more than `check_size` allows."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as opened:
            check_size(sum(member.file_size for member in opened.infolist()), os.path.getsize(path))


def memory_here() -> int:
    """Bytes that this process may take: the machine's memory, or less where its control group, as SLURM makes one for a
    job, has a limit.
    """
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError):  # no control groups here
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers in ("", "memory"):  # of the second version of control groups, and of the first
                root, name = CGROUPS / controllers, "memory.limit_in_bytes" if controllers else "memory.max"
                folder = root / group.strip("/")
                for place in (folder, *folder.parents):
                    with suppress(OSError):
                        limit = (place / name).read_text().strip()
                        found += [int(limit)] if limit.isdigit() else []
    return min(found)


def check_memory(size: int) -> None:
    """Raises `BoundaryError` for an array of so many bytes, written in few as sparse ones are, that none fits here."""
    memory = memory_here()
    if size > memory:
        raise BoundaryError(f"{size:,} bytes once all its values are written out; this machine has {memory:,}")


def check_size(unpacked: int, packed: int) -> None:
    """Raises `BoundaryError` where so much would come of so little that it is not data."""
    if unpacked > max(UNPACKED_FREELY, MAX_RATIO * packed):
        raise BoundaryError(
            f"{packed:,} bytes would unpack to {unpacked:,}, more than {MAX_RATIO} times as many; store it without "
            "compression"
        )
