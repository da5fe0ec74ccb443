"""Archives in the layout of the originals, of pictures and texts made here, and a server that has them."""

import re
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from cmr.datasets import nus_wide_10k
from cmr.datasets.downloads import sources

WORDS = ["river", "stone", "engine", "painter", "season", "bridge", "signal", "garden", "harbour", "winter", "music"]
WIKIPEDIA = {"art": 16, "biology": 16}
PASCAL = {"aeroplane": 7, "cat": 7}
NUS_WIDE = 10
"""Pairs of each class; of NUS-WIDE, of each of the ten classes of NUS-WIDE-10K."""


class Server:
    """Serves the files of a folder from 127.0.0.1, ranges too. Of ``held`` paths the first answer stops half-way."""

    def __init__(self, folder: Path):
        self.folder, self.ranges, self.held = folder, [], {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=[0.02], daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_port}/"

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def hold(self, path: str) -> threading.Event:
        """The next request of the path gets half of the file, and the event is set; then nothing more comes."""
        self.held[path] = threading.Event()
        return self.held[path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.strip("/")
        file = self.folder / path
        if not file.is_file():
            file = file / "index.html"
        if not file.is_file():
            request.send_error(404)
            return
        content = file.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        self.ranges.append((path, start))
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        if path in self.held:
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            self.held.pop(path).set()
            with suppress(ConnectionError):
                request.rfile.read()  # until the one who asked is gone
            return
        request.wfile.write(content[start:])


def place(folder: Path, dataset: str, file: str) -> Path:
    """Where a mirror in ``folder`` has the file: at its address in sources.csv."""
    address = next(source for source in sources(dataset, file) if source.access == "open").address
    path = folder / address.partition("://")[2]
    path = path / "index.html" if address.endswith("/") else path
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def picture(file: Path, number: int, of_class: int) -> None:
    """Coloured by its class, stripes and noise by its number."""
    file.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([of_class, number])
    pixels = np.random.default_rng(of_class).uniform(40, 215, 3) + generator.normal(0, 25, (48, 64, 3))
    pixels[:, :: 3 + of_class] += 60
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)


def text(number: int, of_class: int) -> str:
    """Words that every class has, and more of those that its own class prefers."""
    generator = np.random.default_rng([1, of_class, number])
    weights = np.ones(len(WORDS))
    weights[2 * of_class % len(WORDS)] += 8
    return " ".join(generator.choice(WORDS, 12, p=weights / weights.sum()))


def zipped(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))


def write_wikipedia(mirror: Path, scratch: Path) -> None:
    """wikipedia_dataset.zip: texts as XML, pictures by category, both lists, categories and the features' matrices."""
    top, lines = scratch / "wikipedia_dataset", {"train": [], "test": []}
    (top / "texts").mkdir(parents=True)
    for c, (category, n) in enumerate(WIKIPEDIA.items()):
        for i in range(n):
            name = f"{category}{i:03}"
            picture(top / "images" / category / f"{name}.jpg", i, c)
            body = f"<document>\n<name>{name} & others</name>\n<text>\n{text(i, c)} &amp; more\n</text>\n</document>\n"
            (top / "texts" / f"{name}-1.xml").write_text(body)
            lines["test" if i % 4 == 3 else "train"].append(f"{name}-1\t{name}\t{c + 1}\n")
    for part, file in (("train", "trainset_txt_img_cat.list"), ("test", "testset_txt_img_cat.list")):
        (top / file).write_text("".join(lines[part]))
    (top / "categories.list").write_text("".join(f"{category}\n" for category in WIKIPEDIA))
    generator = np.random.default_rng(2)
    sizes = {"tr": len(lines["train"]), "te": len(lines["test"])}
    arrays = {
        f"{m}_{p}": generator.dirichlet(np.ones(d), n) for m, d in (("I", 128), ("T", 10)) for p, n in sizes.items()
    }
    scipy.io.savemat(top / "raw_features.mat", arrays)
    (top / "README").write_bytes(generator.bytes(2**20))  # so that half of the archive is many chunks of a download
    zipped(place(mirror, "wikipedia", "wikipedia_dataset.zip"), top)


def write_pascal_sentence(mirror: Path) -> None:
    """The page, a table of pictures with a table of sentences each, and the pictures below it."""
    page = place(mirror, "pascal_sentence", "pascal-sentences.html")
    rows = []
    for c, (category, n) in enumerate(PASCAL.items()):
        for i in range(n):
            picture(page.parent / category / f"2008_{c}{i:05}.jpg", i, c)
            sentences = "".join(f"<tr><td> {text(5 * i + s, c)}. </td></tr>\n" for s in range(5))
            rows.append(
                f'<tr><td><img src="{category}/2008_{c}{i:05}.jpg"></td><td><table>{sentences}</table></td></tr>'
            )
    page.write_text(f"<html><body><table>{''.join(rows)}</table></body></html>")


def write_nus_wide(mirror: Path, scratch: Path, cache: Path) -> None:
    """The lists of pictures, tags and concepts; the pictures, which the laboratory gives out by hand, in the cache.

    Of each class there is one picture more without tags, and one that belongs to another concept too.
    """
    classes = nus_wide_10k.CLASSES
    rows = [(c, i) for c in range(len(classes)) for i in range(NUS_WIDE + 2)]
    names = [f"{classes[c]}\\{i:04}_{9000 + 100 * c + i}.jpg" for c, i in rows]
    for name, (c, i) in zip(names, rows, strict=True):
        picture(cache / "datasets" / "nus_wide" / "Flickr" / name.replace("\\", "/"), i, c)
    tags = ["" if i == NUS_WIDE else text(i, c) for c, i in rows]
    lists = scratch / "ImageList"
    lists.mkdir(parents=True)
    for file, chosen in (
        ("Imagelist.txt", names),
        ("TrainImagelist.txt", names[::2]),
        ("TestImagelist.txt", names[1::2]),
    ):
        (lists / file).write_text("\r\n".join(chosen) + "\r\n")
    zipped(place(mirror, "nus_wide", "ImageList.zip"), lists)
    tagged = scratch / "tags"
    tagged.mkdir()
    numbers = [Path(name).stem.rpartition("_")[2] for name in names]
    lines = (f"{number}      {words}\r\n" for number, words in zip(numbers, tags, strict=True))
    (tagged / "All_Tags.txt").write_text("".join(lines))
    zipped(place(mirror, "nus_wide", "NUS_WID_Tags.zip"), tagged)
    labels = scratch / "Groundtruth" / "AllLabels"
    labels.mkdir(parents=True)
    for c, name in enumerate(classes):
        column = [int(own == c or (i == NUS_WIDE + 1 and (own + 1) % len(classes) == c)) for own, i in rows]
        (labels / f"Labels_{name}.txt").write_text("\n".join(map(str, column)) + "\n")
    zipped(place(mirror, "nus_wide", "Groundtruth.zip"), labels.parent)
