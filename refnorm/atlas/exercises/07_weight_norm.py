"""Exercise 7.  Weight norm, and where its gradient may point.

w_o = g_o v_o / ||v_o||, a row v_o for each output.  Given dw, what are dL/dv and dL/dg?
"""

import numpy as np  # noqa: F401

EXERCISE = "weight_norm"


def backward(dw, v, g):
    """(dv, dg); v and dw of shape (outputs, inputs), g of shape (outputs,)."""
    raise NotImplementedError
