"""The annotations of MS-COCO 2014, as its two data sets here read them.

Established (the format's own documentation): ``annotations/captions_{train,val}2014.json`` (images: id, file_name;
annotations: image_id, caption) and ``instances_{train,val}2014.json`` (images; annotations: image_id, category_id;
categories: id, name) in one archive. They are read whole: about 3 GB of memory.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cmr.boundary import check_zip
from cmr.datasets.captioned import one_line
from cmr.errors import UserError

ANNOTATIONS = "annotations_trainval2014.zip"


def annotations(archive: Path, name: str) -> Any:
    """One of the files of the archive, such as ``captions_val2014.json``."""
    try:
        check_zip(archive)
        with zipfile.ZipFile(archive) as opened, opened.open(f"annotations/{name}") as file:
            return json.load(file)
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{archive}: annotations/{name} cannot be read: {error}") from None


@contextmanager
def _of_another_form() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{ANNOTATIONS}: not the annotations of MS-COCO: {error!r}; place the original") from None


def objects(instances: Mapping[str, Any]) -> dict[int, set[str]]:
    """Number of a picture → the categories of the objects in it."""
    found: dict[int, set[str]] = {}
    with _of_another_form():
        category = {c["id"]: c["name"] for c in instances["categories"]}
        for annotation in instances["annotations"]:
            found.setdefault(annotation["image_id"], set()).add(category[annotation["category_id"]])
    return found


def sentences(captions: Mapping[str, Any]) -> dict[int, list[str]]:
    """Number of a picture → its captions."""
    found: dict[int, list[str]] = {}
    with _of_another_form():
        for annotation in captions["annotations"]:
            found.setdefault(annotation["image_id"], []).append(one_line(annotation["caption"]))
    return found
