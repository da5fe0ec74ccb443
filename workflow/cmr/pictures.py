"""Reads pictures: what data sets check and what extractors compute with is decoded in the same way."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cmr.errors import BadContent

MAX_RATIO = 100


def read_rgb(path: Path) -> Image.Image:
    """The picture in RGB, upright where it says how it was taken; what is transparent becomes white.

    Of an animation the first frame. Raises `BadContent` for a file that is missing, truncated or no picture, for
    numbers of unknown range (32-bit integers, floats), and for sides so unlike that scaling would fill the memory.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("I", "F"):
                raise ValueError(f"mode {image.mode}: what is white is not said; save it with 8 or 16 bits")
            if max(image.size) > MAX_RATIO * min(image.size):
                raise ValueError(f"{image.width} × {image.height} pixels: sides of more than 1:{MAX_RATIO}")
            if image.mode.startswith("I;16"):  # Pillow would clip 16-bit greys to white instead of scaling them
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except FileNotFoundError:
        raise BadContent(path, "no such file") from None
    except Exception as error:  # there is none that Pillow does not raise for some damaged file
        raise BadContent(path, f"not a picture that can be decoded ({error})") from None
