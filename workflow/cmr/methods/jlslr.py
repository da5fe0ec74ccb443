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
    reason="the texts at hand say only that it couples spectral regression with a graph to learn a latent "
    "space and the regression to labels; its objective could not be established",
    modalities=2,
    labels=True,
    stochastic=False,
)
