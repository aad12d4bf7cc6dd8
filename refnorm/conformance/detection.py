"""Which dialect a candidate speaks, found from what it does, not from whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from refnorm.anatomy.method import FROM_DIALECT
from refnorm.anatomy.precision import accumulation_epsilon

from . import strata, strata_examples
from .traits import Traits, measure

if TYPE_CHECKING:
    from .session import Session

TRIED = 12
"""Cases by which the dialects of a method without rows are told apart."""


@dataclass(frozen=True)
class Spoken:
    """dialect: the one that fits best; consistent: all that nothing contradicts.  traits: measured, in words.  fixed: options
    that the candidate does not take, at the values found.  mismatches: with the dialect asked for.  conflict: why none fits.
    casts: those of the dialect asked for, or those that were measured."""

    dialect: str
    traits: Mapping[str, str] = field(default_factory=dict)
    consistent: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    mismatches: tuple[str, ...] = ()
    conflict: str = ""
    casts: int = 0  # roundings to storage before the last one


def detect(session: Session) -> Spoken:
    """Measure the traits, or try the dialects one by one, and compare."""
    return _by_traits(session) if session.has_rows() else _by_trial(session)


def _by_traits(session: Session) -> Spoken:
    traits = measure(session)
    against = {name: list(_contradictions(session, name, traits)) for name in session.method.dialects}
    fits = [name for name, wrong in against.items() if not wrong]
    if traits.eps is not None:
        fits.sort(key=lambda name: not _same_eps(session, name, traits.eps))
    nearest = fits[0] if fits else min(against, key=lambda name: len(against[name]))
    fixed = dict(_fixed(session, session.asked or nearest, traits))
    if session.asked is None:
        conflict = "" if fits else f"no dialect fits; nearest is {nearest}, but {'; '.join(against[nearest])}"
        casts = _casts(session, (nearest,), traits)
        return Spoken(nearest, dict(traits.words()), tuple(fits), fixed, conflict=conflict, casts=casts)
    wrong = [*against[session.asked], *_default_eps(session, session.asked, traits)]
    instead = [name for name in fits if not list(_default_eps(session, name, traits))]
    if wrong and instead:
        wrong.append(f"it speaks {', '.join(instead)}")
    dialect = session.asked if not wrong or not instead else instead[0]
    casts = _casts(session, (session.asked,), traits)
    return Spoken(dialect, dict(traits.words()), tuple(fits), fixed, tuple(wrong), casts=casts)


def _casts(session: Session, names: tuple[str, ...], traits: Traits) -> int:
    """Roundings before the last that y is allowed: those of the dialect that was asked for, else those measured.

    None where a parameter is seen to be rounded: that is no dialect's, and must not hide behind a cast that is one's.
    """
    if traits.casts is not None and (session.asked is None or traits.casts.parameters):
        return traits.casts.number
    return max(session.method.dialects[name].casts for name in names)


def _contradictions(session: Session, name: str, traits: Traits) -> Iterator[str]:
    """What was measured and cannot be in this dialect."""
    dialect, population = session.method.dialects[name], session.method.dialects[name].population
    if traits.weighs is not None and traits.weighs != population.weighs:
        what = (
            f"the new batch has weight {traits.weight:.3g}"
            if traits.weighs == "neither"
            else f"momentum weighs the {traits.weighs} value"
        )
        yield f"{what}, {name}'s weighs the {population.weighs}"
    elif traits.weight is not None and traits.weighs is None:
        right = dialect.defaults.get("momentum", 0.1)
        right = right if population.weighs == "new" else 1 - right
        if abs(traits.weight - right) > 1e-3:
            yield f"the new batch has weight {traits.weight:.3g}, {right:.3g} in {name}"
    if traits.variance is not None and traits.variance != population.variance:
        yield f"the running variance is {traits.variance}, {population.variance} in {name}"
    if session.asked is None and session.offers("momentum") and traits.weighs is not None:
        yield from _unnatural(name, population.weighs, traits.momentum)
    if traits.eps is not None and not session.offers("eps") and not _same_eps(session, name, traits.eps):
        yield f"eps is {traits.eps:.3g}, {dialect.defaults.get('eps')} in {name}"
    if traits.offset is not None and traits.offset != dialect.defaults.get("offset", 0):
        yield f"the weight is {'1 + gamma' if traits.offset else 'gamma'}, not so in {name}"
    if traits.casts is not None and traits.casts.number > dialect.casts:
        yield f"{traits.casts.words}, not so in {name}"


def _unnatural(name: str, weighs: str, default: Any) -> Iterator[str]:
    """A default of 0.1 is meant for the new batch, one of 0.9 for the old value: the other way round is a bug."""
    if isinstance(default, float) and default not in (0.0, 0.5, 1.0):
        natural = "new" if default < 0.5 else "old"
        if natural != weighs:
            yield f"momentum is {default:g} by default, a weight for the {natural} value; {name}'s weighs the {weighs}"


def _default_eps(session: Session, name: str, traits: Traits) -> Iterator[str]:
    """A default that is not the dialect's, where one was asked for."""
    if traits.eps is not None and session.offers("eps") and not _same_eps(session, name, traits.eps):
        right = session.method.dialects[name].defaults["eps"]
        yield f"eps is {traits.eps:.3g} by default, {'the machine epsilon' if right is None else format(right, 'g')} in {name}"


