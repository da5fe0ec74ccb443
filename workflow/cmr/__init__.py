"""Cross-modal retrieval: data sets, features, methods, metrics and reports. Knows nothing of Snakemake.

`fit`, `evaluate`, `extract` and `load` are the front door from Python. They are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmr.api import Figure as Figure
    from cmr.api import Model as Model
    from cmr.api import evaluate as evaluate
    from cmr.api import extract as extract
    from cmr.api import fit as fit
    from cmr.errors import UserError as UserError
    from cmr.finished import FinishedRun as FinishedRun
    from cmr.finished import load as load

__version__ = "0.1.0"

_HOME = {
    "Figure": "cmr.api",
    "FinishedRun": "cmr.finished",
    "Model": "cmr.api",
    "UserError": "cmr.errors",
    "evaluate": "cmr.api",
    "extract": "cmr.api",
    "fit": "cmr.api",
    "load": "cmr.finished",
}
"""What Python's users see → the module that holds it."""
__all__ = ["Figure", "FinishedRun", "Model", "UserError", "evaluate", "extract", "fit", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cmr' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
