"""CR-CDSL: quoted, not run.

Figures: Shang et al. 2019 (DLA-CMR), Tables 2 and 3.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="CR-CDSL",
    paper="Zhang, Zhu, Sun and Zhang, Cross-media retrieval with collective deep semantic learning, Multimedia "
    "Tools and Applications 2018",
    bibtex="""@article{zhang2018cross,
  author = {Zhang, B. and Zhu, L. and Sun, J. and Zhang, H.},
  title = {Cross-media Retrieval with Collective Deep Semantic Learning},
  journal = {Multimedia Tools and Applications},
  volume = {77},
  number = {17},
  pages = {22247--22266},
  year = {2018}
}""",
    implementation="quoted",
    reason="its objective is in no text that could be read: the abstract gives the parts (two networks initialised by "
    "deep restricted Boltzmann machines, weak labels for unlabelled rows) and not objectives, sizes or rates; of its "
    "relative RSNN-SM too only an abstract was found, and no public code",
    modalities=2,
    labels=True,
    stochastic=True,
    transductive=True,
)
