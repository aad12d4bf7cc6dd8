"""1. Batch norm by hand, forward and backward.

Four numbers, chosen so that everything comes out even: their mean is 10, their variance 25, their deviation 5.  The forward
takes four lines, the backward one; the six sums of the original paper say the same as that one line.

    python examples/01_batch_norm_by_hand.py
"""

import numpy as np

import refnorm as rn

X = np.array([11.0, 9.0, 17.0, 3.0])                # one channel, a batch of four
G = np.array([1.0, 0.0, 0.0, 0.0])                  # dL/dxhat: the loss looks at the first output alone


def forward(x, eps=0.0):
    """xhat and the deviation."""
    mean = np.mean(x)                               # mu = mean(x)
    var = np.mean((x - mean) ** 2)                  # s2 = mean((x - mu)^2)
    deviation = np.sqrt(var + eps)
    return (x - mean) / deviation, deviation        # xhat = (x - mu) / sqrt(s2 + eps)


def backward(g, xhat, deviation):
    """dL/dx = (g - mean(g) - xhat mean(g xhat)) / sigma: g without what lies along 1, without what lies along xhat."""
    return (g - np.mean(g) - xhat * np.mean(g * xhat)) / deviation


def backward_in_six_sums(g, x, eps=0.0):
    """The same as S. Ioffe and C. Szegedy write it (arXiv 1502.03167, section 3): a chain through variance and mean."""
    m, mean = len(x), np.mean(x)
    var = np.mean((x - mean) ** 2)
    dvar = np.sum(g * (x - mean)) * -0.5 * (var + eps) ** -1.5
    dmean = -np.sum(g) / np.sqrt(var + eps) + dvar * np.sum(-2 * (x - mean)) / m
    return g / np.sqrt(var + eps) + dvar * 2 * (x - mean) / m + dmean / m


def show(name, values, says=""):
    print(f"  {name:<22}{'  '.join(f'{v:8.4f}' for v in np.ravel(values)):<42}{says}")


def main():
    xhat, deviation = forward(X)
    print("Forward")
    show("x", X)
    show("mean", np.mean(X))
    show("x - mean", X - np.mean(X), "the mean is gone")
    show("deviation", deviation)
    moments = f"mean {abs(np.mean(xhat)):.0f}, mean square {np.mean(xhat**2):.0f}"
    show("xhat", xhat, f"{moments}: a point on a sphere of radius sqrt(4)")

    dx = backward(G, xhat, deviation)
    print("\nBackward, for a loss that looks at the first output alone")
    show("g = dL/dxhat", G)
    show("mean(g)", np.mean(G), "what a common shift would do to the loss")
    show("mean(g xhat)", np.mean(G * xhat), "what a common scale would do to it")
    show("dL/dx", dx, "all four inputs have a gradient: they share a mean and a deviation")
    show("six sums", backward_in_six_sums(G, X), "the paper's chain: the same numbers")

    print("\nWhat must hold, since xhat cannot answer to a shift or to a scale of x")
    show("<dx, 1>", abs(np.sum(dx)))
    show("<dx, xhat>", abs(np.sum(dx * xhat)))

    x = X.reshape(4, 1)                             # (batch, channels)
    y, cache, state = rn.batch_norm.forward(x, np.ones(1), np.zeros(1), eps=0.0)
    gradients = rn.batch_norm.backward(G.reshape(4, 1), cache)
    print("\nrefnorm.batch_norm says")
    show("y", y)
    show("dL/dx", gradients[0])
    show("dL/dgamma, dL/dbeta", np.concatenate(gradients[1:]), "sum(dy xhat), sum(dy)")
    show("running mean, var", [state.mean[0], state.var[0]], "0.9 old + 0.1 new; PyTorch keeps the unbiased variance, 25 * 4/3")


if __name__ == "__main__":
    main()
