"""Which runs may stand side by side, and which seeds in one mean: those of the same data, code and versions.

Where a tree holds others too, after an edit or a merge, the runs of what is here are shown and the others named.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from cmr import code, paths, provenance, records
from cmr.errors import UserError
from cmr.publish import read_json
from cmr.reporting.runs import Run

NUMERIC = ("python", "numpy", "scipy", "scikit-learn", "torch", "torchvision", "transformers", "gensim")
"""Whose versions may change a figure; of Python's, the first two numbers."""

DATA, FEATURES, CODES = (form.partition("{")[0] for form in (paths.DATA, paths.FEATURES, paths.CODES))

Aspect = tuple[str, Hashable]
"""What is compared, in words, and its value."""
Aspects = tuple[Aspect, ...]
K = TypeVar("K", bound=Hashable)


def agreeing(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs that may be shown together, and a line for each group of those that are left out."""
    notes: list[str] = []
    kept: set[Run] = set()
    for members in grouped(runs, lambda run: run.protocol).values():
        measured_alike = grouped(members, lambda run: run.digest).values()
        sets = [_chosen(_of_one_source(own, notes), _ground, _ground_here, notes) for own in measured_alike]
        for seeds in grouped(chain(*_of_code_here(sets, notes)), lambda run: run.group).values():
            kept.update(_chosen(seeds, _making, _making_here, notes))
    return [run for run in runs if run in kept], notes


def _of_code_here(sets: Sequence[Sequence[Run]], notes: list[str]) -> Sequence[Sequence[Run]]:
    """Of runs that agree within each set of metrics, the sets of the code that is here; all where none is."""
    here = [runs for runs in sets if runs and _ground(runs[0]) == _ground_here(runs[0])]
    for runs in sets if here else ():
        if runs and runs not in here:
            notes.append(_note(runs, _differing(_ground_here(runs[0]), _ground(runs[0]))))
    return here or sets


def warning_notes(runs: Iterable[Run]) -> list[str]:
    """What the records of data, splits, features and fits warn of, each once, after the name of what it is about."""
    found: dict[str, None] = {}
    for run in runs:
        places = {path: run.place(path) for path in _sources(run) if path.startswith((DATA, FEATURES))}
        warned = [(_name(path), records.recorded_warnings(place)) for path, place in places.items()]
        warned += [(f"{run.data}, {run.inputs}, {run.variant}", fit.get("warnings", [])) for fit in run.fits]
        found |= {f"{name}: {line}": None for name, lines in warned for line in lines}
    return list(found)


def _name(record: str) -> str:
    """``mine, default`` of a split's record: the wildcards of its path."""
    matches = (paths.match(form, record) for form in paths.RECORDS.values())
    return ", ".join(next(filter(None, matches), {}).values())


def grouped(runs: Iterable[Run], key: Callable[[Run], K]) -> dict[K, list[Run]]:
    """The runs of each value of the key, in their order."""
    found: dict[K, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return found


def _of_one_source(runs: Sequence[Run], notes: list[str]) -> list[Run]:
    """Those made from the items, the split and the features that are here; where these did not travel along, from
    those that most runs were made from.
    """
    kept, first = list(runs), runs[0]
    sources = {run: _sources(run) for run in runs}  # each reads the records of its codes
    for path in dict.fromkeys(path for own in sources.values() for path in own):
        kept = _from_one(path, {run: sources[run] for run in kept}, records.recorded_identity(first.place(path)), notes)
    return kept


def _from_one(path: str, runs: Mapping[Run, Mapping[str, str]], here: str | None, notes: list[str]) -> list[Run]:
    """Of runs, with their `_sources`, that were made from different results of one path, those of one; ``here``: the
    identity of the one that is here.
    """
    made = grouped((run for run, sources in runs.items() if path in sources), lambda run: runs[run][path])
    chosen = here or max(made, key=lambda identity: len(made[identity]), default="")
    what = "data" if path.startswith(DATA) else "features"
    others = {identity: members for identity, members in made.items() if identity != chosen}
    for members in others.values():
        notes.append(_note(members, f"other {what} than {'are here' if here else 'most runs'}"))
    return [run for run, sources in runs.items() if sources.get(path) not in others]


def _sources(run: Run) -> dict[str, str]:
    """Record of items, split, features and coefficients → the identity that a run was made from."""
    made_from = run.record["made_from"]
    found = {path: identity for path, identity in made_from.items() if path.startswith((DATA, FEATURES, CODES))}
    for path in [path for path in found if path.startswith(CODES)]:
        codes = read_json(place) if (place := run.place(path)).exists() else {}
        if codes.get("identity") == found[path]:
            found |= {
                source: identity for source, identity in codes["made_from"].items() if source.startswith(FEATURES)
            }
    return found


def _chosen(
    runs: Sequence[Run], told: Callable[[Run], Aspects], here: Callable[[Run], Aspects], notes: list[str]
) -> list[Run]:
    """The runs that agree with what is here; where none does, those that most agree with."""
    groups = grouped(runs, told)
    if len(groups) < 2:
        return list(runs)
    present = [key for key in groups if key == here(groups[key][0])]
    key = present[0] if present else max(groups, key=lambda k: len(groups[k]))
    for other, members in groups.items():
        if other != key:
            notes.append(_note(members, _differing(key, other)))
    return groups[key]


def _differing(some: Aspects, others: Aspects) -> str:
    """``other code and other versions``"""
    differing = [name for (name, mine), (_, theirs) in zip(some, others, strict=True) if mine != theirs]
    return " and ".join(f"other {name}" for name in differing)


def _note(runs: Sequence[Run], why: str) -> str:
    made_by = sorted({str(records.Project.model_validate(run.record["project"])) for run in runs})
    shown = ", ".join(run.path for run in runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    return f"left out, made with {why} ({'; '.join(made_by)}): {shown}"


def _ground(run: Run) -> Aspects:
    """What all runs of a table share: how they were evaluated, and what all fits do alike."""
    fitted_by = tuple(dict.fromkeys(fit.get("fitted_by") for fit in run.fits))
    return ("code of the evaluation", run.record["measured_by"]), ("code of the fits", fitted_by)


def _ground_here(run: Run) -> Aspects:
    plugins = tuple(("metrics", metric["metric"]) for metric in run.record["metrics"])
    return ("code of the evaluation", _code("evaluate", plugins)), ("code of the fits", (_code("fit", ()),))


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
        if not path.startswith(CODES):
            yield identity
            continue
        place = run.place(path)
        codes = read_json(place) if place.exists() else {}
        same = codes.get("identity") == identity
        yield " ".join([codes["code"], *codes["made_from"].values()]) if same else identity


def _versions(versions: Mapping[str, str]) -> tuple[str, ...]:
    python, *others = (versions.get(name, "").partition("+")[0] for name in NUMERIC)
    return ".".join(python.split(".")[:2]), *others
