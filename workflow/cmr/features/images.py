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
from PIL import Image

from cmr.pictures import read_rgb

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AHEAD = 2  # batches decoded in advance


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
