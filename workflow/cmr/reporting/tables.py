"""Every table of the report as CSV and as LaTeX (booktabs)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cmr.errors import inert
from cmr.params import canonical
from cmr.publish import atomic
from cmr.reporting.collect import Row
from cmr.reporting.figures import Figure
from cmr.reporting.headline import CHANCE, MEASURED, Block, Cell, Line
from cmr.reporting.pivot import Pivot
from cmr.reporting.published import Table
from cmr.reporting.significance import BEST, NOT_WORSE, UNTESTED, Column, Evidence, column_of

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
LETTER, GAP = 4.8, 8.0
"""Points that a letter of a small table takes at most, and the space between its columns."""

FITS_COLUMN, FITS_PAGE = 229.0, 469.0
"""Points of a column of LaTeX's article in two columns, and of its page."""

PRINTED_KEY = r"\textit{Printed}: quoted from the paper, not measured here."
KEY = (
    r"Bold: best mean. $^{\dagger}$: not significantly worse (over queries and seeds, $p \ge 0.05$ corrected for all "
    r"pairs of methods). $^{\S}$: not tested."
)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands. After the end of a row, it would take ``*`` and ``[`` for options of it."""
    return ("{}" if text.startswith(("*", "[")) else "") + " ".join(text.splitlines()).translate(LATEX)


def write_all(
    folder: Path,
    rows: Sequence[Row],
    evidence: Mapping[tuple[Column, str], Evidence],
    blocks: Sequence[Block],
    over: Pivot | None,
    figures: Iterable[Figure],
    printed: Sequence[Table],
) -> None:
    """``results.csv`` (long form), a table a block, one over protocols, one a figure of classes or confusion, and the
    printed ones.
    """
    readable = [
        row | {"params": canonical(row["params"])} | _weighed(evidence[column_of(row), row["group"]]) for row in rows
    ]
    write(folder / "results.csv", pd.DataFrame(readable).drop(columns=["key", "group"]))
    for block in blocks:
        write(folder / f"{block.slug}.csv", numbers(block))
        caption = f"{block.metric}, {block.protocol.label}. "
        write_latex(folder / f"{block.slug}.tex", latex(block), caption, KEY + key_of(badge_letters(block)))
    if over:
        write(folder / "over-protocols.csv", over_numbers(over))
        caption = f"{over.metric}, average over directions, by protocol; mean rank over protocols. "
        write_latex(folder / "over-protocols.tex", over_latex(over), caption, KEY)
    for figure in figures:
        if figure.kind in ("bars", "heat"):
            write_figure(folder, figure)
    for table in printed:
        write(folder / f"{table.slug}.csv", printed_beside_measured(table))
        caption = f"{table.title}: printed ({table.first['features']}) beside measured. "
        write_latex(folder / f"{table.slug}.tex", printed_latex(table), caption, PRINTED_KEY + key_of(reasons(table)))


def write_figure(folder: Path, figure: Figure) -> None:
    """The numbers of a bar chart or a heat map."""
    frame = figure_table(figure)
    write(folder / f"{figure.name}.csv", frame.reset_index())
    rounded = frame.map("{:.3f}".format).rename(index=escaped, columns=escaped)
    rounded.index.name = escaped(str(frame.index.name))  # a parameter's name, say
    write_latex(folder / f"{figure.name}.tex", rounded, f"{figure.title}, {figure.protocol}.")


def write(path: Path, frame: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        frame.map(inert).rename(columns=inert).to_csv(temporary, index=False, lineterminator="\n")


def write_latex(path: Path, frame: pd.DataFrame, caption: str, key: str = "") -> None:
    """A float with a caption and a label, in one column where it has few columns; a large one is shrunk to the page.

    ``frame`` holds LaTeX already, ``caption`` is text, ``key`` LaTeX that goes on from it.
    """
    table = frame.reset_index()
    wide, shrunk = _width(table) > FITS_COLUMN, _width(table) > FITS_PAGE
    packages = ["booktabs", *(["graphicx"] if shrunk else [])]
    environment = "table*" if wide else "table"
    body = table.to_latex(index=False, escape=False, column_format="l" + "r" * frame.shape[1]).strip()
    text = [
        f"% needs {' and '.join(rf'{chr(92)}usepackage{{{package}}}' for package in packages)}",
        rf"\begin{{{environment}}}[tb]",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escaped(caption)}{key}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9.-]+', '-', path.stem)}}}",
        rf"\resizebox{{\linewidth}}{{!}}{{{body}}}" if shrunk else body,
        rf"\end{{{environment}}}",
    ]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(text) + "\n", "utf-8")


def of_runs(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a run, as `cmr.reporting.origins.run_table` has it."""
    return pd.DataFrame(
        {
            "run": run["path"],
            "chosen": run["chosen"],
            "told": "; ".join(run["told"]),
            "seconds": run["seconds"],
            "peak_memory_mb": run["memory"],
            "code": " ".join(run["code"]),
            "evaluation": run["evaluation"],
            "inputs": " ".join(f"{file}={digest}" for file, digest in run["inputs"].items()),
        }
        for run in runs
    )


def _width(table: pd.DataFrame) -> float:
    """About how wide LaTeX sets a table, in points: without the commands, which are not seen."""
    columns = [[str(name), *map(str, table[name])] for name in table.columns]
    return sum(
        GAP + LETTER * max(len(re.sub(r"\\[a-zA-Z]+|[{}$^\\]", "", cell)) for cell in cells) for cells in columns
    )


def _weighed(evidence: Evidence) -> dict[str, object]:
    """The columns of ``results.csv`` on how sure a row is."""
    low, high = evidence.mean.ci95 if evidence.mean else (None, None)
    against = evidence.difference
    against_low, against_high = against.ci95 if against else (None, None)
    return {
        "ci95 low": low,
        "ci95 high": high,
        "ci95 covers": evidence.mean.covers if evidence.mean else "",
        "mark": evidence.mark,
        "difference": against.value if against else None,
        "difference ci95 low": against_low,
        "difference ci95 high": against_high,
        "difference covers": against.covers if against else "",
        "p": against.p_value if against else None,
        "p_holm": evidence.p_holm,
    }


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
    return row | _of_cells(line.cells, directions)


def _of_cells(cells: Mapping[str, Cell], columns: Iterable[str]) -> dict[str, object]:
    """``average mean``, ``average std`` and so on, empty where a column has no cell."""
    row: dict[str, object] = {}
    for column in columns:
        cell = cells.get(column)
        low, high = cell.evidence.mean.ci95 if cell and cell.evidence.mean else (None, None)
        row |= {
            f"{column} mean": cell.mean if cell else None,
            f"{column} std": cell.std if cell else None,
            f"{column} ci95 low": low,
            f"{column} ci95 high": high,
            f"{column} mark": cell.evidence.mark if cell else "",
        }
    return row


def latex(block: Block) -> pd.DataFrame:
    """The headline table as LaTeX cells: measured methods, then chance in italics."""
    lines = [line for kind in (MEASURED, CHANCE) for line in block.lines if line.kind == kind]
    cells = [{escaped(d): _latex_cell(line.cells.get(d)) for d in block.directions} for line in lines]
    letters = badge_letters(block)
    return pd.DataFrame(cells, index=pd.Index([_latex_name(line, letters) for line in lines], name="Method"))


def badge_letters(block: Block) -> dict[str, str]:
    """Badge → the letter that stands for it at the names of a table."""
    return _lettered(badge for line in block.lines for badge in line.badges)


def reasons(table: Table) -> dict[str, str]:
    """Why nothing was measured → the letter that stands for it."""
    return _lettered(line.reason for line in table.lines if not line.group)


def _lettered(remarks: Iterable[str]) -> dict[str, str]:
    return {remark: _letter(number) for number, remark in enumerate(dict.fromkeys(remarks))}


def _letter(number: int) -> str:
    """a, b, …, z, aa, ab, …"""
    before, place = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + place)


