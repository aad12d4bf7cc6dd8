"""The strata: deterministic, every one of the contract there, real activations among them; and the exact oracle."""

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.conformance import oracle
from refnorm.conformance.memory import LAYOUTS, layout_of
from refnorm.conformance.plan import Plan
from refnorm.conformance.shapes import factors, shaped
from refnorm.conformance.strata import STRATA, cases, recorded
from refnorm.conformance.tolerance import Arithmetic

SEVEN = ("batch_norm", "layer_norm", "rms_norm", "instance_norm", "group_norm", "position_norm", "mean_variance_norm")


def plan(norm: str, dtype: str = "float32", **fields) -> Plan:
    return Plan(NORMS[norm], Arithmetic.of(dtype), 1e-5, **fields)


@pytest.mark.parametrize("norm", SEVEN)
def test_every_stratum_has_cases_and_draws_them_again(norm: str) -> None:
    first, second = list(cases(plan(norm))), list(cases(plan(norm)))
    assert [c.label for c in first] == [c.label for c in second]
    assert all(np.array_equal(a.x, b.x) and np.array_equal(a.dy, b.dy) for a, b in zip(first, second, strict=True))
    found = {c.stratum for c in first}
    wanted = set(STRATA) - {"mask", "shards"}
    wanted -= set() if norm == "batch_norm" else {"momentum", "evaluation"}
    wanted -= {"parameters"} if norm == "mean_variance_norm" else set()
    assert found == wanted
    other = list(cases(plan(norm, seed=1)))
    assert not np.array_equal(first[0].x, other[0].x)


@pytest.mark.parametrize("norm", SEVEN)
def test_axes_of_one_length_are_tried_at_every_rank(norm: str) -> None:
    """Also by --quick: where H is C, a kernel that guesses its axis by the length of gamma takes the wrong one."""
    squares = {c.x.ndim for c in cases(plan(norm), quick=True) if c.x.ndim > 1 and set(c.x.shape) == {4}}
    assert squares >= {3, 4}


def test_what_the_contract_lists() -> None:
    found = list(cases(plan("layer_norm")))
    lengths = {c.x.shape[-1] for c in found if c.stratum == "lengths"}
    assert {33, 129, 1025, 65537} <= lengths
    assert max(c.x.shape[0] for c in found if c.stratum == "many rows") > 65535
    kappas = {c.kappa for c in found if c.kappa}
    assert min(kappas) == 1 and max(kappas) >= 3000
    assert {layout_of(c.layout, name) for c in found for name in ("x", "dy", "gamma")} == set(LAYOUTS)
    assert {c.x.ndim for c in found if c.stratum == "shapes"} >= {2, 3, 4, 5}
    assert any(c.arguments["eps"] == 0 for c in found) and any(c.arguments["eps"] >= 1 for c in found)
    assert any(c.arguments["gamma"] is None for c in found)
    assert any(c.x.size == 0 for c in found)
    groups = [c for c in cases(plan("group_norm")) if c.stratum == "shapes"]
    assert {1, 3} <= {c.arguments["num_groups"] for c in groups}
    assert any(c.arguments["num_groups"] == c.x.shape[1] for c in groups)
    momenta = {c.arguments["momentum"] for c in cases(plan("batch_norm")) if c.stratum == "momentum"}
    assert 0.5 not in momenta and len(momenta) >= 5


def test_real_activations_are_there() -> None:
    for norm in SEVEN:
        arrays = recorded(norm)
        assert arrays and all(a.dtype == np.float32 and a.ndim in (2, 4) for a in arrays.values())


def test_rows_have_the_statistics_that_are_asked_for() -> None:
    for norm in SEVEN:
        for case in cases(plan(norm, "float64")):
            if case.kappa is not None and case.kappa >= 10:
                arguments, _ = NORMS[norm].resolve(**case.reference())
                part = NORMS[norm].triple.partition(**arguments)
                z = part.split(case.x).reshape(-1, part.blocks[2])
                measured = np.abs(z.mean(axis=1)) / z.std(axis=1)
                assert np.all(np.abs(measured / case.kappa - 1) < 0.2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_array_of_no_axes_stays_an_array(name: str) -> None:
    """weight_norm's g with dim=None: PyTorch takes no numpy.float64 in its place."""
    laid = LAYOUTS[name](np.array(2.0, np.float32))
    assert isinstance(laid, np.ndarray) and laid.shape == () and laid == 2


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_keep_the_values(name: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 4), (2, 3, 4), (5,)):
        a = rng.normal(size=shape).astype(np.float32)
        laid = LAYOUTS[name](a)
        assert np.array_equal(laid, a) and laid is not a


def test_shapes_have_the_rows_and_the_lengths_that_are_asked_for() -> None:
    for norm in SEVEN:
        for rows, length in ((3, 12), (6, 7), (4, 1)):
            for spread in ("even", "first", "last"):
                shape = shaped(NORMS[norm], rows, length, spread)
                given = {"axis": -shape.normalized_ndim} if norm in ("layer_norm", "rms_norm") else {}
                arguments, _ = NORMS[norm].resolve(np.zeros(shape.x), **shape.options, **given)
                b, d, m = NORMS[norm].triple.partition(**arguments).blocks
                assert (b * d, m) == (rows, length)
    assert factors(12, 2) == (4, 3) and factors(7, 2) == (7, 1) and factors(24, 3) == (4, 2, 3)


@pytest.mark.parametrize("norm", SEVEN)
def test_the_exact_oracle_agrees_with_the_reference_to_rounding(norm: str) -> None:
    """Two derivations of the gradient, the chain rule and the projector, in 60 digits and in 16."""
    method, rng = NORMS[norm], np.random.default_rng(1)
    for example in method.examples:
        if "mask" in example:
            continue
        options = {k: v for k, v in example.items() if k != "shape"}
        x = 0.5 + rng.normal(size=example["shape"])
        arguments, _ = method.resolve(x, **options)
        parameters = {k: rng.normal(size=s) for k, s in method.shapes(**arguments).items()}
        arguments, _ = method.resolve(x, **parameters, **options)
        y, cache, *state = method.forward(x, **parameters, **options)
        dy = rng.normal(size=np.shape(y))
        found = oracle.exact(norm, arguments)
        assert np.allclose(y, found["y"], rtol=1e-13, atol=1e-13)
        if state:
            assert all(np.allclose(a, b, rtol=1e-14) for a, b in zip(state[0][:2], found["state"], strict=True))
        gradients = oracle.exact_gradients(norm, arguments, dy)
        for name, gradient in zip(method.arrays, method.backward(dy, cache), strict=True):
            assert np.allclose(gradient, gradients[name], rtol=1e-12, atol=1e-13)
