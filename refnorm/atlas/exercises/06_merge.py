"""Exercise 6.  A variance in one pass, and right.

Two parts of a row have been read: each has its count n, its mean and its sum of squared deviations from its own mean, q.  Merge
them into those of the whole, without E[x^2] - E[x]^2: this is what a reduction over threads, blocks or machines needs.
"""

import numpy as np  # noqa: F401

EXERCISE = "merge"


def merge(n1, mean1, q1, n2, mean2, q2):
    """(n, mean, q) of both parts together."""
    raise NotImplementedError
