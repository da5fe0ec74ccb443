"""Writes what the parts of `make test-robustness` counted into docs/robustness.md.

python tests/robustness/table.py FOLDER
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "robustness.md"
AREAS = {
    "test_kill": "SIGKILL at random moments of a whole run",
    "test_raw_chain": "From raw archives on a mirror to the report, each stage killed once",
    "test_disk": "Full disk, read-only folder, no permission, vanishing files",
    "test_bad_configuration": "Configurations",
    "test_bad_tables": "Tables: CSV, JSON lines, parquet",
    "test_labels_everywhere": "Labels, by every way that they come in",
    "test_bad_matrices": "Ready features: .npy, .npz, .mat, .h5, pickles",
    "test_bad_images": "Pictures",
    "test_bad_texts": "Texts",
    "test_inputs": "Files as people bring them (docs/inputs.md)",
    "test_bad_archives": "Archives and weights",
    "test_leakage": "Leakage",
    "test_reproducible": "Same bits again, other threads, `cmr rerun`",
    "test_honest_report": "Reports that could mislead",
    "test_markup": "Markup in texts and names",
    "test_lock": "The lock",
    "test_copies": "Copies, merges, clocks, profiles",
    "test_changed_data": "Data replaced, interruptions with other data or code",
    "test_mutations": "Edits of every module",
    "test_mixing": "Runs of other code, data or versions",
    "test_comparable": "Runs that cannot be compared",
    "test_accept_soundness": "What `cmr accept` must refuse",
    "test_strangers": "Results and files of strangers",
    "test_decoders": "Sounds, pictures, tables and texts that tell of more than they hold",
    "test_page": "The report's page, its files, and what strangers' records write there",
    "test_outputs": "What commands write, print and draw",
    "test_fuzz": "Results trees with something changed at random",
    "test_clones": "Clones in odd places",
    "test_machines": "Odd machines: homes, limits, locales, disks",
}
START, END = "<!-- figures: written by make test-robustness -->", "<!-- end of the figures -->"


def table(counted):
    """The lines between the two comments; ``counted``: name of a file of tests → what it counted."""
    rows = ["| what | cases, all survived | faults found and mended |", "| --- | ---: | ---: |"]
    for name, area in AREAS.items():
        rows.append(f"| {area} | {counted[name]['cases']} | {len(counted[name]['mended']) or ''} |")
    mended = [what for name in AREAS for what in sorted(counted[name]["mended"])]
    rows.append(f"| all | {sum(found['cases'] for found in counted.values())} | {len(mended)} |")
    return "\n".join([*rows, "", "Found by this suite and mended:", "", *(f"- {what}" for what in mended)])


def written(text, counted):
    """The page's text with the table of ``counted``."""
    before, _, rest = text.partition(START)
    _, found, after = rest.partition(END)
    assert found, f"{PAGE} lacks the two comments between which the figures stand"
    return f"{before}{START}\n\n{table(counted)}\n\n{END}{after}"


if __name__ == "__main__":
    parts = {file.stem: json.loads(file.read_text("utf-8")) for file in Path(sys.argv[1]).glob("*.json")}
    PAGE.write_text(written(PAGE.read_text("utf-8"), parts), "utf-8")
