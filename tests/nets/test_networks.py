"""Networks: every norm trains and its gradient is right; names, states and placement are as documented."""

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.autodiff import vjp
from refnorm.nets import MLP, ConvNet, ResidualConvNet, ResidualMLP, cross_entropy, from_vector, loss_and_gradients, to_vector
from refnorm.nets.placement import OF_UPDATES
from refnorm.nets.sharpness import is_norm

OPTIONS = {
    **{n: {"num_groups": 2} for n in ("group_norm", "group_whitening_zca", "group_whitening_iterative", "evo_norm_s0")},
    **{n: {"num_heads": 2} for n in ("query_key_norm", "query_key_layer_norm")},
    "ghost_batch_norm": {"virtual_batch_size": 6},
    "divisive_norm": {"centre_window": 3, "pool_window": 3},
    "conv_spectral_norm": {"spatial": (4, 4)},
    "orthogonal_weight_norm": {"eps": 1e-3},
    "scaled_weight_standardization": {"gain": "relu"},
}
APPROXIMATE = ("power_norm",)                       # its backward is deliberately not the gradient
ACTIVATIONS = [n for n, m in NORMS.items() if m.acts_on == "activations"]
WEIGHTS = [n for n, m in NORMS.items() if m.acts_on != "activations" and n not in OF_UPDATES]


def network(name, **more):
    kind = "norm" if name in ACTIVATIONS else "weight_norm"
    norm = {kind: name, f"{kind}_options": OPTIONS.get(name, {})}
    return ConvNet(image=(2, 4, 4), channels=(8,), outputs=3, activation="tanh", **norm, **more)


def slope_error(net, seed=0):
    """|<g, v> - difference| / scale along a random direction v of all parameters."""
    rng = np.random.default_rng(seed)
    parameters = {k: p + 0.1 * rng.normal(size=p.shape) for k, p in net.parameters(rng).items()}
    if net.norm == "generalized_divisive_norm":
        parameters = {k: np.abs(p) + 0.1 if "norm" in k else p for k, p in parameters.items()}
    x, labels = rng.normal(size=(12, *net.input_shape)), rng.integers(0, 3, 12)
    start = net.apply(parameters, x)[1]
    gradients = to_vector(loss_and_gradients(net, parameters, x, labels, start).gradients)
    v, h = rng.normal(size=gradients.shape), 1e-5

    def f(t):
        moved = from_vector(to_vector(parameters) + t * v, parameters)
        return cross_entropy(net.apply(moved, x, start)[0], labels)

    difference = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
    return abs(gradients @ v - difference) / np.linalg.norm(gradients)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS + WEIGHTS if not NORMS[n].stops and n not in APPROXIMATE])
def test_the_gradient_of_all_parameters_at_once(name):
    assert slope_error(network(name)) < 1e-7


@pytest.mark.parametrize("net", [
    MLP((5, 6, 7, 3), norm="batch_norm", place="post", last_norm=True, activation="silu"),
    ResidualMLP(inputs=5, width=6, depth=3, outputs=3, norm="layer_norm", layers_a_block=2, skip_init=True, activation="tanh"),
    ResidualConvNet(image=(1, 4, 4), width=4, depth=2, outputs=3, norm="batch_norm", weight_norm="weight_norm",
                    last_norm=True, activation="tanh"),
], ids=lambda net: type(net).__name__)
def test_the_gradient_of_every_architecture(net):
    assert slope_error(net) < 1e-7


@pytest.mark.parametrize("name", ACTIVATIONS + WEIGHTS)
def test_every_norm_leaves_a_state_that_evaluation_takes(name):
    net, rng = network(name), np.random.default_rng(0)
    parameters, x = net.parameters(0), rng.normal(size=(12, 2, 4, 4))
    before = {k: p.copy() for k, p in parameters.items()}
    y, state = net.apply(parameters, x)
    assert y.shape == (12, 3) and np.all(np.isfinite(y))
    assert (set(state) == set()) == (NORMS[name].state is None or name == "conv_spectral_norm")
    z, same = net.apply(parameters, x[:1], state, training=False)
    assert z.shape == (1, 3) and same == state
    assert all(np.array_equal(before[k], p) for k, p in parameters.items())


