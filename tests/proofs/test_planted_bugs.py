"""Tests of the proofs: each is shown to fail on a method with the bug that it exists for, and to pass without it."""

from dataclasses import replace

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.anatomy.area import Area
from refnorm.anatomy.population import Population
from refnorm.operations import rms, standardize
from refnorm.operations.standardize import average
from refnorm.proofs import OF_A_PROBLEM, facts, problems, prove


def rebuilt(method, **triple):
    """The method with another triple behind it."""
    norm = replace(method.triple, **triple)
    return replace(method, triple=norm, compute=norm.compute, derive=norm.derive)


def with_operation(name, **changes):
    method = NORMS[name]
    return rebuilt(method, operation=replace(method.operation, **changes))


def backward(name, formula):
    """The method with another backward, a formula of g, zhat and rstd."""
    return with_operation(name, backward=lambda g, z, saved, **_: formula(g, standardize.apply(z, saved), saved.rstd))


def variance_detached(g, zhat, rstd):
    return rstd * (g - average(g))


def mean_term_dropped(g, zhat, rstd):
    return rstd * (g - zhat * average(g * zhat))


def projection_doubled(g, zhat, rstd):
    return rstd * (g - average(g) - 2 * zhat * average(g * zhat))


def rstd_forgotten(g, zhat, rstd):
    return g - average(g) - zhat * average(g * zhat)


def eps_outside(z, *, eps, weight=None):
    mean, var = standardize.moments(z, weight)
    saved = standardize.Saved(mean, var, 1 / (np.sqrt(var) + eps))
    return standardize.apply(z, saved), saved


def unbiased_variance(z, *, eps, weight=None):
    mean, var = standardize.moments(z, weight)
    saved = standardize.Saved(mean, var * z.shape[2] / (z.shape[2] - 1), 0)
    saved = saved._replace(rstd=1 / np.sqrt(saved.var + eps))
    return standardize.apply(z, saved), saved


def uncentred(z, *, eps, weight=None):
    zhat, saved = rms.forward(z, eps=eps)
    return zhat, standardize.Saved(0 * saved.square, saved.square, saved.rstd)


def leaking(z, *, eps, weight=None):
    """One statistic for all blocks: what a reduction over one axis too many computes."""
    mean = average(z) + 0 * np.mean(z)
    saved = standardize.from_population(mean, average(np.square(z - mean)), eps=eps)
    return standardize.apply(z, saved), saved


def writing(z, *, eps, weight=None):
    z -= average(z)
    return standardize.forward(z, eps=eps)


def unsettled(z, *, eps, weight=None, rng=np.random.default_rng(0)):
    zhat, saved = standardize.forward(z, eps=eps)
    return zhat * (1 + 1e-15 * rng.integers(8)), saved


SEEN_BY_ALL = "tape differences peer identities"
PLANTED = {
    "variance detached": (lambda: backward("layer_norm", variance_detached), SEEN_BY_ALL),
    "mean term dropped": (lambda: backward("batch_norm", mean_term_dropped), SEEN_BY_ALL),
    "projection doubled": (lambda: backward("group_norm", projection_doubled), "tape differences curvature"),
    "rstd forgotten": (lambda: backward("instance_norm", rstd_forgotten), "tape differences peer"),
    "eps outside the root": (lambda: with_operation("layer_norm", forward=eps_outside), "loops peer"),
    "unbiased variance": (lambda: with_operation("layer_norm", forward=unbiased_variance), "loops peer constraints"),
    "not centred": (lambda: with_operation("position_norm", forward=uncentred), "loops peer constraints"),
    "one reduction axis too many": (lambda: with_operation("instance_norm", forward=leaking), "confinement"),
    "axes swapped": (lambda: rebuilt(NORMS["batch_norm"], area=Area("n c s -> n | | c s")), "loops"),
    "groups ignored": (lambda: rebuilt(NORMS["group_norm"], area=Area("n c s -> n | | c s")), "loops peer"),
    "groups interleaved": (lambda: rebuilt(NORMS["group_norm"], area=Area("n (k g) s -> n g | | k s")), "loops peer"),
    "writes to its input": (lambda: with_operation("instance_norm", forward=writing), "purity"),
    "runs differ": (lambda: with_operation("layer_norm", forward=unsettled), "purity"),
}


