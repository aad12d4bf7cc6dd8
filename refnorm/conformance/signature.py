"""How a candidate is called: which of the contract's arguments it takes, read from its signature.

Arrays are passed by position, options by keyword; what a signature does not have is not passed.  Frameworks' own names
for an argument (weight, epsilon, groups) count as the contract's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ALIASES = {
    "x": ("input", "inputs", "inp", "X", "hidden_states"),
    "gamma": ("weight", "scale", "w"),
    "beta": ("bias", "b", "shift"),
    "running_mean": ("mean", "moving_mean"),
    "running_var": ("var", "variance", "moving_var", "running_variance"),
    "eps": ("epsilon", "variance_epsilon"),
    "num_groups": ("groups", "n_groups", "G"),
    "training": ("train", "is_training"),
}


@dataclass(frozen=True)
class Binding:
    """Which arguments a function takes: `positional` in order, `keywords` as contract name -> its own name."""

    positional: tuple[str, ...]
    keywords: Mapping[str, str]
    defaults: Mapping[str, Any]  # contract name -> the default in the signature
    named: frozenset[str] = frozenset()  # contract names that the signature spells

    def takes(self, name: str) -> bool:
        return name in self.positional or name in self.keywords

    def call(self, function: Callable[..., Any], leading: Iterable[Any], arguments: Mapping[str, Any]) -> Any:
        by_position = [arguments[name] for name in self.positional]
        by_keyword = {own: arguments[name] for name, own in self.keywords.items() if name in arguments}
        return function(*leading, *by_position, **by_keyword)


def read(
    function: Callable[..., Any], leading: int, arrays: tuple[str, ...], options: tuple[str, ...],
    parameters: Iterable[str] | None = None, derived: tuple[str, ...] = (),
) -> Binding:  # fmt: skip
    """The binding of `function(<leading>, <arrays>, *, <options>)`; `derived` options are passed only where they are spelled.

    parameters: the names that it accepts, where no signature can be read; with neither, it is given everything.
    """
    if parameters is not None:
        accepted = {contract_name(p, arrays, options) or p for p in parameters}
        keywords = {o: o for o in (*options, *derived) if o in accepted}
        return Binding(tuple(a for a in arrays if a in accepted), keywords, {}, frozenset(accepted))
    try:
        declared = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Binding(arrays, {o: o for o in options}, {})
    return _from_signature(declared, leading, arrays, options, derived)


def _from_signature(
    declared: list[inspect.Parameter], leading: int, arrays: tuple[str, ...], options: tuple[str, ...], derived: tuple[str, ...]
) -> Binding:
    kinds = inspect.Parameter
    slots = [p for p in declared if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)][leading:]
    names = {p.name: contract_name(p.name, arrays, (*options, *derived)) for p in declared}
    unclaimed = [a for a in arrays if a not in names.values()]
    positional: list[str] = []
    keywords: dict[str, str] = {}
    in_order = True
    for slot in slots:
        name = names[slot.name]
        if name is None and slot.default is kinds.empty and unclaimed and in_order:
            name = unclaimed.pop(0)  # an array under a name of its own: by position
        if name in arrays and in_order:
            positional.append(name)
        elif name is not None:
            in_order = False
            keywords[name] = slot.name
        else:
            in_order = False
    for p in declared:
        if p.kind is kinds.KEYWORD_ONLY and names[p.name] is not None:
            keywords[str(names[p.name])] = p.name
    if any(p.kind is kinds.VAR_POSITIONAL for p in declared):
        positional += [a for a in arrays if a not in positional and a not in keywords]
    if any(p.kind is kinds.VAR_KEYWORD for p in declared):
        keywords |= {o: o for o in options if o not in keywords}
    defaults = {str(names[p.name]): p.default for p in declared if names[p.name] and p.default is not kinds.empty}
    return Binding(tuple(positional), keywords, defaults, frozenset(n for n in names.values() if n))


def contract_name(own: str, arrays: tuple[str, ...], options: tuple[str, ...]) -> str | None:
    contract = (*arrays, *options)
    if own in contract:
        return own
    return next((name for name in contract if own in ALIASES.get(name, ())), None)