def test_a_traced_pass_leaves_a_plain_state():
    net = MLP((5, 6, 3), norm="batch_norm")
    parameters, x = net.parameters(0), np.random.default_rng(0).normal(size=(8, 5))
    state = loss_and_gradients(net, parameters, x, np.zeros(8, int)).state
    assert all(type(v) in (np.ndarray, int) for v in state["norm1"])


def test_power_norms_backward_moves_its_population():
    net = MLP((5, 6, 3), norm="power_norm", norm_options={"warmup": 0})
    parameters, x = net.parameters(0), np.random.default_rng(0).normal(size=(8, 5))
    state = loss_and_gradients(net, parameters, x, np.zeros(8, int)).state
    assert np.any(state["norm1"].nu != 0)


def test_names():
    net = MLP((5, 6, 7, 3), norm="batch_norm", weight_norm="weight_norm")
    parameters = net.parameters(0)
    assert list(parameters) == ["layer1.weight", "layer1.g", "norm1.gamma", "norm1.beta", "layer2.weight", "layer2.g",
                                "norm2.gamma", "norm2.beta", "output.weight", "output.bias"]
    assert [n for n in parameters if is_norm(n)] == ["norm1.gamma", "norm1.beta", "norm2.gamma", "norm2.beta"]
    assert "layer1.bias" in MLP((5, 6, 3)).parameters(0)
    assert [p.shape for p in ConvNet(norm="layer_norm").parameters(0).values()][1] == (8, 8, 8)


def test_initial_weights_keep_the_second_moment():
    net = MLP((400, 400, 400, 400, 10))
    record = {}
    net.apply(net.parameters(0), np.random.default_rng(1).normal(size=(300, 400)), record=record)
    assert abs(np.mean(record["layer3"].output ** 2) - 2) < 0.2


def test_place_before_and_after_the_activation():
    x = np.random.default_rng(0).normal(size=(50, 5))
    for place in ("pre", "post"):
        net, record = MLP((5, 6, 3), norm="batch_norm", place=place), {}
        net.apply(net.parameters(0), x, record=record)
        reached = record["output"].input
        assert (reached.min() >= 0) == (place == "pre")
        assert (abs(reached.mean()) < 1e-12) == (place == "post")


def test_an_offset_has_the_cotangent_of_the_layers_output():
    """With offset b on h = x W', the gradient of W is b's, times x."""
    net = MLP((5, 6, 3), norm="layer_norm")
    parameters, x, labels = net.parameters(0), np.random.default_rng(0).normal(size=(8, 5)), np.arange(8) % 3
    _, pull = vjp(lambda b: cross_entropy(net.apply(parameters, x, offsets={"layer1": b})[0], labels), np.zeros((8, 6)))
    expected = loss_and_gradients(net, parameters, x, labels).gradients["layer1.weight"]
    np.testing.assert_allclose(pull(np.ones(()))[0].T @ x, expected, atol=1e-15)


def test_skip_init_starts_as_the_identity():
    net = ResidualMLP(inputs=4, width=4, depth=3, outputs=2, skip_init=True)
    record = {}
    net.apply(net.parameters(0), np.ones((2, 4)), record=record)
    np.testing.assert_array_equal(record["output"].input, record["stem"].output)


@pytest.mark.parametrize(("make", "match"), [
    (lambda: MLP((4, 4, 2), norm="batchnorm"), "norm 'batchnorm' is none of those that act on activations: batch_norm"),
    (lambda: MLP((4, 4, 2), norm="weight_norm"), "none of those that act on activations"),
    (lambda: MLP((4, 4, 2), weight_norm="tangent_projection"), "none of those that act on weights"),
    (lambda: MLP((4, 4, 2), place="after"), "place is 'after'"),
    (lambda: MLP((4, 4, 2), activation="rleu"), "activation is 'rleu'"),
    (lambda: MLP((4, 4, 2), norm="group_norm").parameters(0), "group_norm needs num_groups"),
    (lambda: MLP((4, 4, 2), norm="batch_norm", norm_options={"epsilon": 1}).parameters(0), "does not know epsilon"),
    (lambda: MLP((4, 4, 2)).apply(MLP((4, 4, 2)).parameters(0), np.ones((2, 5))), r"x has shape \(2, 5\)"),
    (lambda: (n := MLP((4, 4, 2), weight_norm="conv_norm")).apply(n.parameters(0), np.ones((2, 4))), "contains a convolution"),
])
def test_bad_descriptions_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
