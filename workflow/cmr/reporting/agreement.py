"""Which runs may stand side by side, and which seeds in one mean: those of the same data, code and versions.

Where a tree holds others too, after an edit or a merge, the runs of what is here are shown and the others named.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from cmr import code, paths, provenance, records
from cmr.errors import UserError
from cmr.publish import read_json
from cmr.reporting.runs import Run

NUMERIC = ("python", "numpy", "scipy", "scikit-learn", "torch", "torchvision", "transformers", "gensim")
"""Whose versions may change a figure; of Python's, the first two numbers."""

Aspect = tuple[str, Hashable]
"""What is compared, in words, and its value."""
Aspects = tuple[Aspect, ...]
K = TypeVar("K", bound=Hashable)


def agreeing(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs that may be shown together, and a line for each group of those that are left out."""
    notes: list[str] = []
    kept: set[Run] = set()
    for members in _grouped(runs, lambda run: (run.protocol, run.digest)).values():
        here = _of_present_data(members, notes)
        comparable = _chosen(here, _ground, _ground_here, notes)
        for seeds in _grouped(comparable, lambda run: run.group).values():
            kept.update(_chosen(seeds, _making, _making_here, notes))
    return [run for run in runs if run in kept], notes


def separated_notes(runs: Iterable[Run]) -> list[str]:
    """A line for each split whose parts share contents: a picture, a text or a vector in training and in test."""
    found = []
    for run in {(run.data, run.split): run for run in runs}.values():
        record = run.place(paths.RECORDS["split"].format(data=run.data, split=run.split))
        for pair, count in (read_json(record) if record.exists() else {}).get("separated", {}).items():
            first, second = pair.split(", ")
            what = "share a picture, a text or a vector with"
            found.append(f"{run.data}, {run.split}: {count} {second} items {what} {first} items")
    return found


def _grouped(runs: Iterable[Run], key: Callable[[Run], K]) -> dict[K, list[Run]]:
    found: dict[K, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def _of_present_data(runs: Sequence[Run], notes: list[str]) -> list[Run]:
    """Those made from the items and the split that are here; all of them where these did not travel along."""
    here = _data_here(runs[0])
    others = [run for run in runs if any(h not in (None, made) for h, made in zip(here, _data(run), strict=True))]
    if others:
        notes.append(_note(others, "other data than are here"))
    return [run for run in runs if run not in others]


def _data_paths(run: Run) -> list[str]:
    wildcards = {"data": run.data, "split": run.split}
    return [paths.RECORDS[stage].format(**wildcards) for stage in ("prepare", "split")]


def _data(run: Run) -> list[str]:
    return [run.record["made_from"].get(path, "") for path in _data_paths(run)]


def _data_here(run: Run) -> list[str | None]:
    return [records.recorded_identity(run.place(path)) for path in _data_paths(run)]


def _chosen(
    runs: Sequence[Run], told: Callable[[Run], Aspects], here: Callable[[Run], Aspects], notes: list[str]
) -> list[Run]:
    """The runs that agree with what is here; where none does, those that most agree with."""
    groups = _grouped(runs, told)
    if len(groups) < 2:
        return list(runs)
    present = [key for key in groups if key == here(groups[key][0])]
    key = present[0] if present else max(groups, key=lambda k: len(groups[k]))
    for other, members in groups.items():
        if other != key:
            differing = [name for (name, mine), (_, theirs) in zip(key, other, strict=True) if mine != theirs]
            notes.append(_note(members, " and ".join(f"other {name}" for name in differing)))
    return groups[key]


def _note(runs: Sequence[Run], why: str) -> str:
    made_by = sorted({str(records.Project.model_validate(run.record["project"])) for run in runs})
    shown = ", ".join(run.path for run in runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return f"left out, made with {why} ({'; '.join(made_by)}): {shown}"


def _ground(run: Run) -> Aspects:
    """What all runs of a table share: how they were evaluated."""
    return (("code of the evaluation", run.record["measured_by"]),)


def _ground_here(run: Run) -> Aspects:
    plugins = tuple(("metrics", metric["metric"]) for metric in run.record["metrics"])
    return (("code of the evaluation", _code("evaluate", plugins)),)


def _making(run: Run) -> Aspects:
    """What all seeds of a mean share: code, features and versions of their fits."""
    fits = run.fits
    return (
        ("code", (run.record["code"], *(fit["code"] for fit in fits))),
        ("features", tuple(_features(run, fit) for fit in fits)),
        ("versions", tuple(_versions(record["versions"]) for record in (run.record, *fits))),
    )


def _making_here(run: Run) -> Aspects:
    told = (run.record, *run.fits)
    return (
        ("code", tuple(_code(record["stage"], tuple(map(tuple, record["plugins"]))) for record in told)),
        ("features", tuple(_features_here(run, fit) for fit in run.fits)),
        ("versions", tuple(_versions(provenance.versions()) for _ in told)),
    )


def _code(stage: str, plugins: tuple[tuple[str, str], ...]) -> str:
    try:
        return code.of_stage(stage, plugins)
    except (UserError, AssertionError, OSError):  # a plug-in that this clone does not have
        return ""


def _features(run: Run, fit: Mapping[str, Any]) -> tuple[str, ...]:
    """Identities of what a fit took; of coefficients, which have a seed each, the code and what they are made from."""
    return tuple(sorted(_of_inputs(run, fit["made_from"].items())))


def _features_here(run: Run, fit: Mapping[str, Any]) -> tuple[str, ...]:
    here = ((path, records.recorded_identity(run.place(path))) for path in fit["made_from"])
    return tuple(sorted(_of_inputs(run, ((path, identity or "") for path, identity in here))))


def _of_inputs(run: Run, made_from: Iterable[tuple[str, str]]) -> Iterator[str]:
    for path, identity in made_from:
        if not path.startswith(paths.CODES.partition("{")[0]):
            yield identity
            continue
        place = run.place(path)
        codes = read_json(place) if place.exists() else {}
        same = codes.get("identity") == identity
        yield " ".join([codes["code"], *codes["made_from"].values()]) if same else identity


def _versions(versions: Mapping[str, str]) -> tuple[str, ...]:
    python, *others = (versions.get(name, "").partition("+")[0] for name in NUMERIC)
    return ".".join(python.split(".")[:2]), *others
