"""Papers that several claims are of."""

from __future__ import annotations

from refnorm.anatomy.method import Citation

SURVEY = Citation(
    "L. Huang, J. Qin, Y. Zhou, F. Zhu, L. Liu, L. Shao",
    "Normalization Techniques in Training DNNs",
    "TPAMI",
    2023,
    "2009.12836",
)
CONDITIONING = Citation(
    "L. Huang, J. Qin, L. Liu, F. Zhu, L. Shao",
    "Layer-wise Conditioning Analysis in Exploring the Learning Dynamics of DNNs",
    "ECCV",
    2020,
    "2002.10801",
)
HOW_BATCH_NORM_HELPS = Citation(
    "S. Santurkar, D. Tsipras, A. Ilyas, A. Madry",
    "How Does Batch Normalization Help Optimization?",
    "NeurIPS",
    2018,
    "1805.11604",
)
NEW_INTERPRETATIONS = Citation(
    "J. Sun, X. Cao, H. Liang, W. Huang, Z. Chen, Z. Li",
    "New Interpretations of Normalization Methods in Deep Learning",
    "AAAI",
    2020,
    "2006.09104",
)
BEYOND_BATCH_NORM = Citation(
    "E. S. Lubana, R. P. Dick, H. Tanaka",
    "Beyond BatchNorm: Towards a Unified Understanding of Normalization in Deep Learning",
    "NeurIPS",
    2021,
    "2106.05956",
)
