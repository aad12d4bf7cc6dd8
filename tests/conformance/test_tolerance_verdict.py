"""compare, the three outcomes, the scale test, exact scaling, bits lost, and what an Arithmetic can say."""

import ml_dtypes
import numpy as np
import pytest

from refnorm.conformance import tolerance
from refnorm.conformance.tolerance import Arithmetic, Statistics
from refnorm.conformance.tolerance_arithmetic import FORMATS, growth
from tests.oracles import right_algorithms as right

FLOAT32 = Arithmetic.of("float32")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_compare_judges_each_element_by_its_own_bound():
    expected = np.array([1.0, 2.0, 3.0, 4.0])
    bound = np.array([0.1, 0.1, np.inf, np.nan])
    passed = tolerance.compare(expected + [0.05, 0, 1e9, np.nan], expected, bound)
    assert passed.ok and passed.worst == pytest.approx(0.5) and passed.index == (0,)
    assert (passed.judged, passed.must_be_finite, passed.not_judged) == (2, 1, 1)
    failed = tolerance.compare(expected + [0.05, 0.3, 0, 0], expected, bound)
    assert not failed.ok and failed.worst == pytest.approx(3) and failed.index == (1,)
    unbounded = tolerance.compare(expected + [0, 0, np.inf, 0], expected, bound)
    assert not unbounded.ok and unbounded.not_finite == 1 and unbounded.index == (2,)
    for nothing in (np.nan, np.inf, -np.inf):
        assert tolerance.compare([nothing], [1.0], [0.1]).worst == np.inf


def test_compare_says_when_it_could_not_have_failed():
    assert tolerance.compare([1.0], [1.0], [0.11]).vacuous
    assert not tolerance.compare([1.0], [1.0], [0.11], unit=2.0).vacuous
    assert tolerance.compare([1.0, 1.0], [1.0, 1.0], [np.inf, np.nan]).vacuous
    assert tolerance.compare(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3))).vacuous
    with pytest.raises(ValueError, match="shapes differ"):
        tolerance.compare(np.zeros(3), np.zeros((3, 1)), np.zeros(3))


def outcome(row, eps, dtype="float32", dy=None):
    stats = Statistics(np.atleast_2d(row), eps, Arithmetic.of(dtype))
    cotangent = np.random.default_rng(1).normal(size=stats.x.shape)
    bound = tolerance.forward(stats) if dy is None else tolerance.backward(stats, dy * cotangent)
    return "out" if np.isnan(bound).any() else "finite" if np.isinf(bound).any() else "judged"


def test_three_outcomes():
    z = np.random.default_rng(0).normal(size=64)
    assert outcome(z, 1e-5) == "judged"
    assert outcome(z + 1e9, 1e-5) == "finite"             # the mean's rounding hides the variance
    assert outcome(z + 1e9, 0) == "out"                              # and a right one may then divide by 0
    assert outcome(np.full(64, 3.0), 0) == "out" and outcome(np.full(64, 3.0), 1e-5) == "judged"
    assert outcome(1e19 * z, 1e-5) == "out" and outcome(1e17 * z, 1e-5) == "judged"
    assert outcome(1e-30 * z, 1e-5) == "judged" and outcome(1e-30 * z, 0) == "out"
    assert outcome(1e-30 * z, 1e-5, dy=1.0) == "judged" and outcome(1e-15 * z, 0, dy=1.0) == "out"
    assert outcome(1e17 * z, 1e-5, dy=1.0) == "out"                  # r^3 underflows
    assert outcome(1e-4 * z, 0, "float16", dy=100.0) == "out"        # dx is beyond float16
    assert np.isinf(Statistics([[1e9, 1e9 + 1]], 1e-5, FLOAT32).sigma).all()


def test_more_than_the_storage_holds_is_not_judged():
    stats = Statistics([[1.0, 2.0, 3.0]], 0.0, Arithmetic.of({"x": "float32", "out": "float16"}))
    bound = tolerance.forward(stats, gamma=60000.0)
    assert np.isnan(bound[0, [0, 2]]).all() and np.isfinite(bound[0, 1])


def test_empty_and_single():
    for shape in ((0, 4), (3, 0), (3, 1)):
        stats = Statistics(np.ones(shape), 1e-5, FLOAT32)
        assert tolerance.forward(stats).shape == tolerance.backward(stats, np.ones(shape)).shape == shape
    with pytest.raises(TypeError, match="rows, n"):
        Statistics(np.ones(3), 1e-5, FLOAT32)
    with pytest.raises(ValueError, match="standardize"):
        Statistics(np.ones((1, 3)), 1e-5, FLOAT32, "standardise")


