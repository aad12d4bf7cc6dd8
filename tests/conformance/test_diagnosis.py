"""The sentence that a planted bug gets: what is wrong with the forward, by a formula that holds on all cases."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from refnorm.conformance import Candidate, check
from refnorm.conformance.diagnosis import explain
from refnorm.conformance.findings import times
from refnorm.conformance.session import Session
from refnorm.conformance.strata import STRATA, cases

from .kernels import candidate, halves, having, plain_mean, two_pass

PLAIN = ("ordinary", "parameters", "eps", "constant rows", "magnitudes", "shapes")


def said(target: Candidate, norm: str, name: str = "y", strata: tuple[str, ...] = PLAIN, quick: bool = True) -> str:
    """What is said of one result, from the failures in these strata."""
    session = Session(target, norm, quick=quick)
    plan = session.plan(session.main)
    drawn = list(cases(plan, quick, {k: v for k, v in STRATA.items() if k in strata}))
    found = session.examine(drawn)
    session.__dict__["examination"] = found
    failing = [f for group in found.findings.values() for f in group if not f.ok and f.name == name and f.observed is not None]
    assert failing, "the bug shows nowhere"
    return explain(session, failing)


def eps_is(change: Callable[[Any], Any]) -> Any:
    return having(rstd=lambda v, e: 1 / np.sqrt(v + v.dtype.type(change(e))))


def tail_left_out(block: int) -> Callable[..., Any]:
    def statistics(x: Any) -> Any:
        n = x.shape[1]
        return two_pass(x[:, : n // block * block] if n >= block else x)

    return statistics


ROWS = {
    "eps is always 0.003": eps_is(lambda e: 3e-3),
    "eps is always 1e-05": eps_is(lambda e: 1e-5),
    "eps is multiplied by 10": eps_is(lambda e: 10 * e),
    "eps is divided by 10": eps_is(lambda e: e / 10),
    "eps is multiplied by 3": eps_is(lambda e: 3 * e),
    "eps is left out": eps_is(lambda e: 0),
    "eps is never below 0.001": eps_is(lambda e: max(e, e.dtype.type(1e-3))),
    "eps is rounded to float16": eps_is(np.float16),
    "eps stands outside the root": having(rstd=lambda v, e: 1 / (np.sqrt(v) + e)),
    "eps is a floor": having(rstd=lambda v, e: 1 / np.sqrt(np.maximum(v, e))),
    "is clamped from below, at 0.001": having(rstd=lambda v, e: 1 / np.sqrt(np.maximum(v, v.dtype.type(1e-3)) + e)),
    "is clamped from below, at 0.05": having(rstd=lambda v, e: 1 / np.sqrt(np.maximum(v, v.dtype.type(0.05)) + e)),
    "it divides by the variance, not by its root": having(rstd=lambda v, e: 1 / (v + e)),
}


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("sentence", ROWS)
def test_what_is_done_with_eps_and_the_variance(norm: str, sentence: str) -> None:
    assert sentence in said(candidate(norm, ROWS[sentence], dtypes=("float32",)), norm)


def test_eps_is_multiplied_by_the_row_length() -> None:
    def times_n(x: Any) -> Any:
        mean, var = two_pass(x)
        return mean, var * x.dtype.type(1 / x.shape[1])

    parts = having(statistics=times_n, rstd=lambda v, e: 1 / np.sqrt(v + e), cast=None)
    kernel = candidate("layer_norm", parts, dtypes=("float32",))
    scaled = Candidate(
        lambda x, gamma=None, beta=None, *, eps, normalized_ndim=1: _scaled(kernel, x, gamma, beta, eps, normalized_ndim),
        dtypes=("float32",),
    )
    assert "eps is multiplied by the row length" in said(scaled, "layer_norm")


def _scaled(kernel: Candidate, x: Any, gamma: Any, beta: Any, eps: float, ndim: int) -> Any:
    """c / sqrt(var + n eps), from a kernel that divides by sqrt(var / n + eps)."""
    n = int(np.prod(x.shape[-(ndim if gamma is None else gamma.ndim) :]))
    plain = kernel.forward(x, None, None, eps=eps, normalized_ndim=ndim if gamma is None else gamma.ndim).astype(np.float64)
    y = plain / np.sqrt(n) * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    return y.astype(x.dtype)


@pytest.mark.parametrize("block", [100, 4096])
def test_the_last_tile_is_left_out_of_the_statistics(block: int) -> None:
    kernel = candidate("layer_norm", having(statistics=tail_left_out(block)), dtypes=("float32",))
    words = said(kernel, "layer_norm", strata=("lengths",), quick=False)
    assert f"the statistics are over whole blocks of {block} entries alone" in words


def test_what_pads_a_row_counts_in_the_variance() -> None:
    def statistics(x: Any) -> Any:
        mean, var = two_pass(x)
        n = x.shape[1]
        return mean, var + np.square(mean) * x.dtype.type((1 << (n - 1).bit_length()) / n - 1 if n else 0)

    words = said(candidate("layer_norm", having(statistics=statistics), dtypes=("float32",)), "layer_norm")
    assert "what pads a row to a power of two counts in the variance, as (0 - mean)^2" in words


def test_an_eps_of_an_earlier_call() -> None:
    right = candidate("layer_norm", dtypes=("float32",))

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        kept = 1e-3 if x.shape == (4, 4, 4) else eps  # compiled for this shape when another eps was asked for
        return right.forward(x, gamma, beta, eps=kept, normalized_ndim=normalized_ndim)

    words = said(Candidate(forward, dtypes=("float32",)), "layer_norm")
    assert "eps is 0.001 here and as asked elsewhere: that of an earlier call?" in words


def _grouped(moved: Callable[[Any, int], Any]) -> Candidate:
    kernel = candidate("group_norm", dtypes=("float32",))

    def forward(x, gamma=None, beta=None, *, num_groups, eps):
        gamma = None if gamma is None else moved(gamma, num_groups)
        return kernel.forward(x, gamma, beta, num_groups=num_groups, eps=eps)

    return Candidate(forward, dtypes=("float32",))


def test_gamma_is_read_at_the_wrong_channel() -> None:
    per_group = _grouped(lambda p, groups: p[np.arange(p.size) // (p.size // groups)])
    assert "gamma of channel c is gamma[c // (C/G)]" in said(per_group, "group_norm")
    modulo = _grouped(lambda p, groups: p[np.arange(p.size) % 4])
    assert "gamma of channel c is gamma[c % 4]" in said(modulo, "group_norm")


def test_beta_is_ignored_where_gamma_is_none() -> None:
    kernel = candidate("layer_norm", dtypes=("float32",))

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        ndim = normalized_ndim if gamma is None and beta is None else (beta if gamma is None else gamma).ndim
        return kernel.forward(x, gamma, None if gamma is None else beta, eps=eps, normalized_ndim=ndim)

    words = said(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=False)
    assert "beta is not applied where gamma is None" in words


BACKWARD = {
    "eps is left out": 0.0,
    "eps is always 1e-05": 1e-5,
}


@pytest.mark.parametrize("sentence", BACKWARD)
def test_eps_in_the_backward(sentence: str) -> None:
    right = candidate("layer_norm", dtypes=("float32",))
    wrong = candidate("layer_norm", eps_is(lambda e: BACKWARD[sentence]), dtypes=("float32",))
    both = Candidate(right.forward, wrong.backward, dtypes=("float32",))
    assert f"the gradient of x: {sentence}" in said(both, "layer_norm", "dx")


def test_evaluation_that_changes_the_running_statistics() -> None:
    right = candidate("batch_norm", dtypes=("float32",))

    def forward(x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training):
        y, mean, var = right.forward(x, gamma, beta, running_mean, running_var, momentum=momentum, eps=eps, training=training)
        if not training and mean is not None:
            mean, var = mean + np.float32(0.1), var * np.float32(1.1)
        return y, mean, var

    for name in ("running_mean", "running_var"):
        assert "evaluation changes the running statistics" in said(Candidate(forward, dtypes=("float32",)), "batch_norm", name)


def test_dgamma_in_evaluation_with_the_statistics_of_the_batch() -> None:
    right = candidate("batch_norm", dtypes=("float32",))

    def backward(dy, x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training):
        common: Any = {"momentum": momentum, "eps": eps}
        mine = right.backward(dy, x, gamma, beta, running_mean, running_var, training=training, **common)
        batch = right.backward(dy, x, gamma, beta, running_mean, running_var, training=True, **common)
        return mine[0], batch[1], mine[2]

    words = said(Candidate(right.forward, backward, dtypes=("float32",)), "batch_norm", "dgamma")
    assert "evaluation uses the statistics of the batch" in words


def test_overflow_is_named() -> None:
    def statistics(x: Any) -> Any:
        mean, var = two_pass(x)
        return mean, np.sqrt(plain_mean(np.square(np.square(x - mean))) * 0 + np.square(var).astype(x.dtype))

    words = said(candidate("layer_norm", having(statistics=statistics), dtypes=("float32",)), "layer_norm", quick=False)
    assert "overflows" in words


def test_half_precision_squares_overflow() -> None:
    def statistics(x: Any) -> Any:
        mean = plain_mean(x)
        square = np.square((x - mean).astype(np.float16)).astype(np.float32)
        return mean, halves(square) / np.float32(x.shape[1])

    kernel = candidate("layer_norm", having(statistics=statistics), dtypes=("float16",))
    assert "squares overflow in float16" in said(kernel, "layer_norm", strata=("magnitudes", "ordinary"))


def test_more_than_any_tolerance_is_said_so() -> None:
    assert times(3.14159) == "3.14 times its tolerance"
    assert times(1e37) == times(np.inf) == "far beyond its tolerance"


def test_the_clause_on_size_agrees_with_the_input_that_is_shown() -> None:
    """A variance clamped at 1e-3 is no matter of how many rows there are, though it fails on many rows first."""
    parts = ROWS["is clamped from below, at 0.001"]
    report = check(candidate("layer_norm", parts, dtypes=("float32",)), "layer_norm", quick=True)
    assert "more rows than" not in str(report) and "longer than" not in str(report)
    assert "the variance is clamped from below, at 0.001" in report.headline


def weight_norm(change: Callable[..., Any]) -> Candidate:
    """change(v, g laid along v, its norm, the other axes) -> w, in float64."""

    def forward(v, g=None, *, dim=0):
        mine = tuple(range(v.ndim)) if dim is None else tuple(a for a in range(v.ndim) if a != dim % v.ndim)
        wide = v.astype(np.float64)
        laid = 1.0 if g is None else g.astype(np.float64).reshape([1 if a in mine else n for a, n in enumerate(v.shape)])
        return change(wide, laid, np.sqrt(np.square(wide).sum(mine, keepdims=True)), mine).astype(v.dtype)

    return Candidate(forward, dtypes=("float32",))


WEIGHTS = {
    "the norm is over axes (0,)": lambda v, g, n, mine: g * v / np.sqrt(np.square(v).sum(0, keepdims=True)),
    "it divides by the squared norm": lambda v, g, n, mine: g * v / n**2,
    "it divides by the root mean square, not": lambda v, g, n, mine: g * v / np.sqrt(np.square(v).mean(mine, keepdims=True)),
    "g is not applied": lambda v, g, n, mine: v / n,
    "the mean is subtracted": lambda v, g, n, mine: g
    * (v - v.mean(mine, keepdims=True))
    / np.sqrt(np.square(v - v.mean(mine, keepdims=True)).sum(mine, keepdims=True)),
    "0.001 is added to the norm": lambda v, g, n, mine: g * v / (n + 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WEIGHTS)
def test_weight_norm(sentence: str) -> None:
    assert sentence in said_of_examples(weight_norm(WEIGHTS[sentence]), "weight_norm")


def said_of_examples(target: Candidate, norm: str, name: str = "y") -> str:
    session = Session(target, norm, quick=True)
    found = session.examine(list(session.cases()))
    failing = [f for group in found.findings.values() for f in group if not f.ok and f.name == name and f.observed is not None]
    assert failing, "the bug shows nowhere"
    return explain(session, failing)


def whitened(change: Callable[..., Any], **defaults: Any) -> Callable[..., Any]:
    """A whitening that calls change(covariance, x centred, eps) -> whitened x, block by block, in float64."""

    def forward(x, gamma=None, beta=None, *, eps, num_groups):
        n, c = x.shape[:2]
        z = np.moveaxis(x.astype(np.float64), 1, 0).reshape(num_groups, c // num_groups, -1)
        centred = z - z.mean(2, keepdims=True)
        sigma = centred @ centred.transpose(0, 2, 1) / z.shape[2]
        y = np.moveaxis(change(sigma, centred, eps, z).reshape(c, n, *x.shape[2:]), 0, 1)
        laid = (1, c, *(1 for _ in x.shape[2:]))
        y = y * (1 if gamma is None else gamma.reshape(laid)) + (0 if beta is None else beta.reshape(laid))
        return y.astype(x.dtype)

    return forward


def zca(sigma: Any, floor: float = 0.0) -> Any:
    values, vectors = np.linalg.eigh(sigma)
    return (vectors * np.maximum(values, floor)[:, None, :] ** -0.5) @ vectors.transpose(0, 2, 1)


def ridge(sigma: Any, eps: float) -> Any:
    return sigma + eps * np.eye(sigma.shape[1])


WHITENINGS = {
    "the covariance is over m - 1": lambda s, c, e, z: zca(ridge(s * c.shape[2] / max(c.shape[2] - 1, 1), e)) @ c,
    "the mean is not subtracted from x": lambda s, c, e, z: zca(ridge(s, e)) @ z,
    "eigenvalues are clamped from below at 0.5": lambda s, c, e, z: zca(ridge(s, e), 0.5) @ c,
    "it multiplies by the inverse covariance": lambda s, c, e, z: np.linalg.inv(ridge(s, e)) @ c,
    "it whitens by Cholesky": lambda s, c, e, z: np.linalg.inv(np.linalg.cholesky(ridge(s, e))) @ c,
    "the covariances are left out": lambda s, c, e, z: zca(ridge(s * np.eye(s.shape[1]), e)) @ c,
}


@pytest.mark.parametrize("sentence", WHITENINGS)
def test_whitening(sentence: str) -> None:
    target = Candidate(whitened(WHITENINGS[sentence]), dtypes=("float32",))
    assert sentence in said_of_examples(target, "batch_whitening_zca")


def test_newton_iteration_one_step_short() -> None:
    import refnorm

    def forward(x, gamma=None, beta=None, *, eps, num_groups, T):
        y = refnorm.iterative_norm(x, gamma, beta, eps=eps, num_groups=num_groups, T=T - 1)
        return y[0] if isinstance(y, tuple) else y

    assert "T is one too few" in said_of_examples(Candidate(forward, dtypes=("float32",)), "iterative_norm")


def test_lengths_and_local_response() -> None:
    import refnorm

    def lp(x, *, p=2, axis=-1, eps=1e-12):
        return refnorm.lp_norm(x, p=2, axis=axis, eps=eps)

    assert "p is always 2" in said_of_examples(Candidate(lp, dtypes=("float32",)), "lp_norm")

    def response(x, *, size=5, alpha=1e-4, beta=0.75, k=1.0):
        return refnorm.local_response_norm(x, size=size, alpha=alpha * size, beta=beta, k=k)

    words = said_of_examples(Candidate(response, dtypes=("float32",)), "local_response_norm")
    assert "alpha is not divided by size" in words


STANDARDIZED = {
    "the mean is not subtracted": lambda w, axes, eps: w / np.sqrt(w.var(axes, keepdims=True) + eps),
    "eps is left out": lambda w, axes, eps: (w - w.mean(axes, keepdims=True)) / w.std(axes, keepdims=True),
    "the statistics are over axes (0,)": lambda w, axes, eps: (w - w.mean(0)) / np.sqrt(w.var(0) + eps),
}


@pytest.mark.parametrize("sentence", STANDARDIZED)
def test_weight_standardization(sentence: str) -> None:
    def forward(w, *, eps):
        return STANDARDIZED[sentence](w.astype(np.float64), tuple(range(1, w.ndim)), eps).astype(w.dtype)

    target = Candidate(forward, dtypes=("float32",))
    session = Session(target, "weight_standardization", "timm", quick=True)
    found = session.examine(list(session.cases()))
    failing = [f for g in found.findings.values() for f in g if not f.ok and f.name == "y" and f.observed is not None]
    assert sentence in explain(session, failing)


def test_evaluation_that_moves_the_statistics_first() -> None:
    right = candidate("batch_norm", dtypes=("float32",))

    def forward(x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training):
        common: Any = {"momentum": momentum, "eps": eps}
        if training or running_mean is None:
            return right.forward(x, gamma, beta, running_mean, running_var, training=training, **common)
        _, mean, var = right.forward(x, gamma, beta, running_mean, running_var, training=True, **common)
        y, _, _ = right.forward(x, gamma, beta, mean, var, training=False, **common)
        return y, running_mean, running_var

    words = said(Candidate(forward, dtypes=("float32",)), "batch_norm")
    assert "evaluation moves the running statistics, and uses them in evaluation" in words


def test_what_is_wrong_in_16_bits_alone_is_said_so() -> None:
    right = candidate("layer_norm", dtypes=("float32", "bfloat16"))

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        y = right.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)
        return y if x.dtype.itemsize > 2 else (y.astype(np.float32) * np.float32(1 + 2**-6)).astype(x.dtype)

    session = Session(Candidate(forward, dtypes=("float32", "bfloat16")), "layer_norm", quick=True)
    found = session.examine([case for case in session.cases() if case.stratum == "ordinary"])
    session.__dict__["examination"] = found
    words = explain(session, [f for f in found.findings["forward.y"] if not f.ok])
    assert "the forward: right in float32, wrong in bfloat16" in words
