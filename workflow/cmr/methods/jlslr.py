"""JLSLR: quoted, not run.

Figures: Shang et al. 2019 (DLA-CMR), Tables 2 and 3.
"""

INFO = {
    "title": "JLSLR",
    "paper": "Wu, Wang and Huang, Joint latent subspace learning and regression for cross-modal retrieval, SIGIR 2017",
    "provenance": "quoted",
    "reason": (
        "the texts at hand say only that it couples spectral regression with a graph to learn a latent "
        "space and the regression to labels; its objective could not be established"
    ),
    "modalities": 2,
    "labels": True,
    "stochastic": False,
}
