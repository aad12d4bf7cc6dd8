"""Where the time of a training step goes, by width: products, the arithmetic of the norms, other arithmetic, the tape.

    python examples/benchmarks/training_step.py [FILE.png]

Four measurements, in turn, medians of processor time on one thread, so that a busy machine does not count:

    products    the matrix products of the step (h = x W', dx = g W, dW = g'x; for convolutions on columns), by themselves
    step        the whole step, with batch norm and without
    tape        the same network with two units a layer on a batch of two, where arrays cost nothing: what is left are the
                tape, the checks of the methods and NumPy's calls, and they do not grow with the arrays

The norms' arithmetic is what the step with norms takes beyond the one without, less what their tape takes beyond the other's;
the rest (activations, loss, columns of convolutions) is what remains.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from dataclasses import replace

import numpy as np

from refnorm.nets import MLP, ConvNet, loss_and_gradients

ROUNDS = 15
PARTS = ("products", "norms", "other arithmetic", "tape")


def products(shapes):
    """The products of layers (N, I, O, first); the first layer hands nothing down."""
    rng = np.random.default_rng(0)
    made = [(rng.normal(size=(n, i)), rng.normal(size=(o, i)), rng.normal(size=(n, o)), first) for n, i, o, first in shapes]

    def run():
        for x, w, g, first in made:
            _ = x @ w.T
            _ = g.T @ x
            if not first:
                _ = g @ w

    return run


def step(network, batch):
    parameters = network.parameters(0)
    x = np.random.default_rng(1).normal(size=(batch, *network.input_shape))
    labels = np.arange(batch) % 2
    return lambda: loss_and_gradients(network, parameters, x, labels)


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def profile(network, tiny, batch, shapes):
    """Milliseconds of the parts."""
    calls = [products(shapes)]
    calls += [step(replace(net, norm=norm), n) for net, n in ((network, batch), (tiny, 2)) for norm in (network.norm, None)]
    for call in calls:
        call()
    times = np.array([[seconds(call) for call in calls] for _ in range(ROUNDS)])
    alone, normed, plain, tape, plain_tape = 1e3 * np.median(times, axis=0)
    norms = (normed - plain) - (tape - plain_tape)
    return dict(zip(PARTS, (alone, norms, plain - plain_tape - alone, tape), strict=True))


def networks():
    n = 256
    for w in (32, 128, 512, 1024, 2048):
        shapes = [(n, w, w, k == 0) for k in range(3)] + [(n, w, 10, False)]
        network, tiny = (MLP((s, s, s, s, 10), norm="batch_norm") for s in (w, 2))
        yield f"MLP, {w} wide", network, tiny, n, shapes
    n = 64
    for c in (8, 32, 64):
        shapes = [(n * 64, 9, c, True), (n * 16, 9 * c, c, False), (n, 4 * c, 10, False)]
        network, tiny = (ConvNet(image=(1, s, s), channels=(d, d), norm="batch_norm") for s, d in ((8, c), (4, 2)))
        yield f"ConvNet, {c} channels", network, tiny, n, shapes


def draw(rows, file):
    import matplotlib

    from refnorm.claims.style import BLUE, FAINT, GREY, PARAMETERS, YELLOW

    with matplotlib.rc_context(PARAMETERS):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.6), layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(rows))
        names = [f"{name}\n{sum(parts.values()):.1f} ms" for name, parts in rows]
        for part, colour in zip(PARTS, (BLUE, YELLOW, FAINT, GREY), strict=True):
            share = np.array([100 * parts[part] / sum(parts.values()) for _, parts in rows])
            axes.barh(names, share, left=left, color=colour, label=part, height=0.62)
            left += share
        axes.invert_yaxis()
        axes.set(xlabel="% of a training step, one thread, float64", xlim=(0, 100))
        figure.legend(loc="outside upper center", ncols=4)
        figure.savefig(file)


def main(file=None):
    print(f"{'network':22s} {'step, ms':>9s} " + " ".join(f"{part:>17s}" for part in PARTS))
    rows = []
    for name, network, tiny, batch, shapes in networks():
        parts = profile(network, tiny, batch, shapes)
        whole = sum(parts.values())
        print(f"{name:22s} {whole:9.2f} " + " ".join(f"{value:8.2f}{value / whole:8.0%} " for value in parts.values()))
        rows.append((name, parts))
    if file:
        draw(rows, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
