"""Writes what follows from the code: the README's tables and the pages of docs/reference.

python docs/generate.py
"""

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from pydantic import BaseModel  # noqa: E402

from cmr import cluster, code, config, registry  # noqa: E402
from cmr.info import Info  # noqa: E402
from cmr.reporting import choice, measured, published, summary  # noqa: E402
from cmr.reporting.collect import Row  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by docs/generate.py. -->\n"
TITLES = {
    "datasets": "Data sets",
    "extractors": "Extractors",
    "dictionaries": "Dictionaries",
    "methods": "Methods",
    "metrics": "Metrics",
}
ONE_PAGE_EACH = ("methods", "extractors", "datasets")
"""Kinds of plug-ins of which there are too many for one page."""
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
IMPLEMENTATION = {"own": "own code", "library": "from a library", "quoted": "quoted, not run"}


def main() -> None:
    written = files()
    for left in set(REFERENCE.rglob("*.md")) - set(written):  # of a plug-in that is gone
        left.unlink()
    for file, text in written.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def files() -> dict[Path, str]:
    """Every generated file, and what it should hold."""
    readme, page = ROOT / "README.md", ROOT / "docs" / "from_python.md"
    reference = {REFERENCE / "configuration.md": configuration_page(), REFERENCE / "code.md": code_page()}
    for kind in registry.FOLDERS:
        reference |= plugin_pages(kind)
    notebooks = {page.with_suffix(".ipynb"): notebook(page.read_text("utf-8"))}
    measured = {
        file: with_measured(file.read_text("utf-8")) for file in sorted((ROOT / "docs" / "methods").glob("*.md"))
    }
    return {readme: filled(readme.read_text("utf-8")), **reference, **notebooks, **measured}


# The notebook ------------------------------------------------------------------------------------------------------