def _fixed(session: Session, name: str, traits: Traits) -> Iterator[tuple[str, Any]]:
    """(option, value) for each option that the candidate does not take."""
    dialect = session.method.dialects[name]
    measured: dict[str, Any] = {"eps": traits.eps, "offset": traits.offset, "training": True}
    if traits.weight is not None:
        measured["momentum"] = traits.weight if dialect.population.weighs == "new" else 1 - traits.weight
    for option in ("eps", "momentum", "offset", "training"):
        if option in session.convention.options and not session.offers(option):
            value = measured.get(option)
            yield option, dialect.defaults.get(option, 0.0) if value is None else value


def _same_eps(session: Session, name: str, value: float | None) -> bool:
    right = session.method.dialects[name].defaults.get("eps")
    right = accumulation_epsilon(session.main.x) if right is None else right
    return value is not None and bool(abs(value - right) <= (0.05 if session.main.x.itemsize > 2 else 0.2) * right)


def _by_trial(session: Session) -> Spoken:
    """The dialects under which a dozen ordinary cases come out right; of several, first that of the most right options."""
    names = list(session.method.dialects)
    fixed = {name: _unoffered(session, name) for name in names}
    if len(names) == 1:
        return Spoken(names[0], {}, tuple(names), fixed[names[0]])
    fits = [name for name in names if not _failures(session, name, fixed[name], "ordinary", "magnitudes")]
    if len(fits) > 1 and session.asked is None:
        wrong = {name: _failures(session, name, fixed[name], "options") for name in fits}
        fits.sort(key=lambda name: wrong[name])
    nearest = fits[0] if fits else names[0]
    if session.asked is None or session.asked in fits:
        dialect = session.asked or nearest
        return Spoken(dialect, {}, tuple(fits), fixed[dialect])
    mismatches = (f"ordinary values come out as in {', '.join(fits)}",) if fits else ()
    dialect = fits[0] if fits else session.asked
    return Spoken(dialect, {}, tuple(fits), fixed[dialect], mismatches)


def _unoffered(session: Session, name: str) -> dict[str, Any]:
    """Options that the candidate does not take, at the dialect's default, or else the method's; not those without any."""
    known, spoken = session.method.signature.parameters, session.method.dialects[name].defaults
    absent = [option for option in session.convention.options if option in known and not session.offers(option)]
    values = {option: spoken.get(option, known[option].default) for option in absent}
    return {option: v for option, v in values.items() if v is not FROM_DIALECT and v is not Parameter.empty}


def _failures(session: Session, name: str, fixed: Mapping[str, Any], *strata_tried: str) -> int:
    plan = session.plan(session.main, dialect=name, fixed=fixed)
    tried = {k: v for k, v in strata_examples.STRATA.items() if k in strata_tried}
    cases = list(strata.cases(plan, quick=True, tried=tried))[:TRIED]
    found = session.examine(cases, dialect=name, backward=False).findings
    return sum(not f.ok for group in found.values() for f in group) if cases else 1
