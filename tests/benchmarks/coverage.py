"""How often intervals hold the true mean, and how often equal methods are called different.

    python tests/benchmarks/coverage.py [--draws N]        figures of known origin: a row a regime
    python tests/benchmarks/coverage.py --many             of many equal methods, is one called worse than the best?
    python tests/benchmarks/coverage.py --elsewhere        what nothing here covers: other galleries, other training rows
    python tests/benchmarks/coverage.py --runs FOLDER […]  runs of one method (a folder of seeds) against each other

A figure of seed s on query i is a_s + b_i + c_i + e_si: b is common to both methods, c the method's own, a and e come
with the seed. A method without randomness has b and c alone. The deviations are about those of DSCMR's average
precision on Wikipedia's SIFT and LDA features, which ``--runs`` prints.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np

from cmr.data import View
from cmr.methods.cca import CCA, Params
from cmr.metrics.bootstrap import bootstrap_interval
from cmr.metrics.crossed import Sample, difference, holm, mean, p_value
from cmr.metrics.ranking import average_precision

ALPHA = 0.05
QUERY, OWN, BOTH = 0.25, 0.08, 0.1
"""Deviations of b, c and e."""
QUERIES = (10, 50, 462)
SEEDS = (1, 2, 3, 5)
SEED_DEVIATIONS = (0.0001, 0.005, 0.02)
CLASSES = 10


def figures(
    rng: np.random.Generator, draws: int, queries: int, methods: Sequence[tuple[int, float | None]], own: float = OWN
) -> Iterator[list[Sample]]:
    """Samples of equal methods on the same queries; a method is its number of seeds and a's deviation, None without."""
    for _ in range(draws):
        easy = QUERY * rng.standard_normal(queries)
        yield [
            Sample(np.atleast_2d(easy + own * rng.standard_normal(queries) + _of_seeds(rng, seeds, queries, deviation)))
            for seeds, deviation in methods
        ]


def _of_seeds(rng: np.random.Generator, seeds: int, queries: int, deviation: float | None) -> np.ndarray:
    if deviation is None:
        return np.zeros((1, queries))
    return deviation * rng.standard_normal((seeds, 1)) + BOTH * rng.standard_normal((seeds, queries))


def covered(samples: Iterator[list[Sample]]) -> float:
    """How often the interval of the first method's mean holds 0, which it is."""
    intervals = [mean(first).ci95 for first, *_ in samples]
    return float(np.mean([low <= 0 <= high for low, high in intervals]))


def called_different(samples: Iterator[list[Sample]]) -> float:
    """How often the two methods differ with p < 0.05."""
    return float(np.mean([p_value(a, b) < ALPHA for a, b in samples]))


def regimes(draws: int) -> None:
    print("| queries | seeds | deviation of seeds | coverage | two such methods | against one without randomness |")
    print("| --- " * 6 + "|")
    for queries in QUERIES:
        rng = np.random.default_rng(0)
        none = (1, None)
        print(f"| {queries} | 1 | none | {covered(figures(rng, draws, queries, [none])):.3f} | ", end="")
        print(f"{called_different(figures(rng, draws, queries, [none, none])):.3f} | |", flush=True)
        for seeds in SEEDS:
            for deviation in SEED_DEVIATIONS:
                one = (seeds, deviation)
                coverage = covered(figures(rng, draws, queries, [one]))
                same = called_different(figures(rng, draws, queries, [one, one]))
                fixed = called_different(figures(rng, draws, queries, [one, none]))
                print(f"| {queries} | {seeds} | {deviation} | {coverage:.3f} | {same:.3f} | {fixed:.3f} |", flush=True)


SKEWED = {
    "Beta(0.5, 2), as average precision may be": (lambda rng, n: rng.beta(0.5, 2, n), 0.2),
    "0 or 1, 0.1 on average, as recall may be": (lambda rng, n: (rng.random(n) < 0.1) * 1.0, 0.1),
}


