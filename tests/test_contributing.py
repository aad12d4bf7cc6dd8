"""The worked example of CONTRIBUTING.md is executed as it stands, and everything that it promises is seen."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from refnorm import NORMS, strategies
from refnorm.oracles import LOOPS
from refnorm.proofs import facts, prove

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def quartic():
    namespace = {}
    for block in BLOCKS:
        exec(compile(block, "CONTRIBUTING.md", "exec"), namespace)
    yield namespace["quartic_norm"]
    del NORMS["quartic_norm"], LOOPS["quartic_norm"]


def test_the_worked_example_is_proven(quartic):
    findings = list(prove(NORMS["quartic_norm"]))
    assert [str(f) for f in findings if not f.ok] == []
    assert {"loops", "tape", "differences", "slope", "curvature", "constraint count"} <= {f.proof for f in findings}


def test_a_cell_declared_wrongly_turns_red(quartic):
    from dataclasses import replace

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
