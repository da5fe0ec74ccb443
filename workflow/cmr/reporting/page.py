"""Builds the report: one self-contained page, its figures as SVG and PDF, its tables as CSV and LaTeX."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from multiprocessing import get_context
from os import sched_getaffinity
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cmr.errors import UserError
from cmr.publish import atomic
from cmr.reporting import drawing, gallery, headline, origins, published, significance, tables
from cmr.reporting.collect import Collection, load
from cmr.reporting.figures import Figure, of_protocol
from cmr.reporting.gallery import Catalogue
from cmr.reporting.protocols import Protocol, protocols
from cmr.reporting.space import maps

LIMIT = 15_000_000
RESERVE = 200_000
MAX_PICTURES = 5_000_000
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
    own that results may refer to. The same results give the same
    bytes. Raises `UserError` where results are missing or damaged, or the page would be larger than 15 MB.
    """
    results, out = Path(results), Path(out)
    collection = load(results, experiments, folders)
    compared = protocols(collection)
    rows = collection.united_rows()
    evidence = significance.weigh(collection, rows)
    blocks = headline.blocks(compared, rows, evidence)
    printed = published.compare(published.read(), compared, rows)
    figures = {p.key: [*of_protocol(p, rows), *maps(p)] for p in compared}
    everything = [figure for of_one in figures.values() for figure in of_one]
    pictures = draw_all(out / "figures", everything)
    tables.write_all(out / "tables", rows, evidence, blocks, everything, printed)
    context = {
        "title": title,
        "notes": collection.notes,
        "protocols": compared,
        "overview": origins.overview(compared, blocks),
        "blocks": blocks,
        "signs": headline.SIGNS,
        "directions": list(dict.fromkeys(d for block in blocks for d in block.directions)),
        "sections": {key: name for key, name in SECTIONS.items() if any(f.section == key for f in everything)},
        "metric_options": headline.metric_options(blocks),
        "figures": figures,
        "pictures": {f.name: pictures[f.name] for f in everything if not f.method},
        "printed": printed,
        **provenance(collection, title),
    }
    own = roots or {}
    catalogues = {
        data: Catalogue(p.items, own.get(data, results / "data" / data), results, (*folders, *map(str, own.values())))
        for p in compared
        for data in [p.first.data]
    }
    with atomic(out / "index.html") as temporary:
        temporary.write_text(render(context, compared, figures, catalogues), "utf-8")
    return out / "index.html"


def draw_all(folder: Path, figures: Sequence[Figure]) -> dict[str, str]:
    """Writes every figure as SVG and PDF, on several cores; returns the SVGs by the figures' names."""
    folder.mkdir(parents=True, exist_ok=True)
    workers = min(MAX_PROCESSES, len(sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:  # other ways run the caller's script again
        drawn = list(pool.map(drawing.static, figures))
    for figure, files_by_ending in zip(figures, drawn, strict=True):
        for ending, content in files_by_ending.items():
            with atomic(folder / f"{figure.name}.{ending}") as temporary:
                temporary.write_bytes(content)
    return {figure.name: by_ending["svg"].decode() for figure, by_ending in zip(figures, drawn, strict=True)}


def provenance(collection: Collection, title: str) -> dict[str, Any]:
    return {
        "experiments": [
            (index.name, len(index.runs), origins.configuration(index, title))
            for experiment in collection.experiments
            for index in experiment.indices
        ],
        "versions": origins.versions(collection.runs),
        "hardware": origins.hardware(collection.runs),
        "usage": origins.usage(collection.runs),
        "runs": origins.run_table(collection.runs),
        "credits": origins.credits(collection),
        "licences": origins.licences(collection),
    }


def render(
    context: Mapping[str, Any],
    compared: Sequence[Protocol],
    figures: Mapping[str, Sequence[Figure]],
    catalogues: Mapping[str, Catalogue],
) -> str:
    """The page's text. Thumbnails take what room the rest leaves, the same share for each data set."""
    template = environment().get_template("page.html")
    data = script_data(compared, figures, catalogues)
    assets = {
        "plotly": inlined(asset("plotly", "package_data/plotly.min.js")),
        "datatables": asset("itables", "html/dt_bundle.js"),
        "datatables_css": inlined(asset("itables", "html/dt_bundle.css")),
    }
    bare = template.render(**context, **assets, data=data, thumbnails={})
    room = min(LIMIT - RESERVE - len(bare.encode()), MAX_PICTURES)
    if room < 0:
        raise UserError(f"the page would be larger than {LIMIT / 1e6:.0f} MB; report fewer experiments at a time")
    thumbnails = {name: catalogue.thumbnails(room // len(catalogues)) for name, catalogue in catalogues.items()}
    return template.render(**context, **assets, data=data, thumbnails=thumbnails)


def environment() -> Environment:
    """Jinja2 that escapes all values; ``tojson`` escapes what could end a script."""
    made = Environment(
        loader=PackageLoader("cmr.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
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


def script_data(
    compared: Sequence[Protocol], figures: Mapping[str, Sequence[Figure]], catalogues: Mapping[str, Catalogue]
) -> dict[str, Any]:
    """What the page's script reads: plots, galleries, and the items that both refer to by number."""
    galleries = {p.key: {"data": p.first.data} | gallery.of_protocol(p, catalogues[p.first.data]) for p in compared}
    plots = {f.name: _plot(f, catalogues[p.first.data]) for p in compared for f in figures[p.key]}
    return {
        "plots": plots,
        "galleries": galleries,
        "items": {name: catalogue.columns() for name, catalogue in catalogues.items()},
    }


def _plot(figure: Figure, catalogue: Catalogue) -> dict[str, Any]:
    plot = drawing.plotly(figure)
    for trace in plot["data"]:
        if "customdata" in trace:
            trace["customdata"] = [catalogue.number(item) for item in trace["customdata"]]
    return plot
