"""Right implementations pass, however they sum and whatever they save: no false alarm."""

import pytest

from refnorm.conformance import check
from refnorm.conformance.checks import CHECKS

from .kernels import LAYOUTS, RIGHT, candidate

ALL = ("float64", "float32", "float16", "bfloat16")


@pytest.mark.parametrize("norm", LAYOUTS)
def test_two_passes_are_right_for_every_norm(norm: str) -> None:
    report = check(candidate(norm, dtypes=("float32", "bfloat16")), norm, quick=True)
    assert report.passed, str(report)
    assert not report.vacuous


@pytest.mark.parametrize("way", [way for way in RIGHT if way != "two passes"])
def test_every_way_to_sum_is_right(way: str) -> None:
    report = check(candidate("layer_norm", RIGHT[way], dtypes=("float32",)), "layer_norm", quick=True)
    assert report.passed, str(report)
    assert not report.vacuous


@pytest.mark.slow
@pytest.mark.parametrize("way", RIGHT)
@pytest.mark.parametrize("norm", LAYOUTS)
def test_right_kernel_passes(norm: str, way: str) -> None:
    report = check(candidate(norm, RIGHT[way], dtypes=ALL), norm)
    assert report.passed, str(report)


@pytest.mark.slow
def test_a_full_check_runs_every_check_that_is_offered() -> None:
    report = check(candidate("batch_norm"), "batch_norm")
    assert report.passed, str(report)
    run = {o.check for o in report.outcomes if o.status == "passed"}
    assert set(CHECKS) - run == {"forward.saved", "spectrum.y", "spectrum.gradients"}
    assert report.dialect == "torch"
    assert 0.7 < report.accuracy.growth["float32"] < 1.4
