"""The same bits from run to run and on any number of threads; exact facts of scale and sign."""

import numba
import numpy as np
import pytest

import refnorm as rn

# Of at least jit.SHARED_FROM bytes, or there would be one thread.
CALLS = [
    ("layer_norm", (448, 300), {}),
    ("rms_norm", (2100, 64), {}),
    ("batch_norm", (24, 6, 32, 32), {}),
    ("batch_norm", (3400, 40), {}),
    ("group_norm", (30, 32, 12, 12), {"num_groups": 4}),
    ("group_norm", (7, 200, 96), {"num_groups": 4, "channel_axis": -1}),
    ("filter_response_norm", (28, 6, 800), {"learned_eps": None}),
    ("batch_whitening_cholesky", (21000, 20), {}),
    ("iterative_norm", (10500, 40), {"num_groups": 2}),
]


def everything(name, x, dy, **options):
    method = rn.NORMS[name]
    shapes = method.shapes(**method.resolve(x, **options)[0])
    drawn = {k: s for k, s in shapes.items() if k not in options}
    parameters = {k: np.linspace(-1, 2, np.prod(s)).reshape(s).astype(np.float32) for k, s in drawn.items()}
    y, cache, *_ = method.forward(x, **parameters, **options, backend="numba")
    return [y, *(g for g in method.backward(dy, cache, backend="numba") if g is not None)]


@pytest.mark.parametrize(("name", "shape", "options"), CALLS)
def test_the_same_bits_on_any_number_of_threads(name, shape, options):
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    before = numba.get_num_threads()
    try:
        runs = []
        for threads in (1, numba.config.NUMBA_NUM_THREADS, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(threads)
            runs.append(everything(name, x, dy, **options))
    finally:
        numba.set_num_threads(before)
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


SCALED = [call for call in CALLS if call[0] != "filter_response_norm"]             # whose threshold sees a scale


@pytest.mark.parametrize(("name", "shape", "options"), SCALED)
def test_powers_of_two_and_signs_pass_through_exactly(name, shape, options):
    rng = np.random.default_rng(1)
    x, dy = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    y, dx, dgamma, *_ = everything(name, x, dy, **options, eps=1e-5)
    scaled = everything(name, 4 * x, dy, **options, eps=1.6e-4)
    for a, b in zip((y, dx, dgamma), (scaled[0], 4 * scaled[1], scaled[2]), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(everything(name, x, 2 * dy, **options, eps=1e-5)[1], 2 * dx)
    np.testing.assert_array_equal(everything(name, -x, dy, **options, eps=1e-5)[2], -dgamma)
