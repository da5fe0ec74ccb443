"""Does the order of the methods hold on another split?

    cd resources/measured
    python ../../tests/benchmarks/order.py wikipedia.csv 2173_693 wikipedia_drawn.csv drawn_2173_693 [--metric map@all]

Reads what `cmr summary --csv` wrote. Prints the rank correlation (Kendall's τ) of the methods' averages over both
directions; the pairs of methods that are in another order and whose 95 % intervals lie apart on both splits, which is
what would speak against the order; and how many pairs change places within intervals.
"""

import argparse
import csv
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from scipy.stats import kendalltau


class Figure(NamedTuple):
    mean: float
    low: float
    high: float

    def above(self, other: "Figure") -> bool:
        """Whether it is ahead by more than intervals say."""
        return self.low > other.high


def figures(file: Path, split: str, metric: str) -> dict[str, Figure]:
    """Method → its average over the directions, with the interval."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split and row["metric"] == metric]
    found = {row["id"]: row for row in rows if row["query"] == "average" and row["id"] != "random"}
    return {
        name: Figure(*(float(row[key]) for key in ("mean", "ci95_low", "ci95_high"))) for name, row in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("of", nargs=4, metavar=("FILE", "SPLIT", "FILE", "SPLIT"))
    parser.add_argument("--metric", default="map@all")
    options = parser.parse_args()
    file, split, other_file, other_split = options.of
    one, other = figures(Path(file), split, options.metric), figures(Path(other_file), other_split, options.metric)
    both = [name for name in one if name in other]
    tau = kendalltau([one[name].mean for name in both], [other[name].mean for name in both]).statistic
    swapped = [
        (a, b) for a, b in combinations(both, 2) if (one[a].mean > one[b].mean) != (other[a].mean > other[b].mean)
    ]
    against = [
        (a, b)
        for a, b in swapped
        if (one[a].above(one[b]) and other[b].above(other[a])) or (one[b].above(one[a]) and other[a].above(other[b]))
    ]
    pairs = len(both) * (len(both) - 1) // 2
    print(f"{len(both)} methods, Kendall's τ {tau:.2f}; {len(swapped)} of {pairs} pairs change places")
    print(
        f"of these with intervals apart on both splits: {len(against)}", *(f"  {a}, {b}" for a, b in against), sep="\n"
    )
    print("\nmethods by how far they move:")
    ranks = [{name: i for i, name in enumerate(sorted(both, key=lambda n: -of[n].mean), 1)} for of in (one, other)]
    for name in sorted(both, key=lambda n: -abs(ranks[0][n] - ranks[1][n]))[:5]:
        means = " → ".join(
            f"{of[name].mean:.3f} (rank {rank[name]})" for of, rank in zip((one, other), ranks, strict=True)
        )
        print(f"  {name}: {means}")


if __name__ == "__main__":
    main()
