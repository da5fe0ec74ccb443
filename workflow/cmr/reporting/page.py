"""Builds the report: one page, its figures as SVG and PDF, its tables as CSV and LaTeX.

The page holds all that its script reads where that fits, and refers to files beside it where it does not.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cmr.device import cores
from cmr.errors import UserError
from cmr.progress import duration
from cmr.publish import atomic
from cmr.reporting import answer, drawing, headline, origins, over_datasets, published, significance, tables
from cmr.reporting.collect import AVERAGE, Collection, Row, load
from cmr.reporting.figures import MAX_CLASSES, Figure, of_protocol
from cmr.reporting.gallery import Catalogue
from cmr.reporting.parts import JSON, Part, parts
from cmr.reporting.pivot import Pivot, pivot
from cmr.reporting.printed_figures import labelled
from cmr.reporting.protocols import MOST, Protocol, protocols
from cmr.reporting.significance import Column, Evidence
from cmr.reporting.space import maps

LIMIT = 15_000_000
"""Bytes of a page; what would make it larger stands beside it."""

FRAME = 6_500_000
"""Of the page without pictures and parts: mostly plotly.js and DataTables."""

PICTURE = 80_000
"""Of a figure in the page, about."""

MAX_THUMBNAILS = 20_000_000
"""Bytes of a data set's."""

DRAWN = 10
"""Methods of a protocol, the best, whose own figures (confusion, map, fits) are drawn as files."""

MAX_RUNS = 200
"""Runs that the page lists; ``tables/runs.csv`` has all."""

MAX_PROCESSES = 4

SECTIONS = {
    "curves": ("Curves", "Precision, recall, scope"),
    "classes": ("Classes", "Classes"),
    "confusion": ("Confusion", "Confusion between classes"),
    "map": ("Map", "Map of the common space"),
    "cost": ("Cost", "Time and memory"),
    "convergence": ("Fits", "Course of the fits"),
    "grids": ("Grids", "Parameter grids"),
}


def build(
    results: Path,
    out: Path,
    experiments: Iterable[Path] | None = None,
    title: str = "Cross-modal retrieval",
    roots: Mapping[str, Path] | None = None,
    folders: tuple[str, ...] = (),
) -> Path:
    """Writes ``out/index.html``, ``out/figures`` and ``out/tables``; returns the page. Reads ``results`` only.

    ``experiments``: index files, by default all. ``roots``: data set's path component → the folder that the pictures'
    paths are relative to, where it is not the data set's own below ``results/data``. ``folders``: those of the user's
    own that results may refer to. The same results give the same bytes. Raises `UserError` where results are missing or
    damaged.
    """
    return write(gather(Path(results), experiments, roots or {}, folders), Path(out), title)


@dataclass(frozen=True)
class Report:
    """What the page and its files are made of.

    ``figures``: those of each protocol, by its key; ``filed``: those that are drawn as files. ``beside``: whether the
    page reads ``parts`` from files beside it.
    """

    collection: Collection
    protocols: list[Protocol]
    rows: list[Row]
    evidence: dict[tuple[Column, str], Evidence]
    blocks: list[headline.Block]
    answers: list[answer.Answer]
    over: Pivot | None
    ranked: over_datasets.Ranked | None
    printed: list[published.Table]
    figures: dict[str, list[Figure]]
    filed: list[Figure]
    catalogues: dict[str, Catalogue]
    parts: list[Part]
    beside: bool


def gather(
    results: Path, experiments: Iterable[Path] | None, roots: Mapping[str, Path], folders: tuple[str, ...]
) -> Report:
    """Reads ``results``; the arguments are those of `build`."""
    collection = load(results, experiments, folders)
    compared = protocols(collection)
    rows = collection.united_rows()
    evidence = significance.weigh(collection, rows)
    blocks = headline.blocks(compared, rows, evidence)
    answers = answer.answers(blocks)
    over = pivot(blocks)
    ranked = over_datasets.compare(over) if over else None
    printed = published.compare(published.read(), compared, rows)
    first = {found.block.protocol.key: [answer.intervals(found)] for found in answers}
    figures = {p.key: [*first[p.key], *labelled(p, of_protocol(p, rows)), *maps(p)] for p in compared}
    own = (*folders, *map(str, roots.values()))
    catalogues = {
        data: Catalogue(p.items, roots.get(data, results / "data" / data), results, own)
        for p in compared
        for data in [p.first.data]
    }
    read = parts(compared, figures, catalogues, MAX_THUMBNAILS)
    filed = [figure for p in compared for figure in with_files(p, figures[p.key])]
    filed += [over_datasets.diagram(ranked)] if ranked else []
    general = sum(not figure.method for figure in filed)
    beside = FRAME + PICTURE * general + sum(len(part.text.encode()) for part in read) > LIMIT
    return Report(
        collection, compared, rows, evidence, blocks, answers, over, ranked, printed, figures, filed, catalogues, read,
        beside,
    )  # fmt: skip


