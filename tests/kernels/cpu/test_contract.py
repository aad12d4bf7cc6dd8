"""backend="numba" against the reference: every method that it has, every layout, states, caches and errors."""

import os
import subprocess
import sys

import numpy as np
import pytest

import refnorm as rn
from refnorm.kernels.cpu import METHODS
from refnorm.kernels.cpu.storage import BFLOAT16

from .agreement import close, compare, drawn

CASES = [(name, k) for name in METHODS for k in range(len(rn.NORMS[name].examples))]


@pytest.mark.parametrize(("name", "k"), CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_it_agrees_with_the_reference_and_their_caches_are_one(name, k, dtype):
    method = rn.NORMS[name]
    arguments, dy = drawn(method, method.examples[k], dtype)
    if compare(name, arguments, dy, dtype) and "training" in method.signature.parameters:
        channels = method.triple.layout_of(**method.resolve(**arguments)[0]).lengths("c")[0]
        state = method.forward(**arguments)[2]
        if "var" in state._fields:
            state = method.state(np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels))
        assert compare(name, {**arguments, "state": state, "training": False}, dy, dtype)


def test_it_has_the_methods_of_its_operations():
    first = {"batch_norm", "layer_norm", "rms_norm", "group_norm", "instance_norm", "position_norm", "mean_variance_norm"}
    assert first <= set(METHODS)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"), [("layer_norm", (6, 40), BFLOAT16), ("batch_norm", (5, 3, 20), np.float16)]
)
def test_sixteen_bits(name, shape, dtype):
    arguments, dy = drawn(rn.NORMS[name], {"shape": shape}, dtype)
    assert compare(name, arguments, dy, dtype)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "k"), CASES)
@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=["float16", "bfloat16"])
def test_sixteen_bits_everywhere(name, k, dtype):
    method = rn.NORMS[name]
    arguments, dy = drawn(method, method.examples[k], dtype)
    compare(name, arguments, dy, dtype)


LAYOUTS = {
    "transposed": lambda a: np.asfortranarray(a),
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read only": lambda a: _read_only(a.copy()),
    "of one value": lambda a: np.broadcast_to(a[..., :1], a.shape),
}


def _read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "options"),
    [("layer_norm", {}), ("rms_norm", {}), ("batch_norm", {}), ("batch_norm", {"channel_axis": -1}),
     ("group_norm", {"num_groups": 2}), ("group_norm", {"num_groups": 2, "channel_axis": -1}), ("position_norm", {})],
)  # fmt: skip
def test_layouts(name, options, layout):
    arguments, dy = drawn(rn.NORMS[name], {"shape": (4, 6, 3, 6), **options}, np.float32)
    laid = {k: LAYOUTS[layout](v) if isinstance(v, np.ndarray) and v.ndim > 1 else v for k, v in arguments.items()}
    assert compare(name, laid, LAYOUTS[layout](dy) if layout != "of one value" else dy, np.float32)


def test_arrays_of_different_types():
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    gamma = np.linspace(1, 2, 6)                            # float64
    _, cache = rn.layer_norm.forward(x.astype(np.float16), gamma, None, backend="numba")
    for a, b in zip(rn.layer_norm.backward(dy, cache, backend="numba"), rn.layer_norm.backward(dy, cache), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=2e-3 if a.dtype == np.float16 else 1e-5, atol=1e-5)


def test_the_gradient_of_one_value_is_zero_to_the_bit():
    x = np.array([[1.0, 0.0], [0.3, -7.0]])
    for dtype in (np.float64, np.float32):
        _, cache = rn.query_key_layer_norm.forward(x.astype(dtype), np.ones(1, dtype), num_heads=2, backend="numba")
        dx, _, _ = rn.query_key_layer_norm.backward(np.array([[0.9, -0.4], [3.3, 1.7]], dtype), cache, backend="numba")
        assert not np.any(dx)


def test_one_channel_in_evaluation_is_normalized_by_its_state():
    """x lies as rows of one channel would, whose kernels know no statistics but their own."""
    rng = np.random.default_rng(0)
    x, dy, gamma, beta = rng.normal(size=(4, 3, 1))
    method = rn.NORMS["conditional_batch_norm"]
    given = {"gamma": gamma, "beta": beta, "state": method.state(np.full(1, 3.0), np.full(1, 4.0)), "training": False}
    assert compare("conditional_batch_norm", {"x": x, **given}, dy, np.float64)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "instance_norm"])
