"""Mel-frequency cepstral coefficients of a sound, averaged over time: 29-d, as XMedia's audio features.

Mono, resampled to 22,050 Hz; power spectra of Hann windows of 2048 samples every 512, 128 mel bands (Slaney's), in
decibels down to 80 below the loudest, orthonormal DCT-II. The settings are those of the librosa library, whose
coefficients these equal; the papers give the dimension alone. Reads what libsndfile reads: WAV, FLAC, OGG, MP3. A file
that was cut is refused, as a cut picture is, except an MP3, which does not say where it ends.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from pydantic import Field
from scipy.fft import dct
from scipy.signal import resample_poly
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from cmr.boundary import plain
from cmr.errors import BadContent
from cmr.features.base import Extractor
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="MFCC",
    paper="Davis and Mermelstein, IEEE Transactions on Acoustics, Speech, and Signal Processing 1980",
    modality="audio",
    kind="fixed",
)

WINDOW, HOP, BANDS = 2048, 512, 128
RATES = 1_000, 1_000_000
"""Samples a second of sounds that are read."""
MAX_SAMPLES = 120_000_000
"""Of all channels of a sound together, as stored and as resampled; a file of some bytes may tell of hours."""
BLOCK = 2**20
SHORTER = re.compile(r"^\s*(?:data|SSND|Data Size|Riff size|riff)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile notes of samples in WAV, AIFF and AU, and of all of a long WAV (RF64, W64), where the header tells
another number of bytes than there are.
"""
UNENDED, JUNK = "Last page lacks an end-of-stream bit", "Junk after the last page"
"""What it notes of an Ogg stream that ends with another page than its last, and of one that ends within a page."""
PAGE, HEAD = 65_307, 27
"""Bytes of an Ogg page at most, and those before the lengths of its segments, whose number is the last of these."""
LENGTH_UNKNOWN = 0x7FFF0000
"""Bytes that a header tells, or more, where its sound was written into a pipe and its length was not known."""


class Params(BaseParams):
    coefficients: int = Field(29, ge=1, le=128, description="number of coefficients, the features' dimension")
    rate: int = Field(22050, ge=1000, description="samples a second that sounds are resampled to")


class MFCC(Extractor[Path]):
    params: Params

    def transform(self, contents: Sequence[Path]) -> np.ndarray:
        with ThreadPoolExecutor(self.threads) as pool:
            return np.stack(list(pool.map(self.coefficients, contents)))

    @cached_property
    def mel_filters(self) -> np.ndarray:
        rate = self.params.rate
        return mel_filter_bank(WINDOW // 2 + 1, BANDS, 0, rate / 2, rate, norm="slaney", mel_scale="slaney")

    def coefficients(self, path: Path) -> np.ndarray:
        bands = spectrogram(
            self.read(path),
            window_function(WINDOW, "hann"),
            frame_length=WINDOW,
            hop_length=HOP,
            power=2.0,
            pad_mode="constant",
            mel_filters=self.mel_filters,
            log_mel="dB",
            min_value=1e-10,
            db_range=80.0,
        )
        return dct(bands, axis=0, norm="ortho")[: self.params.coefficients].mean(1).astype(np.float32)

    def read(self, path: Path) -> np.ndarray:
        """The sound, mono, at the rate of ``Params``. Raises `BadContent` for what is none, or too long."""
        try:
            with soundfile.SoundFile(plain(path)) as opened:
                check_size(opened, self.params.rate)
                check_whole(opened)
                parts = [block.mean(1) for block in opened.blocks(BLOCK, always_2d=True)]
                rate = opened.samplerate
        except Exception as error:  # libsndfile's, Python's, and of a name such as x.raw soundfile's own
            raise BadContent(path, f"not a sound that can be decoded ({error})") from None
        samples = np.concatenate([*parts, np.empty(0)])
        if not len(samples):
            raise BadContent(path, "an empty sound")
        if not np.isfinite(samples).all():
            raise BadContent(path, "a sound with NaN or infinite samples")
        common = gcd(rate, self.params.rate)
        return resample_poly(samples, self.params.rate // common, rate // common)


def check_size(sound: soundfile.SoundFile, rate: int) -> None:
    """Raises ValueError for a sound that says it is longer, or of another rate, than is read, before it is. ``rate``:
    that it is brought to.
    """
    lowest, highest = RATES
    if not lowest <= sound.samplerate <= highest:
        raise ValueError(f"{sound.samplerate:,} samples a second; expected {lowest:,} to {highest:,}")
    samples = max(sound.frames * sound.channels, sound.frames * rate // sound.samplerate)
    if samples > MAX_SAMPLES:
        raise ValueError(f"{samples:,} samples of all channels; at most {MAX_SAMPLES:,} are read; cut it")


def check_whole(sound: soundfile.SoundFile) -> None:
    """Raises ValueError for a sound of which an end is missing, as of a download that broke off."""
    notes = sound.extra_info
    if told := SHORTER.search(notes):
        expected, found = map(int, told.groups())
        if found < expected < LENGTH_UNKNOWN:
            raise ValueError(f"its end is missing: {found:,} of {expected:,} bytes of samples; get it again")
    if UNENDED in notes or (JUNK in notes and ends_within_a_page(Path(sound.name))):
        raise ValueError("its end is missing: the stream has no last page; get it again")


def ends_within_a_page(file: Path) -> bool:
    """Whether an Ogg stream was cut there: what lies behind its last page may also be a tag."""
    with file.open("rb") as opened:
        opened.seek(max(file.stat().st_size - PAGE, 0))
        page = b"OggS" + opened.read().rpartition(b"OggS")[2]
    segments = page[HEAD : HEAD + page[HEAD - 1]] if len(page) >= HEAD else b""
    return len(page) < HEAD or len(page) < HEAD + page[HEAD - 1] + sum(segments)
