"""The one module that knows where a result lies. All paths are relative to the folder Snakemake runs in."""

import re
from collections.abc import Iterable

from cmr import boundary

RESULTS = "results"
DIGEST = "(?:-[0-9a-f]{6})?"
DATA = f"{RESULTS}/data/{{data}}"
RAW = f"{DATA}/raw.json"
ITEMS = f"{DATA}/items.parquet"
CONTENTS = f"{DATA}/contents.sha256"
SPLIT = f"{DATA}/splits/{{split}}.csv"
WEIGHTS = f"{RESULTS}/weights/{{feature}}.json"
FEATURES = f"{RESULTS}/features/{{data}}/{{split}}/{{feature}}.h5"
CODES = f"{RESULTS}/codes/{{data}}/{{split}}/{{inputs}}/{{dictionary}}/{{seed}}.h5"
FIT = f"{RESULTS}/fits/{{data}}/{{split}}/{{inputs}}/{{method}}/{{seed}}"
RUN = f"{RESULTS}/runs/{{data}}/{{split}}/{{inputs}}/{{method}}/{{seed}}"
EXPERIMENT = f"{RESULTS}/experiments/{{experiment}}.json"
REPORT = f"{RESULTS}/report"
PARTIAL = f"{RESULTS}/.partial"
SHARDS = f"{PARTIAL}/features/{{data}}/{{split}}/{{feature}}.h5.shards"

ALL_ROWS = "all"
"""Takes the split's place in the path of a fixed extractor's features."""


def beside(path: str) -> str:
    """The record of a file: ``bert.h5`` → ``bert.json``."""
    stem, _, _ = path.rpartition(".")
    return f"{stem}.json"


RECORDS = {
    "download": RAW,
    "prepare": beside(ITEMS),
    "split": beside(SPLIT),
    "weights": WEIGHTS,
    "learn": f"{SHARDS}/learned.json",
    "shard": f"{SHARDS}/{{rows}}.json",
    "extract": beside(FEATURES),
    "encode": beside(CODES),
    "fit": f"{FIT}/fit.json",
    "evaluate": f"{RUN}/run.json",
    "collect": EXPERIMENT,
    "report": f"{REPORT}/report.json",
}
"""Stage → its record: the file that says what the result is and where it comes from, written after all others."""


def match(form: str, path: str) -> dict[str, str] | None:
    """The wildcards of a path of one of these forms; None for another path. A digest behind its name is no wildcard.

    ``report-1a2b3c/report.json`` and ``run-1a2b3c.json`` are of the forms ``report/report.json`` and ``run.json``.
    """
    parts = re.split(r"\{(\w+)\}", form)
    pattern = "".join(f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
    stem, dot, ending = pattern.rpartition(r"\.json")
    pattern = f"{stem.replace('/report/', f'/report{DIGEST}/')}{DIGEST}{dot}{ending}"
    found = re.fullmatch(pattern, path)
    return None if found is None else found.groupdict()


def partial(path: str) -> str:
    """Where a job that writes ``path`` keeps what it resumes from."""
    return f"{PARTIAL}/{path.removeprefix(RESULTS + '/')}"


def shards(features: str) -> str:
    """The folder of the shards that a file of features is joined from, and that goes when it is."""
    return f"{partial(features)}.shards"


def suffixed(name: str, digest: str) -> str:
    """``metrics.json`` → ``metrics-1a2b3c.json``; unchanged where the digest is empty."""
    if not digest:
        return name
    stem, dot, ending = name.partition(".")
    return f"{stem}-{digest}{dot}{ending}"


def inside(results: str, path: str, folders: Iterable[str] = ()) -> str:
    """A path as results name it, in a tree that may lie elsewhere. Raises `UserError` for one that leaves the tree, by
    its name or by a link, unless the link leads to one of the user's own ``folders``.
    """
    return str(boundary.within(results, lexically_inside(results, path), folders))


def lexically_inside(results: str, path: str) -> str:
    """As `inside`, but for the name alone."""
    name = path.removeprefix(f"{RESULTS}/") if isinstance(path, str) else path
    return str(boundary.named(results, name))
