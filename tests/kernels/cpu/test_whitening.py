"""Whitening: panels against the loops that they stand above, both against the reference, and where entries lie."""

import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy.area import Area, Layout
from refnorm.kernels.cpu import whitening, whitening_factors, whitening_newton, whitening_panels
from refnorm.kernels.cpu.lie import lie_of
from refnorm.kernels.cpu.storage import BFLOAT16, as_stored
from refnorm.operations import cholesky, newton, zca

from .agreement import compare, drawn

OVER_THE_BATCH, OVER_A_SAMPLE = Area("n (g k) s -> g | k | n s"), Area("n (g k) s -> n | g | k s")
LAID = [
    (OVER_THE_BATCH, (100, 17), 1, 1),
    (OVER_THE_BATCH, (70, 3, 66), 2, -1),
    (OVER_THE_BATCH, (3, 45, 5, 20), 1, 1),
    (OVER_THE_BATCH, (2, 40, 130), 2, 1),
    (OVER_A_SAMPLE, (2, 64, 9), 16, 1),
    (OVER_A_SAMPLE, (2, 9, 64), 16, -1),
]
FLOAT64 = pytest.param(np.float64, marks=pytest.mark.slow)          # each type takes half a minute to compile
SIXTEEN = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in (np.dtype(np.float16), BFLOAT16)]


def laid(area, shape, groups, channel_axis, dtype, seed=0):
    x = (np.random.default_rng(seed).normal(size=shape) + 2).astype(dtype)
    layout = Layout.activations(x, channel_axis)
    part = area.partition(layout, groups)
    return x, part, lie_of(x, part)


@pytest.mark.parametrize(("area", "shape", "groups", "channel_axis"), LAID)
def test_arrays_are_read_in_place(area, shape, groups, channel_axis):
    x, part, lie = laid(area, shape, groups, channel_axis, np.float32)
    flat = lie.read(x)
    assert np.shares_memory(flat, x)
    outer, blocks, coordinates, inner, so, sb, sd = lie.numbers
    o, b, d, s = np.ix_(*(range(n) for n in (outer, blocks, coordinates, inner)))
    found = np.moveaxis(flat[o * so + b * sb + d * sd + s], 0, 2).reshape(part.blocks)
    np.testing.assert_array_equal(np.sort(found, axis=2), np.sort(part.split(x), axis=2))
    np.testing.assert_array_equal(lie.write(flat), x)


def test_arrays_in_another_order_are_read_in_place_or_copied():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).transpose(0, 3, 1, 2)      # channels last, seen as first
    part = OVER_THE_BATCH.partition(Layout.activations(x), 2)
    lie = lie_of(x, part)
    assert np.shares_memory(lie.read(x), x) and lie.numbers == (60, 2, 3, 1, 6, 3, 1)
    assert lie.write(lie.empty(x.dtype)).strides == x.strides
    y = np.random.default_rng(0).normal(size=(5, 3, 6, 4)).transpose(1, 2, 0, 3)      # samples over axes that are apart
    lie = lie_of(y, OVER_THE_BATCH.partition(Layout.activations(y), 2))
    np.testing.assert_array_equal(lie.write(lie.read(y)), y)


