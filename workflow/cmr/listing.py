"""What plug-ins there are, for people and for programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmr import registry


def plugins(kinds: Sequence[str], cache: Path, with_parameters: bool) -> dict[str, list[dict[str, Any]]]:
    """Kind → what each plug-in says of itself. ``here``: whether the cache has raw files of a data set.

    ``with_parameters``: each with the JSON schema of its parameters, by name.
    """
    found = {kind: [_describe(kind, name) for name in registry.names(kind)] for kind in kinds}
    for dataset in found.get("datasets", []):
        dataset["here"] = _is_here(dataset["raw"], cache)
    if with_parameters:
        for kind, described in found.items():
            for plugin in described:
                plugin["params"] = _parameters(kind, plugin["name"])
    return found


def lines(kind: str, described: Sequence[dict[str, Any]]) -> list[str]:
    """One line a plug-in."""
    width = max((len(plugin["name"]) for plugin in described), default=0)
    return [f"  {plugin['name']:<{width}}  {_headline(kind, plugin)}" for plugin in described]


def _describe(kind: str, name: str) -> dict[str, Any]:
    return {"name": name, **registry.info(kind, name).model_dump(mode="json", exclude={"bibtex"})}


def _parameters(kind: str, name: str) -> dict[str, Any]:
    """Name → JSON schema of each parameter."""
    return registry.params_model(kind, name).model_json_schema().get("properties", {})


def _is_here(raw: str, cache: Path) -> bool:
    """Whether the cache has raw files of a data set; they are checked when they are used."""
    files = (cache / "datasets" / raw).glob("[!.]*")
    return not raw or any(file.suffix != ".part" for file in files)


def _headline(kind: str, plugin: dict[str, Any]) -> str:
    if kind == "datasets":
        splits = ", ".join(plugin["splits"])
        modalities = ", ".join(plugin["modalities"])
        size = f"{modalities}; {plugin['items']}; {plugin['classes']}"
        here = "here" if plugin["here"] else "not here"
        return f"{plugin['title']}: {size}; splits {splits}; {plugin['licence']}; {plugin['source']} ({here})"
    if kind == "extractors":
        gives = "" if plugin["gives"] == "vector" else f", {plugin['gives']}"
        return f"{plugin['title']} ({plugin['modality']}, {plugin['kind']}{gives})"
    if kind == "methods":
        marks = [plugin["implementation"], "labels" if plugin["labels"] else "unsupervised"]
        marks += ["transductive"] if plugin["transductive"] else []
        marks += ["takes sets"] if plugin["takes"] != ["vector"] else []
        return f"{plugin['title']} ({', '.join(marks)}){': ' + plugin['reason'] if plugin['reason'] else ''}"
    return plugin["title"]
