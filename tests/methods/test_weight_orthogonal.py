"""Orthogonal weights: the numbers of the papers, where each method ends, and where it breaks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import polar

import refnorm as rn
from refnorm.autodiff import vjp
from refnorm.operations import orthogonal_newton
from refnorm.proofs import problems, witnesses

V = np.random.default_rng(0).normal(0.2, 1, (4, 3, 3))


def matrix(w):
    return w.reshape(len(w), -1)


def centred(v):
    return matrix(v) - matrix(v).mean(1, keepdims=True)


def defect(w):
    w = matrix(w)
    return np.max(np.abs(w @ w.T - np.eye(len(w))))


def test_orthogonal_weight_norm_is_the_polar_factor_of_the_centred_weight():
    w = rn.orthogonal_weight_norm(V)
    assert defect(w) < 1e-13
    np.testing.assert_allclose(matrix(w).sum(1), 0, atol=1e-13)
    np.testing.assert_allclose(matrix(w), polar(centred(V))[0], rtol=1e-11, atol=1e-13)
    groups = rn.orthogonal_weight_norm(V, num_groups=2)
    assert defect(groups[:2]) < 1e-13 and defect(groups[2:]) < 1e-13 and defect(groups) > 1e-2


def test_orthogonal_weight_norm_is_zca_whitening_at_radius_one():
    whitened = rn.batch_whitening_zca(matrix(V).T, eps=1e-3, num_groups=1)
    y = (whitened[0] if isinstance(whitened, tuple) else whitened).T
    np.testing.assert_allclose(matrix(rn.orthogonal_weight_norm(V, eps=9e-3)), y / 3, rtol=1e-12, atol=1e-14)


def test_orthogonal_weight_norm_refuses_what_has_no_root_with_the_count():
    v = np.random.default_rng(1).normal(size=(5, 5))
    with pytest.raises(ValueError, match=r"v has shape \(5, 5\): 5 samples of 5 coordinates .* no inverse root at eps = 0"):
        rn.orthogonal_weight_norm(v)
    assert np.all(np.isfinite(rn.orthogonal_weight_norm(v, eps=1e-3)))
    assert defect(rn.orthogonal_weight_norm(v[:4])) < 1e-12           # 4 rows, 5 - 1 dimensions left by the centring


def test_equal_singular_values_are_no_trouble():
    """Rows of a Hadamard matrix: orthogonal and centred already, all singular values equal."""
    v = np.array([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    dw = np.random.default_rng(2).normal(size=v.shape)
    for norm in (rn.orthogonal_weight_norm, rn.orthogonal_newton_iteration, rn.bjorck):
        dv = norm.backward(dw, norm.forward(v)[1])[0]
        _, pull = vjp(lambda a, norm=norm: norm.forward(a)[0], v)
        np.testing.assert_allclose(dv, pull(dw)[0], rtol=1e-12, atol=1e-14)
        assert abs(np.sum(dv * v)) < 1e-13


def test_newton_raises_the_smallest_singular_value_and_passes_one_never():
    """20 draws of 16 x 64: sigma_max <= 1, sigma_min rising with T, over 0.99 at T = 7; 0.62 to 0.81 at T = 3."""
    at_three = []
    for seed in range(20):
        v = np.random.default_rng(seed).normal(size=(16, 64))
        s = [np.linalg.svd(rn.orthogonal_newton_iteration(v, T=T), compute_uv=False) for T in range(1, 8)]
        assert all(values[0] <= 1 + 1e-13 for values in s)
        least = [values[-1] for values in s]
        assert least == sorted(least) and least[-1] > 0.99
        at_three.append(least[2])
    assert 0.6 < min(at_three) < 0.68 and 0.75 < max(at_three) < 0.83


def test_the_gain_of_the_authors_and_the_scale_a_row():
    w = rn.orthogonal_newton_iteration(V)
    np.testing.assert_allclose(rn.orthogonal_newton_iteration(V, gain=np.sqrt(2)), np.sqrt(2) * w, rtol=1e-15)
    g = np.arange(1.0, 5)
    np.testing.assert_allclose(rn.orthogonal_newton_iteration(V, g), g[:, None, None] * w, rtol=1e-15)


def test_newton_is_bjorck_of_the_centred_weight():
    newton = matrix(rn.orthogonal_newton_iteration(V, T=6))
    np.testing.assert_allclose(newton, rn.bjorck(centred(V), T=6), rtol=1e-12, atol=1e-14)


def test_many_steps_break_newton_by_as_much_as_its_growth_says_and_bjorck_bears_them():
    """5 rows, 3 - 1 dimensions: two singular values go to 1, the others stay 0; the growth of B's roundings is derived."""
    v = np.random.default_rng(3).normal(size=(5, 3))
    for T in (5, 7, 9, 10):
        lost = np.linalg.norm(rn.orthogonal_newton_iteration(v, T=T) - rn.bjorck(centred(v), T=T))
        saved = rn.orthogonal_newton_iteration.forward(v, T=T)[1].saved
        (growth,) = orthogonal_newton.growth(saved, T=T, eps=0.0)
        assert 1e-3 * growth * 2**-53 < lost < 1e2 * growth * 2**-53
    assert lost > 1e-5                               # ten steps leave five digits at best; of independent rows, forty none
    with np.errstate(all="ignore"):
        assert not defect(rn.orthogonal_newton_iteration(np.random.default_rng(0).normal(size=(16, 64)), T=40)) < 1
    s = [np.linalg.svd(rn.bjorck(centred(v), T=T), compute_uv=False) for T in (20, 100)]
    np.testing.assert_allclose(s[0], [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(s[1], 1, atol=1e-12)  # a hundred steps raise a rounding of 1e-17 to 1 as well


def test_bjorck_ends_at_the_polar_factor():
    for v in (matrix(V), matrix(V).T):
        np.testing.assert_allclose(rn.bjorck(v, T=30), polar(v)[0], rtol=1e-11, atol=1e-13)
    small = np.clip(matrix(V), -1, 1)                # no entry past 1: the authors' scale is safe
    np.testing.assert_allclose(rn.bjorck(small, T=30, dialect="original"), polar(small)[0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("s", "limit"), [(0.1, 1), (1.7, 1), (1.74, -1)])
def test_bjorck_converges_to_the_right_sign_under_the_root_of_three(s, limit):
    w = rn.bjorck(np.array([[s]]), T=60, scaling="none")
    np.testing.assert_allclose(w, [[limit]], atol=1e-12)
    assert not np.isfinite(rn.bjorck(np.array([[2.3]]), T=60, scaling="none"))[0, 0]           # and from sqrt(5) on to nowhere


def test_the_scale_of_bjorck_bounds_every_singular_value():
    for seed in range(20):
        v = np.random.default_rng(seed).normal(size=(6, 9))
        top = np.linalg.norm(v, 2)
        c = np.sqrt(np.linalg.norm(v @ v.T))
        assert top <= c <= 6**0.25 * top
        np.testing.assert_allclose(rn.bjorck(v, T=1), 1.5 * v / c - 0.5 * (v @ v.T @ v) / c**3, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dialect", ["original", "torch"])
def test_cayley_is_orthogonal_at_every_size(dialect):
    for shape in ((3, 7), (7, 3), (4, 4)):
        for size in (1e-3, 1.0, 1e3):
            w = rn.cayley(size * np.random.default_rng(4).normal(size=shape), dialect=dialect)
            assert min(defect(w), defect(w.T)) < 1e-12


def test_cayley_in_the_words_of_its_formula():
    a = V[:3, :, 0]
    skew = a - a.T
    expected = (np.eye(3) - skew) @ np.linalg.inv(np.eye(3) + skew)
    np.testing.assert_allclose(rn.cayley(a), expected, rtol=1e-13, atol=1e-15)
    assert np.linalg.det(rn.cayley(a)) == pytest.approx(1, rel=1e-13)              # rotations only


def test_cayley_of_torch_leaves_the_upper_triangle_idle():
    v = np.random.default_rng(5).normal(size=(4, 3))
    dw = np.random.default_rng(6).normal(size=v.shape)
    dv = rn.cayley.backward(dw, rn.cayley.forward(v, dialect="torch")[1])[0]
    np.testing.assert_array_equal(np.triu(dv, 0)[np.triu_indices(3)], 0)           # A = L - L' has no diagonal either
    assert np.all(dv[np.tril_indices(4, -1, 3)] != 0)


@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (3, 5)])
def test_cayley_is_that_of_a_torch_module(shape, peer):
    torch = peer("torch")
    module = torch.nn.Linear(shape[1], shape[0], bias=False, dtype=torch.float64)
    torch.nn.utils.parametrizations.orthogonal(module, orthogonal_map="cayley", use_trivialization=False)
    v = module.parametrizations.weight.original.detach().numpy()
    np.testing.assert_allclose(rn.cayley(v, dialect="torch"), module.weight.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.orthogonal_newton_iteration(V, T=0), "T is 0; it must be a positive integer, the number of steps"),
        (lambda: rn.bjorck(V, T=2.0), "T is 2.0; it must be a positive integer"),
        (lambda: rn.bjorck(V, beta=np.nan), "beta is nan; it must be a finite number"),
        (lambda: rn.bjorck(V, scaling="safe"), "scaling is 'safe'; it must be one of gram, size, none"),
        (lambda: rn.cayley(V, num_groups=3), r"num_groups is 3; it must divide the 4 outputs.*one of \[1, 2, 4\]"),
        (lambda: rn.cayley(V, np.ones(3)), r"g has shape \(3,\); v has shape \(4, 3, 3\), so it must have shape \(4,\)"),
        (lambda: rn.orthogonal_weight_norm(V[0, 0]), r"v has shape \(3,\); it must have at least two axes"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_right_form(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def red(name, proof=witnesses.tape, **changes):
    method = rn.NORMS[name]
    triple = replace(method.triple, operation=replace(method.operation, **changes))
    broken = replace(method, triple=triple, compute=triple.compute, derive=triple.derive)
    return any(not proof(problem).ok for problem in problems(broken))


def test_planted_bugs_in_the_backwards_are_seen():
    """A norm taken as a constant, a step too few, a backward that forgets that A is skew twice over."""

    def constant_norm(g, z, saved, *, T, eps):
        dz = orthogonal_newton.backward(g, z, saved, T=T, eps=eps)
        return dz + 0.1 * orthogonal_newton.average(dz * z) * (z - saved.mean)

    def one_step_less(g, z, saved, *, T, eps):
        return orthogonal_newton.backward(g, z, saved, T=max(T - 1, 1), eps=eps)

    assert red("orthogonal_newton_iteration", backward=constant_norm)
    assert red("orthogonal_newton_iteration", backward=one_step_less)
    assert red("orthogonal_newton_iteration", witnesses.differences, backward=one_step_less)
    bjorck = rn.NORMS["bjorck"].operation
    assert red("bjorck", backward=lambda g, z, saved, **o: bjorck.backward(g, z, saved, **{**o, "scaling": "none"}))
    cayley = rn.NORMS["cayley"].operation
    assert red("cayley", backward=lambda g, z, saved, **o: cayley.backward(g, z, saved, **o) / 2)
    assert red("cayley", witnesses.loops, forward=lambda z, **o: cayley.forward(-z, **o))
