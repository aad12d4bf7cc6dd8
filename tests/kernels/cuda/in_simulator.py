"""Every kernel and every branch of the dispatch against the reference, in the simulator; test_without_a_gpu.py runs this in
its own process."""

import math

import ml_dtypes
import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy.backends import NoKernel
from refnorm.kernels.cpu import row
from refnorm.kernels.cuda import (
    METHODS,
    columns,
    columns_backward,
    contract,
    launch,
    matrices,
    planes,
    planes_backward,
    rows,
    rows_backward,
    statistics,
    traffic,
    whitening,
    whitening_work,
)
from tests.kernels.cuda import memory_in_python

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SMALL = launch.Limits(
    forward=((64, 8),), accumulate=((16, 8),), again=((64, 8),), backward=((64, 8),), block=64, block_of_parts=64, team=64,
    team_of_columns=64, part=64, resident=128, strips=4, processors=1, at_once=64, cache=384
)
"""So that small arrays reach every branch: at most 64 threads a block."""

TINY = SMALL._replace(block=32, block_of_parts=32, team=32, team_of_columns=32, at_once=32, resident=64, strips=2)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(launch, "LIMITS", SMALL)
    for room in (whitening, matrices):
        monkeypatch.setattr(room, "TILE", 4)
    monkeypatch.setattr(whitening_work, "THREADS", 32)
    monkeypatch.setattr(whitening_work, "LENGTH", 8)


def drawn(method, shape, options, dtype, shift=0.5, seed=0):
    """Arguments by name with arrays drawn, and dy."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=shape) + shift).astype(dtype)
    resolved, _ = method.resolve(**{method.arrays[0]: x}, **options)
    parameters = {k: rng.normal(size=s).astype(dtype) for k, s in method.shapes(**resolved).items() if k not in options}
    return {method.arrays[0]: x, **parameters, **options}, rng.normal(size=x.shape).astype(dtype)


def close(found, right, dtype, growth):
    """Within growth roundings of the arithmetic at the array's scale, and one of the storage."""
    found = np.asarray(found)
    assert found.dtype == right.dtype and found.shape == right.shape
    unit = 2.0**-53 if dtype == np.float64 else 2.0**-24
    a, b = found.astype(np.float64), right.astype(np.float64)
    bound = growth * unit * np.maximum(np.abs(b), max(1.0, float(np.abs(b).max(initial=0))))
    if np.dtype(dtype).itemsize == 2:
        bound = bound + np.abs(b) * (2.0**-7 if dtype == BFLOAT16 else 2.0**-10) + 2.0**-24      # both are rounded
    assert np.all(np.abs(a - b) <= bound), f"off by {np.abs(a - b).max():.3g}"


def compare(name, arguments, dy, growth=32):
    """Forward, state, saved and backward against the reference; a cache of either goes into the backward of both."""
    method = rn.NORMS[name]
    dtype = dy.dtype
    y, cache, *state = method.forward(**arguments, backend="cuda")
    right, right_cache, *right_state = method.forward(**arguments)
    close(y, right, dtype, growth)
    for field in right_cache.saved._fields:
        a, b = getattr(cache.saved, field), getattr(right_cache.saved, field)
        if b is None:                                # of a running matrix there is no covariance
            assert a is None
            continue
        assert a.dtype == b.dtype == np.float64 and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    for a, b in zip(state, right_state, strict=True):
        for mine, theirs in zip(a, b, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    wanted = method.backward(dy, right_cache)
    for gradients in (method.backward(dy, cache, backend="cuda"), method.backward(dy, cache)):
        for a, b in zip(gradients, wanted, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                close(a, b, dtype, 4 * growth)


def the_examples():
    for name in METHODS:
        for example in rn.NORMS[name].examples:
            yield name, dict(example)


EXAMPLES = list(the_examples())


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(EXAMPLES)])
def test_every_method_that_it_has(name, example, monkeypatch):
    monkeypatch.setattr(launch, "LIMITS", TINY)
    example = dict(example)
    method, shape = rn.NORMS[name], example.pop("shape")
    arguments, dy = drawn(method, shape, example, np.float64)
    try:
        compare(name, arguments, dy)
    except NoKernel as error:
        assert "backend='numpy' has it" in str(error)       # masks, padded shapes, parameters of every entry
        return
    if "training" in method.signature.parameters:
        *_, state = method.forward(**arguments)
        compare(name, {**arguments, "state": state, "training": False}, dy)


