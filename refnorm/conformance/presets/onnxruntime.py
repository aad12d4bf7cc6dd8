"""ONNX Runtime's CPU provider on the models of preset onnx, where it has kernels for their types.

Found in onnxruntime 1.31.1, each confirmed by hand:

    operator                      input that shows it                          comes out         right
    GroupNormalization 18, 21     x = [4096, 4097, 4098, 4097]                 +-316             +-1.414
    MeanVarianceNormalization 13  x = [0, 0]                                   NaN               0
                                  x = [1e-9, -1e-9]                            +-1               +-0.5
    LpNormalization 1, float16    any                                          "invalid graph"   an answer

GroupNormalization has no kernel: the specification's function body runs, variance E[x^2] - E[x]^2.
MeanVarianceNormalization leaves eps out.  All other operators pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnxruntime

from ..candidate import Candidate
from .onnx_operators import Operators, candidate, operators

OPERATORS = Operators("onnxruntime")


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    for norm, method, dtypes, supports in operators("onnxruntime"):
        yield norm, "onnx", candidate(OPERATORS, method, dtypes, supports, f"onnxruntime {onnxruntime.__version__}", __name__)
