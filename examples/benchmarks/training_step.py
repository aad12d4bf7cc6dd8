"""Where a training step's time goes: its matrix products alone, against the whole step, by width.

    python examples/benchmarks/training_step.py

The products are those of the step (h = x W', dx = g W, dW = g'x; for convolutions the same on columns), timed by themselves on
arrays of the same shapes, in turn with the step; in processor time, so that a busy machine does not count.
"""

import time

import numpy as np

from refnorm.nets import MLP, ConvNet, loss_and_gradients

ROUNDS = 15


def products(shapes):
    """The arrays and the calls: (N, I, O, first) of each layer."""
    rng = np.random.default_rng(0)
    made = [(rng.normal(size=(n, i)), rng.normal(size=(o, i)), rng.normal(size=(n, o)), first) for n, i, o, first in shapes]

    def run():
        for x, w, g, first in made:
            _ = x @ w.T
            _ = g.T @ x
            if not first:
                _ = g @ w

    return run


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def share(network, x, shapes):
    """Median seconds of a step, of its products, and of a step of the same network without norms."""
    labels = np.arange(len(x)) % 10
    plain = type(network)(**{**vars(network), "norm": None})
    steps = [(net, net.parameters(0)) for net in (network, plain)]
    calls = [lambda net=net, p=p: loss_and_gradients(net, p, x, labels) for net, p in steps] + [products(shapes)]
    for call in calls:
        call()
    times = np.array([[seconds(call) for call in calls] for _ in range(ROUNDS)])
    return np.median(times, axis=0)


def main():
    rng = np.random.default_rng(0)
    print(f"{'network':34s} {'step':>9s} {'without norms':>14s} {'products':>9s} {'their share':>12s} {'without norms':>14s}")
    rows = []
    for width in (32, 128, 512, 1024):
        net = MLP((width, width, width, width, 10), norm="batch_norm")
        n = 256
        shapes = [(n, width, width, k == 0) for k in range(3)] + [(n, width, 10, False)]
        rows.append((f"MLP, width {width}, batch {n}", net, rng.normal(size=(n, width)), shapes))
    for channels in (8, 32, 64):
        net = ConvNet(channels=(channels, channels), norm="batch_norm")
        n = 64
        shapes = [(n * 64, 9, channels, True), (n * 16, 9 * channels, channels, False), (n, 4 * channels, 10, False)]
        rows.append((f"ConvNet, {channels} channels, batch {n}", net, rng.normal(size=(n, 1, 8, 8)), shapes))
    for name, net, x, shapes in rows:
        step, plain, alone = share(net, x, shapes)
        times = f"{1e3 * step:6.2f} ms {1e3 * plain:11.2f} ms {1e3 * alone:6.2f} ms"
        print(f"{name:34s} {times} {alone / step:12.2f} {alone / plain:14.2f}")


if __name__ == "__main__":
    main()
