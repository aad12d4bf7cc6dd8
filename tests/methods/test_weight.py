"""Rows of weights: lengths, dialects and equalities that the generic proofs do not see."""

from dataclasses import replace

import numpy as np
import pytest

import refnorm as rn
from refnorm.proofs import problems, witnesses

W = np.random.default_rng(0).normal(0.3, 1, (6, 5, 3))
G = np.random.default_rng(1).normal(size=6)
DY = np.random.default_rng(2).normal(size=W.shape)


def rows(a):
    return a.reshape(len(a), -1)


def gradient(norm, *arrays, **options):
    return norm.backward(DY, norm.forward(*arrays, **options)[1])


def test_weight_norm_has_lengths_g_and_a_tangent_gradient():
    np.testing.assert_allclose(np.linalg.norm(rows(rn.weight_norm(W, G)), axis=1), np.abs(G), rtol=1e-14)
    dv, dg = gradient(rn.weight_norm, W, G)
    assert np.max(np.abs(np.sum(rows(dv) * rows(W), axis=1))) < 1e-13
    unit = rows(W) / np.linalg.norm(rows(W), axis=1, keepdims=True)
    np.testing.assert_allclose(dg, np.sum(rows(DY) * unit, axis=1), rtol=1e-13)
    expected = (G / np.linalg.norm(rows(W), axis=1))[:, None] * (rows(DY) - unit * np.sum(unit * rows(DY), 1, keepdims=True))
    np.testing.assert_allclose(rows(dv), expected, rtol=1e-12, atol=1e-14)


def test_a_step_grows_the_length_as_pythagoras_says():
    dv, _ = gradient(rn.weight_norm, W, G)
    after = np.sum(np.square(rows(W - 0.1 * dv)), axis=1)
    np.testing.assert_allclose(after, np.sum(np.square(rows(W)), 1) + 0.01 * np.sum(np.square(rows(dv)), 1), rtol=1e-13)


@pytest.mark.parametrize("dim", [0, 1, 2, None])
def test_weight_norm_is_that_of_a_torch_module(dim, peer):
    torch = peer("torch")
    module = torch.nn.Conv1d(5, 6, 3, bias=False, dtype=torch.float64)
    torch.nn.utils.parametrizations.weight_norm(module, dim=dim)
    parameters = module.parametrizations.weight
    v, g = parameters.original1.detach().numpy(), parameters.original0.detach().numpy()
    np.testing.assert_allclose(rn.weight_norm(v, g.reshape(np.shape(v)[dim : dim + 1] if dim is not None else ()), dim=dim),
                               module.weight.detach().numpy(), rtol=1e-14)  # fmt: skip


def test_torch_reads_its_own_last_axis_as_the_whole_array(peer):
    torch = peer("torch")
    whole = torch._weight_norm(torch.tensor(W), torch.tensor(2.0), -1).numpy()
    np.testing.assert_allclose(whole, rn.weight_norm(W, np.array(2.0), dim=None), rtol=1e-14)
    assert np.max(np.abs(whole - rn.weight_norm(W, 2 * np.ones(3), dim=-1))) > 0.1


def test_flax_adds_eps_to_the_sum_and_has_outputs_last():
    w = rn.weight_norm(W, np.ones(3), dialect="flax", eps=0.5)
    np.testing.assert_allclose(w, W / np.sqrt(np.sum(np.square(W), (0, 1)) + 0.5), rtol=1e-14)


def test_one_operation_at_two_radii():
    """Weights lie on the unit sphere, activations on that of radius sqrt(n): nothing else differs."""
    root = np.sqrt(15)
    np.testing.assert_allclose(rn.weight_norm(W), rn.rms_norm(W, axis=1, eps=0.0) / root, rtol=1e-14)
    np.testing.assert_allclose(rn.centered_weight_norm(W), rn.layer_norm(W, axis=1, eps=0.0) / root, rtol=1e-13, atol=1e-15)
    timm = rn.weight_standardization(W, dialect="timm", eps=0.1)
    np.testing.assert_allclose(timm, rn.layer_norm(W, axis=1, eps=0.1), rtol=1e-13)
    np.testing.assert_allclose(rn.centered_weight_norm(W, G), rn.scaled_weight_standardization(W, G), rtol=1e-13, atol=1e-15)


