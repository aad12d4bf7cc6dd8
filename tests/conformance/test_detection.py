"""Dialects, found from behaviour; and a mismatch with the one asked for is a failure that says which it is instead."""

import numpy as np
import pytest

from refnorm.conformance import Candidate, check
from refnorm.conformance.diagnosis import explain
from refnorm.conformance.session import Session

from .kernels import candidate, having
from .weight_kernels import whitening

OLD = having(momentum=lambda o, n, m: m * o + (1 - m) * n, variance=lambda v, n: v)
OLD_UNBIASED = having(momentum=lambda o, n, m: m * o + (1 - m) * n)
BIASED = having(variance=lambda v, n: v)
BN = candidate("batch_norm")


@pytest.mark.parametrize(("parts", "dialect"), [(having(), "torch"), (OLD, "flax"), (OLD_UNBIASED, "chainer")])
def test_batch_norm_dialects_are_found_and_pass(parts, dialect: str) -> None:
    report = check(candidate("batch_norm", parts, dtypes=("float32",)), "batch_norm", quick=True)
    assert report.passed, str(report)
    assert report.dialect == dialect


@pytest.mark.parametrize(
    ("parts", "asked", "instead"), [(OLD, "torch", "flax"), (having(), "keras", "torch"), (OLD_UNBIASED, "flax", "chainer")]
)
def test_another_dialect_than_the_one_asked_for(parts, asked: str, instead: str) -> None:
    report = check(candidate("batch_norm", parts, dtypes=("float32",)), "batch_norm", asked, quick=True)
    assert not report.passed
    assert any(instead in words for words in report.mismatches)
    failure = next(f for f in report.failures if f.check == "dialect")
    assert instead in failure.message


def test_what_no_framework_does_is_wrong_even_where_no_dialect_is_asked_for() -> None:
    report = check(candidate("batch_norm", BIASED, dtypes=("float32",)), "batch_norm", quick=True)
    assert not report.passed
    assert "the biased variance is kept" in report.headline


def _with_default(momentum: float, parts):
    base = candidate("batch_norm", parts)

    def forward(x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum=momentum, eps=1e-5, training=True):
        return base.forward(x, gamma, beta, running_mean, running_var, momentum=momentum, eps=eps, training=training)

    return Candidate(forward, dtypes=("float32",))


def test_a_default_momentum_that_contradicts_what_it_weighs() -> None:
    assert check(_with_default(0.99, OLD), "batch_norm", quick=True).passed
    report = check(_with_default(0.1, OLD), "batch_norm", quick=True)
    assert not report.passed
    assert any("0.1 by default" in f.message for f in report.failures)


@pytest.mark.parametrize(("eps", "dialect"), [(1e-5, "torch"), (1e-6, "flax"), (1e-3, "keras")])
def test_the_default_of_eps(eps: float, dialect: str) -> None:
    base = candidate("layer_norm")

    def forward(x, gamma=None, beta=None, eps=eps):
        return base.forward(x, gamma, beta, eps=eps, normalized_ndim=1)

    report = check(Candidate(forward, normalized_ndim=1, dtypes=("float32",)), "layer_norm", quick=True)
    assert report.passed and report.dialect == dialect
    assert f"eps is {eps:g} by default" in report.traits["eps"]
    asked = check(Candidate(forward, normalized_ndim=1, dtypes=("float32",)), "layer_norm", dialect, quick=True)
    assert asked.passed, str(asked)


def test_a_default_that_is_not_the_dialects() -> None:
    base = candidate("layer_norm")

    def forward(x, gamma=None, beta=None, eps=1e-3):
        return base.forward(x, gamma, beta, eps=eps)

    report = check(Candidate(forward, normalized_ndim=1, dtypes=("float32",)), "layer_norm", "torch", quick=True)
    assert not report.passed and any("keras" in words for words in report.mismatches)


@pytest.mark.parametrize("shift", [0, 1])
def test_the_offset_of_an_rms_norm_that_takes_none(shift: int) -> None:
    base = candidate("rms_norm")

    def forward(x, gamma=None, *, eps=1e-6):
        return base.forward(x, gamma, eps=eps, offset=shift, normalized_ndim=1)

    report = check(Candidate(forward, normalized_ndim=1, dtypes=("float32",)), "rms_norm", quick=True)
    assert report.passed, str(report)
    assert report.dialect == ("gemma" if shift else "flax")


def test_a_momentum_that_is_built_in() -> None:
    def forward(x, gamma=None, beta=None, running_mean=None, running_var=None, *, eps, training):
        return BN.forward(x, gamma, beta, running_mean, running_var, momentum=0.1, eps=eps, training=training)

    report = check(Candidate(forward, dtypes=("float32",)), "batch_norm", quick=True)
    assert report.passed and report.dialect == "torch", str(report)


def test_casts_of_llama_pass_in_its_dialect_and_not_in_gemmas() -> None:
    """Cast back before the product with the weight: one rounding more, in 16 bits."""
    parts = having(cast=lambda xhat, dtype: xhat.astype(dtype).astype(np.float32))
    kernel = candidate("rms_norm", parts, dtypes=("bfloat16",))
    assert check(kernel, "rms_norm", "llama", quick=True).passed
    assert check(kernel, "rms_norm", quick=True).passed
    assert not check(kernel, "rms_norm", "gemma", quick=True).passed