@pytest.mark.parametrize("dtype", [np.float32, FLOAT64, SIXTEEN[1]], ids=str)
@pytest.mark.parametrize(("area", "shape", "groups", "channel_axis"), LAID)
def test_panels_against_loops(area, shape, groups, channel_axis, dtype):
    x, part, lie = laid(area, shape, groups, channel_axis, dtype)
    dy = laid(area, shape, groups, channel_axis, dtype, seed=1)[0]
    number = np.float64 if dtype == np.float64 else np.float32
    (b, d, m), n = part.blocks, lie.numbers
    unit = {np.float64: 2.0**-53, np.float32: 2.0**-24}.get(dtype, 2.0**-9)
    flat, up = as_stored(lie.read(x)), as_stored(lie.read(dy))

    def both(sizes, fast, plain):
        found = [[np.zeros(size) if not isinstance(size, np.ndarray) else size.copy() for size in sizes] for _ in "ab"]
        fast(*found[0])
        plain(*found[1])
        return zip(*found, strict=True)

    shapes = (b, d), (b, d, d)
    (mean, right), (covariance, wanted) = both(
        shapes,
        lambda *out: whitening_panels.statistics(flat, n, lie.pivot(lie.read(x), number), *out),
        lambda *out: whitening.statistics(flat, n, *out),
    )
    np.testing.assert_allclose(mean, right, rtol=1e-13)
    np.testing.assert_allclose(covariance, wanted, rtol=1e-11, atol=1e-13)
    high = mean.astype(number)
    for found, right in both(
        shapes,
        lambda *out: whitening_panels.products(up, flat, n, high, mean, *out),
        lambda *out: whitening.products(up, flat, n, mean, *out),
    ):
        np.testing.assert_allclose(found, right, rtol=0, atol=16 * m * unit if number is np.float64 else 16 * m * 2.0**-24)
    rng = np.random.default_rng(2)
    shift = rng.normal(size=(b, d))
    direct, along = rng.normal(size=(b, d, d)), rng.normal(size=(b, d, d))
    blank = lie.empty(x.dtype)
    for lower in (False, True):
        a = np.tril(along) if lower else along
        kind = whitening_panels.kind_of(a, False)
        assert kind == (whitening_panels.LOWER if lower else whitening_panels.FULL)
        ((y, right),) = both(
            (blank,),
            lambda y, a=a, kind=kind: whitening_panels.apply(
                flat, n, high, whitening_panels.panelled(a, number), kind, shift.astype(number), as_stored(y)
            ),
            lambda y, a=a: whitening.apply(flat, n, high.astype(float), a, shift, as_stored(y)),
        )
        near(y, right, unit, d)
        u = np.triu(direct) if lower else direct
        kind = whitening_panels.kind_of(u, True)
        joined = whitening_panels.panelled(np.concatenate([u, along], axis=2), number)
        ((dx, right),) = both(
            (blank,),
            lambda y, kind=kind, joined=joined: whitening_panels.pull_back(
                up, flat, n, high, joined, kind, shift.astype(number), as_stored(y)
            ),
            lambda y, u=u: whitening.pull_back(up, flat, n, high.astype(float), u, along, shift, as_stored(y)),
        )
        near(dx, right, unit, d)


def near(found, right, unit, d):
    found, right = found.astype(float), right.astype(float)
    assert np.abs(found - right).max() <= 4 * np.sqrt(d) * unit * max(1.0, np.abs(right).max())


NAMES = ["batch_whitening_zca", "batch_whitening_cholesky", "iterative_norm", "whitening_coloring_norm"]
WIDE = [
    {"shape": (90, 20)},
    {"shape": (4, 34, 5, 6), "num_groups": 2},
    {"shape": (4, 5, 6, 40), "num_groups": 2, "channel_axis": -1},
    {"shape": (90, 20), "dialect": "matrix"},
]


@pytest.mark.parametrize("dtype", [np.float32, FLOAT64, *SIXTEEN], ids=str)
@pytest.mark.parametrize("k", range(len(WIDE)))
@pytest.mark.parametrize("name", NAMES)
def test_many_coordinates_agree_with_the_reference(name, k, dtype):
    method = rn.NORMS[name]
    arguments, dy = drawn(method, WIDE[k], dtype)
    if name == "whitening_coloring_norm":
        arguments["gamma"] = (arguments["gamma"] / 4).astype(dtype)
    assert compare(name, arguments, dy, dtype)
    if dtype == np.float32:
        _, _, state = method.forward(**arguments)
        assert compare(name, {**arguments, "state": state, "training": False}, dy, dtype)


@pytest.mark.parametrize("dtype", [np.float32, FLOAT64, *SIXTEEN], ids=str)
@pytest.mark.parametrize("shape", [(2, 32, 6), (2, 6, 32)])
@pytest.mark.parametrize("name", ["group_whitening_zca", "group_whitening_iterative"])
def test_many_groups_agree_with_the_reference(name, shape, dtype):
    example = {"shape": shape, "num_groups": 16, "channel_axis": 1 if shape[1] == 32 else -1, "eps": 0.1}
    arguments, dy = drawn(rn.NORMS[name], example, dtype)
    assert compare(name, arguments, dy, dtype)


def test_an_ill_scaled_matrix_is_left_to_the_loops():
    x = (1e-25 * np.random.default_rng(0).normal(size=(60, 16))).astype(np.float32)
    y, cache, _ = rn.batch_whitening_zca.forward(x, eps=0.0, backend="numba")
    np.testing.assert_allclose(y, rn.batch_whitening_zca(x, eps=0.0)[0], atol=1e-5)
    assert np.isfinite(rn.batch_whitening_zca.backward(x, cache, backend="numba")[0]).all()


