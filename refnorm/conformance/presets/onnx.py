"""ONNX's reference evaluator, every opset of its normalizations that differs.

Found in onnx 1.23.2, each confirmed by hand:

    operator                      input that shows it                          comes out         right
    LRN 13                        x = [1, 2, 3] channels, size 1, alpha 1      [.5, 2, 3]        [.5, .4, .3]
                                  two samples of one channel                   an IndexError     an answer
    LpNormalization 1, 22         p = 1, x = [3, -1]                           [1.5, -.5]        [.75, -.25]
                                  float16 x = [300, 400]                       [0, 0]            [.6, .8]
                                  bfloat16 x = [9, 11, 11]                     [.5, .609, .609]  [.501, .612, .612]
    BatchNormalization 9          inference, x = [1, 3], mean 0, var 1         [.8, 2.8]         [1, 3]
    BatchNormalization 14, 15     training, float16 x = [0, 600]               [0, 0], var inf   [-1, 1], var 90000
                                  float16 [1024, 1025], bfloat16 [128, 129]    [0, 1.41]         [-1, 1]
      statistics in float32       the same                                     float16           float32
    LayerNormalization 17,        float16 x = [0, 600]                         [0, 0]            [-1, 1]
      InstanceNormalization 6, 22 float16 [1024, 1025], bfloat16 [128, 129]    [0, 1.41]         [-1, 1]
    RMSNormalization 23           float16 x = [300, 400]                       [0, 0]            [.849, 1.131]
                                  bfloat16 x = [7, 11, 11]                     .7070 first       .7107
      scale in float32            any                                          float16           float32
    GroupNormalization 18         float16 x = [1024, 1025]                     NaN               [-1, 1]
                                  bfloat16 x = [128, 129]                      [0, .088]         [-1, 1]
    GroupNormalization 18, 21     x = [4096, 4097, 4098, 4097]                 +-316             +-1.414
                                  five times 1000.1                            NaN               0
    MeanVarianceNormalization 13  x = [4096, 4097, 4098, 4097]                 +-1e9             +-1.414
                                  any float16 or float64 x                     a type error      an answer

LRN loops over the batch in the place of the channels; LpNormalization has no absolute value; BatchNormalization 9 moves its
statistics in inference.  The 16-bit ones compute in storage where the specification says float32 (InstanceNormalization,
LpNormalization: says nothing).  The last two are the specification's own function bodies: E[x^2] - E[x]^2, and an eps that
is float32; that of GroupNormalization 18 has no stash_type, so that its squares are 16 bits where x is.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from ..candidate import Candidate
from .onnx_operators import Operators, candidate, operators

OPERATORS = Operators("onnx")


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    for norm, method, dtypes, supports in operators("onnx"):
        yield norm, "onnx", candidate(OPERATORS, method, dtypes, supports, f"onnx {onnx.__version__}", __name__)
