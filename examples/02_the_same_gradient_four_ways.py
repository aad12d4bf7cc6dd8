"""2. The same gradient four ways.

One directional derivative of batch norm, <dL/dx, v>: by the formula on paper, by a tape over the forward, by central
differences, and by a complex step.  Four ways that share no mistake; where they agree, the gradient is right.  Where PyTorch is
installed, its autograd is a fifth.

    python examples/02_the_same_gradient_four_ways.py [--figure FILE]
"""

import argparse

import numpy as np

import refnorm as rn
from refnorm.autodiff import vjp
from refnorm.operations import standardize

EPS = 1e-5


def problem(seed=0):
    """x (N, C), a random cotangent dy (never ones: the entries of xhat sum to zero whatever x is), a direction v."""
    rng = np.random.default_rng(seed)
    x, dy, v = rng.normal(size=(3, 8, 3))
    return 2 + 3 * x, dy, v


def by_formula(x, dy, v):
    """The explicit backward."""
    _, cache, _ = rn.batch_norm.forward(x, eps=EPS)
    return np.sum(rn.batch_norm.backward(dy, cache)[0] * v)


def by_tape(x, dy, v):
    """The forward's own text, run on traced arrays."""
    _, pull = vjp(lambda x: rn.batch_norm.forward(x, eps=EPS)[0], x)
    return np.sum(pull(dy)[0] * v)


def by_differences(x, dy, v, h=2.0**-17.7):
    """(f(x + h v) - f(x - h v)) / 2h; off by h^2 (truncation) and by u / h (rounding), least near h = u^(1/3)."""

    def loss(x):
        return np.sum(dy * rn.batch_norm.forward(x, eps=EPS)[0])

    return (loss(x + h * v) - loss(x - h * v)) / (2 * h)


def by_complex_step(x, dy, v, h=1e-100):
    """Im f(x + i h v) / h: nothing is subtracted, so h may be as small as one likes (J. Squire, G. Trapp, 1998)."""
    z = (x + 1j * h * v).T[None]                    # (1, C, N): B blocks, D rows, M samples
    mean = np.mean(z, axis=2, keepdims=True)
    var = np.mean((z - mean) ** 2, axis=2, keepdims=True)      # squares, not moduli: f must stay analytic
    y = standardize.apply(z, standardize.Saved(mean, var, 1 / np.sqrt(var + EPS)))
    return np.sum(dy.T * y[0].imag) / h


def by_torch(x, dy, v):
    import torch

    t = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.batch_norm(t, None, None, training=True, eps=EPS)
    y.backward(torch.tensor(dy))
    return float(np.sum(t.grad.numpy() * v))


WAYS = {"formula": by_formula, "tape": by_tape, "differences": by_differences, "complex step": by_complex_step}


def errors_by_step(steps=2.0 ** -np.arange(2, 50)):
    """Step sizes, and the relative error of differences at each: the V."""
    x, dy, v = problem()
    right = by_formula(x, dy, v)
    return steps, np.array([abs(by_differences(x, dy, v, h) - right) / abs(right) for h in steps])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", metavar="FILE", help="draw the error of differences against h")
    options = parser.parse_args(argv)
    x, dy, v = problem()
    right = by_formula(x, dy, v)
    print("<dL/dx, v> of batch norm, four ways\n")
    for name, way in WAYS.items():
        value = way(x, dy, v)
        print(f"  {name:<14}{value:.15f}   off by {abs(value - right) / abs(right):.0e}")
    try:
        print(f"  {'PyTorch':<14}{by_torch(x, dy, v):.15f}")
    except ImportError:
        print("  PyTorch        is not installed")

    steps, errors = errors_by_step()
    best = np.argmin(errors)
    print("\nHow to choose h for differences: too large, the curve is not its tangent; too small, rounding is all there is\n")
    for k in sorted({*range(0, len(steps), 6), int(best)}):
        bar = "#" * round(2.2 * (16 + np.log10(max(errors[k], 1e-16))))
        print(f"  h = 2^-{int(-np.log2(steps[k])):<3} error {errors[k]:.0e}  {bar}{'   <- the best' if k == best else ''}")
    print(f"\n  u^(1/3) = {2.0**-53:.0e}^(1/3) = 2^{-53 / 3:.1f}: where the two errors meet")
    if options.figure:
        draw(options.figure, steps, errors)


def draw(path, steps, errors):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.loglog(steps, errors, "o-", ms=3, lw=1)
    axes.loglog(steps, steps**2, "--", lw=0.8, color="gray", label="$h^2$: truncation")
    axes.loglog(steps, 2.0**-53 / steps, ":", lw=0.8, color="gray", label="$u/h$: rounding")
    axes.set(xlabel="step $h$", ylabel="relative error of central differences", ylim=(1e-14, 10))
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
