"""A bare function that wants tensors: seen from its first call, and judged as PyTorch's, with gradients by autograd."""

from __future__ import annotations

import sys
from dataclasses import fields

from ..caller import Caller
from ..candidate import Candidate
from ..session import Session

OWN = ("forward", "backward", "saves", "convert", "by_name", "prepare")
"""What the adapter sets; all else is passed on."""


def as_it_is_called(session: Session) -> Candidate:
    """The session's candidate; as PyTorch's where it has no backward, raises on NumPy's arrays and answers tensors."""
    given = session.candidate
    if "torch" not in sys.modules or given.backward is not None or given.convert is not None or given.factory is not None:
        return given
    if session.caller.forward(session.blank).ran:
        return given
    said = {f.name: getattr(given, f.name) for f in fields(Candidate) if f.name not in OWN}
    said = {name: value for name, value in said.items() if value != getattr(Candidate(print), name)}
    try:
        tensors = Candidate.from_torch(given.forward, **said)
    except (TypeError, ValueError):
        return given
    return tensors if Caller(tensors, session.patience).forward(session.blank).ran else given
