"""Some rows of the headline table, and other forms of it."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from cmr.errors import UserError, one_line
from cmr.reporting.collect import Row
from cmr.reporting.summary import block_rows, blocks

WORDS = {"id": "method"}
"""What a row calls by another word than the user."""


def matching(rows: Sequence[Row], patterns: Mapping[str, str]) -> list[Row]:
    """The rows whose values match all patterns, key → pattern as of a shell; one of several experiments is enough.

    Raises `UserError` with what there is where none does.
    """
    found = list(rows)
    for key, pattern in patterns.items():
        kept = [row for row in found if any(fnmatchcase(value, pattern) for value in str(row[key]).split(", "))]
        if not kept:
            there = sorted({value for row in found for value in str(row[key]).split(", ")})
            raise UserError(f"no {WORDS.get(key, key)} matches {pattern!r}; there are {', '.join(there)}")
        found = kept
    return found


def as_latex(rows: Sequence[Row]) -> str:
    """A tabular a block, for booktabs; the best of each column is bold."""
    from cmr.reporting.tables import escaped

    tables = []
    for title, members in blocks(rows).items():
        head, *lines, chance = block_rows(members, r"\textbf{{{}}}".format)
        body = [" & ".join([escaped(line[0]), *(_escaped(cell) for cell in line[1:])]) + r" \\" for line in lines]
        columns = f"l{'r' * (len(head) - 1)}"
        tables.append(
            "\n".join(
                [
                    f"% {one_line(' · '.join(title))}",
                    rf"\begin{{tabular}}{{{columns}}}",
                    r"\toprule",
                    " & ".join(map(escaped, head)) + r" \\",
                    r"\midrule",
                    *body,
                    r"\midrule",
                    " & ".join(map(escaped, chance)) + r" \\",
                    r"\bottomrule",
                    r"\end{tabular}",
                ]
            )
        )
    return "\n\n".join(tables)


def _escaped(cell: str) -> str:
    """Numbers hold nothing that LaTeX takes for more, but for ±."""
    return cell.replace("±", r"$\pm$").replace("–", "--")
