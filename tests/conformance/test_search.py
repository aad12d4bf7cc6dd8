"""Counterexamples: minimal in shape, simple in values, and source that shows the fault without refnorm."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refnorm.conformance import Candidate, check
from refnorm.conformance.cases import Case
from refnorm.conformance.reduction import PATTERNS, regrouped, single, sliced, squeezed
from refnorm.conformance.reproduction import array_source
from refnorm.conformance.search import minimize
from refnorm.conformance.session import Session
from refnorm.conformance.tolerance_arithmetic import Arithmetic

from .kernels import candidate, having, plain_mean, standard_dx
from .planted.base import first_only

KERNELS = """
import numpy as np


def layer_norm(x, gamma, beta, *, eps):
    axes = tuple(range(x.ndim - gamma.ndim, x.ndim))
    n = int(np.prod([x.shape[a] for a in axes]))
    mean = x.mean(axes, keepdims=True)
    var = np.square(x - mean).mean(axes, keepdims=True) * (n / (n - 1) if n > 1 else 1)
    return ((x - mean) / np.sqrt(var + eps) * gamma + beta).astype(x.dtype)


def layer_norm_onepass(x, gamma, beta, *, eps):
    axes = tuple(range(x.ndim - gamma.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True)
    var = np.maximum(np.square(x).mean(axes, keepdims=True) - mean * mean, 0)
    return ((x - mean) / np.sqrt(var + eps) * gamma + beta).astype(x.dtype)


def layer_norm_writes(x, gamma, beta, *, eps):
    y = layer_norm(x, gamma, beta, eps=eps)
    x *= 1.5
    return y


def layer_norm_raises(x, gamma, beta, *, eps):
    if len(x) > 3:
        raise RuntimeError("more than three rows")
    return layer_norm(x, gamma, beta, eps=eps)
"""


def test_the_smallest_row_that_shows_a_threshold() -> None:
    """The developers' page: "the gradient drops the mean term when rows are longer than 1024; here is a 1 x 1025 input"."""

    def dx(g, xhat, rstd, is_rms):
        if g.shape[1] <= 1024:
            return standard_dx(g, xhat, rstd, is_rms)
        return rstd * (g - xhat * plain_mean(g * xhat))

    report = check(candidate("layer_norm", having(dx=dx), dtypes=("float32",)), "layer_norm", quick=True)
    assert "the gradient drops the mean term when rows are longer than 1024" in report.headline
    assert "here is a 1 x 1025 input" in report.headline
    assert "otherwise torch's dialect" in report.headline


def test_the_smallest_number_of_rows() -> None:
    reduced = having(reduce=lambda terms, p: terms.reshape(-1, *p.shape)[:200].sum(axis=0))
    report = check(candidate("layer_norm", reduced, dtypes=("float32",)), "layer_norm", quick=True)
    assert "when there are more rows than 200" in report.headline
    assert report.chief.case.x.shape[0] == 201


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (having(rstd=lambda v, e: 1 / (np.sqrt(v) + e)), "eps stands outside the root"),
        (having(affine=lambda h, g, b: h * (1 + g) + b), "the weight is 1 + gamma"),
        (having(affine=lambda h, g, b: (h + b) * g), "beta is added before gamma"),
        (having(rstd=lambda v, e: 1 / np.sqrt(v + v.dtype.type(1e-5))), "eps is always 1e-05"),
        (having(dx=lambda g, h, r, rms: r * (g - plain_mean(g))), "the variance is a constant"),
        (having(dxhat=lambda dy, gamma: dy), "gamma is left out"),
        (having(dgamma=lambda dy, h: dy), "the gradient of gamma: it is that of beta"),
        (having(statistics=lambda x: first_only(x, 64)), "the statistics are over the first 64 entries alone"),
        (having(statistics=lambda x: (plain_mean(x), plain_mean(np.square(x)) - np.square(plain_mean(x)))), "E[x^2] - E[x]^2"),
    ],
)
def test_the_fault_is_named(parts, words: str) -> None:
    report = check(candidate("layer_norm", parts, dtypes=("float32",)), "layer_norm", quick=True)
    assert words in report.headline, report.headline


def test_small_in_shape_then_in_values() -> None:
    report = check(
        candidate("group_norm", having(rstd=lambda v, e: 1 / (v + e)), dtypes=("float32",)), "group_norm", quick=True
    )
    smallest = min(report.failures, key=lambda f: f.case.x.size)
    assert smallest.case.x.size <= 4
    values = np.concatenate([a.ravel() for a in smallest.inputs.values() if isinstance(a, np.ndarray)])
    assert np.array_equal(values, np.round(values))


