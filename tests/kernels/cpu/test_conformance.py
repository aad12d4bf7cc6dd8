"""The conformance kit judges backend="numba" as it judges anyone: every method, every stratum, all four dtypes."""

import pytest

from refnorm.cli import main
from refnorm.kernels.cpu import METHODS


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_kit_finds_nothing(name, capsys):
    verdict = main(["check", "--backend", "numba", "--norm", name])
    assert verdict == 0, capsys.readouterr().out
