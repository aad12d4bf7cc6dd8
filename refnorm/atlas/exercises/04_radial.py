"""Exercise 4.  What is left of the scale.

With eps under the root, <dx, xhat> is small, and not zero.  Predict it, without computing dx.
"""

import numpy as np  # noqa: F401

EXERCISE = "radial"


def dx_dot_xhat(g, xhat, var, eps):
    """sum(dx * xhat) of one row: g = dL/dxhat and xhat of shape (m,), var the row's biased variance."""
    raise NotImplementedError