@pytest.mark.parametrize("name", ["layer_norm", "layer_norm_onepass", "layer_norm_writes", "layer_norm_raises"])
def test_reproduction_runs_without_refnorm(name: str, tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    report = check(f"{tmp_path}/kernels.py:{name}", "layer_norm", quick=True, dtypes=("float32",))
    wanted = {"layer_norm_writes": "facts.purity", "layer_norm_raises": "forward.runs"}.get(name)
    failure = next((f for f in report.failures if f.check == wanted), report.chief)
    source = failure.reproduce()
    assert "refnorm" not in source.replace("refnorm.", "")
    script = tmp_path / "reproduction.py"
    script.write_text("import sys\nsys.modules['refnorm'] = None\n" + source)
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    error = "RuntimeError" if name == "layer_norm_raises" else "AssertionError"
    assert run.returncode == 1 and error in run.stderr, run.stderr


def test_a_reproduction_passes_once_the_fault_is_mended(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    report = check(f"{tmp_path}/kernels.py:layer_norm", "layer_norm", quick=True, dtypes=("float32",))
    (tmp_path / "kernels.py").write_text(KERNELS.replace("* (n / (n - 1) if n > 1 else 1)", ""))
    script = tmp_path / "reproduction.py"
    script.write_text(report.chief.reproduce())
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr


def test_arrays_are_written_exactly() -> None:
    import ml_dtypes

    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16):
        for array in (
            rng.normal(size=(3, 5)),
            rng.normal(size=700),
            np.zeros(0),
            np.ones((2, 9)),
            np.array([np.nan, np.inf, -0.5]),
        ):
            array = array.astype(dtype)
            names = {"np": np, "bfloat16": ml_dtypes.bfloat16}
            exec("import base64, zlib", names)
            again = eval(array_source(array), names)
            assert again.dtype == array.dtype and again.tobytes() == array.tobytes()
    for _, draw in PATTERNS:
        array = draw(100).reshape(10, 10).astype(np.float32)
        assert np.array_equal(eval(array_source(array), {"np": np}), array)


def test_reductions_keep_a_case_a_call() -> None:
    session = Session(candidate("group_norm"), "group_norm")
    case = next(c for c in session.cases() if c.x.shape == (2, 6, 2, 3) and c.arguments["num_groups"] == 3)
    fewer = regrouped(case, 1)
    assert fewer.x.shape == (2, 2, 2, 3) and fewer.arguments["gamma"].shape == (2,)
    assert sliced(case, 1, 4) is None  # four channels are no three groups
    one = sliced(sliced(case, 0, 1), 2, 1)
    assert squeezed(one, 2).x.shape == (1, 6, 3)
    for smaller in (fewer, one):
        assert session.call(smaller).fault("raises") is None


def test_a_smaller_case_of_a_layer_has_a_cotangent_of_the_shape_of_y() -> None:
    """y of (2, 2, 5) from x of (2, 2, 5) keeps its channels where x loses one: they are those of the kernel."""
    x, w = np.arange(20.0, dtype=np.float32).reshape(2, 2, 5), np.arange(8.0, dtype=np.float32).reshape(2, 2, 2)
    given = {"x": x, "w": w, "momentum": None, "eps": 0.1, "padding": 0, "stride": 1, "training": True}
    case = Case("conv_norm", "ordinary", "", given, x + 1, Arithmetic.of("float32"))
    for smaller in (sliced(case, 1, 1), single(case, 1, 1)):
        assert smaller.x.shape == (2, 1, 5) and smaller.arguments["w"].shape == (2, 1, 2)
        assert smaller.dy.tolist() == case.dy.tolist()
    assert sliced(case, 2, 4).dy.tolist() == case.dy[:, :, :4].tolist()
    padded = replace(case, arguments={**given, "padding": 1}, dy=np.ones((2, 2, 6), np.float32))
    assert sliced(padded, 2, 4).dy.shape == (2, 2, 5)
    assert sliced(case, 2, 1) is None                # shorter than the kernel


def test_the_search_is_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is time: what a busy machine cuts short ends at another of the smaller cases."""

    def patient(finding, again, seconds, seed):
        return minimize(finding, again, 600.0, seed)

    monkeypatch.setattr("refnorm.conformance.verdict.minimize", patient)

    def run() -> list:
        report = check(
            candidate("rms_norm", having(rstd=lambda v, e: 1 / (v + e)), dtypes=("float32",)), "rms_norm", quick=True
        )
        return [(f.check, f.case.x.tolist(), f.message) for f in report.failures]

    assert run() == run()


def test_a_candidate_without_an_importable_name_says_so() -> None:
    def forward(x, gamma, beta, *, eps):
        return x

    report = check(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=True)
    assert "could be imported" in report.chief.reproduce()
