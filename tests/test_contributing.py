"""The worked examples of CONTRIBUTING.md are executed as they stand, and everything that they promise is seen."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from refnorm import NORMS, strategies
from refnorm.oracles import LOOPS
from refnorm.proofs import facts, prove

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def examples():
    """The names that the blocks define, run one after the other."""
    namespace = {"__name__": "contributing"}
    for block in BLOCKS:
        exec(compile(block, "CONTRIBUTING.md", "exec"), namespace)
    yield namespace
    del NORMS["quartic_norm"], LOOPS["quartic_norm"], namespace["METHODS"]["quartic_norm"]


@pytest.fixture
def quartic(examples):
    return examples["quartic_norm"]


def test_the_worked_example_is_proven(quartic):
    findings = list(prove(NORMS["quartic_norm"]))
    assert [str(f) for f in findings if not f.ok] == []
    assert {"loops", "tape", "differences", "slope", "curvature", "constraint count"} <= {f.proof for f in findings}


def test_a_cell_declared_wrongly_turns_red(quartic):
    method = NORMS["quartic_norm"]
    lying = replace(method.facts, invariances={**method.facts.invariances, "weight_recentering": "yes"})
    red = [f.proof for f in facts.invariances(replace(method, facts=lying)) if not f.ok]
    assert red == ["invariance:weight_recentering"]


def test_strategies_draw_for_it(quartic):
    @given(strategies.arguments("quartic_norm", dtypes=[np.float64]))
    def drawn(arguments):
        y = quartic(**arguments)
        assert y.shape == arguments["x"].shape

    drawn()


def test_the_kit_finds_the_dialect(examples, monkeypatch):
    from refnorm.conformance import check

    method = NORMS["layer_norm"]
    monkeypatch.setitem(NORMS, "layer_norm", replace(method, dialects={**method.dialects, "mylib": examples["MYLIB"]}))

    def layer_norm(x, gamma, beta, *, eps=3e-4):
        axes = tuple(range(-gamma.ndim, 0))
        return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + x.dtype.type(eps)) * gamma + beta

    report = check(layer_norm, norm="layer_norm", quick=True)
    assert report.dialect == "mylib" and report.passed and "MyLib 2.1" in report.spoken_by


def test_the_claim_is_measured_and_could_fail(examples):
    from refnorm.claims import Number, serial

    (claim,) = examples["CLAIMS"]
    result = claim.measure(serial())
    assert result.ok and result.verdict == "holds" and [n.paper for n in result.numbers] == [2.0, 64**0.25, 4.0]
    assert not Number("what RMS norm does to a spike", 15.9, low=3.9, high=4.0).ok
    pytest.importorskip("matplotlib")
    from refnorm.claims.style import drawn

    with drawn(claim, result) as figure:
        assert figure.axes[0].lines


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("shape", "axis", "scaled"), [((5, 4, 3), 1, True), ((6, 5), -1, False)])
def test_the_kernel_is_the_method(quartic, dtype, shape, axis, scaled):
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    gamma = rng.normal(size=shape[axis:]).astype(dtype) if scaled else None
    y, cache = quartic.forward(x, gamma, axis=axis)
    mine, kept = quartic.forward(x, gamma, axis=axis, backend="numba")
    bound = 32 * np.finfo(dtype).eps
    np.testing.assert_allclose(mine, y, rtol=bound, atol=bound)
    right = quartic.backward(dy, cache)
    for other in (quartic.backward(dy, kept, "numba"), quartic.backward(dy, kept), quartic.backward(dy, cache, "numba")):
        for a, b in zip(other, right, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=bound, atol=bound * len(x))
