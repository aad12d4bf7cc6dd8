"""Every right implementation passes the bounds, in every order of summation; wrong ones do not."""

from functools import partial

import ml_dtypes
import numpy as np
import pytest

from refnorm.conformance import tolerance
from refnorm.conformance.tolerance import Arithmetic, Statistics
from tests.oracles import right_algorithms as right

BFLOAT16 = ml_dtypes.bfloat16
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")      # overflow and 0/0 are part of the rows


def rows_of(function):
    """Each row's parameter: the reduction of batch norm."""
    return function


def columns_of(array):
    """Each column's parameter: the reduction of layer norm."""
    return array.T


class Problem:
    """One x (rows, n) in a storage dtype with everything around it, exact results and their bounds."""

    def __init__(self, x, dtype, eps, kind="standardize", seed=0, mode="wide", compute=None):
        generator = np.random.default_rng(seed)
        self.dtype, self.eps, self.kind = np.dtype(dtype), eps, kind
        self.x = np.asarray(x).astype(dtype)
        rows, n = self.x.shape
        self.compute = np.dtype(compute or (np.float64 if self.dtype == np.float64 else np.float32))
        self.arithmetic = Arithmetic.of(dtype, compute=self.compute, mode=mode)
        self.gamma = (1 + 0.5 * generator.normal(size=n)).astype(dtype)
        self.beta = (0 if kind == "rms" else 1) * generator.normal(size=n).astype(dtype)
        self.dy = (generator.normal(size=x.shape) + n % 2).astype(dtype)
        self.old_mean, self.old_var = generator.normal(size=rows), generator.random(rows)
        self.old_mean, self.old_var = self.old_mean.astype(self.compute), self.old_var.astype(self.compute)
        s = self.stats = Statistics(self.x, eps, self.arithmetic, kind)
        gamma, beta, dy = (a.astype(s.x.dtype) for a in (self.gamma, self.beta, self.dy))
        g = dy * gamma
        centered = 0 if kind == "rms" else g.mean(axis=1, keepdims=True)
        along = (g * s.xhat).mean(axis=1, keepdims=True)
        self.gradients = {"": rows_of, " by column": columns_of} if rows > 1 and n < 2000 else {"": rows_of}
        self.exact = {"y": s.xhat * gamma + beta, "dx": s.rstd * (g - centered - s.xhat * along)}
        self.exact |= {"mean": s.mean[:, 0], "var": s.var[:, 0], "rstd": s.rstd[:, 0]}
        self.bounds = {"y": tolerance.forward(s, gamma, beta), "dx": tolerance.backward(s, dy, gamma)}
        self.bounds |= tolerance.saved(s)
        for name, reduce in self.gradients.items():
            bounds = tolerance.parameter_gradients(s, dy, reduce)
            self.bounds["dgamma" + name], self.bounds["dbeta" + name] = bounds
            self.exact["dgamma" + name] = reduce(dy * s.xhat).sum(axis=1)
            self.exact["dbeta" + name] = reduce(dy).sum(axis=1)
        self.factor = n / max(n - 1, 1)
        kept = Arithmetic.of({"x": dtype, "params": self.compute}, compute=self.compute, mode=mode)
        kept = Statistics(self.x, eps, kept, kind)
        for w in (0.1, 0.01):
            bounds = tolerance.running(kept, self.old_mean, self.old_var, w, self.factor)
            self.bounds[f"running mean {w}"], self.bounds[f"running var {w}"] = bounds
            self.exact[f"running mean {w}"] = (1 - w) * self.old_mean + w * s.mean[:, 0]
            self.exact[f"running var {w}"] = (1 - w) * self.old_var + w * self.factor * s.var[:, 0]

    def run(self, moments, order, folded=False):
        """quantity -> what an algorithm gives."""
        kind = self.compute.type
        x, gamma, beta, dy = (np.asarray(a).astype(kind) for a in (self.x, self.gamma, self.beta, self.dy))
        if self.kind == "rms":
            mean, var = np.zeros(len(x), kind), order(x * x) / kind(x.shape[1])
        else:
            mean, var = moments(x)
        rstd = right.inverse_root(var, self.eps)
        y = right.forward(x, gamma, beta, mean, rstd, folded)
        dx = right.backward(dy, x, gamma, mean, rstd, order, folded, self.kind != "rms")
        found = {"y": y.astype(self.dtype), "dx": dx.astype(self.dtype)}
        found |= {"mean": mean, "var": var, "rstd": rstd}
        for name, reduce in self.gradients.items():
            pair = right.parameter_gradients(dy, x, mean, rstd, order, reduce, folded and reduce is rows_of)
            found |= {"dgamma" + name: pair[0].astype(self.dtype), "dbeta" + name: pair[1].astype(self.dtype)}
        for w in (0.1, 0.01):
            found[f"running mean {w}"] = right.update(self.old_mean, mean, w)
            found[f"running var {w}"] = right.update(self.old_var, var * kind(self.factor), w)
        return found

    def judge(self, found):
        """quantity -> the largest error over its bound; infinite where a value must be finite and is not."""
        ratios = {}
        for name, value in found.items():
            result = tolerance.compare(value, self.exact[name], self.bounds[name])
            ratios[name] = np.inf if result.not_finite else result.worst
        scale = tolerance.scale_test(self.stats, found["y"], self.gamma, self.beta).ratio
        ratios["scale"] = np.max(scale[~np.isnan(scale)], initial=0)
        return ratios


