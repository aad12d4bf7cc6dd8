"""The proofs of a declaration: each reads the Method and nothing else, so what is declared is what is proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from refnorm.anatomy.method import NORMS, Method

from . import facts, witnesses
from .finding import Finding
from .problem import Problem, problems

OF_A_PROBLEM: dict[str, Callable[[Problem], Finding | Iterator[Finding]]] = {
    "loops": witnesses.loops,
    "tape": witnesses.tape,
    "differences": witnesses.differences,
    "slope": witnesses.slope,
    "peer": witnesses.peer,
    "curvature": witnesses.curvature,
    "rule": witnesses.rule,
    "constraints": facts.constraints,
    "identities": facts.identities,
    "purity": facts.purity,
    "confinement": facts.confinement,
}
"""Proofs that question one problem; the invariances question a method as a whole."""


def prove(method: Method, seed: int = 0) -> Iterator[Finding]:
    """Every proof of a method, one finding after the other; a method that raises is red, never a traceback."""
    for problem in problems(method, seed):
        for name, proof in OF_A_PROBLEM.items():
            yield from guarded(lambda: proof(problem), method.name, name, problem.label)  # noqa: B023
    yield from guarded(lambda: facts.invariances(method), method.name, "invariance", "")


def guarded(proof: Callable[[], Finding | Iterator[Finding]], method: str, name: str, label: str) -> Iterator[Finding]:
    try:
        found = proof()
        yield from (found,) if isinstance(found, Finding) else found
    except Exception as error:
        yield Finding(method, name, False, float("inf"), 0.0, f"{label}: raised {type(error).__name__}: {error}")


__all__ = ["NORMS", "OF_A_PROBLEM", "Finding", "Problem", "problems", "prove"]
