"""A layer norm with two bugs that have shipped before, so that you can see what a failure looks like:

    refnorm check examples/buggy_layer_norm.py:layer_norm --norm layer_norm

The variance is E[x^2] - E[x]^2 in float32, which loses the digits that the mean and the mean square share; and the gradient
forgets the mean term on rows longer than 1024, where a second block of a kernel would have taken over.
"""

import numpy as np

from refnorm.conformance import Candidate


def forward(x, gamma, beta, *, eps=1e-5):
    axes = tuple(range(-gamma.ndim, 0))
    mean = x.mean(axes, keepdims=True)
    var = (x * x).mean(axes, keepdims=True) - mean * mean
    xhat = (x - mean) / np.sqrt(np.maximum(var, 0) + x.dtype.type(eps))
    return xhat * gamma + beta


def backward(dy, x, gamma, beta, *, eps=1e-5):
    axes, rows = tuple(range(-gamma.ndim, 0)), tuple(range(x.ndim - gamma.ndim))
    mean = x.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + x.dtype.type(eps))
    xhat = (x - mean) * rstd
    g = dy * gamma
    centred = g if gamma.size > 1024 else g - g.mean(axes, keepdims=True)
    dx = rstd * (centred - xhat * (g * xhat).mean(axes, keepdims=True))
    return dx, (dy * xhat).sum(rows), dy.sum(rows)


layer_norm = Candidate(forward, backward, dtypes=("float32",))