def test_it_has_the_methods_of_its_operations():
    first = {"batch_norm", "layer_norm", "rms_norm", "group_norm", "instance_norm", "position_norm", "mean_variance_norm"}
    assert first | {"weight_norm", "weight_standardization"} <= set(METHODS)


BRANCHES = {
    "rows in one thread": ("layer_norm", (5, 7), {}, np.float32),
    "rows, several to a warp": ("layer_norm", (9, 24), {}, np.float32),
    "rows, a warp each": ("rms_norm", (3, 200), {"offset": 1}, np.float32),
    "rows, two warps, read again": ("layer_norm", (2, 400), {}, np.float32),
    "rows, read again for the sums of parameters": ("layer_norm", (5, 256), {}, np.float32),
    "rows of bfloat16, read again": ("rms_norm", (2, 144), {}, BFLOAT16),
    "rows, more than teams": ("layer_norm", (70, 12), {}, np.float32),
    "rows, long": ("layer_norm", (2, 520), {}, np.float32),
    "rows, long and not aligned": ("layer_norm", (2, 523), {}, np.float32),
    "rows, long, without parameters": ("rms_norm", (2, 520), {"gamma": None}, np.float32),
    "rows with periods": ("group_norm", (6, 12), {"num_groups": 3}, np.float32),
    "rows with periods, long": ("group_norm", (2, 1040), {"num_groups": 2}, np.float32),
    "rows of float16": ("layer_norm", (3, 40), {}, np.float16),
    "rows of bfloat16": ("layer_norm", (3, 40), {}, BFLOAT16),
    "rows of bfloat16, not aligned": ("layer_norm", (3, 37), {}, BFLOAT16),
    "planes, a team a block, every warp its pieces": ("batch_norm", (4, 2, 20), {}, np.float32),
    "planes, a team a block": ("instance_norm", (3, 3, 30), {}, np.float32),
    "planes in parts": ("batch_norm", (3, 2, 70), {}, np.float32),
    "planes in parts, not aligned": ("batch_norm", (2, 2, 67), {}, np.float16),
    "planes, parts of a piece": ("instance_norm", (2, 2, 133), {}, np.float32),
    "planes, parameters by piece": ("group_norm", (2, 6, 40), {"num_groups": 2}, np.float32),
    "planes of bfloat16": ("group_norm", (2, 4, 24), {"num_groups": 2}, BFLOAT16),
    "columns": ("batch_norm", (40, 6), {}, np.float32),
    "columns in strips": ("batch_norm", (150, 3, 2), {"channel_axis": -1}, np.float64),
    "columns in groups": ("group_norm", (2, 9, 8), {"num_groups": 2, "channel_axis": -1}, np.float32),
    "columns of float16": ("instance_norm", (2, 9, 8), {"channel_axis": -1}, np.float16),
    "columns by teams": ("batch_norm", (3, 131), {}, np.float64),
    "columns in strips, not aligned": ("batch_norm", (70, 7), {}, np.float32),
    "columns by a team, groups": ("group_norm", (2, 5, 8), {"num_groups": 2, "channel_axis": -1}, np.float32),
    "columns by a team, rms": ("weight_norm", (9, 6), {"dim": 1}, np.float32),
    "columns by a team of bfloat16, a wide group": ("group_norm", (3, 3, 24), {"num_groups": 1, "channel_axis": -1}, BFLOAT16),
    "positions": ("position_norm", (2, 5, 3, 4), {}, np.float32),
    "whitening in tiles and chunks": ("batch_whitening_cholesky", (5, 6, 4), {"eps": 0.1}, np.float32),
    "whitening, channels last": ("batch_whitening_zca", (5, 2, 2, 6), {"channel_axis": -1, "eps": 0.1}, np.float32),
    "whitening of bfloat16": ("iterative_norm", (9, 6), {"num_groups": 2}, BFLOAT16),
    "whitening of float16 by Newton, in tiles": ("iterative_norm", (11, 5), {"T": 3}, np.float16),
    "whitening and coloring in tiles": ("whitening_coloring_norm", (11, 10), {"num_groups": 2, "eps": 0.1}, np.float32),
    "whitening without parameters": ("batch_whitening_cholesky", (9, 5), {"gamma": None, "beta": None}, np.float32),
    "group whitening, parts in chunks": ("group_whitening_iterative", (2, 6, 20), {"num_groups": 3}, np.float32),
    "group whitening in tiles, channels last": (
        "group_whitening_zca", (2, 3, 2, 10), {"num_groups": 5, "channel_axis": -1, "eps": 0.1}, BFLOAT16
    ),
    "weights": ("weight_norm", (3, 30), {}, np.float32),
    "weights, columns": ("weight_norm", (30, 4), {"dim": 1}, np.float32),
    "weights, floor": ("scaled_weight_standardization", (3, 30), {}, np.float32),
}