def red(method, proof):
    """Is any finding of this proof red?  An exception of the method counts as red."""
    for problem in problems(method):
        try:
            found = OF_A_PROBLEM[proof](problem)
            if any(not f.ok for f in (found if not hasattr(found, "ok") else [found])):
                return True
        except ValueError:
            return True
    return False


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_turns_its_proofs_red(bug, peer):
    make, proofs = PLANTED[bug]
    for proof in proofs.split():
        if proof == "peer":
            peer("torch")
        assert red(make(), proof), f"{proof} does not see: {bug}"


@pytest.mark.parametrize("conventions", [Population(weighs="old"), Population(variance="biased")])
def test_a_wrong_population_is_seen(conventions):
    method = NORMS["batch_norm"]
    wrong = {"torch": replace(method.dialects["torch"], population=conventions)}
    dialect = method.dialects["torch"]

    def compute(**arguments):
        return method.compute(**{**arguments, "dialect": wrong["torch"]})

    assert dialect.population != conventions
    assert red(replace(method, compute=compute), "loops")


def test_a_wrong_tape_is_seen():
    """The slope proof questions the tape: a forward with a function whose rule is wrong must show."""
    from refnorm.autodiff import defvjp, primitive

    square = primitive(lambda z: z * z)
    defvjp(square, lambda g, ans, z: 3 * g * z)

    def forward(z, *, eps, weight=None):
        mean = average(z)
        var = average(square(z - mean))
        saved = standardize.Saved(mean, var, 1 / np.sqrt(var + eps))
        return standardize.apply(z, saved), saved

    assert red(with_operation("layer_norm", forward=forward), "slope")
    assert red(with_operation("layer_norm", forward=forward), "tape")


def test_a_method_that_raises_is_red_and_not_a_traceback():
    def broken(z, *, eps, weight=None):
        raise RuntimeError("no such luck")

    findings = list(prove(with_operation("layer_norm", forward=broken)))
    assert findings and not any(f.ok for f in findings if not f.skipped)
    assert any("no such luck" in f.words for f in findings)


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "rms_norm"])
def test_every_cell_declared_wrongly_is_contradicted(name):
    method = NORMS[name]
    for cell, declared in method.facts.invariances.items():
        for wrong in {"yes", "no", "dense"} - {declared}:
            lying = replace(method.facts, invariances={**method.facts.invariances, cell: wrong})
            found = {f.proof: f.ok for f in facts.invariances(replace(method, facts=lying))}
            assert not found[f"invariance:{cell}"]
            assert all(ok for proof, ok in found.items() if proof != f"invariance:{cell}")


def test_a_gradient_that_breaks_an_invariance_is_seen():
    """W -> a W leaves the output; a backward that forgets rstd gives a gradient that does not shrink by 1/a."""
    broken = backward("layer_norm", rstd_forgotten)
    assert any(not f.ok for f in facts.invariances(broken) if f.proof == "invariance:weight_matrix_scale")


def test_a_wrong_constraint_count_is_seen():
    method = NORMS["batch_norm"]
    wrong = replace(method.operation.constraints, count=lambda d, m: 3 * d)
    assert red(with_operation("batch_norm", constraints=wrong), "constraints")


def test_a_method_without_a_loop_oracle_is_red():
    assert red(replace(NORMS["layer_norm"], name="unheard_of"), "loops")


@pytest.mark.parametrize("name", NORMS)
def test_without_a_bug_every_proof_is_green(name):
    assert [str(f) for f in prove(NORMS[name]) if not f.ok] == []
