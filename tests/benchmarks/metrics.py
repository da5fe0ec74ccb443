"""Speed, memory and equality of the evaluation, side by side in one run: ``python tests/benchmarks/metrics.py``.

Prints a table of ratios; see ``--help`` for the sizes. The contenders take turns and the best of their rounds counts,
so that a busy machine slows all of them alike.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import as_job  # isort: skip  # noqa: F401  before numpy
import numpy as np

from cmr.data import View
from cmr.device import cores
from cmr.evaluation import ConfiguredMetric, Product, evaluate_task, mean_average_precisions, over_blocks, scorer
from cmr.metrics.ranking import LARGE_GALLERY, average_precision, rank
from cmr.provenance import peak_memory_mb

CLASSES = 10
DIMENSIONS = 200
QUERIES = 256
ORDERED = 500
SAMPLED, SMALL, LARGE = 2000, 64, 1024  # queries, and dimensions
RECALL = [ConfiguredMetric.from_entry({"id": "recall@10", "metric": "recall_at_k", "params": {"k": 10}})]
FIRST = [ConfiguredMetric.from_entry({"id": "map@50", "metric": "mean_average_precision", "params": {"at": 50}})]
MAP = [ConfiguredMetric.from_entry({"id": "map@all", "metric": "mean_average_precision", "params": {}})]


def embeddings(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two modalities (n, 200) float32 around ten common class means, and the class numbers (n,)."""
    rng = np.random.default_rng(0)
    classes, means = rng.integers(0, CLASSES, n), rng.standard_normal((CLASSES, DIMENSIONS))
    a, b = (means[classes] * 0.3 + rng.standard_normal((n, DIMENSIONS)) for _ in range(2))
    return a.astype(np.float32), b.astype(np.float32), classes


def classic_loop(a: np.ndarray, b: np.ndarray, classes: np.ndarray) -> list[float]:
    """The field's way: all cosine distances, an argsort a query, precision accumulated result by result."""
    from scipy.spatial.distance import cdist

    found = []
    for query, gallery in ((a, b), (b, a)):
        distances, total = cdist(query, gallery, "cosine"), 0.0
        for row, label in zip(distances, classes, strict=True):
            hits = precision = 0
            for place, item in enumerate(np.argsort(row), start=1):
                if classes[item] == label:
                    hits += 1
                    precision += hits / place
            total += precision / hits
        found.append(total / len(query))
    return found


def product(query: np.ndarray, gallery: np.ndarray) -> Product:
    """Of rows as they are, in the order of memory that `scorer` takes."""
    return Product(query, np.ascontiguousarray(gallery.T) if len(gallery) > LARGE_GALLERY else gallery.T, None)


def product_and_sort(a: np.ndarray, b: np.ndarray, classes: np.ndarray) -> None:
    """What no evaluation can go without: both products, and a bare sort of their rows in the same blocks."""
    for query, gallery in ((a, b), (b, a)):
        over_blocks(product(query, gallery), len(query), len(gallery), lambda rows, scores: scores.sort(axis=1))


def ours(a: np.ndarray, b: np.ndarray, classes: np.ndarray) -> list[float]:
    """mAP@all of both directions."""
    pairs = ((a, b), (b, a))
    return [mean_average_precisions(scorer(x, y), classes, classes)["fixed"][0] for x, y in pairs]


def with_everything(a: np.ndarray, b: np.ndarray, classes: np.ndarray) -> list[float]:
    """mAP@all with chance, bounds, interval and classes: what a run of the workflow writes."""
    ids, labels = np.arange(len(a)).astype(str), np.eye(CLASSES, dtype=np.uint8)[classes]
    names = [str(c) for c in range(CLASSES)]
    views = View(ids, a, labels), View(ids, b, labels)
    tasks = [
        evaluate_task(scorer(q.features, g.features), q, g, MAP, names).task["metrics"] for q, g in (views, views[::-1])
    ]
    return [metrics["map@all"]["value"] for metrics in tasks]


def best(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds of each contender's quickest round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            wall, processor = time.perf_counter(), time.process_time()
            contender()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: min(times) for name, times in seconds.items()}


