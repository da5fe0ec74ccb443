"""FGCrossNet: quoted, not run.

Figures: Wang et al. 2020 (DRSL), Tables 1 to 4.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="FGCrossNet",
    paper="He, Peng and Xie, A new benchmark and approach for fine-grained cross-media retrieval, ACM MM 2019",
    bibtex="""@inproceedings{he2019new,
  author = {He, Xiangteng and Peng, Yuxin and Xie, Liu},
  title = {A New Benchmark and Approach for Fine-grained Cross-media Retrieval},
  booktitle = {ACM Multimedia},
  pages = {1740--1748},
  year = {2019},
  doi = {10.1145/3343031.3350974}
}""",
    implementation="quoted",
    reason="one convolutional network trained end to end on raw images, text, video and sound as pictures; "
    "not a method on given features",
    modalities=2,
    labels=True,
    stochastic=True,
)
