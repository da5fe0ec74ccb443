"""GSS-SL: quoted, not run.

Figures: Shang et al. 2019 (DLA-CMR), Tables 2 and 3; Hu et al. 2019 (SDML), Tables 2 to 5.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="GSS-SL",
    paper="Zhang, Ma, Li, Huang and Tian, Generalized semi-supervised and structured subspace learning, TMM 2018",
    bibtex="""@article{zhang2018generalized,
  author = {Zhang, Liang and Ma, Bingpeng and Li, Guorong and Huang, Qingming and Tian, Qi},
  title = {Generalized Semi-supervised and Structured Subspace Learning for Cross-Modal Retrieval},
  journal = {IEEE Transactions on Multimedia},
  volume = {20},
  number = {1},
  pages = {128--141},
  year = {2018}
}""",
    implementation="quoted",
    reason="its objective is in no text that could be read: the abstract says that a label graph predicts labels of "
    "the unlabelled rows and that a structured subspace is learned with them; surveys and later papers on subspaces do "
    "not restate it, and no public code was found",
    modalities=2,
    labels=True,
    stochastic=False,
    transductive=True,
)