def limits_of(branch, **changed):
    """Rows that are read again need a larger cache."""
    return SMALL._replace(**changed, **({"cache": 4096} if "read again" in branch else {}))


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_branch(branch, monkeypatch):
    monkeypatch.setattr(launch, "LIMITS", limits_of(branch))
    name, shape, options, dtype = BRANCHES[branch]
    compare(name, *drawn(rn.NORMS[name], shape, options, dtype))


MOVED = {
    "rows": ("layer_norm", (16, 64), (8, 64), {}, (2, 3)),
    "rows, read again for the sums of parameters": ("layer_norm", (4, 256), (2, 256), {}, (2, 3)),
    "rows in parts": ("layer_norm", (4, 520), (2, 520), {}, (3, 5)),
    "rows in parts without parameters": ("rms_norm", (4, 520), (2, 520), {"gamma": None}, (3, 5)),
    "planes": ("instance_norm", (2, 4, 16), (1, 4, 16), {}, (2, 3)),
    "planes that stay forward alone": ("group_norm", (2, 8, 16), (1, 8, 16), {"num_groups": 2}, (2, 5)),
    "planes in parts": ("batch_norm", (4, 2, 72), (2, 2, 72), {}, (3, 5)),
    "columns": ("batch_norm", (64, 8), (32, 8), {}, (3, 5)),
    "groups of columns": ("group_norm", (2, 64, 8), (2, 32, 8), {"num_groups": 2, "channel_axis": -1}, (3, 5)),
    "groups of columns by a team": ("group_norm", (2, 6, 8), (2, 3, 8), {"num_groups": 2, "channel_axis": -1}, (2, 3)),
    "columns that stay forward alone": ("instance_norm", (2, 12, 8), (2, 8, 8), {"channel_axis": -1}, (2, 5)),
    "positions": ("position_norm", (1, 64, 12), (1, 32, 12), {}, (3, 7)),
    "positions without parameters": ("position_norm", (1, 64, 12), (1, 32, 12), {"gamma": None, "beta": None}, (3, 5)),
}


def vectors_moved(method, shape, options):
    """How many of x's, dy's, y's and dx's entries are in 16-byte accesses, forward and backward; and the form."""
    arguments, dy = drawn(method, shape, options, np.float32)
    arguments = {k: v if k == "x" or not isinstance(v, np.ndarray) else v.astype(np.float64) for k, v in arguments.items()}
    counted = []
    memory_in_python.VECTORS.clear()
    _, cache, *_ = method.forward(**arguments, backend="cuda")
    counted.append(memory_in_python.VECTORS.pop("float32"))
    method.backward(dy, cache, backend="cuda")
    counted.append(memory_in_python.VECTORS.pop("float32"))
    return np.array(counted), contract.work(method, cache.arguments, cache.arguments["x"])