def assert_all_pass(problem, names=None):
    algorithms = right.ORDERS if problem.kind == "rms" else right.MOMENTS
    for name in names or algorithms:
        for folded in (False, True):
            order = right.ORDERS[name] if problem.kind == "rms" else right.order_of(name)
            ratios = problem.judge(problem.run(right.MOMENTS.get(name), order, folded))
            worst = max(ratios, key=ratios.get)
            assert ratios[worst] <= 1, f"{name}, folded {folded}: {worst} errs {ratios[worst]:.3g} bounds"


def ordinary(rows, n, kappa, scale=1.0):
    return scale * (np.random.default_rng([n, int(kappa)]).normal(size=(rows, n)) + kappa)


SCALES = {
    np.float32: (1e-30, 1e-15, 1, 1e15), np.float64: (1e-30, 1, 1e30), BFLOAT16: (1e-30, 1),
    np.float16: (1e-3, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["standardize", "rms"])
@pytest.mark.parametrize("dtype", SCALES, ids=lambda d: np.dtype(d).name)
def test_right_on_ordinary_rows(dtype, kind):
    for n in (1, 2, 3, 7, 33, 129, 768, 1025):
        for kappa in (0, 10, 1e3, 1e6) if kind == "standardize" else (0, 10):
            for scale in SCALES[dtype]:
                x = ordinary(3, n, kappa, scale)
                if dtype == np.float16 and np.abs(x).max() > 65504:
                    continue
                for eps in (0, 1e-5, 1) if scale == 1 and kappa < 100 else (1e-5,):
                    assert_all_pass(Problem(x, dtype, eps, kind))


@pytest.mark.parametrize("kappa", [0, 10, 1e3])
def test_right_on_long_rows(kappa):
    assert_all_pass(Problem(ordinary(1, 16384, kappa), np.float32, 1e-5))
    longest = Problem(ordinary(1, 131072, kappa), np.float32, 1e-5)
    assert_all_pass(longest, ["two-pass, sequential", "Welford"])


def odd_rows(n):
    """Rows on which rounding errors line up, cancel, or meet one outlier."""
    generator, i = np.random.default_rng(n), np.arange(n)
    z = generator.normal(size=n)
    sign = (-1.0) ** i
    return {
        "constant": np.full(n, 3.7), "nearly constant": 1003.3 * (1 + 3e-7 * z), "subnormal": 1e-40 * z,
        "spike first": np.r_[1000.0, z[1:]], "spike last": np.r_[z[1:], 1e4],
        "Cauchy": generator.standard_cauchy(n),
        "sorted": np.sort(z) + 1, "sorted, far": np.sort(z) + 100, "descending": -np.sort(-z) + 10,
        "ramp": i / n + 0.3333, "skewed": np.exp(3 * z), "two values": np.where(z > 0, 101.1, 100.7),
        "alternating": sign * (1 + 1e-3 * z), "rectified": np.maximum(z, 0),
        "mostly zero": np.where(i < n // 20, np.abs(z), 0), "images": np.floor(256 * generator.random(n)),
        "crowd and spike": np.r_[1.003 + 1e-4 * z[1:], 1e6], "halves": np.where(i < n // 2, 100.1, -100) + z,
        "spike and crowd": np.r_[1e5, 1.003 + 1e-4 * z[1:]],
        "period of eight": np.where(i % 8 < 4, 1.0, -1.0) * (1 + 1e-2 * z) + 0.01,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", SCALES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("n", [2, 7, 129, 1025])
def test_right_on_odd_rows(n, dtype):
    for name, row in odd_rows(n).items():
        if dtype == np.float16 and np.abs(row).max() > 65504:
            continue
        for eps in (0, 1e-5):
            for kind in ("standardize", "rms"):
                problem = Problem(row[None], dtype, eps, kind)
                try:
                    assert_all_pass(problem)
                except AssertionError as error:
                    raise AssertionError(f"{name}, eps {eps}, {kind}: {error}") from None


@pytest.mark.slow
@pytest.mark.parametrize("n", [16384, 131072])
@pytest.mark.parametrize("name", odd_rows(8))
def test_right_on_long_odd_rows(name, n):
    for kind in ("standardize", "rms"):
        assert_all_pass(Problem(odd_rows(n)[name][None], np.float32, 1e-5, kind))


@pytest.mark.slow
@pytest.mark.parametrize("kappa", [0, 1, 10, 1e3])
@pytest.mark.parametrize("n", [16384, 131072])
def test_right_on_ordinary_rows_of_any_length(n, kappa):
    for kind in ("standardize", "rms"):
        assert_all_pass(Problem(ordinary(1, n, kappa), np.float32, 1e-5, kind))


def one_pass(order, x):
    """E[x^2] - E[x]^2, clipped: wrong in the arithmetic of x."""
    n = x.dtype.type(x.shape[1])
    mean = order(x) / n
    return mean, np.maximum(order(x * x) / n - mean * mean, 0)


@pytest.mark.parametrize("name", ["sequential", "lanes 8", "tree", "pairwise"])
@pytest.mark.parametrize("n", [7, 33, 129])
def test_one_pass_variance_fails_on_short_rows(n, name):
    order = right.ORDERS[name]
    ratios = [
        problem.judge(problem.run(partial(one_pass, order), order))["y"]
        for problem in (Problem(ordinary(32, n, kappa), np.float32, 1e-5) for kappa in (100, 300, 1000))
    ]
    assert min(ratios) > 1 and ratios[2] > 4, ratios


@pytest.mark.parametrize("name", ["sequential", "lanes 8", "threads 256", "tree", "pairwise"])
@pytest.mark.parametrize("n", [129, 768, 1025, 4096])
def test_one_pass_variance_fails_the_scale_test_on_longer_rows(n, name):
    order = right.ORDERS[name]
    problem = Problem(ordinary(16, n, 100), np.float32, 1e-5)
    assert problem.judge(problem.run(partial(one_pass, order), order))["scale"] > 1


def wrong_forward(x, eps, mutant):
    """Layer norm without parameters, float64 but for what the mutant does wrong."""
    x = x.astype(np.float64)
    mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    if mutant == "unbiased":
        var = var * x.shape[1] / (x.shape[1] - 1)
    if mutant == "eps outside":
        return (x - mean) / (np.sqrt(var) + eps)
    if mutant == "uncentered":
        mean = 0
    return (x - mean) / np.sqrt(var + eps * (10 if mutant == "eps tenfold" else 1))


@pytest.mark.parametrize("n", [7, 129, 768])
@pytest.mark.parametrize("mutant", ["unbiased", "eps outside", "eps tenfold", "uncentered"])
def test_wrong_forward_fails(mutant, n):
    x = ordinary(4, n, 1, 0.03).astype(np.float32)                   # a variance near eps shows eps
    stats = Statistics(x, 1e-5, Arithmetic.of("float32"))
    exact, bound = stats.xhat, tolerance.forward(stats)
    assert tolerance.compare(wrong_forward(x, 1e-5, "none"), exact, bound).worst < 0.1
    assert tolerance.compare(wrong_forward(x, 1e-5, mutant), exact, bound).worst > 5


def wrong_backward(stats, g, mutant):
    a, b = g.mean(axis=1, keepdims=True), (g * stats.xhat).mean(axis=1, keepdims=True)
    return stats.rstd * {
        "none": g - a - stats.xhat * b,
        "mean term dropped": g - stats.xhat * b,
        "variance detached": g - a,
        "b over n - 1": g - a - stats.xhat * b * stats.n / (stats.n - 1),
        "r of another eps": 0.999 * (g - a - stats.xhat * b),
    }[mutant]


@pytest.mark.parametrize(
    "mutant", ["mean term dropped", "variance detached", "b over n - 1", "r of another eps"]
)
@pytest.mark.parametrize("n", [7, 129, 1025])
def test_wrong_backward_fails(mutant, n):
    generator = np.random.default_rng(n)
    stats = Statistics(ordinary(4, n, 1).astype(np.float32), 1e-5, Arithmetic.of("float32"))
    dy = generator.normal(size=stats.x.shape) + stats.xhat
    exact, bound = wrong_backward(stats, dy, "none"), tolerance.backward(stats, dy)
    assert tolerance.compare(exact.astype(np.float32), exact, bound).worst < 0.1
    assert tolerance.compare(wrong_backward(stats, dy, mutant), exact, bound).worst > 2


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=["float16", "bfloat16"])
def test_sums_in_a_storage_type_pass_as_what_they_are_and_fail_as_wide(dtype):
    """A running sum in float16 or bfloat16 is declared, or wrong."""
    for n in (33, 129, 300):
        x = 0.5 * ordinary(8, n, 2)
        declared = Problem(x, dtype, 1e-3, mode="storage sums", compute=dtype)
        found = declared.run(right.MOMENTS["two-pass, sequential"], right.sequential)
        assert max(declared.judge(found).values()) <= 1
        wide = Problem(x, dtype, 1e-3)
        assert wide.judge({"y": found["y"], "dgamma": found["dgamma"]})["y"] > 1


def test_one_pass_passes_where_it_is_declared():
    for kappa in (1, 100, 1000):
        for n in (7, 129, 1025):
            problem = Problem(ordinary(8, n, kappa), np.float32, 1e-5, mode="one-pass")
            for order in right.ORDERS.values():
                found = problem.run(partial(one_pass, order), order)
                assert max(problem.judge({"y": found["y"], "dx": found["dx"]}).values()) <= 1


def test_statistics_saved_in_bfloat16_pass_where_they_are_declared():
    def rounded(x):
        return tuple(a.astype(BFLOAT16).astype(np.float32) for a in right.MOMENTS["Welford"](x))

    for kappa in (0, 1, 10):
        x = ordinary(8, 129, kappa)
        declared, wide = Problem(x, BFLOAT16, 1e-5, mode="saved"), Problem(x, BFLOAT16, 1e-5)
        found = declared.run(rounded, right.sequential)
        found = {name: found[name] for name in ("y", "dx")}
        assert max(declared.judge(found).values()) <= 1
        assert max(wide.judge(found).values()) > 1
