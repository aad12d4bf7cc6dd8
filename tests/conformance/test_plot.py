"""Pictures of accuracy: what is in them, and what is said where there is none."""

import sys
from pathlib import Path

import numpy as np
import pytest

from refnorm.conformance import check
from refnorm.conformance.accuracy import Accuracy, Rung
from refnorm.conformance.candidate import Unusable
from refnorm.conformance.plot import ALGORITHMS, _error, _rows, draw, draw_algorithms
from refnorm.conformance.report import Report
from refnorm.conformance.tolerance import Arithmetic, Statistics, forward

from .kernels import candidate


@pytest.fixture
def report() -> Report:
    accuracy = Accuracy()
    for n in (7, 129):
        for kappa in (1.0, 10.0, 100.0):
            accuracy.climb("float32", n, Rung(kappa, 1e-6 * kappa, 4.0, 3.0, 1e-4 * kappa))
    return Report(candidate("layer_norm"), "layer_norm", "torch", accuracy=accuracy)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_line_a_length_and_its_bound(report: Report, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    path = tmp_path / f"accuracy.{suffix}"
    draw([report], path)
    written = path.read_bytes()
    assert written.startswith(b"\x89PNG" if suffix == "png" else b"<?xml") and len(written) > 5000
    if suffix == "svg":
        text = written.decode()
        assert all(f"<!-- {words} -->" in text for words in ("rows of 7", "rows of 129", "dashed: bound"))


def test_a_check_measures_the_bound_beside_the_error() -> None:
    found = check(candidate("layer_norm", dtypes=("float32",)), "layer_norm", quick=True)
    rungs = [r for ladder in found.accuracy.ladders["float32"].values() for r in ladder]
    assert rungs and all(0 < r.error <= r.bound < 1 for r in rungs if r.kappa <= 1000)


def test_nothing_measured_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no ladder"):
        draw([Report(candidate("layer_norm"), "layer_norm", "torch")], tmp_path / "none.png")


def test_without_matplotlib_one_line_says_how_to_get_it(report: Report, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Unusable, match="pip install matplotlib") as said:
        draw([report], tmp_path / "none.png")
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.parametrize("n", [33, 1025])
def test_right_algorithms_stay_under_the_bound_and_one_pass_does_not(n: int) -> None:
    wrong = 0
    for kappa in (1.7, 130.0, 800.0):
        x = _rows(kappa, n)
        bound = forward(Statistics(x.astype(float), 0.0, Arithmetic.of("float32"), "standardize"))
        for name, algorithm in ALGORITHMS.items():
            if name != "E[x^2] - E[x]^2":
                assert _error(algorithm, x) <= np.max(bound), (name, kappa)
            else:
                wrong += _error(algorithm, x) > np.max(bound)
    assert wrong >= (n == 33)  # on longer rows the scale test tells


def test_the_five_algorithms_are_drawn(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    monkeypatch.setattr("refnorm.conformance.plot.LENGTHS", (7, 33, 129))
    draw_algorithms(tmp_path / "algorithms.svg")
    text = (tmp_path / "algorithms.svg").read_text()
    assert text.count("<!-- bound -->") == 3 and all(f"<!-- {name} -->" in text for name in ALGORITHMS)
