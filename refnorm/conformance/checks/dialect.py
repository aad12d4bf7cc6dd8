"""The dialect as a check: a mismatch with the one asked for is a failure; so is speaking none."""

from __future__ import annotations

from ..findings import Finding
from ..session import Session


def spoken(session: Session) -> list[Finding]:
    found = session.spoken
    facts = {"kind": "dialect"}
    if session.asked is not None:
        if not found.mismatches:
            return [Finding("dialect", session.blank, True)]
        return [Finding("dialect", session.blank, False, f"not {session.asked}: {'; '.join(found.mismatches)}", facts=facts)]
    return [Finding("dialect", session.blank, not found.conflict, found.conflict, facts=facts)]
