"""What agreement with the reference means: y, what is saved, states, and gradients by each backend from the other's cache."""

import numpy as np

import refnorm as rn
from refnorm.kernels.cpu.storage import BFLOAT16


def drawn(method, example, dtype, seed=0):
    """An example's arguments by name, with arrays drawn, and dy."""
    rng = np.random.default_rng(seed)
    options = {k: v for k, v in example.items() if k != "shape"}
    x = (rng.normal(size=example["shape"]) + 0.5).astype(dtype)
    resolved, _ = method.resolve(**{method.arrays[0]: x}, **options)
    parameters = {k: rng.normal(size=s).astype(dtype) for k, s in method.shapes(**resolved).items() if k not in options}
    return {method.arrays[0]: x, **parameters, **options}, rng.normal(size=x.shape).astype(dtype)


def close(found, right, dtype, growth=64):
    assert found.dtype == right.dtype and found.shape == right.shape
    unit = {np.float64: 2.0**-53, np.float32: 2.0**-24}.get(dtype, 2.0**-24)
    found, right = found.astype(np.float64), right.astype(np.float64)
    bound = growth * unit * np.maximum(np.abs(right), max(1.0, float(np.abs(right).max(initial=0))))
    if unit != np.finfo(np.float64).eps and dtype not in (np.float64, np.float32):
        # two roundings of nearly the same number may be neighbours: an ulp apart
        bound = bound + 1.01 * np.abs(right) * (2.0**-7 if dtype == BFLOAT16 else 2.0**-10) + 2.0**-24
    worst = np.abs(found - right) - bound
    assert not worst.size or worst.max() <= 0, f"off by {np.abs(found - right).max():.3g}"


def compare(name, arguments, dy, dtype):
    method = rn.NORMS[name]
    try:
        y, cache, *state = method.forward(**arguments, backend="numba")
    except ValueError as error:
        assert "backend='numpy' has it" in str(error)       # masks, and parameters of every entry
        return False
    right, right_cache, *right_state = method.forward(**arguments)
    close(y, right, dtype)
    for field in right_cache.saved._fields:
        a, b = getattr(cache.saved, field), getattr(right_cache.saved, field)
        if b is None:                               # a running matrix has no covariance
            assert a is None
            continue
        assert a.dtype == b.dtype == np.float64 and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    for a, b in zip(state, right_state, strict=True):
        for mine, theirs in zip(a, b, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)
    wanted = method.backward(dy, right_cache)
    for gradients in (
        method.backward(dy, cache, backend="numba"),
        method.backward(dy, right_cache, backend="numba"),
        method.backward(dy, cache),
    ):
        for a, b in zip(gradients, wanted, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                close(a, b, dtype, 256)
    return True
