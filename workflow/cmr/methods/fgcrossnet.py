"""FGCrossNet: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1 to 4.
"""

INFO = {
    "title": "FGCrossNet",
    "paper": "He, Peng and Xie, A new benchmark and approach for fine-grained cross-media retrieval, ACM MM 2019",
    "provenance": "quoted",
    "reason": (
        "one convolutional network trained end to end on raw images, text, video and sound as pictures; "
        "not a method on given features"
    ),
    "modalities": 2,
    "labels": True,
    "stochastic": True,
}
