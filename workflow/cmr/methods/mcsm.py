"""MCSM: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1, 2 and 4.
"""

INFO = {
    "title": "MCSM",
    "paper": "Peng, Qi and Yuan, Modality-specific cross-modal similarity measurement, TIP 2018",
    "provenance": "quoted",
    "reason": (
        "attends over image regions and word sequences with recurrent networks of its own; its public "
        "code tunes the fusion weight on the test set"
    ),
    "modalities": 2,
    "labels": True,
    "stochastic": True,
}
