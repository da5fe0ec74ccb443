"""The user's own pictures in a folder, each with its captions in a file beside it; or the same in WebDataset shards.

A picture ``x.jpg`` has the captions of ``x.txt``, a line a caption, or else those of ``x.json``, a text or a list of
texts under the key ``caption``. Its class is the name in ``x.cls``, or what the JSON says under the key ``label`` where
that parameter is given, or else the first folder that it lies in. Where all first folders are called train, validation
(or val, dev) or test, they are the parts of the split, and classes are the folders below. Without any class there are
figures by instance alone.

Shards are ``.tar`` files of such pictures (``000017.jpg``, ``000017.txt``, ``000017.cls``): they are unpacked, and the
folders in the place of the shards are no classes. Each picture is one item with its first caption; its further captions
are items of its group.
"""

import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from cmr.content import leads_up
from cmr.data import TEST, TRAIN, Items
from cmr.datasets.base import Dataset
from cmr.datasets.delimited import decoded
from cmr.datasets.downloads import unpack
from cmr.datasets.files import as_text, distinct_keys, user_folder
from cmr.datasets.labels import LabelReader
from cmr.datasets.rows import MERGE, NAMED, PART_NAMES, seeded_parts
from cmr.datasets.splitting import SHARES
from cmr.errors import UserError, nearest
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.provenance import file_hash

log = logging.getLogger(__name__)

INFO = DatasetInfo(
    title="A folder of one's own",
    modalities=("image", "text"),
    splits={
        "default": "the folders train, validation (or val, dev) and test where there are such, else 60/20/20 %, "
        "stratified by (first) label, seeded, items that share a text or a file in one part"
    },
    items="the pictures and their captions",
    classes="the folders, .cls files or a key of the .json files; or none",
    licence="the user's",
    source="pictures with .txt or .json files beside them, or .tar shards",
    files=("folder",),
)

PICTURES = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"))
BESIDE = (".txt", ".json", ".cls")
HASH = 8
LINE_END = re.compile(r"\r\n|[\r\n]")
"""Of a file: str.splitlines takes U+2028 and the like too, which stand inside texts."""
AT_A_TIME = 4096
"""Pictures that stand as Python's objects, with their paths and texts."""


class Params(BaseParams):
    folder: str = Field("", description="the folder of pictures or of shards, relative to the configuration file")
    caption: str = Field("caption", description="key of a .json file that holds a caption, or a list of captions")
    label: str = Field("", description="key of a .json file that holds a label, or a list of labels; '': not there")


@dataclass(frozen=True)
class Sample:
    """A picture with what lies beside it: ``files`` by their suffix."""

    id: str
    picture: Path
    files: Mapping[str, Path]