@pytest.mark.parametrize("branch", MOVED)
def test_bytes_moved_are_those_of_the_plan(branch, monkeypatch):
    """Less some samples: what an entry costs, without what a launch costs (pivots, teams past the end)."""
    limits = limits_of(branch, strips=1)
    monkeypatch.setattr(launch, "LIMITS", limits)
    name, shape, fewer, options, right = MOVED[branch]
    method = rn.NORMS[name]
    (whole, w), (less, _) = vectors_moved(method, shape, options), vectors_moved(method, fewer, options)
    found = (whole - less) / (math.prod(shape) - math.prod(fewer))
    planned = [traffic.traffic(w.form, 4, back, w.gamma.given or w.beta.given, limits) for back in (False, True)]
    assert tuple(t.moved for t in planned) == right
    by_entry = (0, 2 if branch == "positions" else 0)        # the rows' sums are read one by one
    assert (found + by_entry).tolist() == [t.moved + t.again for t in planned]
    assert traffic.bytes_moved(w.form, 4, True, w.gamma.given or w.beta.given, limits) == right[1] * 4 * math.prod(shape)


@pytest.mark.parametrize("ratio", [1e3, 1e6])
@pytest.mark.parametrize(
    "branch", ["rows, a warp each", "rows, long", "planes in parts", "planes, a team a block", "columns", "positions"]
)
def test_accurate_at_any_ratio_of_mean_to_deviation(branch, ratio):
    name, shape, options, dtype = BRANCHES[branch]
    method = rn.NORMS["layer_norm" if name == "rms_norm" else name]
    options = {} if name == "rms_norm" else options
    arguments, dy = drawn(method, shape, options, dtype, shift=ratio)
    compare(method.name, arguments, dy)


@pytest.mark.parametrize("ratio", [1e3, 1e6])
@pytest.mark.parametrize("name", ["batch_whitening_cholesky", "iterative_norm"])
def test_whitening_is_accurate_at_any_ratio_of_mean_to_deviation(name, ratio):
    """One rounding of y and dx: covariances, factors and products are float64."""
    compare(name, *drawn(rn.NORMS[name], (12, 5), {"eps": 1e-3}, np.float32, shift=ratio), growth=2)


def test_a_covariance_without_a_factor_is_refused_in_the_reference_s_words():
    x = np.repeat(np.random.default_rng(0).normal(size=(9, 2)), 2, axis=1)           # channels in pairs
    for options in ({"eps": 0.0}, {"state": rn.batch_whitening_cholesky.state(covariance=-1.0), "training": False}):
        with pytest.raises(ValueError, match="singular to rounding") as right:
            rn.batch_whitening_cholesky(x, **options)
        with pytest.raises(ValueError) as found:
            rn.batch_whitening_cholesky(x, **options, backend="cuda")
        assert str(found.value) == str(right.value)


@pytest.mark.parametrize("name", ["batch_whitening_cholesky", "iterative_norm"])
def test_a_nan_stays_in_its_group(name):
    x = np.random.default_rng(0).normal(size=(9, 4))
    right, _ = rn.NORMS[name].forward(x, num_groups=2)[:2]
    for bad in (np.nan, np.inf):
        spoiled = x.copy()
        spoiled[3, 1] = bad
        y, cache, _ = rn.NORMS[name].forward(spoiled, num_groups=2, backend="cuda")
        dx, *_ = rn.NORMS[name].backward(x, cache, backend="cuda")
        assert np.isnan(y[:, :2]).all() and np.isnan(dx[:, :2]).all()
        close(y[:, 2:], right[:, 2:], np.float64, 32)
        assert np.isfinite(dx[:, 2:]).all()


def test_running_matrices_may_be_numbers():
    x, dy = np.random.default_rng(0).normal(size=(2, 6, 4))
    for state in (rn.iterative_norm.state(0.5, 2.0), rn.iterative_norm.state(0.5, matrix=2.0)):
        dialect = "matrix" if "matrix" in state._fields else "covariance"
        options = {"num_groups": 2, "state": state, "dialect": dialect}
        compare("iterative_norm", {"x": x, **options, "training": False}, dy)
        compare("iterative_norm", {"x": x, **options}, dy)