def test_traits_are_measured_once() -> None:
    session = Session(BN, "batch_norm")
    assert session.spoken is session.spoken
    assert session.spoken.traits["momentum"] == "momentum weighs the new value"


def test_dialects_of_a_method_without_rows_are_tried() -> None:
    """Local response norm: alpha raw, as TensorFlow has it, or divided by size, as PyTorch."""
    import refnorm as rn

    def forward(x, *, size, alpha, beta, k):
        return rn.local_response_norm(x, size=size, alpha=alpha, beta=beta, k=k, dialect="tensorflow")

    report = check(Candidate(forward, dtypes=("float32",)), "local_response_norm", quick=True)
    assert report.passed and report.dialect in ("krizhevsky", "tensorflow"), str(report)  # one but for the default of k
    asked = check(Candidate(forward, dtypes=("float32",)), "local_response_norm", "torch", quick=True)
    assert not asked.passed and any("tensorflow" in words for words in asked.mismatches)


def _rounding(kind: str) -> Candidate:
    """A layer norm that rounds to storage where `kind` says."""

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        k = next((p.ndim for p in (gamma, beta) if p is not None), normalized_ndim)
        axes = tuple(range(-k, 0))
        wide = x.astype(np.float32)
        c = wide - wide.mean(axes, keepdims=True)
        xhat = c / np.sqrt(np.square(c).mean(axes, keepdims=True) + np.float32(eps))
        gamma, beta = (np.float32(v) if p is None else p.astype(np.float32) for p, v in ((gamma, 1), (beta, 0)))
        if kind == "gamma":
            gamma = gamma.astype(x.dtype).astype(np.float32)
        if kind in ("xhat", "product"):
            xhat = xhat.astype(x.dtype).astype(np.float32)
        y = gamma * xhat
        return ((y.astype(x.dtype).astype(np.float32) if kind == "product" else y) + beta).astype(x.dtype)

    return Candidate(forward, dtypes=({"x": "bfloat16", "params": "float32", "out": "bfloat16"},))


@pytest.mark.parametrize(("kind", "casts"), [("last", 0), ("xhat", 1), ("product", 2), ("gamma", 0)])
def test_roundings_before_the_last_are_measured(kind: str, casts: int) -> None:
    spoken = Session(_rounding(kind), "layer_norm", quick=True).spoken
    assert spoken.casts == casts and ("casts" in spoken.traits) == (kind != "last")
    assert spoken.consistent == (("onnx",) if casts else spoken.consistent)


def test_a_gamma_that_is_rounded_before_the_product_is_wrong_in_any_dialect() -> None:
    for dialect in (None, "onnx"):
        session = Session(_rounding("gamma"), "layer_norm", dialect, quick=True)
        found = session.examine([c for c in session.cases() if c.stratum == "ordinary"]).findings["forward.y"]
        failing = [f for f in found if not f.ok]
        assert failing and "gamma is rounded to the storage type of x before the product" in explain(session, failing)


def test_a_clamped_variance_is_no_eps() -> None:
    right = candidate("layer_norm", having(rstd=lambda v, e: 1 / np.sqrt(np.maximum(v, v.dtype.type(1e-3)) + e)))

    def forward(x, gamma=None, beta=None, *, eps=1e-5, normalized_ndim=1):
        return right.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)

    session = Session(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=True)
    assert "eps" not in session.spoken.traits


def test_what_a_signature_lacks_is_judged_at_the_method_s_own_value() -> None:
    whole = whitening("newton")
    plain = Candidate(lambda x, gamma=None, beta=None, *, eps: whole.forward(x, gamma, beta, eps=eps), dtypes=("float32",))
    report = check(plain, "iterative_norm", quick=True)
    assert report.passed, str(report)


def test_what_a_signature_lacks_is_each_dialect_s_own() -> None:
    def normalized(x):
        return x / (np.sqrt(np.square(x).sum(axis=-1, keepdims=True)) + np.float32(1e-5))

    report = check(Candidate(normalized, dtypes=("float32",)), "lp_norm", quick=True)
    assert report.passed and report.dialect == "chainer", str(report)


def test_options_tell_dialects_apart_where_ordinary_values_do_not() -> None:
    def in_chunks(x, gamma=None, beta=None, *, virtual_batch_size, eps):
        along = (1, -1) + (1,) * (x.ndim - 2)
        y = []
        for part in np.array_split(x, -(-len(x) // virtual_batch_size)):
            axes = (0, *range(2, x.ndim))
            centred = part - part.mean(axis=axes, keepdims=True)
            y.append(centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + np.float32(eps)))
        xhat = np.concatenate(y) if gamma is None else np.concatenate(y) * gamma.reshape(along)
        return xhat if beta is None else xhat + beta.reshape(along)

    assert Session(Candidate(in_chunks, dtypes=("float32",)), "ghost_batch_norm", quick=True).dialect == "tabnet"
