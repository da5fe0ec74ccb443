"""CBT: quoted, not run.

Figures: Hu et al. 2019 (SDML), Table 4.
"""

from cmr.info import MethodInfo

INFO = MethodInfo(
    title="CBT",
    paper="Qi and Peng, Cross-modal bidirectional translation via reinforcement learning, IJCAI 2018",
    bibtex="""@inproceedings{qi2018cross,
  author = {Qi, Jinwei and Peng, Yuxin},
  title = {Cross-modal Bidirectional Translation via Reinforcement Learning},
  booktitle = {IJCAI},
  pages = {2630--2636},
  year = {2018}
}""",
    implementation="quoted",
    reason="translates sequences of image regions into sequences of words and back; needs regions and "
    "words, not a feature vector an item",
    modalities=2,
    labels=True,
    stochastic=True,
)
