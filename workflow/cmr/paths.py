"""The one module that knows where a result lies. All paths are relative to the folder Snakemake runs in."""

RESULTS = "results"
DATA = f"{RESULTS}/data/{{data}}"
RAW = f"{DATA}/raw.json"
ITEMS = f"{DATA}/items.parquet"
SPLIT = f"{DATA}/splits/{{split}}.csv"
WEIGHTS = f"{RESULTS}/weights/{{feature}}.json"
FEATURES = f"{RESULTS}/features/{{data}}/{{split}}/{{feature}}.h5"
CODES = f"{RESULTS}/codes/{{data}}/{{split}}/{{inputs}}/{{dictionary}}/{{seed}}.h5"
FIT = f"{RESULTS}/fits/{{data}}/{{split}}/{{inputs}}/{{method}}/{{seed}}"
RUN = f"{RESULTS}/runs/{{data}}/{{split}}/{{inputs}}/{{method}}/{{seed}}"
EXPERIMENT = f"{RESULTS}/experiments/{{experiment}}.json"
REPORT = f"{RESULTS}/report"
PARTIAL = f"{RESULTS}/.partial"

ALL_ROWS = "all"
"""Takes the split's place in the path of a fixed extractor's features."""

FIT_FILES = ("model.safetensors", "history.csv", "fit.json")


def partial(path: str) -> str:
    """Where a job that writes ``path`` keeps what it resumes from."""
    return f"{PARTIAL}/{path.removeprefix(RESULTS + '/')}"


def suffixed(name: str, digest: str) -> str:
    """``metrics.json`` → ``metrics-1a2b3c.json``; unchanged where the digest is empty."""
    if not digest:
        return name
    stem, dot, ending = name.partition(".")
    return f"{stem}-{digest}{dot}{ending}"
