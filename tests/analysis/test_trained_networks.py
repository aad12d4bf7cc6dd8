"""Measures of networks: scale, landscape, conditioning, propagation, shift, attacks; each against a case known by hand."""

import numpy as np
import pytest

from refnorm.analysis import conditioning, landscape, scale
from refnorm.analysis.adversarial import accuracy_under_attack, fgsm
from refnorm.analysis.convergence import steps_to
from refnorm.analysis.covariate_shift import external_covariate_shift, gap
from refnorm.analysis.signal_propagation import mean_cosine, propagation
from refnorm.nets import MLP, SGD, SphereSGD, cross_entropy, loss_and_gradients, train

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(40, 6)), RNG.integers(0, 3, 40)


# scale


def test_multiple():
    a = RNG.normal(size=(3, 4))
    t, off = scale.multiple(a, 2.5 * a)
    assert abs(t - 2.5) < 1e-14 and off < 1e-15
    assert scale.multiple(np.array([1.0, 0]), np.array([0.0, 1])) == (0.0, 1.0)


def test_factors_of_a_network_that_has_eps_are_not_the_tables():
    """The measure can fail: with eps of the order of the variance a norm remembers the scale."""
    for eps, seen in ((0.0, False), (1.0, True)):
        net = MLP((6, 8, 8, 3), norm="batch_norm", norm_options={"eps": eps})
        p, scales = net.parameters(0), {"layer1": 2.0, "layer2": 0.5}
        found = scale.scaled_flows(net, p, X, RNG.normal(size=(40, 3)), scales)
        right = scale.predicted_factors(list(scales.values()), normalized=True)
        worst = max(abs(found[n][k][0] / r[k] - 1) for n, r in zip(scales, right, strict=True) for k in r)
        assert (worst > 0.05) == seen and (seen or worst < 1e-12)


def test_predicted_factors_of_the_plain_chain():
    assert scale.predicted_factors([2.0, 3.0], False) == [{"x": 2.0, "dh": 3.0, "dw": 3.0}, {"x": 6.0, "dh": 1.0, "dw": 2.0}]


def test_radial():
    w, g = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 5], [5, -1]])
    assert scale.radial(w, g, "neuron") == 1 and scale.radial(w, g, "matrix") == 0
    with pytest.raises(ValueError, match="per is 'row'"):
        scale.radial(w, g, "row")


def test_a_small_angle_is_accurate():
    for angle in (1e-9, 1e-3, 1.0, 3.0):
        w = np.array([3.0, 0.0])
        assert abs(scale.turned(w, 7 * np.array([np.cos(angle), np.sin(angle)])) / angle - 1) < 1e-7


def test_motion_on_the_sphere():
    """On the sphere the norm stays, and a step turns a row by atan(lr |g| / |w|)."""
    net, heard = MLP((6, 8, 3), norm="layer_norm", norm_options={"eps": 0.0}), scale.Motion("layer1.weight")
    train(net, X, LABELS, steps=20, batch_size=20, optimizer=SphereSGD(0.1, dim=None), progress=heard)
    norm, tangential, angle = (np.array(a) for a in (heard.norm, heard.tangential, heard.angle))
    np.testing.assert_allclose(norm, norm[0], rtol=1e-13)
    np.testing.assert_allclose(angle, np.arctan(0.1 * tangential / norm**2), rtol=1e-9)
    rest = heard.at_rest()
    assert abs(rest["norm"] - norm[0]) < 1e-12 and abs(rest["L"] - np.mean(tangential[10:] ** 2)) < 1e-15


def test_equilibrium_is_the_fixed_point():
    """||w||^2 = (1 - lr decay)^2 ||w||^2 + lr^2 L / ||w||^2."""
    lr, decay, L = 0.1, 0.02, 3.0
    w = scale.equilibrium(lr, decay, 0.0, L)["norm"]
    assert abs((1 - lr * decay) ** 2 * w**2 + lr**2 * L / w**2 - w**2) < 1e-12


# landscape


def quadratic(A):
    from refnorm.nets import Evaluation

    return lambda p: Evaluation(float(p["w"] @ A @ p["w"] / 2), {"w": A @ p["w"]}, {})


def test_the_landscape_of_a_quadratic():
    """g(w - a g) - g = -a A g: beta is ||A g|| / ||g||, whatever the steps."""
    A, p = np.diag([1.0, 4.0]), {"w": np.array([1.0, 1.0])}
    g = A @ p["w"]
    found = landscape.landscape(quadratic(A), p, {"w": g}, (0.1, 0.2))
    assert abs(found.beta - np.linalg.norm(A @ g) / np.linalg.norm(g)) < 1e-12
    assert abs(found.gradient_change - 0.2 * np.linalg.norm(A @ g)) < 1e-12
    losses = [float((p["w"] - a * g) @ A @ (p["w"] - a * g) / 2) for a in (0.1, 0.2)]
    assert abs(found.loss_range - abs(losses[0] - losses[1])) < 1e-12


