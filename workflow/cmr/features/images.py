"""Pictures from files to arrays of pixels, decoded in threads ahead of whoever needs them.

Pillow releases Python's lock while it decodes and resizes, so threads use all cores.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cmr.features.base import BadContent

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AHEAD = 2  # batches decoded in advance
MAX_RATIO = 100


@dataclass(frozen=True)
class Preprocessing:
    """The shorter side to ``resize`` pixels, the central ``crop`` × ``crop``; pixels in [0, 1] minus mean over std.

    ``resize`` = (height, width) changes the sides' ratio instead.
    """

    resize: int | tuple[int, int] = 256
    crop: int = 224
    interpolation: Image.Resampling = Image.Resampling.BILINEAR
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


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


def cropped(path: Path, preprocessing: Preprocessing) -> np.ndarray:
    """Pixels (crop, crop, 3) uint8, resized and cropped as torchvision's transforms do it."""
    image, resize = read_rgb(path), preprocessing.resize
    if isinstance(resize, int):
        shorter, longer = min(image.size), max(image.size)
        width, height = (resize if side == shorter else int(resize * longer / shorter) for side in image.size)
    else:
        height, width = resize
    if (width, height) != image.size:
        image = image.resize((width, height), preprocessing.interpolation)
    left, top = (round((side - preprocessing.crop) / 2) for side in (width, height))
    return np.asarray(image.crop((left, top, left + preprocessing.crop, top + preprocessing.crop)))


def batches(paths: Sequence[Path], preprocessing: Preprocessing, size: int, threads: int) -> Iterator[np.ndarray]:
    """Batches (at most size, crop, crop, 3) uint8 in order, while the next ones are being decoded."""
    decode = partial(cropped, preprocessing=preprocessing)
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), size):
            waiting.append([pool.submit(decode, path) for path in paths[start : start + size]])
            if len(waiting) > AHEAD:
                yield np.stack([future.result() for future in waiting.popleft()])
        while waiting:
            yield np.stack([future.result() for future in waiting.popleft()])