def test_nan_and_infinity_stay_in_their_block(name):
    options = {"num_groups": 2} if name == "group_norm" else {}
    x = np.random.default_rng(1).normal(size=(4, 4, 20)).astype(np.float32)
    right, _ = rn.NORMS[name].forward(x, **options)
    for bad in (np.nan, np.inf):
        spoiled = x.copy()
        spoiled[1, 1, 2] = bad
        y, cache = rn.NORMS[name].forward(spoiled, **options, backend="numba")
        dx, *_ = rn.NORMS[name].backward(x, cache, backend="numba")
        touched = rn.NORMS[name].triple.blocks(x=x, **options) == rn.NORMS[name].triple.blocks(x=x, **options)[1, 1, 2]
        assert np.isnan(y[touched]).all() if np.isnan(bad) else not np.isfinite(y[touched]).all()
        close(y[~touched], right[~touched], np.float32)
        assert np.isfinite(dx[~touched]).all()


def test_rows_that_float32_cannot_scale_are_computed_in_float64():
    for scale in (1e-42, 1e-30, 1e30):
        x = (np.random.default_rng(2).normal(size=(3, 40)) * scale).astype(np.float32)
        y, cache = rn.layer_norm.forward(x, eps=0.0, backend="numba")
        close(y, rn.layer_norm(x, eps=0.0), np.float32)
        dx = rn.layer_norm.backward(np.ones_like(x) * x / np.float32(scale), cache, backend="numba")[0]
        assert not np.isnan(dx).any()


def test_no_samples_and_one_value():
    assert rn.layer_norm(np.ones((0, 5), np.float32), backend="numba").shape == (0, 5)
    y, cache = rn.group_norm.forward(np.ones((0, 6, 4)), np.ones(6), num_groups=2, backend="numba")
    dx, dgamma, dbeta = rn.group_norm.backward(y, cache, backend="numba")
    assert dx.shape == (0, 6, 4) and dgamma.tolist() == [0] * 6 and dbeta is None
    assert rn.layer_norm(np.full((3, 1), 7.0), backend="numba").tolist() == [[0.0]] * 3


@pytest.mark.parametrize(
    "call",
    [
        lambda **b: rn.layer_norm(np.ones((4, 5)), np.ones(6), **b),
        lambda **b: rn.layer_norm(np.ones((4, 0)), **b),
        lambda **b: rn.layer_norm(np.ones((4, 5)), eps=-1.0, **b),
        lambda **b: rn.layer_norm(np.ones((4, 5)), axis=3, **b),
        lambda **b: rn.group_norm(np.ones((4, 5)), num_groups=2, **b),
        lambda **b: rn.instance_norm(np.ones((4, 5, 1)), **b),
        lambda **b: rn.batch_norm(np.ones((4, 5)), training=False, **b),
        lambda **b: rn.batch_norm(np.ones((4, 5)), momentum=2.0, **b),
        lambda **b: rn.batch_norm(np.ones((4, 5)), mask=np.ones((3, 1), bool), **b),
        lambda **b: rn.batch_norm(np.ones((4, 5), np.int32), **b),
    ],
)
def test_errors_are_the_reference_s_own(call):
    with pytest.raises((ValueError, TypeError)) as right:
        call()
    with pytest.raises(type(right.value)) as found:
        call(backend="numba")
    assert str(found.value) == str(right.value)


def test_what_it_has_no_kernel_for_says_who_has():
    with pytest.raises(ValueError, match=r"no kernel for batch_norm with weighted or masked.*backend='numpy' has it"):
        rn.batch_norm(np.ones((4, 5)), mask=np.arange(4)[:, None] > 0, backend="numba")


def test_a_second_process_compiles_nothing(tmp_path):
    """cache=True: what the first has compiled is on disk, and is found there."""
    code = (
        "from refnorm.kernels.cpu.row import within_float32 as kernel; kernel(1.0);"
        "print(*(sum(getattr(kernel.stats, k).values()) for k in ('cache_hits', 'cache_misses')))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for hits in ("0 1", "1 0"):
        run = [sys.executable, "-c", code]
        said = subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout
        assert said.strip() == hits


def test_nothing_is_compiled_at_import():
    code = "from refnorm.kernels.cpu import METHODS, rows, planes; print(rows.forward.signatures, planes.backward.signatures)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["[]", "[]"]