PYTHON = re.compile(r"```python\n(.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)


def notebook(page: str) -> str:
    """A page as a notebook without outputs: its Python blocks are code cells, and what stands between is text."""
    cells = []
    for number, part in enumerate(PYTHON.split(page)):
        kind = "code" if number % 2 else "markdown"
        text = part.strip() if kind == "code" else DOWNLOAD.sub("", part).strip()
        more = {"execution_count": None, "outputs": []} if kind == "code" else {}
        if text:
            source = text.splitlines(keepends=True)
            cells.append({"cell_type": kind, "id": f"cell-{number}", "metadata": {}, **more, "source": source})
    language = {"language_info": {"name": "python"}}
    value = {"cells": cells, "metadata": language, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


DOWNLOAD = re.compile(r"\{download\}`.*?`\.\n")


# README ------------------------------------------------------------------------------------------------------------


def filled(text: str) -> str:
    """The text with the tables between its markers ``<!-- methods -->`` and ``<!-- end -->`` written anew."""
    tables = {"methods": method_table(), "datasets": dataset_table(), "extractors": extractor_table()}
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda found, t=table: f"{found[1]}{t}{found[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"README.md: expected one <!-- {name} --> … <!-- end -->, found {count}")
    return text


def method_table() -> str:
    names = grouped_methods(lambda name, info: f"`{name}`")
    return table(["methods", ""], [[group, ", ".join(members)] for group, members in names.items()])


def grouped_methods(shown: Callable[[str, Any], Any]) -> dict[str, list[Any]]:
    """What is shown of each method, by what it sees."""
    groups: dict[str, list[Any]] = {"with labels": [], "without labels": [], "transductive": [], "quoted, not run": []}
    for name, info in plugins("methods"):
        supervision = "with labels" if info.labels else "without labels"
        runs = "transductive" if info.transductive else supervision
        groups["quoted, not run" if info.implementation == "quoted" else runs].append(shown(name, info))
    return groups


def dataset_table() -> str:
    rows = [[f"`{name}`", info.items, info.classes, ", ".join(info.modalities)] for name, info in plugins("datasets")]
    return table(["data set", "items", "classes", "modalities"], rows)


def extractor_table() -> str:
    found: dict[str, list[str]] = {}
    for name, info in plugins("extractors"):
        found.setdefault(info.modality, []).append(f"`{name}`")
    return table(["extractors", ""], [[modality, ", ".join(names)] for modality, names in found.items()])


# Measured ----------------------------------------------------------------------------------------------------------

MEASURED = re.compile(r"(<!-- measured (\S+)((?: \w+=\S+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
PRINTED = "printed"


def with_measured(text: str) -> str:
    """The page with its tables of measured results written anew.

    Such a table stands between ``<!-- measured FILE.csv KEY=PATTERN ... -->`` and ``<!-- end -->``: of the rows of
    ``resources/measured/FILE.csv`` those that match, a line a method, best first, as ``cmr summary`` shows them.
    Rows of several metrics are of one direction, and a column a metric. ``printed=PAPER/TABLE/FEATURES`` leaves the
    methods that the table prints on the same split with these features, and adds what it prints. ``by=NAME/OTHER``
    makes a grid of the averages over directions, or those of ``query=MODALITY``, by the values of two parameters;
    ``by=NAME`` a line a value, with a column a direction.
    """
    return MEASURED.sub(lambda found: f"{found[1]}{measured_table(found[2], found[3].split())}{found[4]}", text)


def measured_table(name: str, wanted: Sequence[str]) -> str:
    patterns = dict(key.split("=", 1) for key in wanted)
    source, by = patterns.pop(PRINTED, ""), patterns.pop("by", "")
    if "/" in by:
        patterns = {"query": "average"} | patterns
    rows = choice.matching(measured.read(ROOT / "resources" / "measured" / name), patterns)
    if source:
        return table_beside_printed(rows, *source.split("/"))
    if by:
        return table_by_parameters(rows, *by.split("/"))
    ((_, metrics),) = _protocols(rows).items()
    column = summary.direction if len(metrics) == 1 else (lambda row: row["metric"])
    head, *lines = summary.block_rows(rows, "**{}**".format, column)
    cards = _cards(rows)
    return table(
        head,
        [
            [f"`{name}`" if name != "chance" else name, *cells, fit + cards.get(name, ""), memory]
            for name, *cells, fit, memory in lines
        ],
    )


def _cards(rows: Sequence[Row]) -> dict[str, str]:
    """Name in the table → the GPU that a method was fitted on, as it stands behind the seconds."""
    names = summary.labels(rows)
    of_row = ((names[row["group"]], row["hardware"].partition("NVIDIA ")[2]) for row in rows)
    return {name: f", {card}" for name, card in of_row if card}


def table_beside_printed(rows: Sequence[Row], paper: str, number: str, features: str) -> str:
    """Rows of one metric whose method a printed table has as it is, with no parameter changed."""
    source = (paper, f"Table {number}", features, "")
    quoted = [q for q in published.read() if (q["paper"], q["table"], q["features"], q["params"]) == source]
    figures = {what_is_measured(q): q["value"] for q in quoted}
    rows = [row for row in rows if what_is_measured(row) in figures]
    printed: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        printed[row["id"]].append(figures[what_is_measured(row)])
    head, *lines = summary.block_rows(rows, "**{}**".format, summary.direction)
    shown = [line for line in lines if line[0] in printed]
    return table([*head, "printed"], [[f"`{line[0]}`", *line[1:], ", ".join(printed[line[0]])] for line in shown])


def table_by_parameters(rows: Sequence[Row], name: str, other: str = "") -> str:
    """Means and deviations over seeds by the values of parameters, in their order; empty where no run has them."""
    ((_, metrics),) = _protocols(rows).items()
    assert len(metrics) == 1, f"figures of one metric, not of {sorted(metrics)}"
    cells: dict[Any, dict[Any, str]] = defaultdict(dict)
    columns: dict[Any, str] = {}
    for row in rows:
        given = json.loads(row["parameters"]).get("params", {})
        params = registry.params("methods", row["method"], {}).model_dump() | given
        column = params[other] if other else summary.direction(row)
        columns[column] = f"`{other}` {column}" if other else column
        assert column not in cells[params[name]], f"two figures of {name} {params[name]}, {columns[column]}"
        cells[params[name]][column] = summary.cell(row)
    order = sorted(columns) if other else list(columns)
    lines = [[f"{value}", *(cells[value].get(column, "") for column in order)] for value in sorted(cells)]
    return table([f"`{name}`", *(columns[column] for column in order)], lines)


what_is_measured = itemgetter("dataset", "split", "method", "query", "gallery", "metric")


def _protocols(rows: Iterable[Row]) -> dict[tuple[str, ...], set[str]]:
    """Data set, split and inputs → metrics."""
    found: dict[tuple[str, ...], set[str]] = {}
    for *protocol, metric in summary.blocks(rows):
        found.setdefault(tuple(protocol), set()).add(metric)
    return found


# Plug-ins ----------------------------------------------------------------------------------------------------------


def plugins(kind: str) -> list[tuple[str, Any]]:
    return [(name, registry.info(kind, name)) for name in registry.names(kind)]


def plugin_pages(kind: str) -> dict[Path, str]:
    """One page of a kind; where there are many plug-ins, a page each and an index."""
    index, head = REFERENCE / f"{kind}.md", [NOTE, f"# {TITLES[kind]}\n"]
    if kind not in ONE_PAGE_EACH:
        sections = [plugin_text(kind, name, info, "##", "../") for name, info in plugins(kind)]
        return {index: "\n".join([*head, *sections])}
    pages = {
        REFERENCE / kind / f"{name}.md": f"{NOTE}\n{plugin_text(kind, name, info, '#', '../../')}"
        for name, info in plugins(kind)
    }
    return {index: "\n".join([*head, *index_tables(kind), PAGES.format(kind=kind)]), **pages}


PAGES = """```{{toctree}}
:hidden:
:glob:

{kind}/*
```
"""


def plugin_text(kind: str, name: str, info: Any, level: str, docs: str) -> str:
    """Title, what ``INFO`` says, the file's docstring, and the parameters. ``docs``: the way to the folder docs."""
    file = registry.path(kind, name)
    facts = {"name": f"`{name}`, in `{file.relative_to(ROOT)}`", **stated(info)}
    if (ROOT / "docs" / kind / f"{name}.md").exists():
        facts["measured"] = f"[here]({docs}{kind}/{name}.md)"
    parts = [f"{level} {info.title}\n", table(["", ""], [[key, value] for key, value in facts.items()])]
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    parts.append(f"{docstring}\n")
    if parameters := parameter_table(registry.params_model(kind, name)):
        parts.append(parameters)
    return "\n".join(parts)


def index_tables(kind: str) -> list[str]:
    """What one compares before choosing a plug-in, a row each, with a link to its page."""
    if kind == "datasets":
        rows = [
            [link(kind, name), info.title, info.items, info.classes, ", ".join(info.modalities)]
            for name, info in plugins(kind)
        ]
        return [table(["name", "title", "items", "classes", "modalities"], rows)]
    if kind == "extractors":
        rows = [
            [link(kind, name), info.title, info.modality, info.kind, info.gives, in_words(info.uses_labels), info.paper]
            for name, info in plugins(kind)
        ]
        return [table(["name", "title", "modality", "kind", "gives", "uses labels", "paper"], rows)]
    return [
        f"## {group.capitalize()}\n\n{table(METHOD_COLUMNS, rows)}"
        for group, rows in grouped_methods(method_row).items()
    ]


METHOD_COLUMNS = ["name", "title", "takes", "needs pairs", "needs labels", "modalities", "stochastic"]
METHOD_COLUMNS += ["memory", "paper"]


def method_row(name: str, info: Any) -> list[str]:
    runs = info.implementation != "quoted"  # of what is quoted the first two are not known
    takes, pairs = (", ".join(info.takes), in_words(info.pairs)) if runs else ("–", "–")
    memory = info.memory if runs else "–"
    needs = [takes, pairs, in_words(info.labels), str(info.modalities), in_words(info.stochastic), memory]
    return [link("methods", name), info.title, *needs, info.paper]


def link(kind: str, name: str) -> str:
    return f"[`{name}`]({kind}/{name}.md)"


def stated(info: Info) -> dict[str, str]:
    """What ``INFO`` says, less what is at its default, in words."""
    said = info.model_dump(mode="json", exclude={"title", "bibtex"}, exclude_defaults=True)
    if "implementation" in said:
        said["implementation"] = IMPLEMENTATION[said["implementation"]]
    return {key.replace("_", " "): in_words(value) for key, value in said.items()}


def in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"`{key}`: {text}" for key, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def parameter_table(model: type[BaseModel]) -> str:
    """Name, accepted values, default and meaning of each field; empty where there is none."""
    schema = model.model_json_schema()
    known = schema.get("$defs", {})
    rows = []
    for name, field in schema.get("properties", {}).items():
        meaning, _, in_words = field.get("description", "").partition("; default: ")
        default = in_words.rstrip(".") or default_of(field)
        rows.append([f"`{name}`", accepted(field, known), default, f"{meaning}." if in_words else meaning])
    return table(["key", "takes", "default", "meaning"], rows) if rows else ""


def accepted(field: dict[str, Any], known: dict[str, Any]) -> str:
    """The values that a field takes, from its JSON schema."""
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2].removesuffix("Entry").lower()
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(accepted(option, known) for option in field["anyOf"]))
    bounds = [text.format(field[key]) for key, text in BOUNDS.items() if key in field]
    return " ".join([field_type(field, known), *bounds])


def field_type(field: dict[str, Any], known: dict[str, Any]) -> str:
    if field.get("type") == "array":
        inner = field.get("items") or next(iter(field.get("prefixItems", [])), {})
        return f"list of {accepted(inner, known)}" if inner else "list"
    names = {"integer": "integer", "number": "number", "string": "text", "boolean": "yes or no", "object": "mapping"}
    return {**names, "null": "null"}.get(field.get("type", ""), "any value")


def default_of(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    value = field["default"]
    if value in ("", [], {}):
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


# Configuration -----------------------------------------------------------------------------------------------------


STAGE_KINDS = {
    "download": ("datasets",),
    "prepare": ("datasets",),
    "split": ("datasets",),
    "weights": ("extractors",),
    "learn": ("extractors", "datasets"),
    "shard": ("extractors", "datasets"),
    "extract": ("extractors", "datasets"),
    "encode": ("dictionaries",),
    "fit": ("methods",),
    "evaluate": ("methods", "metrics"),
    "collect": (),
    "report": (),
}
"""Stage → the kinds of plug-ins whose code its jobs run."""
NAMED = 2  # plug-ins in a cell; of more, the number


def code_page() -> str:
    """Modules × stages: whose edit makes which results again, and why others' makes none."""
    marks = {stage: module_marks(stage, kinds) for stage, kinds in STAGE_KINDS.items()}
    modules = sorted({module for found in marks.values() for module in found})
    rows = [[f"`{short(module)}`", *(marks[stage].get(module, "") for stage in STAGE_KINDS)] for module in modules]
    left = [[f"`{short(module)}`", reason] for module, reason in code.LEFT_OUT.items()]
    return f"""# What code a result depends on

{NOTE}
An edit of a module makes these results again, and what is made from them: `all` of the stage, or those of the plug-ins
that are named or counted. Comments, docstrings and empty lines are no edit. A plug-in's own file counts for itself.

{table(["module", *STAGE_KINDS], rows)}

## What is left out

An edit of these modules makes nothing again.

{table(["module", "why"], left)}
"""


def module_marks(stage: str, kinds: Sequence[str]) -> dict[str, str]:
    """Module → ``all``, or the plug-ins with whose jobs of the stage it runs."""
    common = code.modules(stage, ())
    users: dict[str, dict[str, list[str]]] = {}
    for kind in kinds:
        for name in runnable(kind):
            for module in code.modules(stage, ((kind, name),)) - common:
                users.setdefault(module, {}).setdefault(kind, []).append(name)
    return dict.fromkeys(common, "all") | {module: users_text(found) for module, found in users.items()}


def users_text(found: dict[str, list[str]]) -> str:
    """``all methods``, ``3 methods``, or their names."""
    texts = []
    for kind, names in found.items():
        some = ", ".join(f"`{name}`" for name in names) if len(names) <= NAMED else f"{len(names)} {kind}"
        texts.append(f"all {kind}" if names == runnable(kind) else some)
    return "; ".join(texts)


def runnable(kind: str) -> list[str]:
    infos = {name: registry.info(kind, name) for name in registry.names(kind)}
    return [name for name, info in infos.items() if getattr(info, "implementation", "") != "quoted"]


def short(module: str) -> str:
    """``cmr.datasets.base`` → ``datasets/base.py``."""
    path = module.removeprefix("cmr").lstrip(".").replace(".", "/")
    package = (registry.PACKAGE / path).is_dir()
    return f"{path}/__init__.py".lstrip("/") if package else f"{path}.py"


def configuration_page() -> str:
    models = {
        "Top level": config.Config,
        "datasets": config.DatasetEntry,
        "features": config.FeatureEntry,
        "dictionaries": config.DictionaryEntry,
        "metrics": config.MetricEntry,
        "experiments": config.Experiment,
        "experiments: methods": config.MethodEntry,
    }
    parts = [
        "# Configuration\n",
        NOTE,
        "The keys of `config.yaml` and of the files that extend it: with `snakemake --configfile FILE` mappings are\n"
        "merged and lists replaced. A bare name in a list stands for the entry with that id, or for the plug-in of\n"
        "that name with its defaults. A mistake is one line with the key, what was expected and the nearest name.\n"
        "The `params` of each plug-in stand with the plug-in: [methods](methods.md), [data sets](datasets.md),\n"
        "[extractors](extractors.md), [dictionaries](dictionaries.md), [metrics](metrics.md).\n",
    ]
    for title, model in models.items():
        said = f"{model.__doc__.strip()}\n" if model.__doc__ else None
        parts += filter(None, [f"## {title}\n", said, parameter_table(model)])
    return "\n".join([*parts, "## slurm/site.yaml\n", parameter_table(cluster.Site)])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