class Folder(Dataset):
    params: Params

    def prepare(self) -> Items:
        """Raises `UserError` that names the first picture without captions, or without a class where others have one;
        the file that is not UTF-8, no JSON, or a damaged shard; pictures that differ in their suffix alone, or whose
        items have one id; folders beside those of parts; a key of labels that no picture has.
        """
        table, cells, keys = self._read()
        self._check_key(keys)
        self._check_ids(table)
        first = table["image"].notna()
        parts = self._parts_of_folders(table["id"][first])
        labels = self._labels(table[first], cells, depth=1 if parts else 0)
        if not any(labels):
            self._tell_unlabelled(keys)
        picture = first.cumsum() - 1  # that each caption is of
        table.insert(2, "labels", pd.Series([labels[number] for number in picture], dtype=object))
        if parts:
            table.insert(3, "part", [parts[number] for number in picture])
        return Items(table, {"image": "image", "text": "text"})

    def _read(self) -> tuple[pd.DataFrame, list[Any], set[str]]:
        """A row a caption, with the picture in the first of its captions; what tells each picture's class; and the keys
        of the .json files.
        """
        columns = ["id", "text", "image", "group"]
        tables, cells = [], []
        keys: set[str] = set()
        alone: list[Path] = []
        samples = self._samples(alone)
        for block in iter(lambda: list(islice(samples, AT_A_TIME)), []):
            rows: list[tuple[str, str, str | None, str]] = []
            for sample in block:
                content = self._json(sample)
                rows += self._rows(sample, content)
                cells.append(self._label(sample, content))
                keys.update(content)
            tables.append(pd.DataFrame(rows, columns=columns, dtype="str"))
        if not tables:
            raise UserError(f"{self._source}: no pictures; expected {', '.join(sorted(PICTURES))}, or .tar shards")
        self._tell_alone(alone)
        return pd.concat(tables, ignore_index=True), cells, keys

    def _check_key(self, keys: Collection[str]) -> None:
        label = self.params.label
        if label and label not in keys:
            known = nearest(label, keys) or "; no picture has a .json file with keys beside it"
            raise UserError(f"{self._source}: params.label: no picture's .json has the key {label!r}{known}")

    def _check_ids(self, table: pd.DataFrame) -> None:
        """Raises `UserError` where a picture is named as a caption of another is, such as a-2 beside captions of a."""
        twice = table[table["id"].duplicated(keep=False)]
        if twice.empty:
            return
        item = twice["id"].iloc[0]
        groups = twice["group"][twice["id"] == item]
        of_groups = table["image"].notna() & table["group"].isin(groups)
        first, second = (self.root() / picture for picture in table["image"][of_groups][:2])
        raise UserError(
            f"{first} and {second}: both have an item {item!r}, by name or as a further caption; rename one"
        )

    def _rows(self, sample: Sample, content: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None, str]]:
        picture = os.path.relpath(sample.picture, self.root())
        for number, caption in enumerate(self._captions(sample, content), 1):
            first = number == 1
            yield sample.id if first else f"{sample.id}-{number}", caption, picture if first else None, sample.id

    def root(self) -> Path:
        """The folder, or where its shards are unpacked."""
        return self.folder / "shards" if self._shards else self._source

    def parts(self, items: Items, name: str) -> np.ndarray:
        """What the folders say, or the seeded split."""
        if "part" in items.table:
            return items.table["part"].to_numpy(str)
        return seeded_parts(str(self._source), items, SHARES, self.groups(items), MERGE)

    @cached_property
    def _source(self) -> Path:
        return user_folder(self, self.params.folder, "folder")

    @cached_property
    def _shards(self) -> list[Path]:
        return sorted(path for path in files_below(self._source) if path.suffix == ".tar")

    def _samples(self, alone: list[Path]) -> Iterator[Sample]:
        """The pictures, in the order of their names; ``alone`` gets what lies beside none."""
        if not self._shards:
            yield from samples_below(self._source, "", alone)
        elif sample := next(samples_below(self._source, "", []), None):
            raise UserError(f"{sample.picture}: a picture beside shards; keep one of the two in {self._source}")
        for shard in self._shards:
            name = shard.relative_to(self._source).with_suffix("")
            folder = self.root() / f"{name}-{file_hash(shard)[:HASH]}"  # another content never meets an old one's files
            if not folder.exists():
                unpack(shard, folder)
            yield from samples_below(folder, f"{name.as_posix()}/", alone)

    def _parts_of_folders(self, pictures: pd.Series) -> list[str]:
        """The part of each picture, by its id, where all first folders are named as parts are, else nothing."""
        tops = [place[0] if (place := _place(picture)) else "" for picture in pictures]
        named = sorted({top for top in tops if _is_part(top)})
        others = sorted({top for top in tops if not _is_part(top)})
        if named and others:
            self._check_class(map(_place, pictures), named, others)
        if others:
            return []
        parts = [PART_NAMES[top.casefold()] for top in tops]
        for part in (TRAIN, TEST):
            if part not in parts:
                raise UserError(f"{self._source}: its folders are parts, {', '.join(named)}, without {part}")
        return parts

    def _check_class(self, places: Iterable[tuple[str, ...]], named: Sequence[str], others: Sequence[str]) -> None:
        """Raises `UserError` for folders ``named`` as parts beside ``others``, but for one that may be a class: a train
        is a thing too.
        """
        told = ", ".join(repr(name) if name else "pictures in no folder" for name in others[:NAMED])
        has_folders = any(len(place) > 1 for place in places if place and _is_part(place[0]))
        if len(named) > 1 or has_folders or self.params.label or self._shards:
            raise UserError(
                f"{self._source}: beside {', '.join(named)}, which are names of parts, there is {told}; name the "
                "split's folders train, validation and test, and move others away; or, if all are classes, rename those"
            )
        log.warning("%s: %r is read as a class, not as a part, since beside it there is %s", self._source, *named, told)

    def _labels(self, pictures: pd.DataFrame, cells: Sequence[Any], depth: int) -> list[list[str]]:
        """The classes of each picture; ``depth``: how many of its folders tell no class."""

        def where(number: int) -> str:
            return str(self.root() / pictures["image"].iloc[number])

        if not self.params.label and not self._shards:
            cells = [
                _folder(picture, depth) if cell is None else cell
                for picture, cell in zip(pictures["id"], cells, strict=True)
            ]
        labels = LabelReader("", []).read(cells, str(self._source), where)
        if (any(labels) or self.params.label) and not all(labels):
            without = where([bool(own) for own in labels].index(False))
            raise UserError(
                f"{without}: no class{', though other pictures have one' if any(labels) else ''}; {self._remedy}"
            )
        return labels

    @property
    def _remedy(self) -> str:
        """How a picture gets a class."""
        if self.params.label:
            return f"give it the key {self.params.label!r} in a .json beside it, or a .cls"
        return "give it a .cls" if self._shards else "put it into a class's folder"

    def _tell_alone(self, files: Sequence[Path]) -> None:
        if files:
            log.warning(
                "%s: %d files are left out, as no picture of a form that is read (%s) has their name; the first: %s",
                self._source, len(files), ", ".join(sorted(PICTURES)), files[0],
            )  # fmt: skip

    def _tell_unlabelled(self, keys: Collection[str]) -> None:
        remedy = "a .cls beside a picture, or its folder outside shards, is its class"
        if keys:
            remedy = f"label names their key in the .json files, such as one of {', '.join(sorted(keys)[:NAMED])}"
        log.warning("%s: no labels: there will be figures by instance alone; %s", self._source, remedy)

    def _label(self, sample: Sample, content: Mapping[str, Any]) -> Any:
        """What stands beside a picture of its class; None where its folder may tell it."""
        if ".cls" in sample.files:
            return decoded(sample.files[".cls"]).strip()
        return content.get(self.params.label) if self.params.label else None

    def _json(self, sample: Sample) -> Mapping[str, Any]:
        """What the file beside a picture holds; nothing where there is none."""
        if ".json" not in sample.files:
            return {}
        file = sample.files[".json"]
        try:
            content = json.loads(decoded(file), object_pairs_hook=distinct_keys)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file}: not JSON: {error}") from None
        if not isinstance(content, dict):
            raise UserError(f"{file}: expected an object with the key {self.params.caption!r}")
        return content

    def _captions(self, sample: Sample, content: Mapping[str, Any]) -> list[str]:
        """The distinct captions of a picture."""
        if ".txt" in sample.files:
            found: Any = LINE_END.split(decoded(sample.files[".txt"]))
        else:
            found = content.get(self.params.caption, [])
        texts = found if isinstance(found, list) else [found]
        if not all(isinstance(text, str) for text in texts):
            raise UserError(f"{sample.files['.json']}: {self.params.caption}: expected a text or a list of texts")
        captions = map(as_text, texts)
        kept = list(dict.fromkeys(filter(None, captions)))
        if not kept:
            key = self.params.caption
            raise UserError(
                f"{sample.picture}: no caption; expected a .txt or, with the key {key!r}, a .json beside it"
            )
        return kept


