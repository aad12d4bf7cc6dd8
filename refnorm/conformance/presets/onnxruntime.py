"""ONNX Runtime's CPU provider on the models of preset onnx, where it has kernels for their types; and its own fused norms,
SkipLayerNormalization and SkipSimplifiedLayerNormalization: y = norm(h), h = x + residual, over the last axis.

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
from typing import Any

import onnxruntime

from ..candidate import Candidate
from ..cases import Case
from .onnx_operators import Operators, candidate, operators, requires

OPERATORS = Operators("onnxruntime")


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    version = f"onnxruntime {onnxruntime.__version__}"
    for norm, method, dtypes, supports in operators("onnxruntime"):
        yield norm, "onnx", candidate(OPERATORS, method, dtypes, supports, version, __name__)
    fused: Any = {"prologue": "residual", "normalized_ndim": 1}
    for norm, dialect, method in (("layer_norm", "torch", "skip_layer_norm_1"), ("rms_norm", "flax", "skip_rms_norm_1")):
        yield norm, dialect, candidate(OPERATORS, method, ("float32", "float16"), _skips, version, __name__, **fused)


def _skips(case: Case) -> Any:
    if case.x.ndim not in (2, 3):
        return "the operator takes two or three axes"
    return requires("gamma")(case)
