"""The kit on every method of the catalogue: refnorm's own passes, and a wrong option, a wrong gradient does not."""

from dataclasses import replace

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.anatomy.population import fresh
from refnorm.conformance import Candidate, check
from refnorm.conformance.cases import Case
from refnorm.conformance.conventions import convention_of
from refnorm.conformance.expected import Expectation
from refnorm.conformance.session import Session
from refnorm.conformance.shapes import has_rows
from refnorm.conformance.strata_examples import magnitudes, spectra
from refnorm.conformance.tolerance_arithmetic import Arithmetic


def reference(name: str, **fields) -> Candidate:
    """refnorm's own method under the contract's convention."""
    method, convention = NORMS[name], convention_of(NORMS[name])
    fields_of = {"running_mean": "mean", "running_var": "var"}

    def arguments(given):
        given = dict(given)
        if convention.state == tuple(fields_of):
            given["state"] = fresh(given.pop("running_mean"), given.pop("running_var"))
        return {k: v for k, v in given.items() if k in method.signature.parameters}

    def forward(**given):
        y, cache, *state = method.forward(**arguments(given))
        kept = [np.asarray(getattr(state[0], fields_of.get(n, n))).astype(given[n].dtype) for n in convention.state]
        return (y, *kept) if kept else y, cache

    def backward(dy, cache):
        return tuple(g for g in method.backward(dy, cache)[: len(method.arrays)] if g is not None)

    names = (*convention.arrays, *convention.options, "channel_axis", "axis")
    common = {"name": name, "parameters": names, "saves": True, "by_name": True, "dtypes": ("float32",)}
    return Candidate(forward, backward, **{**common, **fields})


WITHOUT_ROWS = [name for name, method in NORMS.items() if not has_rows(method)]
WITH_ROWS = [name for name, method in NORMS.items() if has_rows(method)]
LONG = {"orthogonal_newton_iteration", "conv_spectral_norm"}


@pytest.mark.parametrize("name", WITH_ROWS)
def test_norms_of_rows_pass(name: str) -> None:
    report = check(reference(name), name, quick=True)
    assert report.passed, str(report)


@pytest.mark.parametrize("name", [n for n in WITHOUT_ROWS if n not in LONG])
def test_the_others_pass(name: str) -> None:
    report = check(reference(name), name, quick=True)
    assert report.passed, str(report)
    assert "forward.y" not in (*report.vacuous, *report.not_offered)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_ROWS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_others_pass_in_full(name: str, dtype: str) -> None:
    report = check(reference(name, dtypes=(dtype,)), name)
    assert report.passed, str(report)


def changed(name: str, **options) -> Candidate:
    """The method with some options changed on the way in."""
    base = reference(name)

    def forward(**given):
        moved = {k: change(given[k]) if callable(change) else change for k, change in options.items() if k in given}
        return base.forward(**{**given, **moved})

    return replace(base, forward=forward)


def with_gradients(name: str, change) -> Candidate:
    base = reference(name)
    return replace(base, backward=lambda dy, cache: tuple(change(i, g) for i, g in enumerate(base.backward(dy, cache))))