def speed(n: int, rounds: int) -> None:
    data = embeddings(n)
    contenders = {f.__name__: (lambda f=f: f(*data)) for f in (product_and_sort, ours, with_everything)}
    seconds = best(contenders, rounds)
    results: dict[str, list[float]] = {}
    seconds |= best({"classic_loop": lambda: results.update(classic=classic_loop(*data))}, 1)
    gap = np.abs(np.subtract(results["classic"], ours(*data))).max()
    print(f"mAP@all, both directions, {n} x {n}, {DIMENSIONS} dimensions, float32, {cores()} cores, load {_load():.1f}")
    print(f"  {'':18s}{'wall s':>9s}{'CPU s':>9s}{'x product+sort':>16s}{'loop is x slower':>18s}")
    for name, (wall, processor) in seconds.items():
        floor, loop = seconds["product_and_sort"][0], seconds["classic_loop"][0]
        print(f"  {name:18s}{wall:9.3f}{processor:9.3f}{wall / floor:16.2f}{loop / wall:18.1f}")
    print(f"  largest difference from the loop (float64): {gap:.1e}")


def first_ranks(n: int, rounds: int) -> None:
    """A few queries against a gallery of a million: metrics of the first results beside those of the whole order."""
    data = embeddings(n)
    query, gallery = data[0][:QUERIES], data[1]
    labels = np.eye(CLASSES, dtype=np.uint8)[data[2]]
    views = (View(np.arange(len(x)).astype(str), x, labels[: len(x)]) for x in (query, gallery))
    asking, answering = views
    names = [str(c) for c in range(CLASSES)]

    def product_and_partition() -> None:
        over_blocks(product(query, gallery), QUERIES, n, lambda rows, scores: scores.partition(50, axis=1))

    def evaluated(metrics: Sequence[ConfiguredMetric]) -> Callable[[], object]:
        return lambda: evaluate_task(scorer(query, gallery), asking, answering, metrics, names)

    contenders = {
        "product": lambda: over_blocks(product(query, gallery), QUERIES, n, lambda rows, scores: None),
        "product and partition": product_and_partition,
        "recall@10": evaluated(RECALL),
        "recall@10, map@50": evaluated([*RECALL, *FIRST]),
        "map@all": evaluated(MAP),
    }
    seconds = best(contenders, rounds)
    print(f"{QUERIES} queries against {n} items, {DIMENSIONS} dimensions, {cores()} cores, load {_load():.1f}")
    for name, (wall, processor) in seconds.items():
        each = processor / QUERIES / n * 1e9
        print(f"  {name:22s}{wall:9.3f} s wall{processor:9.3f} s CPU{each:7.1f} ns a query and item")


def whole_order(n: int, rounds: int, dimensions: int) -> None:
    """Some queries against a large gallery of which a twentieth is relevant, every rank of it, beside product and sort."""
    classes = np.random.default_rng(0).integers(0, 2 * CLASSES, n)
    means = np.random.default_rng(1).standard_normal((2 * CLASSES, dimensions))
    query, gallery = (
        (means[classes[:rows]] * 0.3 + np.random.default_rng(seed).standard_normal((rows, dimensions))).astype("f4")
        for seed, rows in ((2, ORDERED), (3, n))
    )
    labels = np.eye(2 * CLASSES, dtype=np.uint8)[classes]
    asking, answering = (View(np.arange(len(x)).astype(str), x, labels[: len(x)]) for x in (query, gallery))
    names = [str(c) for c in range(2 * CLASSES)]

    def floor() -> None:
        over_blocks(product(query, gallery), ORDERED, n, lambda rows, scores: scores.sort(axis=1))

    def evaluated() -> None:
        evaluate_task(scorer(query, gallery), asking, answering, [*MAP, *RECALL], names)

    seconds = best({"product and sort": floor, "map@all, recall@10": evaluated}, rounds)
    print(f"{ORDERED} queries against {n} items, {dimensions} dimensions, {cores()} cores, load {_load():.1f}")
    for name, (wall, processor) in seconds.items():
        each, ratio = processor / ORDERED / n * 1e9, processor / seconds["product and sort"][1]
        print(f"  {name:22s}{wall:9.3f} s wall{each:7.1f} ns of a core a query and item{ratio:7.2f} x product and sort")


