"""The slope of the Taylor remainder: the judge of every rule.

For y = f(x) and random c, phi(x) = sum sin(1 + Re(conj(c) y)) is a real scalar with derivatives of every order, also where f is
linear.  With the gradient p and the Hessian H of the tape,

    |phi(x + h v) - phi(x) - h <p, v>|                      falls like h^2,
    |phi(x + h v) - phi(x) - h <p, v> - h^2/2 <v, H v>|     like h^3,

and like h, or h^2, where a rule is wrong.  <a, b> = Re sum(conj(a) b).
"""

import numpy as np

from refnorm.autodiff import vjp

STEPS = 2.0 ** -np.arange(7, 15)
UNIT = np.finfo(float).eps


def inner(a, b):
    return sum(float(np.sum(np.real(np.conj(p) * q))) for p, q in zip(a, b, strict=True))


def directions(xs, rng):
    """Entries of magnitude 1 at most, so that a step of h moves no entry over a kink that is further than h away."""
    return [rng.uniform(-0.7, 0.7, x.shape) + (1j * rng.uniform(-0.7, 0.7, x.shape) if np.iscomplexobj(x) else 0) for x in xs]


def scalar(f, xs, rng):
    """phi, from the floating-point outputs of f."""
    cs = []
    for y in outputs(f(*xs)):
        c = rng.uniform(0.3, 1.0, (2, *np.shape(y)))
        cs.append(c[0] + 1j * c[1] if np.iscomplexobj(y) else c[0])

    def phi(*xs):
        return sum(np.sum(np.sin(1 + np.real(np.conj(c) * y))) for c, y in zip(cs, outputs(f(*xs)), strict=True))

    return phi, sum(np.size(c) for c in cs)


def outputs(y):
    ys = y if isinstance(y, tuple | list) else (y,)
    return [a for a in ys if a.dtype.kind in "fc"]


def slopes(f, *xs, seed=0):
    """The orders at which the remainders of first and second order fall; infinity where there is no remainder at all.

    Summed over three directions, for along one the leading term may happen to vanish.
    """
    rng = np.random.default_rng(seed)
    phi, count = scalar(f, xs, rng)
    y, pull = vjp(phi, *xs)
    gradient, curvature = pull(np.ones(())), vjp(lambda *xs: vjp(phi, *xs)[1](np.ones(())), *xs)[1]
    remainders, floor = np.zeros((2, len(STEPS))), 64 * UNIT * count
    for _ in range(3):
        v = directions(xs, rng)
        first, second = inner(v, gradient), inner(v, curvature(tuple(v)))
        moved = np.array([phi(*(x + h * d for x, d in zip(xs, v, strict=True))) - y for h in STEPS])
        remainders += np.abs([moved - STEPS * first, moved - STEPS * first - STEPS**2 / 2 * second])
        floor += 64 * UNIT * abs(first)
    return tuple(_order(r, floor) for r in remainders)


def _order(remainders, floor):
    """The slope where the step is smallest and the remainder still stands clear of rounding."""
    assert np.all(np.isfinite(remainders))
    seen = remainders[remainders > 200 * floor]
    return float(np.median(np.log2(seen[:-1] / seen[1:])[-3:])) if len(seen) > 1 else np.inf
