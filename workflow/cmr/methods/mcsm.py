"""MCSM: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1, 2 and 4.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="MCSM",
    paper="Peng, Qi and Yuan, Modality-specific cross-modal similarity measurement, TIP 2018",
    bibtex="""@article{peng2018modality,
  author = {Peng, Yuxin and Qi, Jinwei and Yuan, Yuxin},
  title = {Modality-Specific Cross-Modal Similarity Measurement With Recurrent Attention Network},
  journal = {IEEE Transactions on Image Processing},
  volume = {27},
  number = {11},
  pages = {5585--5599},
  year = {2018},
  doi = {10.1109/TIP.2018.2852503}
}""",
    implementation="quoted",
    reason="attends over image regions and word sequences with recurrent networks of its own; its public "
    "code tunes the fusion weight on the test set",
    modalities=2,
    labels=True,
    stochastic=True,
)
