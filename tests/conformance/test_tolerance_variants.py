"""Bounds of variants (center, masks, eps outside, evaluation, casts), whitening, probed maps; a peer."""

import ml_dtypes
import numpy as np
import pytest

from refnorm.conformance import tolerance
from refnorm.conformance.tolerance import Arithmetic, Block, Statistics
from tests.oracles import right_algorithms as right

BFLOAT16 = ml_dtypes.bfloat16
FLOAT32 = Arithmetic.of("float32")
one = np.float32(1)


def draw(rows, n, kappa=0.0, seed=0):
    generator = np.random.default_rng([seed, n])
    x, dy = generator.normal(size=(rows, n)) + kappa, generator.normal(size=(rows, n)) + 0.5
    return x.astype(np.float32), dy.astype(np.float32)


def worst(observed, exact, bound):
    result = tolerance.compare(observed, exact, bound)
    assert result.judged and not result.not_finite
    return result.worst


def column(values):
    return values[:, None]


@pytest.mark.parametrize("order", right.ORDERS.values(), ids=right.ORDERS)
@pytest.mark.parametrize("kappa", [0, 100])
def test_centering(kappa, order):
    x, dy = draw(4, 129, kappa)
    n, stats = np.float32(129), Statistics(x, 0.0, FLOAT32, "center")
    exact, exact_dx = stats.xhat, dy - dy.astype(float).mean(axis=1, keepdims=True)
    assert worst(x - column(order(x) / n), exact, tolerance.forward(stats)) <= 1
    assert worst(dy - column(order(dy) / n), exact_dx, tolerance.backward(stats, dy)) <= 1
    assert worst(x - np.float32(1.001) * column(order(x) / n), exact + 1e-3, tolerance.forward(stats)) > 1
    assert worst(dy, exact_dx, tolerance.backward(stats, dy)) > 1


@pytest.mark.parametrize("order", right.ORDERS.values(), ids=right.ORDERS)
@pytest.mark.parametrize("eps", [1e-9, 1e-3])
def test_eps_outside_the_root(eps, order):
    for kappa in (0, 30):
        x, dy = draw(4, 33, kappa)
        n, stats = np.float32(33), Statistics(x, eps, FLOAT32, outside=True)
        s = np.sqrt(stats.var)
        along = (dy * stats.xhat).mean(axis=1, keepdims=True) / (s * stats.rstd)
        exact = stats.rstd * (dy - dy.astype(float).mean(axis=1, keepdims=True) - stats.xhat * along)
        mean, var = right.two_pass(order)(x)
        c, deviation = x - column(mean), column(np.sqrt(var))
        r = one / (deviation + np.float32(eps))
        b = column(order(dy * c) / n) / deviation
        dx = r * (dy - column(order(dy) / n) - c * r * b)
        assert worst(c * r, c.astype(float) * 0 + stats.xhat, tolerance.forward(stats)) <= 1
        assert worst(dx, exact, tolerance.backward(stats, dy)) <= 1
        inside = np.sqrt(stats.var + eps)
        wrong = stats.c / inside
        assert eps < 1e-6 or worst(wrong, stats.xhat, tolerance.forward(stats)) > 1


def test_eps_outside_the_root_keeps_a_constant_row_finite():
    stats = Statistics(np.full((1, 9), 3.7, np.float32), 1e-9, FLOAT32, outside=True)
    assert np.isfinite(tolerance.forward(stats)).all()
    assert np.isnan(tolerance.backward(stats, np.ones((1, 9)))).all()


