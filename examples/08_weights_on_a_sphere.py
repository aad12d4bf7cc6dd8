"""8. Weights on a sphere: norm growth and the effective learning rate.

A weight whose scale does not matter has a gradient that is orthogonal to it.  So every step makes it longer, and since its
gradient shrinks as it grows, it turns more and more slowly: the learning rate falls by itself.  Weight decay pulls back, and
the two find an equilibrium whose angle a step is sqrt(2 eta lambda), whatever the network.  On a sphere nothing grows at all.

    python examples/08_weights_on_a_sphere.py [--figure FILE]
"""

import argparse

import numpy as np

import refnorm as rn
from refnorm.operations import standardize

X = np.random.default_rng(0).normal(size=(256, 16))
TARGET = np.tanh(X @ np.random.default_rng(1).normal(size=16)) + 0.5 * np.random.default_rng(2).normal(size=256)


def gradient(w, chosen):
    """dL/dw of L = mean (y - t)^2 / 2 with y = batch_norm(x w): scale-invariant in w."""
    x, t = X[chosen], TARGET[chosen]
    z = (x @ w)[None, None]
    y, saved = standardize.forward(z, eps=0.0)
    g = (y - t) / len(t)
    return x.T @ standardize.backward(g, z, saved, eps=0.0)[0, 0]


def descend(steps, lr, decay=0.0, sphere=False, seed=3, start=1.0):
    """Norms and angles (radians a step) of a weight under stochastic gradient descent, batches of 32."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=16)
    w *= start / np.linalg.norm(w)
    norms, angles, defects = [], [], []
    for _ in range(steps):
        g = gradient(w, rng.choice(256, 32, replace=False))
        if sphere:
            step = rn.tangent_projection(g[None], w[None])
            new = rn.sphere_retraction(w[None], step, step=lr)[0]
        else:
            new = w - lr * (g + decay * w)
        if decay == 0 and not sphere:
            defects.append(new @ new - w @ w - lr**2 * (g @ g))
        cosine = np.clip(new @ w / np.linalg.norm(new) / np.linalg.norm(w), -1, 1)
        norms.append(np.linalg.norm(new))
        angles.append(np.arccos(cosine))
        w = new
    return np.array(norms), np.array(angles), np.array(defects)


def rms(a):
    return float(np.sqrt(np.mean(np.square(a))))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", metavar="FILE", help="draw norms and angles over the steps")
    options = parser.parse_args(argv)
    norms, angles, defects = descend(3000, lr=0.5)
    print("Plain descent: the gradient is orthogonal to w, so |w|^2 grows by eta^2 |g|^2 each step\n")
    print(f"  |w+|^2 - |w|^2 - eta^2 |g|^2, worst of 3000 steps     {np.max(np.abs(defects)):.0e}")
    print("  step            " + "".join(f"{k:>9}" for k in (1, 10, 100, 1000, 3000)))
    print("  |w|             " + "".join(f"{norms[k - 1]:>9.3f}" for k in (1, 10, 100, 1000, 3000)))
    windows = [angles[max(0, k - 10) : k] for k in (1, 10, 100, 1000, 3000)]
    print("  angle a step    " + "".join(f"{rms(a):>9.4f}" for a in windows) + "   it turns more slowly, eta unchanged")

    print("\nWith weight decay lambda: an equilibrium, and its angle is sqrt(2 eta lambda)\n")
    print(f"  {'eta':>7}{'lambda':>9}{'eta lambda':>12}{'|w|':>9}{'angle':>10}{'theory':>10}")
    decayed = {}
    for lr, decay in ((0.1, 0.02), (0.2, 0.01), (0.4, 0.005), (0.4, 0.02)):
        n, a, _ = descend(12000, lr, decay)
        decayed[lr, decay] = n, a
        theory = np.sqrt(2 * lr * decay)
        print(f"  {lr:>7}{decay:>9}{lr * decay:>12.3f}{rms(n[6000:]):>9.3f}{rms(a[6000:]):>10.5f}{theory:>10.5f}")
    print("\n  Equal eta lambda, equal angle: the learning rate and the decay are one number, where scale does not matter.")

    on_sphere, turned, _ = descend(3000, lr=0.02, sphere=True)
    print("\nOn the sphere (tangent_projection, sphere_retraction): the length stays, the angle falls as the gradient does\n")
    early, late = rms(turned[100:1000]), rms(turned[-1000:])
    print(f"  |w| from 1 to {on_sphere[-1]:.13f};  angle {early:.4f} early, {late:.4f} late")
    if options.figure:
        draw(options.figure, {"plain": (norms, angles), "decay": decayed[0.4, 0.02], "sphere": (on_sphere, turned)})


def draw(path, runs):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (norms, angles) in runs.items():
        left.plot(norms[:3000], lw=1.2, label=name)
        right.semilogy(angles[:3000], lw=0.5, label=name)
    left.set(xlabel="step", ylabel="|w|")
    right.set(xlabel="step", ylabel="angle a step")
    left.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
