"""The patches of a picture, each through a network for whole pictures: a set of side × side vectors, row by row.

The picture is cut into rectangles of equal sides, to a pixel. Each goes through the network as a picture of its own,
with the preprocessing and the weights of the extractor that ``network`` names.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from cmr import registry
from cmr.errors import BadContent
from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.pictures import MAX_ASPECT_RATIO, read_rgb
from cmr.sets import Sets

INFO = ExtractorInfo(
    title="Patches of pictures",
    modality="image",
    kind="fixed",
    gives="set",
    weights=True,
    gpu=True,
)

NETWORKS = (
    "cmr.features.alexnet_fc7",
    "cmr.features.efficientnet_lite0",
    "cmr.features.vgg19_fc6",
    "cmr.features.vgg19_fc7",
)
"""The modules of those that may be named, by which their code counts as this extractor's own."""

AT_ONCE = 64  # pictures whose patches are files at a time: 2 GB of them where a picture has 12 megapixels


class Params(BaseParams):
    network: Literal["alexnet_fc7", "efficientnet_lite0", "vgg19_fc6", "vgg19_fc7"] = Field(
        "efficientnet_lite0", description="the extractor that each patch goes through"
    )
    side: int = Field(3, ge=2, le=16, description="patches a row and a column")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and fully connected layers")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file")


class ImagePatches(Extractor[Path]):
    params: Params

    @cached_property
    def network(self) -> Extractor[Path]:
        name = self.params.network
        params = registry.params("extractors", name, {"precision": self.params.precision})
        return registry.load("extractors", name)(params, self.cache, self.device, self.threads)

    def fetch(self) -> dict[str, Any]:
        return self.network.fetch()

    def transform(self, contents: Sequence[Path]) -> Sets:
        vectors = [self.of_patches(contents[start : start + AT_ONCE]) for start in range(0, len(contents), AT_ONCE)]
        per_picture = self.params.side**2
        return Sets.flat(np.concatenate(vectors), np.arange(len(contents) + 1) * per_picture)

    def of_patches(self, contents: Sequence[Path]) -> np.ndarray:
        """The vectors of all patches of some pictures, which lie in temporary files meanwhile."""
        with TemporaryDirectory() as folder:
            files = [file for number, path in enumerate(contents) for file in self.cut(path, Path(folder, str(number)))]
            return np.asarray(self.network.transform(files)).astype(self.params.storage)

    def cut(self, path: Path, folder: Path) -> list[Path]:
        """The patches of a picture, without loss, in files of ``folder``."""
        image, side = read_rgb(path), self.params.side
        if min(image.size) < side:
            raise BadContent(path, f"{image.width} × {image.height} pixels: too few for {side} × {side} patches")
        if -(-max(image.size) // side) > MAX_ASPECT_RATIO * (min(image.size) // side):
            raise BadContent(path, f"{image.width} × {image.height} pixels: its patches' sides are too unlike")
        folder.mkdir()
        files = []
        for number, box in enumerate(boxes(image, side)):
            files.append(folder / f"{number}.png")
            image.crop(box).save(files[-1], compress_level=0)
        return files

    def resolved(self) -> dict[str, Any]:
        return self.network.resolved()


def boxes(image: Image.Image, side: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each patch, row by row."""
    columns, rows = (np.linspace(0, length, side + 1).round().astype(int).tolist() for length in image.size)
    return [(left, top, right, bottom) for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns))]