def _place(picture: str) -> tuple[str, ...]:
    """The names of the folders that a picture lies in, by its id."""
    return PurePosixPath(picture).parts[:-1]


def _is_part(name: str) -> bool:
    return name.casefold() in PART_NAMES


def _folder(picture: str, depth: int) -> str | None:
    place = _place(picture)
    return place[depth] if len(place) > depth else None


def samples_below(folder: Path, prefix: str, alone: list[Path]) -> Iterator[Sample]:
    """The pictures in a folder and those below, each with the files of its name; ids start with ``prefix``.

    Texts whose picture is not there, or of a form that is not read, are added to ``alone``.
    """
    by_stem: dict[str, dict[str, Path]] = {}
    for path in sorted(files_below(folder)):
        suffix = path.suffix.lower()
        if suffix in PICTURES.union(BESIDE) and path.is_file():
            stem = path.relative_to(folder).with_suffix("").as_posix()
            by_stem.setdefault(stem, {})[suffix] = path
    for stem, files in by_stem.items():
        pictures = [path for suffix, path in files.items() if suffix in PICTURES]
        if len(pictures) > 1:
            raise UserError(f"{pictures[0]}: {pictures[1].name} has the same name; the files beside them are of one")
        if pictures:
            check_links(files, pictures[0], folder)
            yield Sample(prefix + stem, pictures[0], files)
        else:
            alone.extend(files.values())


def check_links(files: Mapping[str, Path], picture: Path, folder: Path) -> None:
    """Raises `UserError` for a link to a text that lies neither in the folder nor beside the picture.

    A folder may be somebody else's, and results, which are given on, hold the texts.
    """
    beside = os.path.dirname(os.path.realpath(picture))
    for suffix in (suffix for suffix in BESIDE if suffix in files):
        place = os.path.realpath(files[suffix])
        if os.path.dirname(place) != beside and not place.startswith(f"{os.path.realpath(folder)}/"):
            raise UserError(
                f"{files[suffix]}: a link to a text elsewhere, which results would hold; copy the text into its place"
            )


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and those below, linked folders too, but none that is hidden.

    Raises `UserError` for a link to a folder that it lies in, which has no end.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if endless := next((name for name in folders if leads_up(Path(place, name))), None):
            raise UserError(f"{Path(place, endless)}: a link to a folder that it lies in; remove it")
        yield from (Path(place, name) for name in files if not name.startswith("."))
