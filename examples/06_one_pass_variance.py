"""6. Why E[x^2] - E[x]^2 ships again every year.

One pass over the data instead of two: both sums at once, var = E[x^2] - E[x]^2.  It is exact on paper, half the memory traffic,
and passes every test on normal random numbers.  But both terms are about mean^2, and their roundings are u mean^2, whatever the
variance is: relative to the variance that is u (mean/std)^2.  Real activations behind a ReLU or a residual stream have
|mean|/std of 10 to 1000.

    python examples/06_one_pass_variance.py [--figure FILE]
"""

import argparse

import numpy as np

import refnorm as rn
from refnorm.conformance.tolerance import growth_exponent

KAPPAS = 2.0 ** np.arange(0, 15, 2)                  # |mean| / std
UNIT = 2.0**-24                                      # of float32


def one_pass(x):
    """E[x^2] - E[x]^2, clipped at zero as it usually is."""
    mean = np.mean(x, dtype=np.float32)
    return mean, max(np.mean(x * x, dtype=np.float32) - mean * mean, np.float32(0))


def two_pass(x):
    mean = np.mean(x, dtype=np.float32)
    return mean, np.mean(np.square(x - mean), dtype=np.float32)


def welford(x):
    """One pass that is right: mean and squared deviation updated together (B. P. Welford, 1962)."""
    mean, square = np.float32(0), np.float32(0)
    for n, v in enumerate(x, 1):
        step = v - mean
        mean += step / np.float32(n)
        square += step * (v - mean)
    return mean, square / np.float32(len(x))


def shifted(x):
    """One pass over x - x_0: any number near the mean will do (T. Chan, G. Golub, R. LeVeque, 1983)."""
    mean, var = one_pass(x - x[0])
    return mean + x[0], var


ALGORITHMS = {"E[x^2] - E[x]^2": one_pass, "two passes": two_pass, "Welford": welford, "shifted by x_0": shifted}


def errors(algorithm, kappas=KAPPAS, length=512, rows=16):
    """The largest error of xhat in float32 at each |mean|/std, against refnorm's float64."""
    rng, found = np.random.default_rng(0), []
    for kappa in kappas:
        x = (rng.normal(size=(rows, length)) + kappa).astype(np.float32)
        right = rn.layer_norm(x.astype(np.float64), eps=1e-5)
        worst = 0.0
        for row, exact in zip(x, right, strict=True):
            mean, var = algorithm(row)
            xhat = (row - mean) / np.sqrt(var + np.float32(1e-5))
            worst = max(worst, float(np.max(np.abs(xhat - exact))))
        found.append(worst)
    return np.array(found)


def bits_lost(error):
    """log2 of the error in roundings of a number of size 1; 24 is all that there are."""
    return np.clip(np.log2(error / UNIT), 0, 24)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", metavar="FILE", help="draw bits lost against |mean|/std")
    options = parser.parse_args(argv)
    measured = {name: errors(algorithm) for name, algorithm in ALGORITHMS.items()}
    print("Bits that a layer norm in float32 loses (of 24), rows of 512\n")
    print(f"  {'|mean|/std':<18}" + "".join(f"{k:>8.0f}" for k in KAPPAS) + "     error ~ (|mean|/std)^q")
    for name, error in measured.items():
        bits = "".join(f"{b:>8.1f}" for b in bits_lost(error))
        print(f"  {name:<18}{bits}     q = {growth_exponent(KAPPAS, error):.1f}")

    x = np.random.default_rng(1).normal(size=(64, 512)).astype(np.float32)
    y = np.array([(row - one_pass(row)[0]) / np.sqrt(one_pass(row)[1] + np.float32(1e-5)) for row in x])
    right = rn.layer_norm(x.astype(np.float64), eps=1e-5)
    print(f"\nThe test that lets it through: on normal random numbers it is off by {np.max(abs(y - right)):.0e}, and")
    print(f"np.allclose(y, right, atol=1e-5) says {np.allclose(y, right, atol=1e-5)}.  At a mean of 5000 standard deviations:")
    row = (np.random.default_rng(2).normal(size=512) + 5000).astype(np.float32)
    print(f"\n  variance, exact     {np.var(row.astype(np.float64)):.4f}")
    for name, algorithm in ALGORITHMS.items():
        print(f"  {name:<20}{algorithm(row)[1]:.4f}")
    print("\nrefnorm finds it from outside, by the exponent: 1 is a right algorithm, 2 is this one")
    if options.figure:
        draw(options.figure, measured)


def draw(path, measured):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, error in measured.items():
        axes.semilogx(KAPPAS, bits_lost(error), "o-", ms=3, lw=1.2, label=name)
    axes.set(xlabel="|mean| / std", ylabel="bits lost, of 24")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
