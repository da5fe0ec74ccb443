"""Pictures that are broken, hostile or merely unusual, as extractors and `strict: false` meet them."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cmr.datasets.table import undecodable
from cmr.errors import BadContent
from cmr.features.images import Preprocessing, cropped
from cmr.pictures import read_rgb
from cmr.reporting.gallery import thumbnail

GENERATED = 60
SIZE = (40, 30)
COLOURS = np.zeros((30, 40, 3), np.uint8)
COLOURS[:, :20] = (250, 10, 10)  # left half red, right half blue
COLOURS[:, 20:] = (10, 10, 250)
SMALL = Preprocessing(resize=32, crop=24)


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def picture(mode="RGB"):
    return Image.fromarray(COLOURS).convert(mode)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, content=b""):
    """A PNG that claims a size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def refused(file):
    """Each place that decodes a picture refuses it in words; the gallery leaves it out."""
    with pytest.raises(BadContent) as told:
        cropped(file, SMALL)
    assert str(file) in str(told.value)
    assert len(str(told.value)) < 1000
    assert undecodable(file).startswith(f"{file.name} ")
    assert thumbnail(file) is None


@pytest.mark.mended("a damaged picture broke the report and the page of `cmr search` where Pillow raises no OSError")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("text.png", b"neither picture nor sound"),
        ("truncated.jpg", encoded(picture(), "JPEG")[:400]),
        ("truncated.png", encoded(picture(), "PNG")[:60]),
        ("truncated.gif", encoded(picture(), "GIF")[:60]),
        ("bomb.png", png(60_000, 60_000)),
        ("no_pixels.png", png(0, 10)),
        ("less_than_it_says.png", png(500, 500, b"\0" * 10)),
        ("wrong_checksum.png", encoded(picture(), "PNG").replace(b"IDAT", b"IDAT\x01", 1)),
        ("page.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
        ("program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n"),
    ],
)
def test_refused_in_words(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    refused(file)


@pytest.mark.mended("a picture of one pixel's width was scaled to gigabytes")
@pytest.mark.mended("pictures of 32-bit integers and of floats were clipped to white or black without a word")
@pytest.mark.parametrize(
    "shown",
    [
        Image.new("RGB", (1, 60_000)),
        Image.new("RGB", (60_000, 1)),
        Image.fromarray(np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)),
        Image.fromarray(np.full((30, 40), 10**6, np.int32)),
    ],
)
def test_decoded_but_of_no_use(tmp_path, shown):
    file = tmp_path / "a.tif"
    shown.save(file)
    with pytest.raises(BadContent, match=r"pixels: sides of|what is white is not said"):
        cropped(file, SMALL)
    assert undecodable(file)


def test_a_folder_and_nothing(tmp_path):
    for file in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(BadContent, match=r"no such file|Is a directory"):
            read_rgb(file)


UNUSUAL = {
    "cmyk.jpg": encoded(picture("CMYK"), "JPEG", quality=95),
    "grey.png": encoded(picture("L"), "PNG"),
    "bits.png": encoded(picture("1"), "PNG"),
    "palette.png": encoded(picture("P"), "PNG"),
    "palette.gif": encoded(picture("P"), "GIF"),
    "transparent.png": encoded(picture("RGBA"), "PNG"),
    "sixteen.png": encoded(Image.fromarray(np.asarray(picture("L")).astype(np.uint16) << 8), "PNG"),
    "animated.gif": encoded(picture(), "GIF", save_all=True, append_images=[Image.new("RGB", SIZE, "green")] * 2),
    "animated.webp": encoded(picture(), "WEBP", save_all=True, append_images=[Image.new("RGB", SIZE, "green")] * 2),
    "really_a.png": encoded(picture(), "BMP"),
    "progressive.jpg": encoded(picture(), "JPEG", progressive=True, quality=95),
    "lab.tif": encoded(picture("LAB"), "TIFF"),
    "one_pixel.png": encoded(Image.new("RGB", (1, 1), (250, 10, 10)), "PNG"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_pictures_are_what_they_show(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(UNUSUAL[name])
    read = np.asarray(read_rgb(file)).astype(int)
    assert cropped(file, SMALL).shape == (24, 24, 3)
    assert undecodable(file) == ""
    assert thumbnail(file)
    if name == "one_pixel.png":
        assert read.tolist() == [[[250, 10, 10]]]
        return
    grey = name in ("grey.png", "sixteen.png", "bits.png")
    shown = np.asarray(picture("1" if name == "bits.png" else "L" if grey else "RGB").convert("RGB")).astype(int)
    assert np.abs(read - shown).mean() < (1 if grey else 25), "the first frame, in its colours"


TURN = Image.Transpose
TURNED = {  # how the camera's picture lies, by the tag's definition (CIPA DC-008, orientation)
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_270,
}


@pytest.mark.mended("a photograph that says it lies on its side (EXIF) was read lying, though every viewer turns it")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(tmp_path, orientation):
    stored = picture()
    if orientation > 1:
        stored = stored.transpose(TURNED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(stored, "JPEG", exif=exif, quality=95))
    read = np.asarray(read_rgb(file)).astype(int)
    assert read.shape == COLOURS.shape
    assert np.abs(read - COLOURS).mean() < 10


def test_generated_damage(tmp_path, cases):
    cases(2 * GENERATED)
    file = tmp_path / "a.picture"

    @settings(
        max_examples=2 * GENERATED, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck
    )
    @given(st.sampled_from(sorted(UNUSUAL)), st.floats(0, 1), st.binary(max_size=8), st.booleans())
    def tried(name, where, inserted, cut):
        content = UNUSUAL[name]
        at = int(where * len(content))
        file.write_bytes(content[:at] + inserted + (b"" if cut else content[at + len(inserted) :]))
        try:
            assert cropped(file, SMALL).shape == (24, 24, 3)
        except BadContent as error:
            assert len(str(error)) < 1000  # noqa: PT017
        undecodable(file)
        thumbnail(file)

    tried()