@pytest.mark.parametrize("order", right.ORDERS.values(), ids=right.ORDERS)
def test_masked_statistics(order):
    x, dy = draw(6, 131, 10)
    mask = np.random.default_rng(1).random(x.shape) < 0.6
    mask[0] = False
    mask[0, 5:7] = True
    x = np.where(mask, x, 1e6).astype(np.float32)                    # what does not count may be anything
    count = column(mask.sum(axis=1).astype(np.float32))
    stats = Statistics(x, 1e-5, FLOAT32, weight=mask / count.astype(float))
    share, xhat = mask / count.astype(float), stats.xhat
    exact = stats.rstd * (dy - share * dy.sum(axis=1, keepdims=True, dtype=float)
                          - share * xhat * (dy * xhat).sum(axis=1, keepdims=True))
    kept = mask.astype(np.float32)
    mean = column(order(x * kept)) / count
    c = x - mean
    r = one / np.sqrt(column(order(c * c * kept)) / count + np.float32(1e-5))
    z = c * r
    dx = r * (dy - kept / count * column(order(dy)) - kept / count * z * column(order(dy * z)))
    assert worst(z, xhat, tolerance.forward(stats)) <= 1
    assert worst(dx, exact, tolerance.backward(stats, dy)) <= 1
    unmasked = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    assert worst(unmasked, xhat, tolerance.forward(stats)) > 1
    ignoring = r * (dy - column(order(dy)) / np.float32(131) - z * column(order(dy * z)) / np.float32(131))
    assert worst(ignoring, exact, tolerance.backward(stats, dy)) > 1


def test_evaluation():
    x, dy = draw(8, 300, 50)
    generator = np.random.default_rng(3)
    mean, var = (50 + generator.normal(size=8)).astype(np.float32), generator.random(8).astype(np.float32)
    gamma, beta = generator.normal(size=(2, 8, 1)).astype(np.float32)
    stats = tolerance.evaluation(x, mean, var, 1e-5, FLOAT32)
    r = one / np.sqrt(column(var) + np.float32(1e-5))
    y, bound = stats.xhat * gamma + beta, tolerance.forward(stats, gamma, beta)
    assert worst((x - column(mean)) * r * gamma + beta, y, bound) <= 1
    a = gamma * r
    assert worst(x * a + (beta - column(mean) * a), y, bound) <= 1
    exact, bound = dy * gamma.astype(float) * stats.rstd, tolerance.backward(stats, dy, gamma)
    assert worst(dy * gamma * r, exact, bound) <= 1
    training = Statistics(x, 1e-5, FLOAT32)
    g = dy * gamma.astype(float)
    centred = g - g.mean(axis=1, keepdims=True)
    along = training.xhat * (g * training.xhat).mean(axis=1, keepdims=True)
    assert worst(training.rstd * (centred - along), exact, bound) > 1
    pair = tolerance.parameter_gradients(stats, dy, lambda q: q)
    assert worst(right.sequential(dy * ((x - column(mean)) * r)), (dy * stats.xhat).sum(axis=1), pair[0]) <= 1


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=["float16", "bfloat16"])
def test_casts_of_a_dialect(dtype):
    """Llama's RMSNorm: back to storage before the product with the weight, in both directions."""
    generator = np.random.default_rng(0)
    x, dy = (generator.normal(size=(64, 200)).astype(dtype) for _ in range(2))
    w = generator.normal(size=200).astype(dtype)
    arithmetic = Arithmetic.of(np.dtype(dtype).name)
    stats = Statistics(x, 1e-6, arithmetic, "rms")
    wide = x.astype(np.float32)
    r = one / np.sqrt((wide * wide).mean(axis=1, keepdims=True) + np.float32(1e-6))
    xhat = wide * r
    y = xhat.astype(dtype) * w
    exact = stats.xhat * w.astype(float)
    assert worst(y, exact, tolerance.forward(stats, w, casts=1)) <= 1
    assert worst(y, exact, tolerance.forward(stats, w)) > 1
    g = (dy * w).astype(np.float32)
    dx = (r * (g - xhat * (g * xhat).mean(axis=1, keepdims=True))).astype(dtype)
    g = dy.astype(float) * w.astype(float)
    exact = stats.rstd * (g - stats.xhat * (g * stats.xhat).mean(axis=1, keepdims=True))
    assert worst(dx, exact, tolerance.backward(stats, dy, w, casts=1)) <= 1
    assert worst(dx, exact, tolerance.backward(stats, dy, w)) > 1
    dw = (dy * xhat.astype(dtype)).astype(np.float32).sum(axis=0).astype(dtype)
    bound = tolerance.parameter_gradients(stats, dy, lambda q: q.T, casts=2)[0]
    assert worst(dw, (dy.astype(float) * stats.xhat).sum(axis=0), bound) <= 1