def test_group_whitening_of_no_samples():
    y, cache = rn.group_whitening_iterative.forward(np.ones((0, 6, 4)), np.ones(6), num_groups=3, backend="cuda")
    dx, dgamma, dbeta = rn.group_whitening_iterative.backward(y, cache, backend="cuda")
    assert dx.shape == (0, 6, 4) and dgamma.tolist() == [0] * 6 and dbeta is None


def test_one_result_for_a_row_whatever_the_batch():
    """The same bits alone, among others, and where 16-byte accesses are not possible."""
    rng = np.random.default_rng(0)
    for n in (7, 40, 130, 520):
        x, gamma, beta, dy = (rng.normal(size=s).astype(np.float32) for s in ((3, n), n, n, (3, n)))
        y, cache = rn.layer_norm.forward(x, gamma, beta, backend="cuda")
        dx, *_ = rn.layer_norm.backward(dy, cache, backend="cuda")
        for i in (0, 2):
            room = np.empty(n + 1, np.float32)       # 4 bytes past a boundary of 16
            for place in (np.empty((1, n), np.float32), room[1:].reshape(1, n)):
                place[:] = x[i]
                one, kept = rn.layer_norm.forward(place, gamma, beta, backend="cuda")
                back, *_ = rn.layer_norm.backward(dy[i : i + 1], kept, backend="cuda")
                assert np.array_equal(one[0], y[i]) and np.array_equal(back[0], dx[i])


def test_one_result_for_a_sample_whatever_the_batch():
    rng = np.random.default_rng(1)
    for options in ({"num_groups": 2}, {"num_groups": 2, "channel_axis": -1}):
        x, dy = (rng.normal(size=(4, 6, 40)).astype(np.float32) for _ in range(2))
        y, cache = rn.group_norm.forward(x, **options, backend="cuda")
        dx, *_ = rn.group_norm.backward(dy, cache, backend="cuda")
        one, kept = rn.group_norm.forward(x[2:3], **options, backend="cuda")
        back, *_ = rn.group_norm.backward(dy[2:3], kept, backend="cuda")
        assert np.array_equal(one[0], y[2]) and np.array_equal(back[0], dx[2])


LAYOUTS = {
    "transposed": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "of one value": lambda a: np.broadcast_to(a[..., :1], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "options"), [("layer_norm", {}), ("layer_norm", {"axis": 1}), ("batch_norm", {}), ("position_norm", {})]
)
def test_layouts(name, options, layout):
    arguments, dy = drawn(rn.NORMS[name], (3, 4, 6), options, np.float32)
    laid = {k: LAYOUTS[layout](v) if isinstance(v, np.ndarray) and v.ndim > 1 else v for k, v in arguments.items()}
    compare(name, laid, dy)


def test_nan_and_infinity_stay_in_their_block():
    x = np.random.default_rng(1).normal(size=(4, 4, 20)).astype(np.float32)
    for name, options in (("layer_norm", {}), ("instance_norm", {}), ("group_norm", {"num_groups": 2, "channel_axis": 1})):
        right, _ = rn.NORMS[name].forward(x, **options)
        for bad in (np.nan, np.inf):
            spoiled = x.copy()
            spoiled[1, 1, 2] = bad
            y, cache = rn.NORMS[name].forward(spoiled, **options, backend="cuda")
            dx, *_ = rn.NORMS[name].backward(x, cache, backend="cuda")
            labels = rn.NORMS[name].triple.blocks(x=x, **options)
            touched = labels == labels[1, 1, 2]
            assert not np.isfinite(y[touched]).all()
            close(y[~touched], right[~touched], np.float32, 32)
            assert np.isfinite(dx[~touched]).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize(("name", "shape"), [("layer_norm", (3, 40)), ("layer_norm", (2, 520)), ("instance_norm", (1, 2, 40)),
                                             ("batch_norm", (9, 5)), ("batch_norm", (2, 2, 70))])  # fmt: skip