def write(report: Report, out: Path, title: str) -> Path:
    """Writes the figures, the tables and, at last, the page, whose path it returns."""
    r = report
    pictures = draw_all(out / "figures", r.filed)
    if r.beside:
        write_beside(out / "figures", r.parts)
    tables.write_all(out / "tables", r.rows, r.evidence, r.blocks, r.over, r.filed, r.printed)
    runs = origins.run_table(r.collection.runs)
    tables.write(out / "tables" / "runs.csv", tables.of_runs(runs))
    context = {
        "title": title,
        "notes": [*r.collection.notes, *left_out(r.protocols, r.catalogues, r.beside)],
        "protocols": r.protocols,
        "answers": [(found, answer.by_class(found)) for found in r.answers],
        "over": r.over,
        "ranked": r.ranked,
        "diagrams": [figure for figure in r.filed if figure.kind == "ranks"],
        "overview": origins.overview(r.protocols),
        "blocks": r.blocks,
        "signs": headline.SIGNS,
        "directions": sorted(dict.fromkeys(d for b in r.blocks for d in b.directions), key=lambda d: d != AVERAGE),
        "sections": {key: name for key, name in SECTIONS.items() if any(f.section == key for f in r.filed)},
        "metric_options": headline.metric_options(r.blocks),
        "figures": r.figures,
        "filed": {figure.name for figure in r.filed},
        "printed": r.printed,
        "beside": r.beside,
        "parts": r.parts,
        **provenance(r.collection, title),
        "runs": runs[:MAX_RUNS],
        "run_count": len(runs),
    }
    with atomic(out / "index.html") as temporary:
        temporary.write_text(render(context, {f.name: pictures[f.name] for f in r.filed if not f.method}), "utf-8")
    return out / "index.html"


def with_files(protocol: Protocol, figures: Sequence[Figure]) -> list[Figure]:
    """The figures that are drawn as files: those of all methods, and the best methods' own."""
    best = {group.name for group in protocol.shown[:DRAWN]}
    return [figure for figure in figures if not figure.method or figure.method in best]


def write_beside(folder: Path, read: Sequence[Part]) -> None:
    for part in read:
        with atomic(folder / part.file) as temporary:
            temporary.write_text(part.script, "utf-8")


def left_out(compared: Sequence[Protocol], catalogues: Mapping[str, Catalogue], beside: bool) -> list[str]:
    """What the page does not show, or not by itself, in sentences."""
    found = []
    most = max(len(protocol.ranked) for protocol in compared)
    if most > MOST:
        found.append(f"Plots and the gallery show the {MOST} best of up to {most} methods. The table has all.")
    if max(len(protocol.shown) for protocol in compared) > DRAWN:
        found.append(f"Confusion, map and fits are files for the {DRAWN} best methods alone.")
    many = {p.first.data: len(p.items.classes) for p in compared if len(p.items.classes) > MAX_CLASSES}
    for name, classes in many.items():
        found.append(f"{name} has {classes} classes: confusion is shown of {MAX_CLASSES} classes at most.")
    for name, catalogue in catalogues.items():
        if catalogue.left_out:
            found.append(f"{catalogue.left_out} of {len(catalogue.numbers)} pictures of {name} are left out.")
    if beside:
        found.append("Plots and gallery read files in the folder figures beside this page: copy it along.")
    return found


def draw_all(folder: Path, figures: Sequence[Figure]) -> dict[str, str]:
    """Writes every figure as SVG and PDF, on several cores; returns the SVGs by the figures' names."""
    workers = min(MAX_PROCESSES, cores())
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:  # other ways run the caller's script again
        drawn = list(pool.map(drawing.static, figures))
    folder.mkdir(parents=True, exist_ok=True)
    for figure, files_by_ending in zip(figures, drawn, strict=True):
        for ending, content in files_by_ending.items():
            with atomic(folder / f"{figure.name}.{ending}") as temporary:
                temporary.write_bytes(content)
    return {figure.name: by_ending["svg"].decode() for figure, by_ending in zip(figures, drawn, strict=True)}


def provenance(collection: Collection, title: str) -> dict[str, Any]:
    return {
        "experiments": origins.configurations(
            [index for experiment in collection.experiments for index in experiment.indices], title
        ),
        "versions": origins.versions(collection.runs),
        "hardware": origins.hardware(collection.runs),
        "usage": origins.usage(collection.runs),
        "credits": origins.credits(collection),
        "licences": origins.licences(collection),
    }


def render(context: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The page's text; ``pictures`` are the SVGs that stand in it, or are referred to where they are too large."""
    template = environment().get_template("page.html")
    scripts = [asset("plotly", "package_data/plotly.min.js"), asset("cmr.reporting", "templates/page.js")]
    assets = {
        "scripts": list(map(inlined, scripts)),
        "policy": policy(scripts, context["beside"]),
        "datatables": asset("itables", "html/dt_bundle.js"),
        "datatables_css": inlined(asset("itables", "html/dt_bundle.css")),
    }
    text = template.render(**context, **assets, pictures=pictures)
    return text if len(text.encode()) <= LIMIT else template.render(**context, **assets, pictures={})


def policy(scripts: Iterable[str], beside: bool) -> str:
    """What a browser lets the page do (Content Security Policy, level 3): run these scripts, DataTables, of which they
    make a blob, and, where parts stand ``beside`` the page, the files there; ask nobody for anything, and send nothing.
    """
    hashes = [f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts]
    files_beside = ["'self'", "file:"]
    runs = " ".join([*hashes, "blob:", *(files_beside if beside else [])])
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {runs}; style-src 'unsafe-inline'; "
        f"img-src data: blob: {' '.join(files_beside)}"
    )


def environment() -> Environment:
    """Jinja2 that escapes all values; ``tojson`` escapes what could end a script."""
    made = Environment(
        loader=PackageLoader("cmr.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = JSON
    made.filters["duration"] = duration
    made.filters["p_in_words"] = significance.p_in_words
    made.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    return made


def asset(package: str, path: str) -> str:
    """The text of a file that an installed package brings."""
    return files(package).joinpath(path).read_text("utf-8")


def inlined(text: str) -> Markup:
    """A script or style sheet that stands in the page as it is."""
    if any(end in text.lower() for end in ("</script", "</style", "<!--")):
        raise UserError("plotly or itables cannot be put into a page; install the versions that pyproject.toml pins")
    return Markup(text)
