"""Every table of the report as CSV and as LaTeX (booktabs)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cmr.params import canonical
from cmr.reporting.collect import Row
from cmr.reporting.figures import Figure
from cmr.reporting.headline import CHANCE, MEASURED, QUOTED, Block, Cell, Line
from cmr.reporting.published import Quote
from cmr.reporting.significance import BEST, NOT_WORSE
from cmr.store import atomic

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "→": r"$\to$",
        "·": r"$\cdot$",
        "±": r"$\pm$",
        "–": "--",
    }
)
KEY = r"Bold: best mean. $^{\dagger}$: not significantly worse (paired bootstrap over queries, $p \ge 0.05$)."


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return text.translate(LATEX)


def write_all(
    folder: Path, rows: Sequence[Row], blocks: Iterable[Block], figures: Iterable[Figure], quotes: Sequence[Quote]
) -> None:
    """``results.csv`` (long form), a table a block, a table a figure of classes or confusion, and the quotes."""
    readable = [row | {"params": canonical(row["params"])} for row in rows]
    write(folder / "results.csv", pd.DataFrame(readable).drop(columns=["key", "group"]))
    for block in blocks:
        write(folder / f"{block.slug}.csv", numbers(block))
        write_latex(folder / f"{block.slug}.tex", latex(block), f"{block.metric}, {block.protocol.label}. ", KEY)
    for figure in figures:
        if figure.kind in ("bars", "heat"):
            frame = figure_table(figure)
            write(folder / f"{figure.name}.csv", frame.reset_index())
            rounded = frame.map("{:.3f}".format).rename(index=escaped, columns=escaped)
            write_latex(folder / f"{figure.name}.tex", rounded, f"{figure.title}, {figure.protocol}.")
    if quotes:
        write(folder / "published.csv", pd.DataFrame(quotes))


def write(path: Path, frame: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_latex(path: Path, frame: pd.DataFrame, caption: str, key: str = "") -> None:
    """``frame`` holds LaTeX already; ``caption`` is text."""
    columns = "l" + "r" * frame.shape[1]
    text = frame.to_latex(escape=False, column_format=columns, caption=escaped(caption) + key, position="tb")
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")


def numbers(block: Block) -> pd.DataFrame:
    """One row a line of the headline table, a column a number."""
    return pd.DataFrame([_numbers(line, block.directions) for line in block.lines])


def _numbers(line: Line, directions: Iterable[str]) -> dict[str, object]:
    row: dict[str, object] = {
        "method": line.name,
        "kind": line.kind,
        "remarks": "; ".join(line.badges),
        "seeds": line.seeds,
    }
    for direction in directions:
        cell = line.cells.get(direction)
        low, high = (cell.evidence.ci95 if cell else None) or (None, None)
        row |= {
            f"{direction} mean": cell.mean if cell else None,
            f"{direction} std": cell.std if cell else None,
            f"{direction} ci95 low": low,
            f"{direction} ci95 high": high,
            f"{direction} mark": cell.evidence.mark if cell else "",
        }
    return row


def latex(block: Block) -> pd.DataFrame:
    """The headline table as LaTeX cells: measured methods, then chance, then quoted figures in italics."""
    lines = [line for kind in (MEASURED, CHANCE, QUOTED) for line in block.lines if line.kind == kind]
    cells = [{escaped(d): _latex_cell(line.cells.get(d)) for d in block.directions} for line in lines]
    return pd.DataFrame(cells, index=pd.Index([_latex_name(line) for line in lines], name="Method"))


def _latex_name(line: Line) -> str:
    name = escaped(line.name) + (f" ({escaped('; '.join(line.badges))})" if line.badges else "")
    return name if line.kind == MEASURED else rf"\textit{{{name}}}"


def _latex_cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = escaped(cell.text)
    marked: Mapping[str, str] = {BEST: rf"\textbf{{{text}}}", NOT_WORSE: rf"{text}$^{{\dagger}}$"}
    return marked.get(cell.evidence.mark, text)


def figure_table(figure: Figure) -> pd.DataFrame:
    """The numbers of a bar chart or a heat map: classes in rows."""
    if figure.kind == "heat":
        return pd.DataFrame(figure.heat, index=pd.Index(figure.rows, name=figure.y), columns=figure.columns)
    columns = {series.name: dict(zip(series.x, series.y, strict=True)) for series in figure.series}
    return pd.DataFrame(columns).rename_axis(index=figure.x)