def test_what_float32_cannot_scale_is_computed_in_float64(name, shape, scale):
    arguments, dy = drawn(rn.NORMS[name], shape, {"eps": 0.0}, np.float32)
    arguments["x"] = (arguments["x"] * scale).astype(np.float32)
    y, cache, *_ = rn.NORMS[name].forward(**arguments, backend="cuda")
    right, right_cache, *_ = rn.NORMS[name].forward(**arguments)
    close(y, right, np.float32, 32)
    dx, wanted = rn.NORMS[name].backward(dy, cache, backend="cuda")[0], rn.NORMS[name].backward(dy, right_cache)[0]
    assert np.isfinite(dx).all() and np.allclose(dx, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_arrays_of_different_types():
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    gamma = np.linspace(1, 2, 8)                            # float64
    _, cache = rn.layer_norm.forward(x.astype(np.float16), gamma, None, backend="cuda")
    for a, b in zip(rn.layer_norm.backward(dy, cache, backend="cuda"), rn.layer_norm.backward(dy, cache), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=2e-3 if a.dtype == np.float16 else 1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["batch_norm", "conditional_batch_norm", "spatially_adaptive_norm"])
def test_one_channel_in_evaluation_has_its_population(name):
    """It is no row, whose kernels know none."""
    rng = np.random.default_rng(5)
    lengths = {"batch_norm": (1,), "conditional_batch_norm": (4, 1), "spatially_adaptive_norm": (4, 1, 6)}[name]
    given = {p: rng.normal(size=lengths).astype(np.float32) for p in ("gamma", "beta")}
    x, dy = rng.normal(3, 2, size=(2, 4, 1, 6)).astype(np.float32)
    *_, state = rn.NORMS[name].forward(5 * x + 1, **given)
    compare(name, {"x": x, **given, "state": state, "training": False}, dy)


def test_no_samples_and_one_value():
    assert rn.layer_norm(np.ones((0, 5), np.float32), backend="cuda").shape == (0, 5)
    y, cache = rn.group_norm.forward(np.ones((0, 6, 4)), np.ones(6), num_groups=2, backend="cuda")
    dx, dgamma, dbeta = rn.group_norm.backward(y, cache, backend="cuda")
    assert dx.shape == (0, 6, 4) and dgamma.tolist() == [0] * 6 and dbeta is None
    assert rn.layer_norm(np.full((3, 1), 7.0), backend="cuda").tolist() == [[0.0]] * 3


@pytest.mark.parametrize(
    "call",
    [
        lambda **b: rn.layer_norm(np.ones((4, 5)), np.ones(6), **b),
        lambda **b: rn.layer_norm(np.ones((4, 0)), **b),
        lambda **b: rn.layer_norm(np.ones((4, 5)), eps=-1.0, **b),
        lambda **b: rn.group_norm(np.ones((4, 5)), num_groups=2, **b),
        lambda **b: rn.instance_norm(np.ones((4, 5, 1)), **b),
        lambda **b: rn.batch_norm(np.ones((4, 5)), training=False, **b),
        lambda **b: rn.batch_norm(np.ones((4, 5), np.int32), **b),
        lambda **b: rn.layer_norm([1.0, 2.0], **b),
    ],
)
def test_errors_are_the_reference_s_own(call):
    with pytest.raises((ValueError, TypeError)) as right:
        call()
    with pytest.raises(type(right.value)) as found:
        call(backend="cuda")
    assert str(found.value) == str(right.value)


# The kernels to read first, against the reference and the fast ones.


def flat(a):
    return np.ascontiguousarray(a).reshape(-1)


@pytest.mark.parametrize(("code", "name"), [(row.STANDARDIZE, "layer_norm"), (row.RMS, "rms_norm")])
def test_the_plain_kernels_of_rows(code, name):
    arguments, dy = drawn(rn.NORMS[name], (5, 12), {"eps": 1e-5}, np.float64)
    right, cache = rn.NORMS[name].forward(**arguments)
    x, gamma, beta = arguments["x"], arguments["gamma"], arguments.get("beta")
    given = (code, flat(x), 5, 12, 1, gamma, True, gamma if beta is None else beta, beta is not None, 0.0, 1.0, 1e-5)
    for kernel, grid, threads in ((rows.forward_by_thread, 2, 4), (rows.forward_by_block, 5, 8)):
        y, found = np.full(60, np.nan), np.full((3, 5), np.nan)
        kernel[grid, threads](*given, y, found)
        np.testing.assert_allclose(y.reshape(5, 12), right, rtol=1e-13, atol=1e-13)
    dx, dgamma, dbeta = np.full(60, np.nan), np.full(12, np.nan), np.full(12, np.nan)
    rows_backward.backward_by_thread[2, 4](code, flat(dy), flat(x), 5, 12, 1, found, gamma, True, 0.0, 1.0, 1e-5, dx)
    rows_backward.parameters_by_thread[3, 4](flat(dy), flat(x), 5, 12, 1, found, 1.0, dgamma, dbeta)
    wanted = rn.NORMS[name].backward(dy, cache)
    for a, b in zip((dx.reshape(5, 12), dgamma, dbeta), wanted, strict=False):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_plain_kernels_of_planes_and_columns():
    arguments, dy = drawn(rn.batch_norm.declaration, (3, 4, 5), {}, np.float64)
    right, cache, _ = rn.batch_norm.forward(**arguments)
    wanted = rn.batch_norm.backward(dy, cache)[0]
    x, scale = arguments["x"], (arguments["gamma"], True, arguments["beta"], True)
    y, dx, found, sums = np.full(60, np.nan), np.full(60, np.nan), np.full((3, 4), np.nan), np.full((2, 12), np.nan)
    shape, where = (4, 3, 4, 5), (1, 4, 0, 1)
    planes.forward_by_thread[1, 4](row.STANDARDIZE, flat(x), *shape, *scale, where, 0.0, 1.0, 1e-5, y, found)
    np.testing.assert_allclose(y.reshape(x.shape), right, rtol=1e-13, atol=1e-13)
    rest = (found, *scale[:2], where, 0.0, 1.0, 1e-5, dx)
    planes_backward.backward_by_thread[1, 4](row.STANDARDIZE, True, flat(dy), flat(x), *shape, *rest, sums)
    np.testing.assert_allclose(dx.reshape(x.shape), wanted, rtol=1e-12, atol=1e-12)

    last = lambda a: flat(np.moveaxis(a, 1, -1))  # noqa: E731
    y, dx, found = np.full(60, np.nan), np.full(60, np.nan), np.full((3, 4), np.nan)
    shape, where = (4, 15, 4, 1), (1, 4, 0, 1, 1)
    columns.forward_by_thread[1, 4](row.STANDARDIZE, last(x), *shape, *scale, where, 0.0, 1.0, 1e-5, y, found)
    np.testing.assert_allclose(y, last(right), rtol=1e-13, atol=1e-13)
    rest = (found, *scale[:2], where, 0.0, 1.0, 1e-5, dx)
    columns_backward.backward_by_thread[1, 4](row.STANDARDIZE, True, last(dy), last(x), *shape, *rest)
    np.testing.assert_allclose(dx, last(wanted), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("operation", [row.STANDARDIZE, row.RMS, row.CENTER, row.DEVIATION, row.SAMPLE_DEVIATION, row.FLOOR])
def test_statistics_are_the_cpu_kernels(operation):
    for var in (0.0, 1e-7, 0.3, 1e6):
        for eps in (1e-5, 0.5):
            count = 7
            r = statistics.spread(operation, var, count, eps)
            assert r == row.spread.py_func(operation, var, count, eps)
            theirs = row.response.py_func(operation, var, r, count, eps)
            assert statistics.response(operation, var, r, count, eps) * r == pytest.approx(theirs, rel=1e-14)
    assert statistics.moments(operation, 2.0, 3.0, 9.0, 4) == row.moments.py_func(operation, 2.0, 3.0, 9.0, 4)
