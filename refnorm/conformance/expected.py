"""What a case must give: for every output, gradient and statistic its exact value, its bound and its unit.

Values: refnorm's reference in float64 for candidates that compute in 32 bits.  For those that compute in 64, the same text
in long double where it runs there, and loops in arbitrary precision where a case is small: `oracle`, whose gradients are
the chain rule written out, for the norms of rows, refnorm.oracles for the forwards of the others.  What has neither is
compared with the float64 reference, and its bound is doubled: the reference may err as much as the candidate.

Bounds: `rows`, `whitened`, or `probed` where nothing is derived.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from refnorm.anatomy.method import Dialect, Method

from . import fused, oracle
from .cases import Case
from .conventions import method_named
from .probed import Probed
from .rows import Expected, Rows
from .shapes import has_rows
from .tolerance_arithmetic import wide
from .whitened import Whitened, is_whitening

SMALL = 160
"""Entries up to which the chain rule is done in arbitrary precision, at 70 microseconds each ..."""
TINY = 64
"""... and up to which refnorm.oracles are asked."""


class OutsideDialect(Exception):
    """The dialect says that this call is an error."""


@dataclass
class Expectation:
    """Everything expected of one case under one dialect; computed when asked for.  Raises OutsideDialect."""

    case: Case
    dialect: str
    casts: int = 0

    @cached_property
    def method(self) -> Method:
        return method_named(self.case.norm)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """As Method.resolve gives them, arrays widened."""
        resolved, _ = self.method.resolve(**self.case.reference(), dialect=self.dialect)
        resolved["dialect"] = replace(resolved["dialect"], lone_value="allowed")  # where it is refused: see `refused`
        return self._widened(resolved, self.wide)

    @cached_property
    def wide(self) -> np.dtype:
        """The type of exact values: long double for candidates in 64 bits, where the method's text runs in it."""
        kept = wide(self.case.arithmetic.compute)
        return kept if kept == np.float64 or has_rows(self.method) else np.dtype(np.float64)

    @staticmethod
    def _widened(arguments: dict[str, Any], kept: np.dtype) -> dict[str, Any]:
        floats = {k: v for k, v in arguments.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fV"}
        return {**arguments, **{k: v.astype(kept) for k, v in floats.items()}}

    @cached_property
    def spoken(self) -> Dialect:
        return self.arguments["dialect"]

    @cached_property
    def refused(self) -> bool:
        """One value a statistic under a dialect that calls it an error: y is judged where it is given all the same."""
        if self.method.dialects[self.dialect].lone_value != "error" or self.method.triple is None or not self.case.training:
            return False
        return bool(self.method.triple.partition(**self.arguments).blocks[2] == 1)

    @cached_property
    def computed(self) -> tuple:
        """y, saved and the new state of the reference.  Raises OutsideDialect where it refuses the call."""
        try:
            with np.errstate(all="ignore"):
                return self.method.compute(**self.arguments)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise OutsideDialect(str(error)) from error

    @cached_property
    def cotangent(self) -> np.ndarray:
        """That of the norm's own output: dy, behind an activation dy a'(z)."""
        if self.case.epilogue is None:
            return self.case.dy.astype(self.wide)
        return fused.cotangent(self, np.asarray(self.computed[0]))

    @cached_property
    def derived(self) -> dict[str, np.ndarray]:
        """The reference's gradients, by the names of their arrays."""
        try:
            with np.errstate(all="ignore"):
                gradients = self.method.derive(self.cotangent, self.computed[1], **self.arguments)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise OutsideDialect(str(error)) from error
        pairs = zip(self.method.arrays, gradients, strict=False)  # a state may follow the gradients
        return {name: np.asarray(g) for name, g in pairs if g is not None}

    @property
    def _precise(self) -> bool:
        return self.case.arithmetic.compute == np.float64

    @property
    def _loops_over_rows(self) -> bool:
        """Is it a small float64 case that `oracle` knows?"""
        small = self._precise and self.case.x.size <= SMALL and "mask" not in self.case.arguments
        return small and oracle.knows(self.case.norm)

    @cached_property
    def rows(self) -> Rows:
        return Rows(self)

    @property
    def by_rows(self) -> bool:
        """Does each statistic belong to a row, so that the derived bounds hold?"""
        return has_rows(self.method)

    @cached_property
    def bounds(self) -> Rows | Whitened | Probed:
        if self.by_rows:
            return self.rows
        return Whitened(self) if is_whitening(self.method) and self.case.training else Probed(self)

    def outputs(self) -> dict[str, Expected]:
        """y, and the running statistics."""
        y = np.asarray(self.computed[0])  # first: what is outside the dialect raises here
        exact = True
        if (
            self._precise
            and self.by_rows
            and y.size <= SMALL
            and oracle.knows(self.case.norm)
            and "mask" not in self.case.arguments
        ):
            y = oracle.exact(self.case.norm, self.arguments)["y"].astype(self.wide)
        elif self._precise and not self.by_rows:
            found = self._loops()
            exact, y = found is not None, y if found is None else found
        expected = {"y": self._doubled(self.bounds.y(y), not exact)}
        if self.case.epilogue is not None:
            expected["y"] = fused.activated(expected["y"], self.case.epilogue, self)
        if self.case.prologue is not None:
            x = self.case.x.astype(self.wide)
            expected["h"] = Expected(x, np.zeros(x.shape, self.wide), 1.0)
        given = self.case.arguments
        if any(given.get(name) is not None for name in self.case.convention.state) and not self.refused:
            expected |= self.bounds.state()
        return expected

    def _loops(self) -> np.ndarray | None:
        """y by refnorm.oracles' loops, rounded to float64; None where there are none, too many entries, or 0 / 0."""
        from refnorm import oracles

        if self.case.x.size > TINY or self.case.norm not in oracles.LOOPS:
            return None
        try:
            return oracles.to_float64(oracles.exact(self.case.norm, self.arguments)[0])
        except ZeroDivisionError:  # NumPy's NaN is not judged
            return None

    @staticmethod
    def _doubled(expected: Expected, needed: bool) -> Expected:
        return expected._replace(bound=2 * expected.bound) if needed else expected

    def gradients(self) -> dict[str, Expected]:
        """One for each array that is given and has a gradient."""
        values, exact = self.derived, self.by_rows or not self._precise
        if self._loops_over_rows:
            precise = oracle.exact_gradients(self.case.norm, self.arguments, self.cotangent)
            values = {k: v.astype(self.wide) for k, v in precise.items()}
        found = {k: self._doubled(v, not exact) for k, v in self.bounds.gradients(values).items()}
        if self.case.epilogue is not None:
            found = fused.loosened(found, self, self.bounds.y(np.asarray(self.computed[0])))
        return fused.joined(found, self) if self.case.prologue is not None else found


__all__ = ["Expectation", "Expected", "OutsideDialect", "Rows"]
