"""7. Whitening and its noise.

Batch whitening gives a sample other outputs in other batches: the mean, the variance and now the whole covariance are those of
whoever happens to be there.  How much other?  Put the same sample into sixty batches and look at how far its outputs scatter,
for each of the ways to whiten (L. Huang et al., arXiv 2003.12327).  They differ by a rotation, and a rotation is noise too.

    python examples/07_whitening_and_its_noise.py [--figure FILE]
"""

import argparse

import numpy as np

import refnorm as rn
from refnorm.analysis.stochasticity import disturbance, outputs

D, BATCHES, SIZES = 16, 60, (32, 64, 256, 1024)
METHODS = {
    "batch norm": lambda x: rn.batch_norm(x, eps=1e-3)[0],
    "iterative, T = 5": lambda x: rn.iterative_norm(x, eps=1e-5, T=5)[0],
    "ZCA": lambda x: rn.batch_whitening_zca(x, eps=1e-3)[0],
    "Cholesky": lambda x: rn.batch_whitening_cholesky(x, eps=1e-3)[0],
    "PCA": lambda x: rn.batch_whitening_pca(x, eps=1e-3)[0],
}


def scatter(method, m, points=4, seed=0):
    """The disturbance of a method at batch size m: the mean distance of a sample's outputs from their mean; over samples."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(points):
        x, others = rng.normal(size=D), [rng.normal(size=(m - 1, D)) for _ in range(BATCHES)]
        found.append(disturbance(outputs(METHODS[method], x, others)))
    return float(np.mean(found))


def by_dimension(m=64, dimensions=(4, 8, 16, 32), seed=0):
    """ZCA against batch norm as more channels are whitened together."""
    rng, found = np.random.default_rng(seed), {}
    for d in dimensions:
        x, others = rng.normal(size=d), [rng.normal(size=(m - 1, d)) for _ in range(BATCHES)]
        found[d] = [disturbance(outputs(METHODS[name], x, others)) for name in ("ZCA", "batch norm")]
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", metavar="FILE", help="draw the disturbance against the batch size")
    options = parser.parse_args(argv)
    table = {name: [scatter(name, m) for m in SIZES] for name in METHODS}
    print(f"How far one sample's output scatters over {BATCHES} batches ({D} channels, white data)\n")
    print(f"  {'samples a batch':<18}" + "".join(f"{m:>9}" for m in SIZES) + "     from 64 to 1024")
    for name, row in table.items():
        print(f"  {name:<18}" + "".join(f"{v:>9.3f}" for v in row) + f"     / {row[1] / row[3]:.1f}")
    print("\nSixteen times the batch, a quarter of the noise: 1 / sqrt(m).  All but PCA, whose axes are free: at equal values")
    print("any rotation of them is as good, and each batch picks one.  ZCA moves x least: of the exact ones, the steadiest.")

    print("\nMore channels whitened together, more noise (64 samples a batch): group them\n")
    grown = by_dimension()
    print(f"  {'channels':<12}" + "".join(f"{d:>9}" for d in grown))
    for k, name in enumerate(("ZCA", "batch norm")):
        print(f"  {name:<12}" + "".join(f"{row[k]:>9.3f}" for row in grown.values()))

    x = np.random.default_rng(1).normal(size=(64, D)) @ np.diag(np.linspace(0.3, 3, D))
    print("\nWhat each leaves of the covariance, as |cov(y) - I| (ill-conditioned data, 64 samples)\n")
    for name, method in METHODS.items():
        y = method(x)
        print(f"  {name:<18}{np.linalg.norm(y.T @ y / 64 - np.eye(D), 2):.4f}")
    if options.figure:
        draw(options.figure, table)


def draw(path, table):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, row in table.items():
        axes.loglog(SIZES, row, "o-", ms=3, lw=1.2, label=name)
    axes.set(xlabel="samples a batch", ylabel="disturbance of one sample's output")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
