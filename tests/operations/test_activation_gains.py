"""Gains by quadrature against closed forms, the paper's constants and themselves with more nodes."""

import math

import numpy as np
import pytest

from refnorm.operations import activation_gains
from refnorm.operations.activation_gains import ACTIVATIONS, PUBLISHED, exact, published


@pytest.mark.parametrize(
    ("activation", "gain"),
    [("relu", 1.7128586), ("gelu", 1.70093), ("silu", 1.78719), ("tanh", 1.59254), ("sigmoid", 4.80131), ("elu", 1.27084)],
)
def test_the_exact_gains(activation, gain):
    assert exact(activation) == pytest.approx(gain, abs=1e-5)


def test_closed_forms():
    assert exact("relu") == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-14)
    slope = 0.01                                    # leaky relu is relu and slope times its mirror image
    var = (1 + slope**2) / 2 - (1 - slope) ** 2 / (2 * math.pi)
    assert exact("leaky_relu") == pytest.approx(1 / math.sqrt(var), rel=1e-14)
    assert exact("identity") == pytest.approx(1, rel=1e-14)
    assert exact("selu") == pytest.approx(1, rel=1e-14)                # its constants were chosen so


def test_the_quadrature_is_exact_to_rounding(monkeypatch):
    coarse = {name: exact(name) for name in ACTIVATIONS}
    nodes, weights = np.polynomial.legendre.leggauss(150)
    monkeypatch.setattr(activation_gains, "NODES", nodes)
    monkeypatch.setattr(activation_gains, "WEIGHTS", weights)
    for name, gain in coarse.items():
        assert exact(name) == pytest.approx(gain, rel=2e-14), name


def test_the_published_gains_are_monte_carlo_values():
    assert set(PUBLISHED) == set(ACTIVATIONS)
    assert all(published(name) == pytest.approx(exact(name), rel=1.5e-3) for name in ACTIVATIONS)
    assert published("relu") - exact("relu") > 1e-3
    assert exact("softplus") == pytest.approx(exact("log_sigmoid"), rel=1e-14)           # mirror images of each other ...
    assert published("softplus") - published("log_sigmoid") > 9e-4                       # ... that were sampled apart
    assert published("elu") - published("celu") > 6e-4                                   # one function under two names


def test_an_unknown_activation():
    with pytest.raises(ValueError, match="gain is 'mish'; it must be a number, or one of identity, relu"):
        exact("mish")
