"""SSACR: quoted, not run.

Figures: Li et al. 2022 (SMCR), Table 2.
"""

INFO = {
    "title": "SSACR",
    "paper": "Liu, Du and Zhou, Semantic similarity based adversarial cross media retrieval",
    "provenance": "quoted",
    "reason": (
        "described in a sentence of a paper that compares with it; its losses and networks could not be established"
    ),
    "modalities": 2,
    "labels": True,
    "stochastic": True,
}