def sampled(n: int) -> None:
    """Sampled queries against all items of a very large data set, once."""
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 2 * CLASSES, n)
    means = generator.standard_normal((2 * CLASSES, SMALL), dtype=np.float32)
    gallery = generator.standard_normal((n, SMALL), dtype=np.float32)
    for start in range(0, n, SAMPLED):
        gallery[start : start + SAMPLED] += means[classes[start : start + SAMPLED]] * np.float32(0.5)
    query = means[classes[:SAMPLED]] * 0.5 + generator.standard_normal((SAMPLED, SMALL), dtype=np.float32)
    labels, ids = np.eye(2 * CLASSES, dtype=np.uint8)[classes], np.arange(n).astype(str)
    asking, answering = View(ids[:SAMPLED], query, labels[:SAMPLED]), View(ids, gallery, labels)
    before, start, processor = peak_memory_mb(), time.perf_counter(), time.process_time()
    names = [str(c) for c in range(2 * CLASSES)]
    task = evaluate_task(scorer(query, gallery), asking, answering, [*MAP, *RECALL], names).task
    wall, processor = time.perf_counter() - start, time.process_time() - processor
    values = ", ".join(f"{name} {entry['value']:.4f}" for name, entry in task["metrics"].items())
    each = processor / SAMPLED / n * 1e9
    print(f"{SAMPLED} queries against {n} items, {SMALL} dimensions, {cores()} cores, load {_load():.1f}: {values}")
    print(f"  {wall:.0f} s, {processor:.0f} s of processors, {each:.1f} ns of a core a query and item")
    print(f"  peak memory {peak_memory_mb():.0f} MB, {before:.0f} MB of it before the start")


def memory(n: int) -> None:
    """In a process of its own, since the peak is the process's."""
    data = embeddings(n)
    before = peak_memory_mb()
    start = time.perf_counter()
    found = ours(*data)
    taken = time.perf_counter() - start
    print(f"mAP@all, both directions, {n} x {n}: {found[0]:.4f} {found[1]:.4f} in {taken:.1f} s")
    print(f"  peak memory {peak_memory_mb():.0f} MB, {before:.0f} MB of it before the start")


def equality(queries: int, gallery: int) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(1)
    scores, relevance = rng.standard_normal((queries, gallery)), rng.random((queries, gallery)) < 0.1
    wanted = [average_precision_score(r, s) for r, s in zip(relevance, scores, strict=True)]
    print(f"float64 without ties, {queries} x {gallery}, largest difference of a query's AP")
    print(f"  scikit-learn       {np.abs(average_precision(scores, relevance) - wanted).max():.1e}")
    for name, at in (("map", None), ("map_cut_50", 50)):
        wanted = _trec_eval(scores, relevance, name)
        found = average_precision(scores, relevance, at, "relevant")
        print(f"  trec_eval {name:10s}{np.abs(found - wanted).max():.1e}")
    coarse = np.round(scores, 1)
    low, value, high = (average_precision(coarse, relevance, ties=t) for t in ("pessimistic", "fixed", "optimistic"))
    inside = ((low <= value) & (value <= high)).all()
    print(
        f"  scores rounded to 0.1: {low.mean():.4f} <= {value.mean():.4f} <= {high.mean():.4f}, every query: {inside}"
    )
    assert not rank(scores, relevance).tied.any()


def _trec_eval(scores: np.ndarray, relevance: np.ndarray, name: str) -> list[float]:
    import pytrec_eval

    run = {str(i): {str(j): float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    judged = {str(i): {str(j): int(r) for j, r in enumerate(row)} for i, row in enumerate(relevance)}
    found = pytrec_eval.RelevanceEvaluator(judged, {name}).evaluate(run)
    return [found[str(i)][name] for i in range(len(scores))]


def _load() -> float:
    return os.getloadavg()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=5000, help="items for the speed (5000)")
    parser.add_argument("--large", type=int, default=30_000, help="items for the memory (30000)")
    parser.add_argument("--gallery", type=int, default=1_000_000, help="items for the first ranks (1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the best counts (5)")
    parser.add_argument("--sampled", type=int, help="items of which only some are queries, and nothing else (10000000)")
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_only:
        memory(arguments.large)
        return
    if arguments.sampled:
        sampled(arguments.sampled)
        return
    equality(200, 2000)
    speed(arguments.n, arguments.rounds)
    first_ranks(arguments.gallery, arguments.rounds)
    for dimensions in (SMALL, DIMENSIONS, LARGE):
        whole_order(arguments.gallery // 10, arguments.rounds, dimensions)
    subprocess.run([sys.executable, __file__, "--memory-only", "--large", str(arguments.large)], check=True)


if __name__ == "__main__":
    main()