def skewed(draws: int) -> None:
    """Coverage of the mean of figures that are far from normal, where there is an interval; and of a median."""
    rng = np.random.default_rng(0)
    print("\n| figures | queries | has an interval | coverage where it has one |\n" + "| --- " * 4 + "|")
    for name, (draw, true) in SKEWED.items():
        for queries in QUERIES:
            found = [mean(Sample(draw(rng, queries)[None])) for _ in range(draws)]
            held = [one.ci95[0] <= true <= one.ci95[1] for one in found if one]
            print(f"| {name} | {queries} | {len(held) / draws:.3f} | {np.mean(held):.3f} |", flush=True)
    for queries in QUERIES:
        intervals = [
            bootstrap_interval(rng.standard_normal(queries), lambda v: np.median(v, -1)) for _ in range(draws // 20)
        ]
        print(f"| median, normal | {queries} | 1.000 | {np.mean([low <= 0 <= high for low, high in intervals]):.3f} |")


KINDS = {
    "without randomness": ((1, None), OWN),
    "three seeds, of deviation 0.01": ((3, 0.01), OWN),
    "three seeds, which alone tell the methods apart": ((3, 0.01), 0),
    "five seeds, which alone tell the methods apart": ((5, 0.01), 0),
}


def many(draws: int) -> None:
    print(
        "| equal methods | of which each | as they are | corrected for those with the best | corrected for all pairs |"
    )
    print("| --- " * 5 + "|")
    for kind, number in ((kind, number) for kind in KINDS for number in (3, 10, 20)):
        rng, called = np.random.default_rng(0), []
        pairs = list(combinations(range(number), 2))
        method, own = KINDS[kind]
        for samples in figures(rng, draws, 200, [method] * number, own):
            best = int(np.argmax([sample.values.mean() for sample in samples]))
            p = [p_value(samples[a], samples[b]) for a, b in pairs]
            with_best = [row for row, pair in enumerate(pairs) if best in pair]
            corrected = holm(p)
            own = [p[row] for row in with_best]
            called.append([min(own), min(holm(own)), min(corrected[row] for row in with_best)])
        shares = (np.array(called) < ALPHA).mean(axis=0)
        print(f"| {number} | {kind} | {shares[0]:.3f} | {shares[1]:.3f} | {shares[2]:.3f} |", flush=True)


def items(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Made-up pairs: features (n, 40) and (n, 12) of a latent place near the centre of its class, and the class (n,)."""
    fixed = np.random.default_rng(1)
    centres, image, text = fixed.normal(size=(CLASSES, 6)), fixed.normal(size=(6, 40)), fixed.normal(size=(6, 12))
    labels = rng.integers(CLASSES, size=number)
    place = centres[labels] + rng.normal(size=(number, 6))
    noise = [rng.normal(scale=3, size=(number, width)) for width in (40, 12)]
    return place @ image + noise[0], place @ text + noise[1], labels


def fitted(rng: np.random.Generator, number: int = 1000) -> CCA:
    image, text, _ = items(rng, number)
    method, ids = CCA(Params(components=6), ("image", "text")), np.arange(number).astype(str)
    method.fit({"image": View(ids, image.astype(np.float32)), "text": View(ids, text.astype(np.float32))})
    return method


def precisions(method: CCA, queries: tuple[np.ndarray, ...], gallery: tuple[np.ndarray, ...]) -> np.ndarray:
    """Average precision (q,) of image queries on texts."""
    embedded = method.embed("image", queries[0]), method.embed("text", gallery[1])
    return average_precision(
        method.similarity("image", embedded[0], "text", embedded[1]), queries[2][:, None] == gallery[2]
    )


def elsewhere(draws: int) -> None:
    """CCA on made-up pairs: 200 test items, which are queries and gallery."""
    rng = np.random.default_rng(0)
    method, gallery = fitted(rng), items(rng, 200)
    many_queries = items(rng, 200_000)
    true_here = precisions(method, many_queries, gallery).mean()
    tests = [items(rng, 200) for _ in range(draws)]
    true = np.mean([precisions(method, test, test).mean() for test in (items(rng, 200) for _ in range(draws))])
    here = [mean(Sample(precisions(method, test, gallery)[None])).ci95 for test in tests]
    there = [mean(Sample(precisions(method, test, test)[None])).ci95 for test in tests]
    print("| what is new | measured |\n| --- | --- |")
    print(f"| queries | the interval covers {np.mean([a <= true_here <= b for a, b in here]):.3f} |")
    print(
        f"| queries and gallery | the interval covers {np.mean([a <= true <= b for a, b in there]):.3f} |", flush=True
    )
    found = []
    for test in tests:
        a, b = (Sample(precisions(fitted(rng), test, test)[None]) for _ in range(2))
        found.append(difference(a, b).p_value < ALPHA)
    print(f"| training rows | CCA differs from CCA in {np.mean(found):.3f} |", flush=True)


def of_runs(folder: Path, draws: int) -> None:
    """How often disjoint groups of a method's runs differ from each other, by direction and size of the groups."""
    runs = {}
    for file in sorted(folder.glob("*/curves*.h5")):
        with h5py.File(file) as curves:
            for direction in curves:
                metric = next(name for name in curves[direction] if "per_query" in (curves[direction][name]))
                runs.setdefault((direction, metric), []).append(curves[f"{direction}/{metric}/per_query"][()])
    rng = np.random.default_rng(0)
    for (direction, metric), found in runs.items():
        values = np.array(found)
        whole = Sample(values)
        seeds = values.mean(axis=1).std(ddof=1)
        both = np.sqrt(whole.of_interaction * values.size)
        print(
            f"\n{direction} {metric}: {len(values)} runs, mean {values.mean():.3f}, deviation {seeds:.4f} over seeds,"
        )
        print(f"{whole.over_seeds.std(ddof=1):.3f} over queries, {both:.3f} of both\n")
        print("| runs in a group | over queries alone | over queries and seeds |\n| --- | --- | --- |")
        for size in (1, 2, 3, 5):
            groups = [np.split(rng.permutation(len(values))[: 2 * size], 2) for _ in range(draws)]
            alone = [
                difference(*(Sample(values[g].mean(axis=0)[None]) for g in pair)).p_value < ALPHA for pair in groups
            ]
            seeded = [difference(*(Sample(values[g]) for g in pair)).p_value < ALPHA for pair in groups]
            told = f"{np.mean(seeded):.3f}" if size > 1 else "not tested"
            print(f"| {size} | {np.mean(alone):.3f} | {told} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--runs", nargs="+", type=Path, default=[])
    options = parser.parse_args()
    for folder in options.runs:
        of_runs(folder, options.draws)
    if options.many:
        many(options.draws)
    if options.elsewhere:
        elsewhere(options.draws)
    if not (options.many or options.elsewhere or options.runs):
        regimes(options.draws)
        skewed(options.draws)


if __name__ == "__main__":
    main()
