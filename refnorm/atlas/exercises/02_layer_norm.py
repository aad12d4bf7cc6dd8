"""Exercise 2.  Layer norm.

xhat = (x - mean) / sqrt(var + eps), over the last axis; y = gamma xhat + beta.  Given dy, what are dL/dx, dL/dgamma, dL/dbeta?

First g = dL/dxhat.  Then remember: a row that is shifted or scaled gives the same xhat, so two directions of g must vanish.
"""

import numpy as np  # noqa: F401

EXERCISE = "layer_norm"


def backward(dy, x, gamma, beta, *, eps=1e-5):
    """(dx, dgamma, dbeta); x and dy of shape (rows, columns), gamma and beta of shape (columns,)."""
    raise NotImplementedError
