"""CMDN: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1 to 4; Li et al. 2022 (SMCR), Table 2.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="CMDN",
    paper="Peng, Huang and Qi, Cross-media shared representation by multiple deep networks, IJCAI 2016",
    bibtex="""@inproceedings{peng2016cross,
  author = {Peng, Yuxin and Huang, Xin and Qi, Jinwei},
  title = {Cross-Media Shared Representation by Hierarchical Learning with Multiple Deep Networks},
  booktitle = {IJCAI},
  pages = {3846--3853},
  year = {2016}
}""",
    implementation="quoted",
    reason="trains deep belief networks and stacked autoencoders of its own on several raw features an "
    "item; not a method on one feature vector a modality",
    modalities=2,
    labels=True,
    stochastic=True,
)