def key_of(letters: Mapping[str, str]) -> str:
    """What the letters stand for, as LaTeX that goes on from a caption."""
    return "".join(rf" $^{{{letter}}}$: {escaped(remark)}." for remark, letter in letters.items())


def _latex_name(line: Line, letters: Mapping[str, str]) -> str:
    marks = ",".join(letters[badge] for badge in line.badges)
    name = escaped(line.name) + (f"$^{{{marks}}}$" if marks else "")
    return name if line.kind == MEASURED else rf"\textit{{{name}}}"


def _latex_cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = escaped(cell.text)
    marked: Mapping[str, str] = {
        BEST: rf"\textbf{{{text}}}",
        NOT_WORSE: rf"{text}$^{{\dagger}}$",
        UNTESTED: rf"{text}$^{{\S}}$",
    }
    return marked.get(cell.evidence.mark, text)


def printed_beside_measured(table: Table) -> pd.DataFrame:
    """One row a printed number and what was measured beside it."""
    return pd.DataFrame(
        [
            {key: value for key, value in line.quote.items() if key not in ("value", "note", "features")}
            | {"printed": line.quote["value"], "printed features": line.quote["features"]}
            | {
                "measured mean": line.row and line.row["mean"],
                "measured std": line.row and line.row["std"],
                "seeds": line.row and line.row["seeds"],
                "measured features": line.features,
                "same features": line.same_features if line.row else None,
                "measured as": line.group.name if line.group else "",
                "difference": line.difference,
                "reason": line.reason,
                "note": line.quote["note"],
            }
            for line in table.lines
        ]
    )


def printed_latex(table: Table) -> pd.DataFrame:
    """As LaTeX cells, printed numbers in italics; a letter says why nothing was measured."""
    letters = reasons(table)
    cells = [
        {
            "Metric": escaped(f"{line.quote['metric']} {line.direction}".strip()),
            "Printed": rf"\textit{{{line.quote['value']}}}",
            "Measured": escaped(line.measured) or "--",
            "Difference": f"${line.difference}$" if line.difference else "--",
            "Measured with": escaped(f"{line.features}, {line.group.name}")
            if line.group
            else f"--$^{{{letters[line.reason]}}}$",
        }
        for line in table.lines
    ]
    return pd.DataFrame(cells, index=pd.Index([escaped(line.method) for line in table.lines], name="Method"))


def over_numbers(over: Pivot) -> pd.DataFrame:
    """One row a method: the numbers of each protocol, and the mean rank."""
    return pd.DataFrame(
        [{"method": line.name} | _of_cells(line.cells, over.columns) | {"mean rank": line.rank} for line in over.lines]
    )


def over_latex(over: Pivot) -> pd.DataFrame:
    """Methods × protocols, and the mean rank, as LaTeX cells."""
    cells = [
        {escaped(column): _latex_cell(line.cells.get(column)) for column in over.columns}
        | {"Mean rank": "--" if line.rank is None else f"{line.rank:.2f}"}
        for line in over.lines
    ]
    return pd.DataFrame(cells, index=pd.Index([escaped(line.name) for line in over.lines], name="Method"))


def figure_table(figure: Figure) -> pd.DataFrame:
    """The numbers of a bar chart or a heat map: classes in rows."""
    if figure.kind == "heat":
        return pd.DataFrame(figure.heat, index=pd.Index(figure.rows, name=figure.y), columns=list(figure.columns))
    columns = {series.name: dict(zip(series.x, series.y, strict=True)) for series in figure.series}
    return pd.DataFrame(columns).rename_axis(index=figure.x)
