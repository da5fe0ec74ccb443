"""Writes what follows from the code: the README's tables and the pages of docs/reference.

python docs/generate.py
"""

import ast
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from pydantic import BaseModel  # noqa: E402

from cmr import cluster, config, registry  # noqa: E402
from cmr.info import Info  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by docs/generate.py. -->\n"
TITLES = {
    "datasets": "Data sets",
    "extractors": "Extractors",
    "dictionaries": "Dictionaries",
    "methods": "Methods",
    "metrics": "Metrics",
}
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
IMPLEMENTATION = {"own": "own code", "library": "from a library", "quoted": "quoted, not run"}


def main() -> None:
    for file, text in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def files() -> dict[Path, str]:
    """Every generated file, and what it should hold."""
    readme = ROOT / "README.md"
    kinds = {REFERENCE / f"{kind}.md": plugin_page(kind) for kind in registry.FOLDERS}
    return {readme: filled(readme.read_text("utf-8")), REFERENCE / "configuration.md": configuration_page(), **kinds}


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
    groups: dict[str, list[str]] = {"with labels": [], "without labels": [], "transductive": [], "quoted, not run": []}
    for name, info in plugins("methods"):
        supervision = "with labels" if info.labels else "without labels"
        runs = "transductive" if info.transductive else supervision
        groups["quoted, not run" if info.implementation == "quoted" else runs].append(f"`{name}`")
    return table(["methods", ""], [[group, ", ".join(names)] for group, names in groups.items()])


def dataset_table() -> str:
    rows = [[f"`{name}`", info.items, info.classes, ", ".join(info.modalities)] for name, info in plugins("datasets")]
    return table(["data set", "items", "classes", "modalities"], rows)


def extractor_table() -> str:
    found: dict[str, list[str]] = {}
    for name, info in plugins("extractors"):
        found.setdefault(info.modality, []).append(f"`{name}`")
    return table(["extractors", ""], [[modality, ", ".join(names)] for modality, names in found.items()])


# Plug-ins ----------------------------------------------------------------------------------------------------------


def plugins(kind: str) -> list[tuple[str, Any]]:
    return [(name, registry.info(kind, name)) for name in registry.names(kind)]


def plugin_page(kind: str) -> str:
    sections = [f"# {TITLES[kind]}\n", NOTE]
    sections += [plugin_section(kind, name, info) for name, info in plugins(kind)]
    return "\n".join(sections)


def plugin_section(kind: str, name: str, info: Any) -> str:
    """Title, what ``INFO`` says, the file's docstring, and the parameters."""
    file = registry.path(kind, name)
    facts = {"name": f"`{name}`, in `{file.relative_to(ROOT)}`", **stated(info)}
    if (ROOT / "docs" / kind / f"{name}.md").exists():
        facts["measured"] = f"[here](../{kind}/{name}.md)"
    parts = [f"## {info.title}\n", table(["", ""], [[key, value] for key, value in facts.items()])]
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    parts.append(f"{docstring}\n")
    if parameters := parameter_table(registry.params_model(kind, name)):
        parts.append(parameters)
    return "\n".join(parts)


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
    rows = [
        [f"`{name}`", accepted(field, known), default_of(field), field.get("description", "")]
        for name, field in schema.get("properties", {}).items()
    ]
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
