"""Derivatives of functions written in NumPy, of any order; NumPy alone is imported.

    grad, value_and_grad, vjp, jvp, hvp, jacobian       derivatives of functions          derivatives.py
    stop, frozen                                        values that count as constants    stopping.py
    Box, primitive, defvjp                              the tape and its rules            core.py, recording.py, rules_*.py
    matrix                                              roots and factors of matrices     matrix.py
"""

from . import (  # noqa: F401
    box,
    rules_constant,
    rules_elementwise,
    rules_fft,
    rules_indexing,
    rules_linalg,
    rules_products,
    rules_reduction,
    rules_shape,
)
from .core import Box, primitive
from .derivatives import grad, hvp, jacobian, jvp, value_and_grad, vjp
from .recording import defvjp
from .stopping import frozen, stop

__all__ = ["Box", "defvjp", "frozen", "grad", "hvp", "jacobian", "jvp", "primitive", "stop", "value_and_grad", "vjp"]
