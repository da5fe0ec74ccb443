"""JLSLR: quoted, not run.

Figures: Shang et al. 2019 (DLA-CMR), Tables 2 and 3.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="JLSLR",
    paper="Wu, Lin and Zha, Joint latent subspace learning and regression for cross-modal retrieval, SIGIR 2017",
    bibtex="""@inproceedings{wu2017joint,
  author = {Wu, Jianlong and Lin, Zhouchen and Zha, Hongbin},
  title = {Joint Latent Subspace Learning and Regression for Cross-Modal Retrieval},
  booktitle = {SIGIR},
  pages = {917--920},
  year = {2017},
  doi = {10.1145/3077136.3080678}
}""",
    implementation="quoted",
    reason="its objective is in no text that could be read: the abstract says that spectral regression with a graph "
    "and the regression to labels are learned together; surveys, lists of papers with code and the abstract of its "
    "first author's later paper on reconstruction and low rank do not restate it, and no public code was found",
    modalities=2,
    labels=True,
    stochastic=False,
)
