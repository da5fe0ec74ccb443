"""Reads pictures: those that data sets check, extractors compute with and the report shows are decoded in one way."""

import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.IcoImagePlugin import IcoImageFile

from cmr.boundary import plain
from cmr.errors import BadContent

MAX_ASPECT_RATIO = 100
"""Of the longer side to the shorter."""
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
"""What is decoded by code of this process alone; for others, such as EPS, Pillow starts programs."""
LARGE = 50_000_000
"""Pixels from which a picture is read at half its sides."""
MAX_PIXELS = 120_000_000
"""Pixels that are decoded at all, but of JPEG, which can be decoded at half its sides."""
MAX_JPEG_PIXELS = 178_956_970
"""Pillow opens no larger ones."""
ROWS_AT_ONCE = 256

_one_large = threading.Lock()


def read_rgb(path: Path, side: int | None = None) -> Image.Image:
    """The picture in RGB, upright where it says how it was taken; what is transparent becomes white.

    Of an animation the first frame. ``side``: the pixels that are needed of the shorter side, so that less may be
    decoded. Of more than `LARGE` pixels, every two by two are one, and a process decodes one such picture at a time, so
    that its memory is bounded by `MAX_PIXELS`. Raises `BadContent` for a file that is missing, truncated or no picture
    of `FORMATS`, for more pixels, for numbers of unknown range (32-bit integers, floats), and for sides so unlike that
    scaling would fill the memory.
    """
    try:
        with Image.open(plain(path), formats=_known()) as opened:
            _check_size(opened)
            large = opened.width * opened.height > LARGE
            with _one_large if large else nullcontext():
                if side or large:
                    opened.draft("RGB", (side, side) if side else (opened.width // 2, opened.height // 2))
                image = _halved(opened) if opened.width * opened.height > LARGE else opened
                return _on_white(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise BadContent(path, "no such file") from None
    except Exception as error:  # there is none that Pillow does not raise for some damaged file
        raise BadContent(path, f"not a picture that can be decoded ({error})") from None


def _known() -> list[str]:
    """The formats that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: what is white is not said; save it with 8 or 16 bits")
    width, height = _stored_size(image)
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ValueError(f"{width} × {height} pixels: sides of more than 1:{MAX_ASPECT_RATIO}")
    if width * height > (MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS):
        raise ValueError(f"{width} × {height} pixels: more than {MAX_PIXELS:,}; make it smaller")


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height. What an icon tells may be others than those of the picture in it."""
    return image.ico.getimage(image.size).size if isinstance(image, IcoImageFile) else image.size


def _halved(image: Image.Image) -> Image.Image:
    """At half its sides, some rows at a time: no second copy of all its pixels is made."""
    half = Image.new("RGB", (-(-image.width // 2), -(-image.height // 2)))
    for top in range(0, image.height, ROWS_AT_ONCE):
        rows = image.crop((0, top, image.width, min(top + ROWS_AT_ONCE, image.height)))
        rows.info = dict(image.info)
        half.paste(_on_white(rows).reduce(2), (0, top // 2))
    half.info["exif"] = image.getexif().tobytes()
    return half


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit greys to white instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # `convert` would copy it