ONE_MORE, TEN_TIMES = (lambda n: n + 1), (lambda v: 10 * v)
BUGS = {
    "batch_whitening_zca": changed("batch_whitening_zca", eps=TEN_TIMES),
    "batch_whitening_cholesky": changed("batch_whitening_cholesky", num_groups=1),
    "iterative_norm": changed("iterative_norm", T=ONE_MORE),
    "group_whitening_zca": changed("group_whitening_zca", num_groups=1),
    "lp_norm": changed("lp_norm", p=lambda p: p + 0.01),
    "local_response_norm": changed("local_response_norm", size=ONE_MORE),
    "spectral_norm": changed("spectral_norm", n_power_iterations=ONE_MORE),
    "weight_standardization": changed("weight_standardization", eps=TEN_TIMES),
    "switchable_norm": changed("switchable_norm", eps=TEN_TIMES),
    "evo_norm_s0": changed("evo_norm_s0", eps=TEN_TIMES),
    "ghost_batch_norm": changed("ghost_batch_norm", virtual_batch_size=ONE_MORE),
    "batch_renorm": changed("batch_renorm", r_max=1.0),
    "filter_response_norm": changed("filter_response_norm", eps=TEN_TIMES),
    "query_key_norm": changed("query_key_norm", eps=TEN_TIMES),
    "conv_norm": changed("conv_norm", eps=0.01),
    "adaptive_instance_norm": changed("adaptive_instance_norm", eps=TEN_TIMES),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_wrong_option_is_seen(name: str) -> None:
    report = check(BUGS[name], name, next(iter(NORMS[name].dialects)), quick=True)
    assert {f.check for f in report.failures} & {"forward.y", "numerics.y", "forward.runs"}, str(report)


@pytest.mark.parametrize("name", ["batch_whitening_zca", "weight_norm", "spectral_norm", "generalized_divisive_norm", "cayley"])
def test_a_wrong_gradient_is_seen(name: str) -> None:
    wrong = with_gradients(name, lambda i, g: g * g.dtype.type(1.01) if i == 0 else g)
    report = check(wrong, name, next(iter(NORMS[name].dialects)), quick=True)
    assert "backward.dx" in {f.check for f in report.failures}, str(report)


def test_a_whitening_backward_by_gaps_fails_on_its_own_stratum_alone() -> None:
    """1 / (l_i - l_j): NaN at repeated eigenvalues, right elsewhere."""
    from refnorm.operations import zca

    base, method = reference("batch_whitening_zca"), NORMS["batch_whitening_zca"]

    def backward(dy, cache):
        arguments = {k: v.astype(float) if isinstance(v, np.ndarray) else v for k, v in cache.arguments.items()}
        part = method.triple.partition(**arguments)
        layout = method.triple.layout_of(**arguments)
        gamma = arguments["gamma"]
        g = dy.astype(float) if gamma is None else dy.astype(float) * layout.along(gamma, "c")
        with np.errstate(all="ignore"):
            dx = part.merge(zca.backward_by_gaps(part.split(g), part.split(arguments["x"]), cache.saved, eps=arguments["eps"]))
        _, *rest = base.backward(dy, cache)
        return (dx.astype(dy.dtype), *rest)

    report = check(replace(base, backward=backward), "batch_whitening_zca", quick=True)
    assert {f.stratum for f in report.failures} == {"spectra"}, str(report)


def test_a_coloring_in_float32_is_right_where_inputs_hold_zeros():
    """y = Gamma (W (x - mu)) of two samples: terms of size 1 and more cancel, and noise on zeros moves nothing."""
    x = (np.arange(32) % 3 - 1.0).reshape(2, 16).astype(np.float32)
    gamma = (np.arange(256) % 3 - 1.0).reshape(1, 16, 16).astype(np.float32)
    given = {"x": x, "gamma": gamma, "beta": None, "num_groups": 1, "eps": 1e-3}
    case = Case("whitening_coloring_norm", "lengths", "", given, np.ones_like(x), Arithmetic.of("float32"))
    right = Expectation(case, "covariance").outputs()["y"]
    _, cache, *_ = NORMS["whitening_coloring_norm"].forward(x.astype(float), gamma.astype(float), eps=1e-3)
    centred = x - x.mean(axis=0)
    folded = (gamma[0].astype(float) @ cache.saved.matrix[0]).astype(np.float32)
    for y in (centred @ folded.T, (centred @ cache.saved.matrix[0].T.astype(np.float32)) @ gamma[0].T):
        assert y.dtype == np.float32 and np.all(np.abs(y - right.value) <= right.bound)
    assert np.all(0.01 * np.abs(right.value) > right.bound)


def _colored_backwards(z, dy, gamma, eps):
    """dz by the chain rule in the type of z: through W = L^-1, L the Cholesky factor, S."""
    m, d = z.shape[2], z.shape[1]
    c = z - z.mean(axis=2, keepdims=True)
    factor = np.linalg.cholesky(c @ c.transpose(0, 2, 1) / z.dtype.type(m) + z.dtype.type(eps) * np.eye(d, dtype=z.dtype))
    w, g = np.linalg.inv(factor), gamma.transpose(0, 2, 1) @ dy
    wt = w.transpose(0, 2, 1)
    dfactor = np.tril(-wt @ (g @ c.transpose(0, 2, 1)) @ wt)
    half = np.tril(factor.transpose(0, 2, 1) @ dfactor) * (1 - np.eye(d, dtype=z.dtype) / 2)
    dc = wt @ g + wt @ (half + half.transpose(0, 2, 1)) @ w @ c / z.dtype.type(m)
    return dc - dc.mean(axis=2, keepdims=True)


def test_a_coloring_s_gradient_may_lose_what_the_condition_of_its_covariance_says():
    as_it_is = Candidate(lambda x, gamma, beta, *, eps, num_groups: x, dtypes=("float32",))
    sessions = (Session(as_it_is, "whitening_coloring_norm", seed=seed) for seed in range(10))
    cases = [c for s in sessions for c in spectra(s.plan(s.main)) if c and ("1e8" in c.label or "zero" in c.label)]
    for case in cases:
        e = Expectation(case, "covariance")
        part, dx = e.method.triple.partition(**e.arguments), e.gradients()["dx"]
        z, dy, gamma, eps = part.split(case.x), part.split(case.dy), case.arguments["gamma"], case.arguments["eps"]
        exact, found = (_colored_backwards(*(a.astype(t) for a in (z, dy, gamma)), eps) for t in (float, np.float32))
        assert np.allclose(part.merge(exact), dx.value, rtol=1e-6) and found.dtype == np.float32
        assert np.all(np.abs(part.merge(found) - dx.value) <= dx.bound), case.label
    assert cases


def test_a_sigmoid_in_float32_may_be_1():
    as_it_is = Candidate(lambda x, gamma, beta, v, *, num_groups, eps: x, dtypes=("float32",))
    drawn = Session(as_it_is, "evo_norm_s0")
    cases = [c for c in magnitudes(drawn.plan(drawn.main)) if c and "values of 30" in c.label and c.x.ndim == 2]
    for case in cases:
        e = Expectation(case, "paper")
        with np.errstate(over="ignore"):
            x, v, right = case.x, case.arguments["v"], e.gradients()
            t = 1 / (1 + np.exp(-v * x))
        assert t.dtype == np.float32
        std = np.repeat(e.computed[1].std.reshape(len(x), -1), x.shape[1] // case.arguments["num_groups"], axis=1)
        terms = case.dy * case.arguments["gamma"] * np.square(x.astype(float)) / std
        found, exact = (np.sum(terms * slope, axis=0) for slope in (t * (1 - t), 1 / (2 + 2 * np.cosh(v.astype(float) * x))))
        assert np.allclose(exact, right["dv"].value, rtol=1e-6) and np.all(np.abs(found - exact) <= right["dv"].bound)
    assert cases


def test_a_sigmoid_in_float32_may_be_0():
    """exp(97) overflows; the slope that is lost is 1e-38 of x^2 / s."""
    x, v = np.full((1, 4), 100, np.float32), np.array([0.86, 2.1, -0.77, -0.97], np.float32)
    given = {"x": x, "gamma": np.ones(4, np.float32), "beta": None, "v": v, "num_groups": 2, "eps": 1e-5}
    case = Case("evo_norm_s0", "offset rows", "", given, np.float32([[0, 0, 0, 1]]), Arithmetic.of("float32"))
    e = Expectation(case, "paper")
    y, dv = e.outputs()["y"], e.gradients()["dv"]
    assert 0 < dv.value[3] <= dv.bound[3] < 1e-30 and y.value[0, 3] <= y.bound[0, 3] < 1e-30
    assert np.all(y.bound[0, :2] < 0.01 * y.value[0, :2])
