"""CM-GANs: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1, 2 and 4.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="CM-GANs",
    paper="Peng and Qi, CM-GANs: cross-modal generative adversarial networks, TOMM 2019",
    bibtex="""@article{peng2019cmgans,
  author = {Peng, Yuxin and Qi, Jinwei},
  title = {{CM-GANs}: Cross-modal Generative Adversarial Networks for Common Representation Learning},
  journal = {ACM Transactions on Multimedia Computing, Communications, and Applications},
  volume = {15},
  number = {1},
  pages = {22:1--22:24},
  year = {2019},
  doi = {10.1145/3284750}
}""",
    implementation="quoted",
    reason="trains convolutional extractors end to end on raw pixels and word sequences, not on given features",
    modalities=2,
    labels=True,
    stochastic=True,
)
