"""Finds plug-ins by their file's name and reads what they say of themselves without importing them.

A plug-in is one file in the folder of its kind. It holds

- ``INFO``, made by one call of its kind's class in `cmr.info` with literal arguments: read here from the syntax tree;
- ``Params``, a subclass of `cmr.params.Params`. A configuration is checked with that class alone and the light imports
  that it needs, since importing a whole plug-in may take seconds; what a plug-in is given is of its own class;
- one class (or, for a metric, one function) that follows ``base.py`` of its folder.

The user's own lie in a folder that the configuration names (`use`), by kind: ``my/methods/x.py``.
"""

import ast
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, overload

from pydantic import ValidationError

from cmr import own
from cmr.boundary import plain
from cmr.errors import UserError, nearest, one_line
from cmr.info import DatasetInfo, DictionaryInfo, ExtractorInfo, Info, MethodInfo, MetricInfo
from cmr.params import Params

PACKAGE = Path(__file__).parent
NOT_PLUGINS = {"__init__", "base"}
DECLARES = re.compile(r"^INFO =", re.MULTILINE)
OWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
"""The name of a module that can be an id too."""

FOLDERS = {
    "datasets": "datasets",
    "extractors": "features",
    "dictionaries": "dictionary",
    "methods": "methods",
    "metrics": "metrics",
}
KEYS = {
    "datasets": "dataset",
    "extractors": "extractor",
    "dictionaries": "dictionary",
    "methods": "method",
    "metrics": "metric",
}
"""Kind → the key under which an entry of a configuration or of a record names its plug-in."""
SCHEMAS: dict[str, type[Info]] = {
    "datasets": DatasetInfo,
    "extractors": ExtractorInfo,
    "dictionaries": DictionaryInfo,
    "methods": MethodInfo,
    "metrics": MetricInfo,
}
HOW_TO_NAME_A_FOLDER = (
    "where it is a plug-in of one's own, --config names the configuration with its folder, or from Python "
    "cmr.registry.use(FOLDER) the folder"
)
LIGHT_MODULES = {"typing", "pydantic", "cmr.params", "cmr.methods.common_params"}


def use(folder: str | Path | None) -> None:
    """Finds plug-ins in a folder of the user's too; None: in none. Called before a configuration is checked.

    Nothing of the folder is executed before one of its plug-ins is asked for. Only a folder that the user names may be
    given, never one that a record names. Raises `UserError` where the folder holds no folder of a kind, where a
    plug-in's name cannot be one, and where the package has a plug-in of that name.
    """
    if folder is None and own_folder() is None:
        return  # nothing that is remembered could be another
    own.__path__ = [] if folder is None else [os.path.abspath(folder)]
    for remembered in (names, own_plugins, _info, params_model):
        remembered.cache_clear()
    importlib.invalidate_caches()  # the folder may be newer than what Python remembers of it
    if folder is not None and not any((Path(folder) / kind).is_dir() for kind in FOLDERS):
        raise UserError(f"plugins: {folder}: none of the folders {', '.join(FOLDERS)} is in it")
    for kind in FOLDERS if folder is not None else ():
        _check_own(kind)


def _check_own(kind: str) -> None:
    taken = _declared(PACKAGE / FOLDERS[kind])
    for name, file in own_plugins(kind).items():
        if not OWN_NAME.fullmatch(name):
            raise UserError(f"{file}: the name of a {_singular(kind)}: letters, digits and '_', 40 at most; rename it")
        if name in taken:
            raise UserError(f"{file}: the package has a {_singular(kind)} {name!r} already; give yours another name")


def own_folder() -> Path | None:
    """The folder of the user's own plug-ins."""
    return Path(own.__path__[0]) if own.__path__ else None


def is_own(module: str) -> bool:
    """Whether a module is of the folder of the user's own plug-ins."""
    return module.startswith(f"{own.__name__}.")


@cache
def own_plugins(kind: str) -> dict[str, Path]:
    """Name → file of the user's own plug-ins of a kind."""
    folder = own_folder()
    return {} if folder is None else _declared(folder / kind)


def _declared(folder: Path) -> dict[str, Path]:
    """Name → file of the plug-ins in a folder: the files with a line that starts with ``INFO =``."""
    files = [file for file in sorted(folder.glob("*.py")) if file.stem not in NOT_PLUGINS]
    return {file.stem: file for file in files if DECLARES.search(_source(file))}


def _source(file: Path) -> str:
    try:
        return plain(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); mend it, or take it out of the folder") from None


def path(kind: str, name: str) -> Path:
    return own_plugins(kind).get(name, PACKAGE / FOLDERS[kind] / f"{name}.py")


def module_name(kind: str, name: str) -> str:
    return f"{own.__name__}.{kind}.{name}" if name in own_plugins(kind) else f"cmr.{FOLDERS[kind]}.{name}"


