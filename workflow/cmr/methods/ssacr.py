"""SSACR: quoted, not run.

Figures: Li et al. 2022 (SMCR), Table 2.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="SSACR",
    paper="Liu, Du and Zhou, A cross media search method for social networks based on adversarial learning and "
    "semantic similarity, Scientia Sinica Informationis 2021",
    bibtex="""@article{liu2021cross,
  author = {Liu, Chong and Du, Junping and Zhou, Nan},
  title = {A Cross Media Search Method for Social Networks Based on Adversarial Learning and Semantic Similarity},
  journal = {SCIENTIA SINICA Informationis},
  volume = {51},
  number = {5},
  pages = {779--794},
  year = {2021},
  doi = {10.1360/SSI-2019-0120}
}""",
    implementation="quoted",
    reason="its losses and networks are in no text that could be read: a paper that compares with it describes it in a "
    "sentence, the journal's page has no more than the references, and the open paper of its group, CMSAL, is of "
    "another method",
    modalities=2,
    labels=True,
    stochastic=True,
)
