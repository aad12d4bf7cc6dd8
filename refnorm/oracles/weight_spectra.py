"""Loops for the norms of a weight's spectrum: power iteration entry by entry, convolutions without a fast transform."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from .activations import root


def flattened(w: Any, dim: int) -> dict[tuple[int, int], tuple[int, ...]]:
    """(output, entry of its row) -> index in w."""
    found: dict[tuple[int, int], tuple[int, ...]] = {}
    seen = dict.fromkeys(range(w.shape[dim]), 0)
    for i in np.ndindex(w.shape):
        o = i[dim]
        found[o, seen[o]] = i
        seen[o] += 1
    return found


def spectral_norm(w, u, v, *, n_power_iterations, eps, training, dim, dialect, **_):
    at = flattened(w, dim)

    def unit(vector):
        length = root(sum(x * x for x in vector))
        return [x / max(length, eps) for x in vector]

    def times(vector):
        return [sum(w[at[o, i]] * x for i, x in enumerate(vector)) for o in range(len(u))]

    def transposed_times(vector):
        return [sum(w[at[o, i]] * x for o, x in enumerate(vector)) for i in range(len(v))]

    left, right = list(u), list(v)
    for _step in range(n_power_iterations if training else 0):
        if dialect.conventions["first"] == "u":
            left = unit(times(right))
        right = unit(transposed_times(left))
        if dialect.conventions["first"] == "v":
            left = unit(times(right))
    sigma = sum(x * y for x, y in zip(left, times(right), strict=True))
    return w / sigma, np.array(left, object), np.array(right, object)


def conv_spectral_norm(w, *, spatial, **_):
    """The convolution as one dense matrix, entry by entry, and the largest eigenvalue of its Gram matrix."""
    points = list(np.ndindex(spatial))
    outputs, inputs = ([(c, p) for c in range(n) for p in points] for n in w.shape[:2])
    dense = mpmath.zeros(len(outputs), len(inputs))
    column = {name: j for j, name in enumerate(inputs)}
    for row, (o, p) in enumerate(outputs):
        for i in range(w.shape[1]):
            for k in np.ndindex(w.shape[2:]):
                at = tuple((a + b) % n for a, b, n in zip(p, k, spatial, strict=True))
                dense[row, column[i, at]] += w[(o, i, *k)]
    largest = max(mpmath.eigsy(dense * dense.T if len(outputs) < len(inputs) else dense.T * dense, eigvals_only=True))
    return w / root(largest)


def conv_norm(x, w, *, state, training, momentum, eps, padding, stride, dialect, **_):
    """Sums over frequencies and points as they stand in the paper, no fast transform; zeros are written out."""
    kernel = w.shape[2:]
    circular = dialect.conventions["circular"]
    before = [0 if circular else k - 1 for k in kernel]
    n = [size + b for size, b in zip(x.shape[2:], before, strict=True)]
    points = list(np.ndindex(*n))

    def wave(f, p, sign):
        return mpmath.expjpi(sign * 2 * sum(mpmath.mpf(a * b) / m for a, b, m in zip(f, p, n, strict=True)))

    def transform(value, at):
        return {f: sum(value(p) * wave(f, p, -1) for p in at) for f in points}

    def of_x(index):
        def value(p):
            inner = tuple(a - b for a, b in zip(p, before, strict=True))
            return x[(*index, *inner)] if min(inner) >= 0 else 0

        return transform(value, points)

    outputs, inputs = range(w.shape[0]), range(w.shape[1])
    taps = list(np.ndindex(kernel))
    responses = {(o, i): transform(lambda k, o=o, i=i: w[(o, i, *k)], taps) for o in outputs for i in inputs}
    spectra = {(m, i): of_x((m, i)) for m in range(x.shape[0]) for i in inputs}
    batch = {(o, f): 1 / root(sum(abs(responses[o, i][f]) ** 2 for i in inputs) + eps) for o in outputs for f in points}

    half = [*n[:-1], n[-1] // 2 + 1]
    running = np.empty((w.shape[0], *half), object)
    count = 0 if state is None else state.count
    new = max((mpmath.cos(mpmath.pi * min(count + 1, 40000) / 40000) + 1) / 2, 0.01) if momentum is None else momentum
    for index in np.ndindex(running.shape):
        o, f = index[0], index[1:]
        old = 0 if state is None else state.preconditioner[index if state.preconditioner.ndim else ()]
        running[index] = new * batch[o, f] + (1 - new) * old if training else old

    def q(o, f):
        mirrored = tuple(-a % m for a, m in zip(f, n, strict=True))
        return batch[o, f] if training else running[(o, *(f if f[-1] < half[-1] else mirrored))]

    first = [0 if circular else k - 1 - padding for k in kernel]
    last = [m if circular else m - (k - 1 - padding) for m, k in zip(n, kernel, strict=True)]
    kept = [range(a, b, stride) for a, b in zip(first, last, strict=True)]
    y = np.empty((x.shape[0], w.shape[0], *(len(r) for r in kept)), object)
    for m in range(x.shape[0]):
        for o in outputs:
            spectrum = {f: q(o, f) * sum(responses[o, i][f].conjugate() * spectra[m, i][f] for i in inputs) for f in points}
            for j in np.ndindex(y.shape[2:]):
                p = tuple(r[a] for r, a in zip(kept, j, strict=True))
                y[(m, o, *j)] = (sum(spectrum[f] * wave(f, p, 1) for f in points) / len(points)).real
    return y, running


LOOPS: dict[str, Any] = {
    "spectral_norm": spectral_norm,
    "conv_spectral_norm": conv_spectral_norm,
    "conv_norm": conv_norm,
}
