"""Calls of one candidate, forward and backward, watched."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import fused, signature
from .candidate import Candidate
from .cases import Case
from .conventions import DERIVED
from .deadline import Hangs, prepared, within
from .handed import laid_out, same_bits
from .memory import laid
from .trial import Trial, kind_of

PATIENCE = 10.0
"""Seconds for one call; the first may compile and is given six times as much."""
COMPILING = 30
"""Times the patience that an adapter may take to compile for one shape (`Candidate.prepare`); no part of the call's time."""


class Caller:
    """Calls one candidate under its convention."""

    def __init__(self, candidate: Candidate, patience: float = PATIENCE) -> None:
        self.candidate, self.patience, self.hung = candidate, patience, False
        self.compiled: set[Any] = set()
        self._bindings: dict[tuple[str, str], signature.Binding] = {}

    def binding(self, case: Case, stage: str = "forward") -> signature.Binding:
        key = (case.norm, stage)
        if key not in self._bindings:
            c, convention = self.candidate, case.convention
            function, leading = (c.forward, 0) if stage == "forward" else (c.backward, 2 if c.saves else 1)
            assert function is not None
            derived = tuple(o for o in DERIVED if o not in convention.options)
            arrays, options = convention.arrays, convention.options
            if c.prologue is not None:
                arrays, leading = (arrays[0], "residual", *arrays[1:]), leading + (stage == "backward")
            self._bindings[key] = signature.read(function, leading, arrays, options, c.parameters, derived)
        return self._bindings[key]

    def takes(self, case: Case, name: str) -> bool:
        return self.binding(case).takes(name)

    def forward(self, case: Case) -> Trial:
        trial = Trial(case)
        given = laid_out(case)
        binding, function, prepare = self.binding(case), self.candidate.forward, self.candidate.prepare
        if self.candidate.by_name:
            arrays = (case.convention.arrays[0], "residual", *case.convention.arrays[1:])  # in the order of the gradients
            named = {n: given[n] for n in (*arrays, *given) if n in given and binding.takes(n)}
            limit = COMPILING * self.patience
            if prepare is not None and not prepared(limit, lambda: prepare(**named)):
                self.hung = True
                trial.blame("hangs", "forward", f"not compiled within {limit:g} s")
                return trial
            returned = self._watched(trial, "forward", given, lambda: function(**named))
        else:
            returned = self._watched(trial, "forward", given, lambda: binding.call(function, (), given))
        if trial.ran:
            self._read_outputs(trial, returned, given)
        return trial

    def backward(self, trial: Trial, dy: np.ndarray | None = None) -> Trial:
        """The gradients of a forward that ran, added to its trial."""
        case, c = trial.case, self.candidate
        if c.backward is None or not trial.ran:
            return trial
        given = laid_out(case)
        dy = laid(case.layout, "dy", case.dy if dy is None else dy)
        function = c.backward
        watched = {**given, "dy": dy}
        leading: tuple[Any, ...] = (dy,)
        if c.prologue is not None:
            watched["dh"] = laid(case.layout, "dy", fused.upstream(dy))
            leading = (dy, watched["dh"])
        leading = (*leading, trial.saved) if c.saves else leading
        if c.by_name:  # an adapter saved its arguments
            returned = self._watched(trial, "backward", watched, lambda: function(*leading))
        else:
            binding = self.binding(case, "backward")
            returned = self._watched(trial, "backward", watched, lambda: binding.call(function, leading, given))
        if trial.ran:
            self._read_gradients(trial, returned)
        return trial

    def __call__(self, case: Case) -> Trial:
        return self.backward(self.forward(case))

    def _watched(self, trial: Trial, stage: str, given: Mapping[str, Any], call: Any) -> Any:
        """What it returns, or a fault.  A first silence is asked again: a machine may stand still for as long."""
        before = {name: a.copy() for name, a in given.items() if isinstance(a, np.ndarray)}
        try:
            try:
                returned = self._timed(trial, stage, given, call)
            except Hangs:
                for name, a in before.items():  # what a call half done wrote
                    if not same_bits(a, given[name]):
                        given[name][...] = a
                returned = self._timed(trial, stage, given, call)
        except Hangs as silence:
            self.hung, returned = True, None
            trial.blame("hangs", stage, f"no answer within {silence}, twice")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            returned = None
            trial.blame("raises", stage, f"{type(error).__name__}: {_one_line(error)}", error)
        for name, a in before.items():
            if name not in self.candidate.mutates and not same_bits(a, given[name]):
                trial.blame("writes", stage, f"{stage} writes to its argument {name}")
        return returned

    def _timed(self, trial: Trial, stage: str, given: Mapping[str, Any], call: Any) -> Any:
        """The call under its limit; its seconds are the trial's, those of a silence are not."""
        limit, start = self._limit(stage, given), time.perf_counter()
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return within(limit, call)
        except Hangs:
            start = time.perf_counter()
            raise Hangs(f"{limit:g} s") from None
        finally:
            trial.seconds += time.perf_counter() - start

    def _limit(self, stage: str, given: Mapping[str, Any]) -> float:
        """Seconds for a call.  The first of its kind may compile (numba, Triton, torch.compile): six times the patience."""
        arrays = ((name, a) for name, a in given.items() if isinstance(a, np.ndarray))
        kind = (stage, *((name, a.dtype, a.ndim, a.flags.c_contiguous, a.flags.f_contiguous) for name, a in arrays))
        first = kind not in self.compiled and not self.hung
        self.compiled.add(kind)
        return self.patience * (6 if first else 1)

    def _read_outputs(self, trial: Trial, returned: Any, given: Mapping[str, Any]) -> None:
        c, convention = self.candidate, trial.case.convention
        if c.saves:
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                trial.blame("type", "forward", f"saves=True: forward must return (outputs, saved), not {kind_of(returned)}")
                return
            returned, trial.saved = returned
            self._read_saved(trial)
        names = convention.outputs if c.prologue is None else ("y", "h", *convention.outputs[1:])
        if isinstance(returned, tuple | list):
            if len(returned) not in (1, len(names)):
                trial.blame("type", "forward", f"forward must return {', '.join(names)}; it returned {len(returned)} values")
                return
            parts = dict(zip(names, returned, strict=False))
        else:
            parts = {"y": returned}
        for name in convention.state:
            if name in c.mutates and parts.get(name) is None and given.get(name) is not None:
                parts[name] = given[name]
        for name, value in parts.items():
            old = given.get(name)
            if name in ("y", "h"):
                trial.take("forward", name, value, trial.case.dy.shape)
            elif old is not None and value is not None:
                trial.take("forward", name, value, np.shape(old))

    def _read_saved(self, trial: Trial) -> None:
        if not self.candidate.saved_as:
            return
        saved = trial.saved if isinstance(trial.saved, tuple | list) else (trial.saved,)
        for name, value in zip(self.candidate.saved_as, saved, strict=False):
            if name in ("mean", "var", "rstd") and isinstance(value, np.ndarray):
                trial.values[name] = value.copy()

    def _read_gradients(self, trial: Trial, returned: Any) -> None:
        convention, given = trial.case.convention, trial.case.arguments
        asked = tuple(n.removeprefix("d") if n not in convention.gradients else n for n in self.candidate.needs_grad or ())
        names = asked or convention.gradients
        if self.candidate.prologue is not None:
            given = {**given, "residual": trial.case.x}
            names = asked or (names[0], "residual", *names[1:])
        present = tuple(n for n in names if given.get(n) is not None)
        parts = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
        if len(parts) == len(names):
            pairs = list(zip(names, parts, strict=True))
        elif len(parts) == len(present):
            pairs = list(zip(present, parts, strict=True))
        elif len(parts) < len(names) and not asked:
            pairs = list(zip(names, parts, strict=False))  # the first ones: (dx,) alone
        else:
            wanted = ", ".join("d" + n for n in names)
            trial.blame("type", "backward", f"backward must return {wanted}; it returned {len(parts)} values")
            return
        for name, value in pairs:
            if name not in present or (value is None and name != names[0]):
                continue
            trial.take("backward", "d" + name, value, np.shape(given[name]))


def _one_line(error: BaseException) -> str:
    try:
        words = " ".join(str(error).split())
    except Exception as again:  # a stranger's exception, with a __str__ of its own
        words = f"its message cannot be read: {type(again).__name__}"
    return words if len(words) <= 200 else words[:197] + "..."