def test_internal_covariate_shift_of_layers_that_do_not_interact():
    evaluate = quadratic(np.eye(2))
    from refnorm.nets import Evaluation

    def two(p):
        return Evaluation(0.0, {"a": evaluate({"w": p["a"]}).gradients["w"], "b": p["a"] * p["b"]}, {})

    p = {"a": np.array([1.0, 1.0]), "b": np.array([1.0, 2.0])}
    assert landscape.internal_covariate_shift(two, p, {**p, "b": p["b"] + 1}, [["a"], ["b"]])[0] == (0.0, pytest.approx(1.0))
    moved = landscape.internal_covariate_shift(two, p, {**p, "a": 3 * p["a"]}, [["a"], ["b"]])[0]
    assert moved == (pytest.approx(2.0), pytest.approx(1.0))


# conditioning


def test_condition_numbers():
    ev = np.array([100.0, 10, 1, 0])
    assert conditioning.condition_number(ev, 0.5) == 10 and conditioning.condition_number(ev, 0.75) == 100
    assert conditioning.condition_number(ev) == np.inf
    with pytest.raises(ValueError, match="p is 0"):
        conditioning.condition_number(ev, 0)


def test_layer_spectra_are_of_the_layers_signals():
    net = MLP((6, 8, 3), norm="batch_norm")
    p, record = net.parameters(0), {}
    outputs, _ = net.apply(p, X, record=record)
    found = conditioning.layer_spectra(net, p, X, LABELS)
    np.testing.assert_allclose(found["layer1"].inputs, np.linalg.eigvalsh(X.T @ X / 40)[::-1], atol=1e-12)
    softmax = np.exp(outputs - outputs.max(1, keepdims=True))
    G = (softmax / softmax.sum(1, keepdims=True) - np.eye(3)[LABELS]) / 40
    np.testing.assert_allclose(found["output"].gradients, np.maximum(np.linalg.eigvalsh(40 * G.T @ G)[::-1], 0), atol=1e-12)
    assert len(found["output"].inputs) == 8


def test_the_fisher_block_of_one_sample_is_the_product_of_its_factors():
    x, g = RNG.normal(size=(1, 3)), RNG.normal(size=(1, 2))
    np.testing.assert_allclose(conditioning.fisher_block(x, g), np.kron(g.T @ g, x.T @ x), atol=1e-14)


# propagation, shift, attacks, speed


def test_mean_cosine():
    assert abs(mean_cosine(np.array([[1.0, 0], [0, 2]]))) < 1e-15
    assert abs(mean_cosine(np.array([[1.0, 1], [2, 2], [3, 3]])) - 1) < 1e-15


def test_propagation_through_a_linear_chain():
    net = MLP((5, 5, 5), activation="identity", bias=False)
    p, G = net.parameters(0), RNG.normal(size=(7, 5))
    x = RNG.normal(size=(7, 5))
    found = propagation(net, p, x, G)
    assert found.layers == ("layer1", "output")
    np.testing.assert_allclose(found.gradient, [np.sum((G @ p["output.weight"]) ** 2), np.sum(G**2)], rtol=1e-13)
    np.testing.assert_allclose(found.energy, [np.mean(x**2), np.mean((x @ p["layer1.weight"].T) ** 2)], rtol=1e-13)
    assert found.rank[0] > 1


def test_gaps_are_in_deviations():
    rows = RNG.normal(size=(2000, 3))
    assert gap([rows, rows]) == 0
    assert abs(gap([rows, rows + 2 * rows.std(axis=0)]) - 1) < 1e-12
    assert abs(gap([10 * rows, 10 * (rows + 2 * rows.std(axis=0))]) - 1) < 1e-12
    one = train(MLP((6, 8, 3), norm="batch_norm"), X, LABELS, steps=3, optimizer=SGD(0.1), batch_size=8)
    shift = external_covariate_shift([one, one], [X, X])
    assert list(shift) == ["layer1", "output"] and max(shift.values()) == 0


def test_fgsm_moves_each_pixel_by_eps_and_raises_the_loss():
    net = MLP((6, 8, 3), activation="tanh")
    p = net.parameters(0)
    attacked = fgsm(net, p, X, LABELS, 0.1)
    assert np.allclose(np.abs(attacked - X), 0.1)
    losses = [float(cross_entropy(net.apply(p, a)[0], LABELS)) for a in (X, attacked)]
    assert losses[1] > losses[0]
    assert accuracy_under_attack(net, p, X, LABELS, 0.0) >= accuracy_under_attack(net, p, X, LABELS, 0.1)


def test_steps_to():
    losses = np.linspace(1, 0, 101)
    assert steps_to(losses, 0.5, window=1) == 52 and steps_to(losses, -1) == np.inf and steps_to(losses[:3], 1) == np.inf


def test_gradients_of_the_records_are_not_needed_for_the_loss():
    """A recorded pass is the same pass."""
    net = MLP((6, 8, 3), norm="batch_norm")
    p = net.parameters(0)
    plain, recorded = net.apply(p, X)[0], net.apply(p, X, record={})[0]
    assert np.array_equal(plain, recorded) and np.isfinite(loss_and_gradients(net, p, X, LABELS).loss)
