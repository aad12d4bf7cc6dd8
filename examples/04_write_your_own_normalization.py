"""4. Write your own normalization and have it proven.

Layer norm divides by the root of the mean square, where one outlier weighs most.  Here the row is divided by its mean absolute
deviation instead, rounded at zero so that it has a gradient everywhere.  Derive on paper, declare once, and the declaration is
proven: first with a backward that forgets a term and a fact that is not one, then with the right ones.

    python examples/04_write_your_own_normalization.py

    zc = z - mean(z)      s = mean(sqrt(zc^2 + eps))      zhat = zc / s

With u = zc / sqrt(zc^2 + eps), ds = mean(u dzc), so dzhat = (dzc - zhat mean(u dzc)) / s, dzc = dz - mean(dz).  The adjoint:

    h = (g - u mean(zhat g)) / s      dL/dz = h - mean(h)
"""

from typing import NamedTuple

import numpy as np

from refnorm import NORMS
from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import Operation
from refnorm.anatomy.recovery import Affine
from refnorm.operations.standardize import average
from refnorm.oracles import LOOPS
from refnorm.proofs import prove


class Saved(NamedTuple):
    mean: np.ndarray
    u: np.ndarray
    s: np.ndarray


def forward(z, *, eps):
    mean = average(z)
    zc = z - mean
    rounded = np.sqrt(zc**2 + eps)
    saved = Saved(mean, zc / rounded, average(rounded))
    return apply(z, saved), saved


def apply(z, saved):
    return (z - saved.mean) / saved.s


def backward(g, z, saved, *, eps):
    h = (g - saved.u * average(apply(z, saved) * g)) / saved.s
    return h - average(h)


def forgetful_backward(g, z, saved, *, eps):
    """As if s were a constant: the mistake that everybody makes once."""
    h = g / saved.s
    return h - average(h)


def apply_backward(g, saved):
    return g / saved.s


def loops(x, gamma, beta, *, eps, **_):
    """The forward in plain indices, sharing nothing with the above: run in arbitrary precision, it is the first witness."""
    y = np.empty(x.shape, object)
    for i, row in enumerate(x):
        mean = sum(row) / len(row)
        s = sum(((v - mean) ** 2 + eps) ** 0.5 for v in row) / len(row)
        for j, v in enumerate(row):
            y[i, j] = (v - mean) / s * (1 if gamma is None else gamma[j]) + (0 if beta is None else beta[j])
    return y


def declare(derivative, facts):
    """Enter the norm into refnorm's catalogue under the name robust_layer_norm."""
    operation = Operation("robust", "xhat = (x - mean) / mean|x - mean|", forward, derivative, apply, apply_backward)

    @norm(
        Area("r f -> r | | f"),
        operation,
        Affine("f"),
        cite=Citation("You", "Your paper", "Your venue", 2026),
        facts=invariances(facts),
        dialects={"torch": Dialect({"eps": 1e-5})},
        examples=({"shape": (5, 6)}, {"shape": (4, 3), "beta": None}),
    )
    def robust_layer_norm(x, gamma=None, beta=None, *, eps=FROM_DIALECT, dialect="torch", backend="numpy"):
        """Each row centred, divided by its rounded mean absolute deviation."""
        return Layout.trailing(x, -1)

    LOOPS["robust_layer_norm"] = loops
    return robust_layer_norm


def withdraw():
    del NORMS["robust_layer_norm"], LOOPS["robust_layer_norm"]


def findings(derivative, facts):
    """Every finding about the norm with this backward and these facts."""
    declare(derivative, facts)
    try:
        return list(prove(NORMS["robust_layer_norm"]))
    finally:
        withdraw()


WRONG = "yes yes yes no no yes no yes"                # claims that each neuron's scale does not matter
RIGHT = "yes no yes no no yes no yes"


def main():
    np.seterr(all="ignore")
    print("First try: a backward that takes the deviation for a constant, and one fact too many\n")
    tried = findings(forgetful_backward, WRONG)
    red = {f.proof: f for f in reversed(tried) if not f.ok}          # the first of each proof
    for finding in reversed(red.values()):
        print(f"  {finding}")
    print(f"\n  {sum(not f.ok for f in tried)} of {len(tried)} findings are red")

    print("\nSecond try: the derivation above, and the fact taken back\n")
    proven = findings(backward, RIGHT)
    for proof in dict.fromkeys(f.proof for f in proven if not f.skipped):
        mine = [f for f in proven if f.proof == proof]
        print(f"  {'ok' if all(f.ok for f in mine) else 'RED':<4}{proof:<32}{mine[0].words[:90]}")
    print(f"\n  {sum(not f.ok for f in proven)} of {len(proven)} findings are red")

    robust = declare(backward, RIGHT)
    row = np.array([[0.1, -0.2, 0.3, -0.1, 9.0]])
    print("\nWhat it does to a row with one outlier, which still moves the mean, and counts for less in the scale\n")
    print("  row         ", np.round(row[0], 2))
    print("  layer_norm  ", np.round(NORMS["layer_norm"](row)[0], 2))
    print("  yours       ", np.round(robust(row)[0], 2))
    withdraw()


if __name__ == "__main__":
    main()