def test_growth_is_measured_on_the_data():
    """Roundings of a constant row line up, those of a random one do not; no float32 sum loses more."""
    generator, unit, n = np.random.default_rng(0), 2.0**-24, 2**16
    rows = {
        "random": generator.normal(size=n) + 10, "constant": np.full(n, 10.1), "exact": np.full(n, 3.0),
        "crowd": 10.1 + 1e-5 * generator.normal(size=n), "alternating": (-1.0) ** np.arange(n) * 10.1,
    }  # fmt: skip
    loss = {}
    for name, row in rows.items():
        row = row.astype(np.float32)[None]
        allowed = float(growth(row.astype(float), unit)[0, 0]) * unit
        errors = [abs(float(order(row)[0]) - row.astype(float).sum()) for order in right.ORDERS.values()]
        assert max(errors) <= allowed, name
        loss[name] = allowed, max(errors)
    assert loss["constant"][1] > 10 * loss["random"][1] and loss["crowd"][0] > 5 * loss["random"][0]
    assert loss["constant"][0] < 30 * loss["constant"][1] and loss["exact"][1] == 0


def test_growth_follows_a_scale_and_ignores_other_rows():
    generator = np.random.default_rng(0)
    a = generator.normal(size=(3, 500)) + 2
    together = growth(a, 2.0**-24)
    assert np.array_equal(together[1:2], growth(a[1:2], 2.0**-24))
    assert np.array_equal(growth(a * 2.0**70, 2.0**-24), together * 2.0**70)


@pytest.mark.parametrize("name", right.MOMENTS)
def test_right_implementations_scale_bit_for_bit(name):
    """Where `scaling_is_exact` says so, in y, dx and dgamma, in every order of summation."""
    generator = np.random.default_rng(0)
    x, dy = generator.normal(size=(2, 6, 129)).astype(np.float32) + np.float32(3)
    dy[dy == 0] = 1

    def run(p):
        scaled = np.ldexp(x, p)
        mean, var = right.MOMENTS[name](scaled)
        rstd, order = right.inverse_root(var, np.ldexp(np.float32(1e-5), 2 * p)), right.order_of(name)
        y = right.forward(scaled, np.float32(1), np.float32(0), mean, rstd, False)
        dx = right.backward(dy, scaled, np.float32(1), mean, rstd, order, False)
        dgamma, _ = right.parameter_gradients(dy, scaled, mean, rstd, order, lambda q: q, False)
        return y, np.ldexp(dx, p), dgamma, np.ldexp(mean, -p), np.ldexp(var, -2 * p)

    for p in (-9, 5, 11):
        assert tolerance.scaling_is_exact(x, 1e-5, p, FLOAT32, dy).all()
        assert all(np.array_equal(a, b) for a, b in zip(run(0), run(p), strict=True))
    assert not tolerance.scaling_is_exact(x, 1e-5, -60, FLOAT32, dy).any()


def test_exact_scaling_is_not_claimed_near_the_ends():
    x = np.array([[1.0, 2.0, 4.0]])
    assert tolerance.scaling_is_exact(x, 1e-5, 20, FLOAT32).all()
    assert tolerance.scaling_is_exact(x, 0, -20, FLOAT32).all()
    assert not tolerance.scaling_is_exact(x, 1e-5, 62, FLOAT32).any()          # squares overflow
    assert not tolerance.scaling_is_exact(x, 1e-5, -58, FLOAT32).any()         # eps and squares underflow
    assert not tolerance.scaling_is_exact(x, 1e-5, 15, Arithmetic.of("float16")).any()
    assert tolerance.scales_exactly([0, 1.0, 1e-37, 1e38], 4, "float32").tolist() == [True, True, True, False]
    assert tolerance.scales_exactly([1.0, 1e-37], -10, "float32").tolist() == [True, False]


def test_an_absolute_threshold_is_seen_by_exact_scaling_alone():
    """x / max(std, 1e-6): no tolerance sees it at ordinary scales."""
    x = np.random.default_rng(0).normal(size=(2, 64))

    def clamped(x):
        c = x - x.mean(axis=1, keepdims=True)
        return c / np.maximum(c.std(axis=1, keepdims=True), 1e-6)

    stats = Statistics(x, 0.0, FLOAT32)
    assert tolerance.compare(clamped(x), stats.xhat, tolerance.forward(stats)).ok
    assert tolerance.scaling_is_exact(x, 0.0, -25, FLOAT32).all()
    assert not np.array_equal(clamped(x), clamped(np.ldexp(x, -25)))


def test_scale_test_ignores_a_shift_and_sees_a_scale():
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(4, 700)) + 30).astype(np.float32)
    gamma, beta = generator.normal(size=(2, 700))
    stats = Statistics(x, 1e-5, FLOAT32)
    y = stats.xhat * gamma + beta
    assert tolerance.scale_test(stats, y + 0.3 * gamma, gamma, beta).ok
    found = tolerance.scale_test(stats, y + 1e-3 * stats.xhat * gamma, gamma, beta)
    assert np.allclose(found.scale, 1e-3) and not found.ok and found.ratio.min() > 2
    assert not tolerance.scale_test(stats, np.full_like(y, np.nan), gamma, beta).ok
    pair = Statistics(x[:, :2], 1e-5, FLOAT32)
    lone = tolerance.scale_test(pair, pair.xhat, gamma=np.array([1.0, 0.0]))
    assert np.isnan(lone.ratio).all() and lone.ok


