"""Choosing parameters on held-out rows, the same way for every method.

Where the split has validation rows, each candidate is fitted on the training rows and the best on the validation rows
is kept. Where it has none, candidates are fitted on nine tenths of the training rows and scored on the tenth that the
split holds out; then the best is fitted again on all training rows. Test rows have no part in it: while candidates
are compared, a transductive method is given the held-out rows in their place, without labels.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import Any

import numpy as np

from cmr.data import Part, TrainingData
from cmr.errors import UserError
from cmr.methods.base import History, Method
from cmr.params import OF_DICTIONARY, Params, of_method

log = logging.getLogger(__name__)

VALIDATION, CHOOSING = "validation", "choosing"
"""Columns of a history: the score on held-out rows; of a fit that was made again on all training rows, the sum of what
the fit recorded that the choice was made by."""
LOWEST, HIGHEST, BOUND, LAST_ALLOWED = "lowest", "highest", "bound", "last allowed"


def candidates(tune: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """All combinations of the tuned parameters' values; one empty candidate where nothing is tuned.

    By the parameters' names, as ties go to the first, and the order of the keys in a file is no part of a result.
    """
    names = sorted(tune)
    return [dict(zip(names, values, strict=True)) for values in product(*(tune[name] for name in names))]


def select_and_fit(
    create: Callable[[dict[str, Any], str], Method],
    tune: Mapping[str, list[Any]],
    chooses: tuple[str, ...],
    data_for: Callable[[Mapping[str, Any]], TrainingData],
) -> tuple[Method, History, dict[str, Any]]:
    """Fits every candidate, keeps the best, and says how it was chosen.

    ``create(parameters, name)`` makes an unfitted method with some parameters changed; the name tells its checkpoint
    from those of the other candidates. ``chooses``: parameters that `Method.fit` chooses itself on validation rows.
    ``data_for(parameters)``: the rows of a candidate, which differ where a parameter of the dictionary is tuned.
    Returns the fitted method, its history, and the record of the selection for ``fit.json``. Ties go to the candidate
    that comes first.
    """
    points = candidates(tune)
    if len(points) == 1 and not chooses:
        method, data = create(points[0], "final"), data_for(points[0])
        return method, _fitted(method, data.train, None, data.unlabelled), {"chosen": points[0], "candidates": []}

    best: tuple[Candidate, Method, History, TrainingData] | None = None
    tried = []
    for candidate, method, history, data in _each_fitted(create, points, data_for):
        if best is None or candidate.score > best[0].score:
            best = candidate, method, history, data
        tried.append(candidate)
    assert best is not None  # there is one candidate at least
    chosen, method, history, data = best
    record = _record(tune, tried, chosen, history, data)
    if not data.has_validation or data.unlabelled is not None:
        method, data = create(chosen.parameters, "final"), data_for(chosen.parameters)
        history = together(_fitted(method, data.train, None, data.unlabelled), history)
    return method, history, record


@dataclass(frozen=True)
class Candidate:
    """What was tried: ``parameters`` that were tuned or that the fit chose, all ``params``, and the score on held-out
    rows.
    """

    parameters: dict[str, Any]
    params: Params
    score: float


def _each_fitted(
    create: Callable[[dict[str, Any], str], Method],
    points: Sequence[dict[str, Any]],
    data_for: Callable[[Mapping[str, Any]], TrainingData],
) -> Iterator[tuple[Candidate, Method, History, TrainingData]]:
    """Each candidate with its fit, and the data of it; one is given what the one before prepared of the same data."""
    earlier: tuple[TrainingData, Method] | None = None
    for number, point in enumerate(points):
        method, data = create(point, f"candidate{number}"), data_for(point)
        _check_held_out(data)
        if earlier and earlier[0] is data:
            method.take_over(earlier[1])
        earlier = data, method
        history, score = _tried(method, point, data)
        candidate = Candidate(point | history.chosen, method.params, score)
        log.info("candidate %s: validation score %.4f", candidate.parameters, score)
        yield candidate, method, history, data


def _record(
    tune: Mapping[str, list[Any]],
    tried: Sequence[Candidate],
    chosen: Candidate,
    history: History,
    data: TrainingData,
) -> dict[str, Any]:
    """What ``fit.json`` says of a choice; the log says of each parameter at an end of its values that it is there."""
    tuned = {} if _all_alike(tried) else tune
    edges = at_edge(of_method(tuned), [c.params for c in tried], chosen.params, history.chosen)
    edges |= _dictionary_at_edge(tuned, chosen.parameters)
    for name, where in edges.items():
        value = chosen.parameters[name]
        log.info("%s: the choice %s is at the end of what was tried: %s", name, value, where)
    return {
        "chosen": chosen.parameters,
        "candidates": [{"parameters": c.parameters, "validation_score": round(c.score, 6)} for c in tried],
        "on": _chosen_on(data),
        "at_edge": edges,
        "held_out_rows": {modality: len(view) for modality, view in data.held_out.items()},
    }


def _tried(method: Method, point: Mapping[str, Any], data: TrainingData) -> tuple[History, float]:
    """A candidate's fit and its score on held-out rows. Raises `UserError` that names the candidate where it fails:
    without it the others would be a choice among fewer than were asked for.
    """
    try:
        history = _fitted(method, data.selection_train, data.held_out, _in_place_of_test_rows(data))
        score = method.validation_score(data.held_out)
        if not np.isfinite(score):
            raise UserError(f"the validation score is {score}")
        return history, score
    except UserError as error:
        if not point:
            raise
        values = ", ".join(f"{name}: {value}" for name, value in point.items())
        raise UserError(f"tune: the candidate {values}: {error}; if the others do, take this one out") from error


def _all_alike(tried: Sequence[Candidate]) -> bool:
    """Whether several candidates have one score, so that nothing tells them apart, which a warning says."""
    scores = {round(candidate.score, 6) for candidate in tried}
    if len(tried) < 2 or len(scores) > 1:
        return False
    log.warning("tune: all %d candidates score %s on held-out rows: the first is taken", len(tried), *scores)
    return True


def _fitted(method: Method, train: Part, held_out: Part | None, unlabelled: Part | None) -> History:
    """`Method.fit`; raises `UserError` where a matrix that it has to invert cannot be, of numpy, scipy or torch, and
    where a plug-in gives no history.
    """
    try:
        history = method.fit(train, held_out, unlabelled)
    except Exception as error:
        if "LinAlgError" not in type(error).__name__:
            raise
        raise UserError(
            f"a matrix cannot be inverted ({error}); raise the method's regularisation "
            "or penalty, lower its learning rate, or take larger batches"
        ) from error
    if not isinstance(history, History):
        raise UserError(f"{method}: fit: expected a History, found {type(history).__name__}")
    return history


def _in_place_of_test_rows(data: TrainingData) -> Part | None:
    """What a transductive method sees beside training rows while candidates are compared: the held-out rows."""
    return data.unlabelled and {modality: view.without_labels() for modality, view in data.held_out.items()}


def _chosen_on(data: TrainingData) -> str:
    if not data.has_validation:
        return "a tenth of the training rows, then fitted again on all"
    return "validation" if data.unlabelled is None else "validation, then fitted again with the test rows"


def together(final: History, choosing: History) -> History:
    """The history of a fit on all training rows, with the course of the one that its epochs were chosen by beside it.

    Step by step as long as either lasted: the first column is the step, then come the final fit's terms, the sum of the
    other's terms (``choosing``) and its score on held-out rows (``validation``). One of the two alone where the other
    has none, or where nothing was chosen within a fit.
    """
    if not final.rows or not choosing.chosen:
        return final if final.rows else choosing
    step = next(iter(choosing.rows[0]))
    nothing: dict[str, float] = {}
    rows = []
    for own, other in zip_longest(final.rows, choosing.rows, fillvalue=nothing):
        terms = [value for name, value in other.items() if name not in (step, VALIDATION)]
        row = {name: value for name, value in other.items() if name == step} | own
        row |= {CHOOSING: sum(terms)} if terms else {}
        rows.append(row | {name: value for name, value in other.items() if name == VALIDATION})
    return History(rows, choosing.chosen)


def _check_held_out(data: TrainingData) -> None:
    if not all(len(view) for view in data.held_out.values()):
        raise UserError(
            "nothing is held out to choose parameters or epochs on: classes have too few training items that differ; "
            "give validation rows"
        )


def at_edge(tuned: Iterable[str], tried: Sequence[Params], kept: Params, fitted: Mapping[str, Any]) -> dict[str, str]:
    """Where a choice lies at the end of what was tried, so that a better one may lie beyond.

    ``tuned``: the parameters that the candidates differ in. ``tried``: the parameters of each candidate; ``kept``:
    those of the best. ``fitted``: what its fit chose itself.
    Returns parameter → ``lowest`` or ``highest`` of two or more numbers, ``bound`` where the parameter allows no value
    beyond, or ``last allowed`` of epochs.
    """
    ends = {name: _end(name, tried, kept) for name in tuned if name not in fitted}
    found = {name: end for name, end in ends.items() if end}
    if "epochs" in fitted and fitted["epochs"] == getattr(kept, "epochs", None):
        found["epochs"] = LAST_ALLOWED
    return found


def _end(name: str, tried: Sequence[Params], kept: Params) -> str:
    """Empty where the value lies inside, or the values are not two or more numbers."""
    value = getattr(kept, name)
    end = _end_of([getattr(params, name) for params in tried], value)
    return BOUND if end and value in _bounds(kept, name) else end


def _end_of(values: Sequence[Any], value: Any) -> str:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not numbers or min(values) < value < max(values) or min(values) == max(values):
        return ""
    return LOWEST if value == min(values) else HIGHEST


def _dictionary_at_edge(tune: Mapping[str, list[Any]], chosen: Mapping[str, Any]) -> dict[str, str]:
    """As `at_edge`, of the dictionary's parameters."""
    ends = {name: _end_of(values, chosen[name]) for name, values in tune.items() if name.startswith(OF_DICTIONARY)}
    return {name: end for name, end in ends.items() if end}


def _bounds(params: Params, name: str) -> list[Any]:
    """The least and the greatest value that a parameter allows, where it has them."""
    limits = type(params).model_fields[name].metadata
    return [getattr(limit, end) for limit in limits for end in ("ge", "le") if hasattr(limit, end)]