def test_weight_standardization_in_three_dialects():
    mean, n = rows(W).mean(1)[:, None, None], 15
    biased, unbiased = (rows(W).var(1, ddof=k)[:, None, None] for k in (0, 1))
    expected = {"original": (W - mean) / (np.sqrt(unbiased) + 1e-5), "timm": (W - mean) / np.sqrt(biased + 1e-6)}
    for dialect, y in expected.items():
        np.testing.assert_allclose(rn.weight_standardization(W, dialect=dialect), y, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(rn.weight_standardization(W, eps=0.0).var((1, 2)), (n - 1) / n, rtol=1e-13)


def test_a_constant_row_has_a_finite_gradient():
    w = W.copy()
    w[2] = 0.7
    for norm, options in ((rn.weight_standardization, {}), (rn.scaled_weight_standardization, {"dialect": "nfnet"})):
        dw = gradient(norm, w, **options)[0]
        assert np.all(np.isfinite(dw))
        assert np.sum(np.abs(dw[2])) > 0
        np.testing.assert_allclose(np.sum(rows(dw), axis=1), 0, atol=1e-9 * np.max(np.abs(dw)))


def test_scaled_weight_standardization_keeps_variance_one_through_a_relu():
    rng = np.random.default_rng(3)
    w = rn.scaled_weight_standardization(rng.normal(0.3, 1, (8, 400)), gain="relu")
    np.testing.assert_allclose(np.linalg.norm(w, axis=1), np.sqrt(2 / (1 - 1 / np.pi)), rtol=1e-13)
    np.testing.assert_allclose(w.sum(1), 0, atol=1e-13)                # so the mean that a relu leaves does not pass
    y = w @ np.maximum(rng.normal(size=(400, 20000)), 0)
    np.testing.assert_allclose(y.var(1), 1, atol=0.05)                 # 4 deviations of a sample variance


def test_the_floor_of_nfnet():
    small = 1e-4 * W                                # sums of squares near 1e-7, under the floor of 1e-4
    y = rn.scaled_weight_standardization(small, dialect="nfnet")
    np.testing.assert_allclose(y, (small - rows(small).mean(1)[:, None, None]) / 1e-2, rtol=1e-13)
    ratio = rn.scaled_weight_standardization(W, gain="relu", dialect="nfnet") / rn.scaled_weight_standardization(W, gain="relu")
    np.testing.assert_allclose(ratio, 1.7139588594436646 / 1.7128585504496623, rtol=1e-12)


def test_which_ones_do_not_see_a_constant_a_row():
    shifted = W + np.arange(1.0, 7)[:, None, None]
    standardizers = rn.centered_weight_norm, rn.weight_standardization, rn.scaled_weight_standardization
    for norm in (*standardizers, rn.gradient_centralization):
        np.testing.assert_allclose(norm(shifted), norm(W), rtol=1e-12, atol=1e-14)
        dw = gradient(norm, shifted)[0]
        np.testing.assert_allclose(dw, gradient(norm, W)[0], rtol=1e-11, atol=1e-13)
        assert np.max(np.abs(np.sum(rows(dw), axis=1))) < 1e-13
    assert np.max(np.abs(rn.weight_norm(shifted) - rn.weight_norm(W))) > 1e-2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.weight_norm(W, np.ones(5)), r"g has shape \(5,\); v has shape \(6, 5, 3\), so it must have shape \(6,\)"),
        (lambda: rn.weight_norm(W, dim=3), r"dim is 3; v has shape \(6, 5, 3\), so it must lie in -3..2, or be None"),
        (lambda: rn.weight_norm(W, dim=0.5), "dim is 0.5; v has shape"),
        (lambda: rn.weight_norm(W[0, 0]), r"v has shape \(3,\); it must have at least two axes, \(out, in, \*kernel\)"),
        (lambda: rn.weight_standardization(W[0, 0]), r"w has shape \(3,\); it must have at least two axes"),
        (lambda: rn.weight_standardization(W, eps=-1), "eps is -1; it must be a finite number, 0 or more"),
        (lambda: rn.weight_standardization(W, dialect="torch"), "dialect 'torch' is unknown to weight_stand.*original"),
        (lambda: rn.scaled_weight_standardization(W, gain="mish"), "gain is 'mish'; it must be a number, or one of identity"),
        (lambda: rn.scaled_weight_standardization(W, gain=None), "gain is None; it must be a finite number, or the name"),
    ],
)
def test_errors_name_the_argument_its_value_and_the_right_form(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def red(method, proof=witnesses.loops):
    return any(not proof(problem).ok for problem in problems(method))


def test_planted_wrong_dialects_are_seen_by_the_loops():
    """The unbiased deviation taken biased, eps inside for outside, a floor that is a sum."""
    for name, wrong in (("weight_standardization", "inside"), ("scaled_weight_standardization", "floor")):
        method = rn.NORMS[name]
        swapped = {k: replace(d, conventions={**d.conventions, "spread": wrong}) for k, d in method.dialects.items()}

        def compute(method=method, swapped=swapped, **arguments):
            name = next(k for k, d in method.dialects.items() if d is arguments["dialect"])
            return method.compute(**{**arguments, "dialect": swapped[name]})

        assert not red(method)
        assert red(replace(method, compute=compute))


def test_planted_eps_on_the_mean_for_eps_on_the_sum_is_seen_by_the_loops():
    method = rn.NORMS["weight_norm"]

    def compute(**arguments):
        n = arguments["v"].size // max(np.size(arguments["g"]), 1)
        return method.compute(**{**arguments, "eps": arguments["eps"] * n})

    assert red(replace(method, compute=compute))


def test_planted_gradient_that_is_not_projected_is_seen():
    method = rn.NORMS["weight_norm"]

    def derive(dw, saved, **arguments):
        _, dg = method.derive(dw, saved, **arguments)
        v = arguments["v"]
        axes = tuple(a for a in range(v.ndim) if arguments["dim"] is not None and a != arguments["dim"] % v.ndim)
        length = np.sqrt(np.sum(np.square(v), axis=axes or None, keepdims=True))
        g = arguments["g"] if arguments["dim"] is None else np.reshape(arguments["g"], length.shape)
        return dw * g / length, dg

    broken = replace(method, derive=derive)
    assert red(broken, witnesses.tape) and red(broken, witnesses.differences)
