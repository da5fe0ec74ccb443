"""CM-GANs: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1, 2 and 4.
"""

INFO = {
    "title": "CM-GANs",
    "paper": "Peng and Qi, CM-GANs: cross-modal generative adversarial networks, TOMM 2019",
    "provenance": "quoted",
    "reason": (
        "trains convolutional extractors end to end on raw pixels and word sequences; not a method on given features"
    ),
    "modalities": 2,
    "labels": True,
    "stochastic": True,
}