def test_bits_lost():
    expected = np.array([1.0, 1000.0, 1e-9])
    unit = 2.0**-24
    assert tolerance.bits_lost(expected * (1 + unit), expected, FLOAT32) == 0
    assert tolerance.bits_lost(expected * (1 + 32 * unit), expected, FLOAT32) == pytest.approx(5, abs=1e-3)
    assert tolerance.bits_lost(expected + [0, 0, 8 * unit], expected, FLOAT32) == pytest.approx(3, abs=1e-3)
    assert tolerance.bits_lost(expected * (1 + 2.0**-8), expected, Arithmetic.of("bfloat16")) == 0
    assert tolerance.bits_lost([np.nan], [1.0], FLOAT32) == np.inf
    assert tolerance.bits_lost([np.nan], [np.nan], FLOAT32) == 0


def test_growth_exponent_tells_stable_from_one_pass():
    kappas = 10.0 ** np.arange(0, 6.5, 0.5)

    def errors(moments):
        for kappa in kappas:
            x = (np.random.default_rng(int(kappa)).normal(size=(20, 129)) + kappa).astype(np.float32)
            mean, var = moments(x)
            stats = Statistics(x, 1e-5, FLOAT32)
            y = right.forward(x, np.float32(1), np.float32(0), mean, right.inverse_root(var, 1e-5), False)
            yield np.max(np.abs(y - stats.xhat))

    def one_pass(x):
        mean = x.mean(axis=1)
        return mean, np.maximum((x * x).mean(axis=1) - mean * mean, 0)

    for name in ("two-pass, sequential", "Welford", "Chan, tree", "pivoted"):
        assert tolerance.growth_exponent(kappas, list(errors(right.MOMENTS[name]))) < 1.3
    assert tolerance.growth_exponent(kappas, list(errors(one_pass))) > 1.7
    assert np.isnan(tolerance.growth_exponent([1, 10], [1e-3, 1e-2]))


def test_arithmetic_by_role():
    mixed = Arithmetic.of({"x": "bfloat16", "params": "float32", "compute": "float32"})
    assert mixed.out == mixed.dx == ml_dtypes.bfloat16 and mixed.grads == mixed.state == np.float32
    assert mixed.u == 2 * 2.0**-24 and mixed.storage("out").unit == 2.0**-8
    assert Arithmetic.of("float64").compute == np.float64 and Arithmetic.of("float16").compute == np.float32
    assert Arithmetic.of("float16", mode="storage sums").compute == np.float16
    assert Arithmetic.of("float32", compute="float64").u == 2 * 2.0**-53
    with pytest.raises(TypeError, match="bfloat16"):
        Arithmetic.of("int8")
    with pytest.raises(ValueError, match="one-pass"):
        Arithmetic.of("float32", mode="twopass")


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_formats(dtype):
    form, info = FORMATS[dtype], ml_dtypes.finfo(dtype)
    assert form.unit == float(info.eps) / 2 and form.normal == float(info.smallest_normal)
    assert form.largest == float(info.max)
    assert form.least == form.normal or form.least == float(info.smallest_subnormal) / 2


def test_exact_values_agree_with_arbitrary_precision():
    mpmath = pytest.importorskip("mpmath")
    x = np.random.default_rng(0).normal(size=(1, 17)) + 1e6
    stats = Statistics(x, 1e-5, Arithmetic.of("float64"))
    with mpmath.workdps(60):
        row = [mpmath.mpf(float(value)) for value in x[0]]
        mean = mpmath.fsum(row) / 17
        var = mpmath.fsum((value - mean) ** 2 for value in row) / 17
        xhat = [(value - mean) / mpmath.sqrt(var + mpmath.mpf(1e-5)) for value in row]
        errors = [abs(float(mpmath.mpf(float(a)) - b)) for a, b in zip(stats.xhat[0], xhat, strict=True)]
        oracle = {"mean": float(mean), "var": float(var), "xhat": [[float(value) for value in xhat]]}
        assert abs(float(stats.var[0, 0]) / float(var) - 1) < 1e-15
    given = Statistics(x, 1e-5, Arithmetic.of("float64"), **oracle)
    bounds = tolerance.forward(stats), tolerance.forward(given)
    assert np.max(np.array(errors) / bounds[0][0]) < 1e-3
    assert np.allclose(bounds[0].astype(float), bounds[1].astype(float), rtol=1e-6)
