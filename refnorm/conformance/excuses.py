"""Whether a call that raised was right to: the dialect, the signature or the reference may say so."""

from __future__ import annotations

from collections.abc import Collection

from refnorm.anatomy.backends import NoKernel

from .cases import Case
from .conventions import method_named
from .examination import Examination
from .expected import Expectation, OutsideDialect
from .findings import Finding
from .trial import Fault, Trial

RIGHT = ("refuses one value a statistic, as its dialect does", "parameters that are None are not offered")
"""Excuses by what the dialect or the signature says: such a case was run, and came out as it should."""


def ran(
    trial: Trial, dialect: str, into: Examination, *, none_is_offered: bool, lone_is_error: bool, absent: Collection[str] = ()
) -> bool:  # fmt: skip
    """Did it run?  Raising is a failure, but where the dialect or the signature says that it is right.

    absent: parameters that the candidate does not take, so that it cannot mind their being None.
    """
    case, fault = trial.case, trial.fault("raises", "hangs")
    into.ran[case.stratum] += 1
    if fault is None:
        into.add(Finding("forward.runs", case, True))
        if any(name.startswith("d") for name in trial.values):
            into.add(Finding("backward.runs", case, True))
        return True
    if fault.kind == "raises":
        excuse = _excuse(case, fault, lone_is_error) if fault.stage == "forward" else ""
        excuse = excuse or (_lopsided(case) if fault.stage == "backward" else "")
        excuse = excuse or ("" if none_is_offered else _missing(case, absent))
        into.ran[case.stratum] -= bool(excuse) and excuse not in RIGHT and fault.stage == "forward"
        excuse = excuse or ("refused by the reference as well" if _refused(case, dialect, fault.stage) else "")
        if excuse:
            into.coverage[f"{excuse}: {fault.message.partition(':')[0]}"] += 1
            return fault.stage == "backward"
    into.add(
        Finding(f"{fault.stage}.runs", case, False, f"{fault.stage} {fault.kind}: {fault.message}", facts={"kind": "raises"})
    )
    return fault.stage == "backward"


def _lopsided(case: Case) -> str:
    """A backward that raises where one parameter is given without the other: F.group_norm's, for one."""
    given = [case.arguments[n] is not None for n in case.convention.parameters if n in ("gamma", "beta")]
    return "one parameter without the other is refused in the backward" if any(given) and not all(given) else ""


def _refused(case: Case, dialect: str, stage: str) -> bool:
    """Does the reference raise on this call, too?"""
    expectation = Expectation(case, dialect)
    try:
        _ = expectation.computed if stage == "forward" else expectation.derived
    except OutsideDialect:
        return True
    return False


def _excuse(case: Case, fault: Fault, lone_is_error: bool) -> str:
    arguments = case.arguments
    if isinstance(fault.error, NoKernel):
        return "the backend has no kernel"
    if case.x.size == 0:
        return "refuses empty input"
    if lone_is_error and _is_lone(case):
        return RIGHT[0]
    if method_named(case.norm).acts_on == "weights" and _is_lone(case):  # as timm's, by F.batch_norm
        return "refuses rows of one entry"
    if arguments.get("eps") == 0:
        return "refuses eps 0"
    if "dim" in arguments and arguments["dim"] is None:
        return "dim None is not offered"
    without = any(arguments[n] is None for n in case.convention.state)
    if without and isinstance(fault.error, TypeError | AttributeError):  # a default that Python asks for after gamma=None
        return "running statistics that are None are not offered"
    return ""


def _missing(case: Case, absent: Collection[str]) -> str:
    """A parameter that is None, where no signature offers it: each compiler and each assert has an exception of its own."""
    taken = [n for n in case.convention.parameters if n in case.convention.gradients and n not in absent]
    return RIGHT[1] if any(case.arguments[n] is None for n in taken) else ""


def _is_lone(case: Case) -> bool:
    """One value a statistic."""
    method = method_named(case.norm)
    if method.triple is None or not case.training:
        return False
    try:
        arguments, _ = method.resolve(**case.reference())
    except (TypeError, ValueError):  # no call of this method
        return False
    return bool(method.triple.partition(**arguments).blocks[2] == 1)