def block_of(d, m, condition, kappa, seed=0):
    generator = np.random.default_rng([seed, d, m])
    turn = np.linalg.qr(generator.normal(size=(d, d)))[0]
    x = (turn * np.geomspace(1, condition**-0.5, d)) @ generator.normal(size=(d, m))
    x = (x + kappa * generator.normal(size=(d, 1))).astype(np.float32)
    return x, (generator.normal(size=(d, m)) + x).astype(np.float32)


@pytest.mark.parametrize(
    "method, steps", [("zca", 0), ("cholesky", 0), ("pca", 0), ("newton", 5), ("newton", 7)]
)
def test_right_whitening(method, steps):
    for d, m, condition, kappa in (
        (1, 64, 1, 0), (2, 3, 10, 10), (4, 1024, 1, 0), (4, 5, 100, 1), (16, 64, 1e4, 0), (16, 1024, 10, 30),
        (2, 16384, 4, 0),
    ):  # fmt: skip
        x, g = block_of(d, m, condition, kappa)
        z, dx = right.whiten(x.astype(float), g.astype(float), 1e-3, method, steps, None)
        c = x - x.astype(float).mean(axis=1, keepdims=True)
        matrix = np.linalg.lstsq(c.T, z.T, rcond=None)[0].T
        block = Block(x, matrix, 1e-3, FLOAT32, method, T=steps or None, xhat=z)
        if steps == 7 and m == d + 1:  # the paper's recursion may have drifted anywhere: least eigenvalues of 1e-3
            assert np.isinf(block.C)
            continue
        for order in (right.sequential, right.ORDERS["lanes 16"], right.tree, None):
            found = right.whiten(x, g, 1e-3, method, steps, order)
            assert worst(found[0], z, tolerance.forward(block)) <= 1, (d, m, condition, kappa)
            assert worst(found[1], dx, block.backward(g, dx=dx)) <= 1, (d, m, condition, kappa)


@pytest.mark.parametrize("method, steps", [("zca", 0), ("cholesky", 0), ("newton", 5)])
def test_wrong_whitening_fails(method, steps):
    x, g = block_of(4, 33, 10, 1)
    wide = x.astype(float), g.astype(float)
    z, dx = right.whiten(*wide, 1e-3, method, steps, None)
    c = wide[0] - wide[0].mean(axis=1, keepdims=True)
    block = Block(x, np.linalg.lstsq(c.T, z.T, rcond=None)[0].T, 1e-3, FLOAT32, method, T=steps or None)
    bound, bound_dx = tolerance.forward(block), block.backward(g, dx=dx)
    unbiased = z * np.sqrt(32 / 33), dx * 32 / 33
    fewer = right.whiten(*wide, 1e-3, method, steps - 1, None) if steps else unbiased
    for wrong in (right.whiten(*wide, 1e-2, method, steps, None), fewer, (z + 0.01, dx + 0.01)):
        assert worst(wrong[0], z, bound) > 1 and worst(wrong[1], dx, bound_dx) > 1
    detached = block.matrix.T @ wide[1]
    assert worst(detached - detached.mean(axis=1, keepdims=True), dx, bound_dx) > 1


def test_whitening_says_where_nothing_can_be_judged():
    x, g = block_of(8, 64, 1e10, 0)
    z, _ = right.whiten(x.astype(float), g.astype(float), 0.0, "zca", 0, None)
    block = Block(x, np.eye(8) * 1e5, 0.0, FLOAT32, "zca", xhat=z)
    assert np.isinf(block.C) and np.isinf(tolerance.forward(block)).all()
    with pytest.raises(ValueError, match="newton with T"):
        Block(x, np.eye(8), 0.0, FLOAT32, "newton")


