"""The identity of code: one hash of all that a stage's job runs with a plug-in, less comments and docstrings.

A job reaches modules by imports. They are followed from the stage's module and the plug-ins', wherever they lie in
the package or in the user's folder of plug-ins, so that an edit of any of them is an edit of the stage. `LEFT_OUT` is
the short list of exceptions.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from cmr import project, registry

PACKAGE = registry.PACKAGE

MODULE = re.compile(r"cmr(\.\w+)+")

LEFT_OUT = {
    "cmr": "the version; what Python's users call is looked up when they do",
    "cmr.boundary": "refuses what must not be read; what it lets through stays as it is",
    "cmr.cluster": "what a SLURM cluster is told; no stage imports it for a figure",
    "cmr.code": "computes these hashes",
    "cmr.config": "checks what the user wrote; the checked entries are part of a result's identity themselves",
    "cmr.content": "hashes of files",
    "cmr.errors": "messages",
    "cmr.job": "reads the plan; the job's log and exit status",
    "cmr.machine": "what differs between machines",
    "cmr.mirror": "where downloads are asked for; what arrives is checked and hashed as ever",
    "cmr.own": "the package of the user's own plug-ins; their code is hashed",
    "cmr.paths": "where results lie",
    "cmr.plan": "which results there are; what each is made from and with is part of its identity itself",
    "cmr.process": "settings of the process that change speed alone",
    "cmr.progress": "what a job says while it works",
    "cmr.project": "finds files of the project; those that no record names are hashed themselves (`READ_BY`)",
    "cmr.provenance": "versions, machine, time and memory, for the record",
    "cmr.publish": "how files appear: whole or not at all",
    "cmr.recording": "what every stage does around its work: checks and the record",
    "cmr.records": "writes and reads the record beside a result",
    "cmr.registry": "finds plug-ins; their own code, INFO included, is hashed",
    "cmr.warned": "collects what a stage warns of, for the record",
}
"""Module → why an edit of it makes no result another one. None of them holds an array."""

READ_BY = {
    "cmr.reporting.page": [PACKAGE / "reporting" / "templates"],
    "cmr.reporting.published": [project.path("resources/published")],
}
"""Module → folders of the project whose files it reads and no record names."""


@cache
def of_stage(stage: str, plugins: tuple[tuple[str, str], ...]) -> str:
    """Twelve hex digits for the code of a stage with its plug-ins, given as (kind, name)."""
    digest = hashlib.sha256()
    for module in sorted(modules(stage, plugins)):
        digest.update(f"{module} {_hash_of(module)}\n".encode())
    return digest.hexdigest()[:12]


def without_method(stage: str, plugins: Iterable[tuple[str, str]]) -> str:
    """As `of_stage`, of what a stage runs for all methods alike: it must be the same where methods are compared."""
    return of_stage(stage, tuple(plugin for plugin in plugins if plugin[0] != "methods"))


@cache
def modules(stage: str, plugins: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The modules that a stage's code consists of: what it and its plug-ins reach by imports, less `LEFT_OUT`."""
    found: set[str] = set()
    ahead = [f"cmr.stages.{stage}", *(name for plugin in plugins for name in _run_with(registry.module_name(*plugin)))]
    while ahead:
        module = ahead.pop()
        if module not in found and module not in LEFT_OUT:
            found.add(module)
            ahead += imported(module)
    return frozenset(found)


def _run_with(module: str) -> list[str]:
    """A plug-in's module and, as an own folder may have them, the packages above it that hold code."""
    above = [module.rsplit(".", level)[0] for level in range(1, module.count("."))]
    return [module, *(name for name in above if registry.is_own(name) and _file(name))]


@cache
def imported(module: str) -> tuple[str, ...]:
    """The package's modules that a module names: in an import of any form, anywhere, or as a whole string."""
    names = {name for node in _nodes(module) for name in _named(node, module)}
    parents = {name.rsplit(".", level)[0] for name in names for level in range(1, name.count("."))}
    return tuple(sorted(name for name in names | parents if _file(name)))


@cache
def _nodes(module: str) -> list[ast.AST]:
    """Of a module's syntax tree, what is looked at here: imports, strings, and strings that stand alone."""
    file = _file(module)
    assert file is not None
    kinds = (ast.Import, ast.ImportFrom, ast.Constant, ast.JoinedStr, ast.Expr)
    return [node for node in ast.walk(registry.parsed(file)) if isinstance(node, kinds)]


def _named(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, module)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
        yield node.value  # what importlib is given


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    file = _file(module)
    package = module if file and file.name == "__init__.py" else module.rpartition(".")[0]
    above = package.rsplit(".", node.level - 1)[0]
    return f"{above}.{node.module}" if node.module else above


@cache
def _file(module: str) -> Path | None:
    """The file of one of the package's or the user's own modules; None for other names."""
    if module != "cmr" and not module.startswith("cmr."):
        return None
    own = registry.own_folder() if registry.is_own(module) else None
    place = PACKAGE.joinpath(*module.split(".")[1:]) if own is None else own.joinpath(*module.split(".")[2:])
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@cache
def _hash_of(module: str) -> str:
    """Of a module's bare code, and of the files that it reads (`READ_BY`)."""
    file = _file(module)
    assert file is not None
    digest = hashlib.sha256(bare(file.read_text("utf-8"), _nodes(module)).encode())
    for folder in READ_BY.get(module, ()):
        for other in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{other.name}\n".encode() + other.read_bytes())
    return digest.hexdigest()


def bare(source: str, nodes: Iterable[ast.AST]) -> str:
    """Source without comments, docstrings and empty lines: the same text whichever Python parses it.

    ``nodes``: those of its tree, of which strings and expressions count.
    """
    nodes = list(nodes)
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr) and _is_string(node.value)}
    strings = [node for node in nodes if isinstance(node, ast.JoinedStr) or _is_string(node)]
    lines = [bytearray(line.encode()) for line in source.split("\n")]  # columns of the tree count bytes
    for docstring in docstrings:  # one below an assignment too
        _blank(lines, docstring)
    outside = [bytearray(line) for line in lines]
    for node in strings:
        _blank(outside, node)
    within = {number for node in strings if node not in docstrings for number in _lines(node)[:-1]}
    comments = [line.find(b"#") for line in outside]
    cut = [(line if at < 0 else line[:at]).decode() for line, at in zip(lines, comments, strict=True)]
    kept = [text if number in within else text.rstrip() for number, text in enumerate(cut)]
    return "\n".join(text for number, text in enumerate(kept) if text or number in within)


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _lines(node: Any) -> range:
    """The lines, from 0, that a string stands on; all but the last end within it."""
    return range(node.lineno - 1, node.end_lineno)


def _blank(lines: list[bytearray], node: Any) -> None:
    """Overwrites a string with blanks."""
    for number in _lines(node):
        start = node.col_offset if number == node.lineno - 1 else 0
        end = node.end_col_offset if number == node.end_lineno - 1 else len(lines[number])
        lines[number][start:end] = b" " * (end - start)