@cache
def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file of the package; raises `UserError` that names file and line where it has none."""
    try:
        return ast.parse(_source(file), filename=str(file))
    except SyntaxError as error:
        raise UserError(f"{file}: line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # zero bytes; brackets in thousands
        raise UserError(f"{file}: no source of Python ({type(error).__name__}: {error})") from None


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
    raise ValueError(f"it assigns no {name}")


@cache
def names(kind: str) -> tuple[str, ...]:
    """The plug-ins of a kind, the user's own among them, sorted.

    Only looked for, not parsed: every job asks, and each needs few of them.
    """
    return tuple(sorted({*_declared(PACKAGE / FOLDERS[kind]), *own_plugins(kind)}))


def check(kind: str, name: str) -> None:
    """Raises `UserError` where there is no such plug-in: with the nearest name, and, where no folder of one's own is in
    use, with the way to name one.
    """
    if name not in names(kind):
        told = without_info(kind, name) or f"unknown {_singular(kind)} {name!r}{nearest(name, names(kind))}"
        raise UserError(told if own_folder() else f"{told}; {HOW_TO_NAME_A_FOLDER}")


def without_info(kind: str, name: str) -> str:
    """Why a file of the user's own that has the name is no plug-in; empty where there is no such file."""
    folder = own_folder()
    if folder is None or not OWN_NAME.fullmatch(name) or not (file := folder / kind / f"{name}.py").is_file():
        return ""
    return f"{file}: no line starts with 'INFO =', so it is no {_singular(kind)}; cmr new writes an example"


def _singular(kind: str) -> str:
    return "data set" if kind == "datasets" else KEYS[kind]


@overload
def info(kind: Literal["datasets"], name: str) -> DatasetInfo: ...
@overload
def info(kind: Literal["extractors"], name: str) -> ExtractorInfo: ...
@overload
def info(kind: Literal["dictionaries"], name: str) -> DictionaryInfo: ...
@overload
def info(kind: Literal["methods"], name: str) -> MethodInfo: ...
@overload
def info(kind: Literal["metrics"], name: str) -> MetricInfo: ...
@overload
def info(kind: str, name: str) -> Info: ...
def info(kind: str, name: str) -> Info:
    """The plug-in's ``INFO``, checked against its kind's schema."""
    return _info(kind, name)


@cache
def _info(kind: str, name: str) -> Info:
    check(kind, name)
    file = path(kind, name)
    try:
        return SCHEMAS[kind](**_arguments(_assigned(parsed(file), "INFO"), SCHEMAS[kind].__name__))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, details['loc']))}: {details['msg']}" for details in error.errors()]
        raise UserError(f"{file}: INFO: {'; '.join(wrong)}") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{file}: INFO: {error}") from None


def _arguments(value: ast.expr, expected: str) -> dict[str, Any]:
    """The keyword arguments of a call of the class ``expected``, which must be literals."""
    called = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else None
    if not isinstance(value, ast.Call) or called != expected or value.args:
        raise ValueError(f"expected {expected}(...) with keywords")
    return {str(word.arg): _literal(str(word.arg), word.value) for word in value.keywords}


def _literal(name: str, value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise ValueError(
            f"{name}: expected a value as it stands, such as 'text' or True, not {ast.unparse(value)}"
        ) from None


def _is_light(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module in LIGHT_MODULES


@cache
def params_model(kind: str, name: str) -> type[Params]:
    """The plug-in's ``Params`` class to check values with, without importing the rest of its file."""
    check(kind, name)
    tree = parsed(path(kind, name))
    body = [n for n in tree.body if _is_light(n) or (isinstance(n, ast.ClassDef) and n.name == "Params")]
    namespace: dict[str, Any] = {"__name__": module_name(kind, name)}
    try:
        exec(compile(ast.Module(body=body, type_ignores=[]), str(path(kind, name)), "exec"), namespace)
    except Exception as error:  # of the user's own code
        light = ", ".join(sorted(LIGHT_MODULES))
        raise UserError(f"{path(kind, name)}: Params: {error}; it may use what comes from {light}") from None
    return namespace.get("Params", Params)


def params(kind: str, name: str, values: Mapping[str, Any]) -> Params:
    """The parameters that a plug-in is given, of its own class. Raises `UserError` for those of other code."""
    model: type[Params] = getattr(module(kind, name), "Params", Params)
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{name}: parameter {'.'.join(map(str, first['loc']))}: {first['msg']}; run again") from None


def module(kind: str, name: str) -> ModuleType:
    """Raises `UserError` where this process runs code of another folder: a name stands for one module in Python; and
    where the file of a plug-in of the user's own cannot be imported.
    """
    check(kind, name)
    try:
        found = importlib.import_module(module_name(kind, name))
    except Exception as error:  # of the user's own code
        if name not in own_plugins(kind):
            raise
        told = one_line(f"{type(error).__name__}: {getattr(error, 'msg', error)}")
        raise UserError(f"{_place_of(error, own_plugins(kind)[name])}: {told}") from None
    if is_own(found.__name__):
        _check_one_folder()
    return found


def _place_of(error: Exception, file: Path) -> str:
    """``FILE: line N`` of the user's own code that an error comes from, which may be a module that ``file`` imports."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}: line {error.lineno}"
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own_lines = [f"{name}: line {line}" for name, line in frames if Path(name).is_relative_to(own.__path__[0])]
    return own_lines[-1] if own_lines else str(file)


def _check_one_folder() -> None:
    (folder,) = own.__path__
    for file in [module.__file__ for name, module in sys.modules.items() if is_own(name)]:
        if file and not Path(file).is_relative_to(folder):  # a folder of modules has none
            raise UserError(f"plugins: {folder}: this process runs {file}; start another one for this folder")


def load(kind: str, name: str) -> type:
    """The plug-in's class: the one subclass of its folder's base class that the file defines."""
    plugin = module(kind, name)
    base = importlib.import_module(f"cmr.{FOLDERS[kind]}.base").BASE
    found = [
        value
        for value in vars(plugin).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == plugin.__name__
    ]
    if len(found) != 1:
        raise UserError(f"{path(kind, name)}: expected one subclass of {base.__name__}, found {len(found)}")
    return found[0]
