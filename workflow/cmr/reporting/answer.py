"""What a protocol's figures say: which method is best, by how much, and whether that can be believed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from cmr.reporting.collect import AVERAGE
from cmr.reporting.figures import Figure, Series, name_of, short
from cmr.reporting.headline import CHANCE, MEASURED, Block, Line
from cmr.reporting.protocols import MOST
from cmr.reporting.significance import BEST, NOT_WORSE, UNTESTED, WORSE, p_in_words

SHADES = {BEST: 0, NOT_WORSE: 5, UNTESTED: 4, WORSE: 6}
"""Mark → its place among the colours of methods."""


@dataclass(frozen=True)
class Answer:
    """The ``best`` method of a protocol's first metric and its ``runner_up``, by the average over directions: the first
    whose mean is another.

    ``sentences``: all of it in words.
    """

    block: Block
    best: Line
    runner_up: Line | None
    sentences: tuple[str, ...]


def answers(blocks: Sequence[Block]) -> list[Answer]:
    """One a protocol, of its first metric."""
    first: dict[str, Block] = {}
    for block in blocks:
        first.setdefault(block.protocol.key, block)
    return [_answer(block) for block in first.values()]


def _answer(block: Block) -> Answer:
    lines = [line for line in block.lines if line.kind == MEASURED and AVERAGE in line.cells]
    best = lines[0]
    equal = _marked(lines[1:], BEST)
    others = lines[1 + len(equal) :]
    runner_up = others[0] if others else None
    told = [_value(block, best)]
    if equal:
        told.append(_ended(f"Equal{_some(equal)}"))
    if runner_up:
        told.append(_difference(block, best, runner_up))
    if len(others) > 1:
        told.append(standing(len(others), _marked(others, NOT_WORSE), _marked(others, UNTESTED)))
    return Answer(block, best, runner_up, tuple(told))


def _value(block: Block, best: Line) -> str:
    """``map@all 0.600 [0.575, 0.625], 3 seeds; chance 0.162.``"""
    cell = best.cells[AVERAGE]
    chance = next((line.cells[AVERAGE].mean for line in block.lines if line.kind == CHANCE), None)
    interval = f" {brackets(cell.evidence.mean.ci95)}" if cell.evidence.mean else ""
    expected = "" if chance is None else f"; chance {chance:.3f}"
    return f"{block.metric} {cell.mean:.3f}{interval}, {_seeds(best)}{expected}."


def _difference(block: Block, best: Line, other: Line) -> str:
    """``0.010 [0.000, 0.020] above ridge, p = 0.045, corrected 0.13, 3 seeds: the two cannot be told apart.``"""
    evidence = other.cells[AVERAGE].evidence
    value = best.cells[AVERAGE].mean - other.cells[AVERAGE].mean
    if evidence.difference is None or evidence.p_holm is None:
        return f"{abs(value):.3f} {where(value)} {other.name}; not tested: {evidence.reason}."
    low, high = evidence.difference.ci95
    ends = (low, high) if value < 0 else (-high, -low)  # of other less best
    verdict = "the two cannot be told apart" if evidence.mark == NOT_WORSE else "a significant difference"
    return (
        f"{abs(value):.3f} {brackets(ends)} {where(value)} {other.name}, "
        f"p {equals(p_in_words(evidence.difference.p_value))}, corrected {p_in_words(evidence.p_holm)}, "
        f"{_seeds(other)}: {verdict}."
    )


def where(value: float) -> str:
    return "below" if value < 0 else "above"


def brackets(ends: Sequence[float]) -> str:
    return "[" + ", ".join(f"{end:.3f}".replace("-", "−") for end in ends) + "]"


def equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _seeds(line: Line) -> str:
    """Of one seed only a stochastic method is less certain."""
    if (line.seeds or 1) > 1:
        return f"{line.seeds} seeds"
    return "one seed" if line.cells[AVERAGE].evidence.one_seed else "deterministic"


def _marked(lines: Sequence[Line], mark: str) -> list[str]:
    return [line.name for line in lines if line.cells[AVERAGE].evidence.mark == mark]


def standing(others: int, level: Sequence[str], untested: Sequence[str] = ()) -> str:
    """How all the ``others`` stand to the best: ``2 of 5 others cannot be told from it: a, b; not tested: c.``

    ``level``: names of those that cannot be told from it; the rest of those that were tested are significantly worse.
    """
    worse = others - len(level) - len(untested)
    if len(untested) == others:
        told = f"None of {others} others was tested{_some(untested)}"
    elif level:
        told = f"{len(level)} of {others} others cannot be told from it{_some(level)}"
    elif untested:
        told = f"{worse} of {others} others {'is' if worse == 1 else 'are'} significantly worse"
    else:
        told = f"All {others} others are significantly worse" if others > 1 else "The other is significantly worse"
    told += f"; not tested{_some(untested)}" if 0 < len(untested) < others else ""
    return _ended(told)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("…") else f"{sentence}."


def _some(names: Sequence[str], most: int = 3) -> str:
    """``: a, b``, or ``: a, b, c, …``; nothing of no names."""
    return f": {', '.join([*names[:most], *(['…'] if len(names) > most else [])])}" if names else ""


def by_class(answer: Answer) -> str:
    """Where the best method fails: its mean over directions and seeds on the worst and on the best class's queries.

    Empty where there are fewer than two classes.
    """
    block = answer.block
    (group,) = (group for group in block.protocol.groups if group.name == answer.best.name)
    values: dict[str, list[float]] = {}
    for task in (task for run in group.measuring(block.measure) for task in run.metrics["tasks"]):
        for name, value in task["metrics"][block.key].get("per_class", {}).items():
            values.setdefault(name, []).append(value)
    if len(values) < 2:
        return ""
    means = sorted((mean(of_class), name) for name, of_class in values.items())
    (low, weakest), *_, (high, strongest) = means if block.higher_is_better else means[::-1]
    told = f"Weakest on queries of the class {weakest}, {low:.3f}; strongest on {strongest}, {high:.3f}."
    several = any(len(labels) > 1 for labels in block.protocol.items.distinct_labels[1])
    return f"{told} A query of several classes counts in each." if several else told  # the weakest may pass the mean


def intervals(answer: Answer) -> Figure:
    """All methods of a protocol, best first: mean and 95 % interval, each seed, and chance."""
    block = answer.block
    every = [line for line in block.lines if line.kind == MEASURED and AVERAGE in line.cells]
    lines = every[:MOST]
    place = {line.name: number for number, line in enumerate(lines)}
    marks = [series for mark in SHADES if (series := _of_mark(mark, lines, place))]
    seeds = [(value, place[line.name]) for line in lines for value in line.seed_averages if len(line.seed_averages) > 1]
    dots = [Series("a seed", short(v for v, _ in seeds), [row for _, row in seeds], style=1)] if seeds else []
    return Figure(
        name=name_of("intervals", block.protocol),
        section="answer",
        protocol=block.protocol.label,
        kind="intervals",
        title="Mean and 95 % interval of each method, best first",
        x=f"{block.metric}, average over directions",
        y="",
        series=(*marks, *dots),
        rows=[line.name for line in lines],
        chance=next((line.cells[AVERAGE].mean for line in block.lines if line.kind == CHANCE), None),
        note=(f"The {MOST} best of {len(every)}. " if len(every) > MOST else "")
        + "Intervals are over queries, or queries and seeds. They are not of differences: two that overlap may differ "
        "significantly.",
    )


def _of_mark(mark: str, lines: Sequence[Line], place: Mapping[str, int]) -> Series | None:
    found = [line for line in lines if line.cells[AVERAGE].evidence.mark == mark]
    cells = [line.cells[AVERAGE] for line in found]
    below = [cell.mean - cell.evidence.mean.ci95[0] if cell.evidence.mean else None for cell in cells]
    above = [cell.evidence.mean.ci95[1] - cell.mean if cell.evidence.mean else None for cell in cells]
    rows = [place[line.name] for line in found]
    style = SHADES[mark]
    return Series(mark, short(c.mean for c in cells), rows, style, above, style, below=below) if found else None
