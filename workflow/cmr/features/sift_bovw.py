"""Bag of visual words: how often each word of a codebook of SIFT descriptors occurs in a picture (OpenCV).

Keypoints and their 128-d descriptors come from OpenCV's SIFT on the picture in grey; the codebook are the k-means
centres (k-means++ and Lloyd's iterations, scikit-learn) of descriptors of the training pictures, as many of each. A
row is the histogram of the nearest words, divided by the number of keypoints; a picture without keypoints has zeros.
The 128 words are those of the Wikipedia data set's features (Rasiwasia et al., A New Approach to Cross-Modal
Multimedia Retrieval, ACM MM 2010); sizes of pictures and samples are not given there.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin
from threadpoolctl import threadpool_limits

from cmr.errors import UserError
from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.pictures import read_rgb

INFO = ExtractorInfo(
    title="SIFT bag of visual words",
    paper="Lowe, IJCV 2004; Sivic and Zisserman, ICCV 2003",
    modality="image",
    kind="fitted",
)


class Params(BaseParams):
    words: int = Field(128, ge=2, description="size of the codebook, the features' dimension")
    longest_side: int = Field(512, ge=16, description="pixels; larger pictures are reduced to it")
    sample: int = Field(100_000, ge=1, description="descriptors of the training pictures to learn the codebook from")
    iterations: int = Field(100, ge=1, description="most iterations of k-means")
    seed: int = Field(0, ge=0, description="of the sample and of the first centres")


class SiftBagOfVisualWords(Extractor[Path]):
    """State: ``codebook`` (words, 128)."""

    params: Params
    codebook: np.ndarray

    def descriptors(self, path: Path) -> np.ndarray:
        """The SIFT descriptors (keypoints, 128) float32 of a picture."""
        image = read_rgb(path).convert("L")
        image.thumbnail((self.params.longest_side,) * 2)
        found = cv2.SIFT.create().detectAndCompute(np.asarray(image), None)[1]
        return np.empty((0, 128), np.float32) if found is None else found

    def fit(self, contents: Sequence[Path], labels: np.ndarray | None = None) -> None:
        p = self.params
        most = -(-p.sample // len(contents))
        seeds = np.random.SeedSequence(p.seed).spawn(len(contents))

        def sample(path: Path, seed: np.random.SeedSequence) -> np.ndarray:
            found = self.descriptors(path)
            return np.random.default_rng(seed).permutation(found)[:most]

        with self.threads_for_pictures() as pool:
            found = np.concatenate(list(pool.map(sample, contents, seeds)))
        descriptors = np.random.default_rng(p.seed).permutation(found)[: p.sample]
        if len(descriptors) < p.words:
            raise UserError(f"the training pictures have {len(descriptors)} keypoints, too few for {p.words} words")
        clusters = KMeans(p.words, n_init=1, max_iter=p.iterations, random_state=p.seed)
        with threadpool_limits(1):  # threads add up their shares of a centre in the order in which they end
            self.codebook = clusters.fit(descriptors).cluster_centers_

    def histogram(self, path: Path) -> np.ndarray:
        found = self.descriptors(path)
        if not len(found):
            return np.zeros(len(self.codebook), np.float32)
        nearest = pairwise_distances_argmin(found, self.codebook)
        return (np.bincount(nearest, minlength=len(self.codebook)) / len(found)).astype(np.float32)

    def transform(self, contents: Sequence[Path]) -> np.ndarray:
        with self.threads_for_pictures() as pool, threadpool_limits(1):
            return np.stack(list(pool.map(self.histogram, contents)))

    def threads_for_pictures(self) -> ThreadPoolExecutor:
        """One picture a thread, and no threads within a picture."""
        cv2.setNumThreads(1)
        return ThreadPoolExecutor(self.threads)

    def state(self) -> dict[str, np.ndarray]:
        return {"codebook": self.codebook}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.codebook = state["codebook"]
