"""CCL: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1 to 4; Hu et al. 2019 (SDML), Tables 4 and 5.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="CCL",
    paper="Peng, Qi, Huang and Yuan, CCL: cross-modal correlation learning with multigrained fusion, TMM 2018",
    bibtex="""@article{peng2018ccl,
  author = {Peng, Yuxin and Qi, Jinwei and Huang, Xin and Yuan, Yuxin},
  title = {{CCL}: Cross-modal Correlation Learning With Multigrained Fusion by Hierarchical Network},
  journal = {IEEE Transactions on Multimedia},
  volume = {20},
  number = {2},
  pages = {405--420},
  year = {2018}
}""",
    implementation="quoted",
    reason="fuses whole images and texts with image patches and sentence fragments, which features of whole "
    "items do not hold",
    modalities=2,
    labels=True,
    stochastic=True,
)
