"""CR-CDSL: quoted, not run.

Figures: Shang et al. 2019 (DLA-CMR), Tables 2 and 3.
"""

INFO = {
    "title": "CR-CDSL",
    "paper": "Cross-media retrieval with collective deep semantic learning, Multimedia Tools and Applications",
    "provenance": "quoted",
    "reason": (
        "the abstract gives its parts (two networks initialised by deep restricted Boltzmann machines, "
        "weak labels for unlabelled rows) and not their objectives, sizes or rates"
    ),
    "modalities": 2,
    "labels": True,
    "stochastic": True,
    "transductive": True,
}