@pytest.mark.parametrize("name", ["batch_whitening_zca", "batch_whitening_cholesky"])
@pytest.mark.parametrize("rows", [5, 40])
def test_what_has_no_inverse_root_is_refused_in_the_reference_s_words(name, rows):
    x = np.ones((rows, 20), np.float32)
    with pytest.raises(ValueError, match="inverse root") as right:
        rn.NORMS[name](x, eps=0.0)
    with pytest.raises(ValueError, match="inverse root") as found:
        rn.NORMS[name](x, eps=0.0, backend="numba")
    assert str(found.value) == str(right.value)


def test_a_nan_stays_in_its_group():
    x = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)
    x[3, 5] = np.nan
    for name in NAMES[:3]:
        y, cache, _ = rn.NORMS[name].forward(x, num_groups=2, backend="numba")
        dx, *_ = rn.NORMS[name].backward(x, cache, backend="numba")
        assert np.isnan(y[:, :20]).all() and np.isfinite(y[:, 20:]).all() and np.isfinite(dx[:, 20:]).all()


def test_the_condition_is_bounded_from_above_and_exact_where_it_matters():
    rng = np.random.default_rng(0)
    for module in (zca, cholesky):
        a = rng.normal(size=(2, 6, 6))
        saved = module.from_population(np.zeros((2, 6, 1)), a @ np.swapaxes(a, 1, 2), eps=1e-3)
        exact = module.condition(saved, eps=1e-3)
        bound = whitening_factors.condition(module.condition, saved, eps=1e-3)
        assert np.all(bound >= exact) and np.all(bound <= 6**1.5 * exact)
    singular = module.from_population(np.zeros((1, 2, 1)), np.diag([1.0, 1e-20])[None], eps=0.0)
    assert whitening_factors.condition(module.condition, singular, eps=0.0) == module.condition(singular, eps=0.0)


@pytest.mark.parametrize("d", [1, 3, 17, 33, 70])
def test_newton_steps_against_the_plain_ones(d):
    a = np.random.default_rng(d).normal(size=(d, 2 * d))
    s = a @ a.T
    n = (s + s.T) / (2 * np.trace(s))
    for steps in (1, 2, 5):
        found, right = whitening_newton.root(n, steps), whitening_newton.root_plainly(n, steps)
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-13 * np.abs(right).max())
        np.testing.assert_array_equal(found, found.T)
        g = np.random.default_rng(d + 1).normal(size=(d, d))
        found, right = whitening_newton.tangent(n, g, steps), whitening_newton.tangent_plainly(n, g, steps)
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-13 * np.abs(right).max())
        np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("module", [zca, cholesky, newton])
def test_gradients_of_the_covariance_are_the_reference_s(module):
    """From Q = sum g zc' what the reference has from g and z, of two blocks, at an eps that is seen."""
    rng = np.random.default_rng(0)
    z, g = rng.normal(size=(2, 2, 19, 50))
    options = {"eps": 0.1, "T": 4} if module is newton else {"eps": 0.1}
    _, saved = module.forward(z, **options)
    by = module.__name__.rpartition(".")[2]
    factored = whitening_factors.FROM_COVARIANCE[by](saved.mean, saved.covariance, **options)
    for field, value in saved._asdict().items():
        np.testing.assert_allclose(getattr(factored, field), value, rtol=0, atol=1e-13)
    for kept in (factored, saved):
        agrees_with_the_reference(module, by, z, g, kept, options)


def agrees_with_the_reference(module, by, z, g, saved, options):
    found = whitening_factors.COVARIANCE_GRADIENT[by](g @ np.swapaxes(z - saved.mean, 1, 2), saved, **options)
    right = COVARIANCE_GRADIENTS[module](g, z, saved, options)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-12 * np.abs(right).max())


COVARIANCE_GRADIENTS = {
    zca: lambda g, z, saved, options: zca.covariance_gradient(g, z, saved),
    newton: lambda g, z, saved, options: newton.covariance_gradient(g, z, saved, **options),
    cholesky: lambda g, z, saved, options: (
        -np.swapaxes(saved.matrix, 1, 2)
        @ cholesky.averaged(g @ np.swapaxes(cholesky.apply(z, saved), 1, 2))
        @ saved.matrix / 2
    ),
}  # fmt: skip
