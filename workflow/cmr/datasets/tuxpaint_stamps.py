"""Tux Paint's stamps: pictures of things with a line of text, some with a sound, in folders by subject.

From the Debian package `tuxpaint-stamps-default` (seen in version 2022.06.04-1): ``{name}.png`` or ``.svg``,
``{name}.txt`` (first line: the text in English), ``{name}.ogg`` or ``.wav`` (its sound) below
``usr/share/tuxpaint/stamps/{class}/``. Left out: alphabets, mirrored and flipped copies, spoken texts
(``_desc.ogg``, which would give the text away), and classes of fewer than 13 pictures. Where a stamp has both a PNG and
an SVG, the PNG is taken.
"""

import io
import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import resvg_py
from PIL import Image, ImageOps
from pydantic import Field
from tqdm import tqdm

from cmr.data import Items
from cmr.datasets.downloads import Downloaded, fetch
from cmr.datasets.splitting import SHARES, stratified
from cmr.errors import UserError
from cmr.info import DatasetInfo
from cmr.params import Params as BaseParams
from cmr.provenance import file_hash
from cmr.publish import atomic, atomic_folder

INFO = DatasetInfo(
    title="Tux Paint stamps",
    modalities=("image", "text", "audio"),
    splits={"default": "60/20/20 % train/validation/test, stratified, seeded, equal texts in one part"},
    items="about 770 pictures with a text, some 120 with a sound",
    classes="13 subjects",
    licence="GPL-2+",
    source="Debian package tuxpaint-stamps-default",
    raw="tuxpaint_stamps",
)

PACKAGE = "tuxpaint-stamps-default"
VERIFIED = f"{PACKAGE}_2022.06.04-1_all.deb"
STAMPS = "usr/share/tuxpaint/stamps"
SMALLEST_CLASS = 13
SEED = 0

log = logging.getLogger(__name__)


class Params(BaseParams):
    size: int = Field(224, gt=0, description="width and height of the pictures in pixels")


class TuxpaintStamps(Downloaded):
    params: Params

    def files(self) -> list[str]:
        return [VERIFIED]

    def download(self) -> dict[str, str]:
        """The package of the machine's own Debian archive, or one that the user has placed.

        Another version than the verified one is taken, as each Debian release has its own; its sha256 is recorded.
        """
        if self._package() is None and shutil.which("apt-get"):
            self.raw.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(["apt-get", "download", PACKAGE], cwd=self.raw, capture_output=True, text=True)
            if done.returncode:
                log.warning("apt-get download %s: %s", PACKAGE, done.stderr.strip())
        package = self._package()
        if package and package.name != VERIFIED:
            log.warning("%s is not the version that was looked at, %s", package.name, VERIFIED)
            return {package.name: file_hash(package)}
        return fetch(self.raw.name, [VERIFIED], self.raw)

    def prepare(self) -> Items:
        """Renders drawings and puts every picture on white, all anew, as the package or the code may be another."""
        stamps = self._stamps()
        sizes = pd.Series([path.parts[0] for path in stamps]).value_counts()
        kept = {path: text for path, text in stamps.items() if sizes[path.parts[0]] >= SMALLEST_CLASS}
        rows = [
            {
                "id": str(path.with_suffix("")),
                "image": self._render(path),
                "text": text,
                "audio": self._sound(path),
                "labels": [path.parts[0]],
            }
            for path, text in tqdm(kept.items(), desc="render", unit=" stamps", mininterval=1)
        ]
        return Items(pd.DataFrame(rows), {"image": "image", "text": "text", "audio": "audio"})

    def parts(self, items: Items, name: str) -> np.ndarray:
        return stratified(items.strata, SHARES, SEED, self.groups(items))

    def _package(self) -> Path | None:
        """The verified package, or of others the last by name."""
        packages = sorted(self.raw.glob(f"{PACKAGE}_*.deb"), key=lambda path: (path.name == VERIFIED, path.name))
        return packages[-1] if packages else None

    def unpacked(self, archive: str = "") -> Path:
        """The stamps' folder; the package is unpacked, not installed."""
        package = self._package()
        if package is None:
            raise UserError(f"{self.raw}: no {PACKAGE}_*.deb; delete {self.folder / 'raw.json'} and run again")
        folder = self.raw / f"{package.name}.unpacked"
        if not folder.exists():
            if shutil.which("dpkg-deb") is None:
                raise UserError(f"{package}: a package of Debian, which takes dpkg-deb to unpack; install dpkg")
            with atomic_folder(folder) as temporary:
                done = subprocess.run(["dpkg-deb", "-x", package, temporary], capture_output=True, text=True)
                if done.returncode:
                    raise UserError(f"{package}: dpkg-deb cannot unpack it: {done.stderr.strip()}; delete it")
        return folder / STAMPS

    def _stamps(self) -> dict[Path, str]:
        """Picture, relative to the stamps' folder → text."""
        folder = self.unpacked()
        found: dict[Path, Path] = {}
        for path in sorted(p for p in folder.rglob("*") if p.suffix in {".png", ".svg"}):
            stem = path.relative_to(folder).with_suffix("")
            if "alphabets" not in stem.parts and not stem.name.endswith(("_mirror", "_flip")):
                found.setdefault(stem, path)
        texts = {path.relative_to(folder): first_line(path.with_suffix(".txt")) for path in found.values()}
        return {path: text for path, text in texts.items() if text}

    def _render(self, path: Path) -> str:
        target = f"images/{path.with_suffix('.png')}"
        with atomic(self.folder / target) as temporary:
            on_white(self.unpacked() / path, self.params.size).save(temporary, "PNG")
        return target

    def _sound(self, path: Path) -> str | None:
        """A copy in the data set's own folder, so that all its paths have one root."""
        for suffix in (".ogg", ".wav"):
            source, target = self.unpacked() / path.with_suffix(suffix), f"audio/{path.with_suffix(suffix)}"
            if source.exists():
                with atomic(self.folder / target) as temporary:
                    shutil.copyfile(source, temporary)
                return target
        return None


def first_line(file: Path) -> str:
    return file.read_text("utf-8", errors="replace").partition("\n")[0].strip() if file.exists() else ""


def on_white(file: Path, size: int) -> Image.Image:
    """A picture or drawing, RGB, fitted into a white square of ``size`` pixels; transparent parts white."""
    try:
        if file.suffix == ".svg":
            # Without dpi, lengths in points count as 0.
            rendered = resvg_py.svg_to_bytes(svg_path=str(file), width=size, dpi=96, skip_system_fonts=True)
            picture = Image.open(io.BytesIO(rendered))
        else:
            picture = Image.open(file, formats=["PNG"])
        square = ImageOps.pad(picture.convert("RGBA"), (size, size), color=(255, 255, 255, 0))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: does not decode: {error}") from None
    return Image.alpha_composite(Image.new("RGBA", square.size, "white"), square).convert("RGB")
