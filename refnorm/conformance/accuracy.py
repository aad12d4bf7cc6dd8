"""How many bits a candidate loses, by dtype and stratum, and how its error grows with |mean|/std."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .tolerance import growth_exponent


@dataclass(frozen=True)
class Rung:
    """One step of the ladder in kappa = |mean|/std: the largest error in units of xhat, bits lost, bits two passes lose; and
    the largest bound of the row, infinite where one entry is not judged."""

    kappa: float
    error: float
    bits: float
    stable: float
    bound: float = float("inf")


@dataclass
class Accuracy:
    """bits[dtype][stratum]: log2 of the largest error in roundings of y; ladders[dtype][length]: rungs by kappa."""

    bits: dict[str, dict[str, float]] = field(default_factory=dict)
    ladders: dict[str, dict[int, list[Rung]]] = field(default_factory=dict)

    def lose(self, dtype: str, stratum: str, bits: float) -> None:
        of = self.bits.setdefault(dtype, {})
        of[stratum] = max(of.get(stratum, 0.0), bits)

    def climb(self, dtype: str, length: int, rung: Rung) -> None:
        self.ladders.setdefault(dtype, {}).setdefault(length, []).append(rung)

    @property
    def growth(self) -> dict[str, float]:
        """The exponent q in error ~ kappa^q, the largest over lengths, by dtype: 1 is stable, 2 is E[x^2] - E[x]^2."""
        found = {}
        for dtype, lengths in self.ladders.items():
            exponents = [growth_exponent([r.kappa for r in rungs], [r.error for r in rungs]) for rungs in lengths.values()]
            known = [q for q in exponents if np.isfinite(q)]
            if known:
                found[dtype] = max(known)
        return found

    @property
    def worst(self) -> tuple[str, Rung] | None:
        """The dtype and the rung on which most is lost beyond what two passes lose; None where the error is linear in kappa."""
        rungs = [(d, r) for d, lengths in self.ladders.items() for group in lengths.values() for r in group]
        rungs = [(d, r) for d, r in rungs if np.isfinite(r.bits) and self.growth.get(d, 1.0) >= 1.5]
        if not rungs:
            return None
        dtype, rung = max(rungs, key=lambda pair: pair[1].bits - pair[1].stable)
        return (dtype, rung) if rung.bits - rung.stable >= 3 else None

    def sentence(self) -> str:
        """As "loses 11 bits at |mean|/std = 1000 in float32, where two passes lose 2"; empty where it loses no more."""
        if self.worst is None:
            return ""
        dtype, rung = self.worst
        two = "none" if rung.stable < 0.5 else f"{rung.stable:.0f}"
        return f"loses {rung.bits:.0f} bits at |mean|/std = {rung.kappa:g} in {dtype}, where a two-pass variance loses {two}"