def test_a_probed_map():
    """Spectral normalization by the power method, float32 against float64."""
    generator = np.random.default_rng(0)
    w, u = generator.normal(size=(20, 50)).astype(np.float32), generator.normal(size=20).astype(np.float32)

    def spectral(w, u, steps):
        for _ in range(steps):
            v = w.T @ u
            v = v / np.sqrt((v * v).sum())
            u = w @ v
            u = u / np.sqrt((u * u).sum())
        return w / (u @ (w @ v)), u, v

    exact = spectral(w.astype(float), u.astype(float), 3)
    bounds = tolerance.probe(lambda w, u: spectral(w, u, 3), (w.astype(float), u.astype(float)), FLOAT32.u)
    for found, value, bound in zip(spectral(w, u, 3), exact, bounds, strict=True):
        assert worst(found, value, bound) <= 1
    assert worst(spectral(w, u, 2)[0], exact[0], bounds[0]) > 1


@pytest.mark.parametrize("dtype, mode", [("float32", "wide"), ("float16", "saved"), ("bfloat16", "saved")])
def test_pytorch_passes(peer, dtype, mode):
    """Group norm: its CPU kernels hand a 16-bit mean and rstd to the backward."""
    torch = peer("torch")
    generator = np.random.default_rng(0)
    for shape, kappa in (((6, 8, 9, 5), 0), ((6, 8, 33, 1), 3), ((40, 8, 20, 20), 1)):
        kept = tolerance.Arithmetic.of(dtype).x
        x, dy = ((generator.normal(size=shape) + k).astype(kept) for k in (kappa, 0.3))
        gamma, beta = generator.normal(size=(2, 8)).astype(kept)
        leaves = [torch.tensor(a.astype(np.float32)).to(getattr(torch, dtype)) for a in (x, gamma, beta)]
        for leaf in leaves:
            leaf.requires_grad_()
        y = torch.nn.functional.group_norm(leaves[0], 2, leaves[1], leaves[2], 1e-5)
        y.backward(torch.tensor(dy.astype(np.float32)).to(y.dtype))
        found = [y, *(leaf.grad for leaf in leaves)]
        found = [a.detach().to(torch.float32).numpy() for a in found]

        def rows(a, shape=shape):
            return a.reshape(shape[0] * 2, -1)

        def channels(q, shape=shape):
            return np.moveaxis(q.reshape(shape), 1, 0).reshape(8, -1)

        stats = Statistics(rows(x), 1e-5, Arithmetic.of(dtype, mode=mode))
        wide = (np.broadcast_to(a.astype(float)[:, None, None], shape) for a in (gamma, beta))
        wide_gamma, wide_beta = (rows(a) for a in wide)
        dy = rows(dy).astype(float)
        g = dy * wide_gamma
        along = (g * stats.xhat).mean(axis=1, keepdims=True)
        dx = stats.rstd * (g - g.mean(axis=1, keepdims=True) - stats.xhat * along)
        bounds = tolerance.parameter_gradients(stats, dy, channels)
        y = stats.xhat * wide_gamma + wide_beta
        assert worst(rows(found[0]), y, tolerance.forward(stats, wide_gamma, wide_beta)) <= 1
        assert worst(rows(found[1]), dx, tolerance.backward(stats, dy, wide_gamma)) <= 1
        assert worst(found[2], channels(dy * stats.xhat).sum(axis=1), bounds[0]) <= 1
        assert worst(found[3], channels(dy).sum(axis=1), bounds[1]) <= 1


def test_pca_has_no_gradient_where_eigenvalues_are_equal_to_rounding() -> None:
    x = np.array([[1.0, -1, 1, -1], [1, 1, -1, -1]])
    for method, judged in (("pca", False), ("zca", True)):
        block = Block(x, np.eye(2) / np.sqrt(1 + 1e-3), 1e-3, Arithmetic.of("float32"), method)
        assert np.all(np.isnan(block.backward(np.ones((2, 4)))) != judged)
        assert np.all(np.isfinite(block.backward(np.ones((2, 4)))) == judged)
