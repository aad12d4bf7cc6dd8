"""Exercise 1.  Centring.

y = x - mean(x), row by row.  Given dy = dL/dy of shape (rows, columns), what is dL/dx?

Nudge x by v: how does y move?  Write that as a matrix times v; the gradient is its transpose times dy.
"""

import numpy as np  # noqa: F401

EXERCISE = "center"


def backward(dy):
    """dL/dx, shape (rows, columns)."""
    raise NotImplementedError
