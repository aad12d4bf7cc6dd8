"""Exercises with hidden proofs: `refnorm check exercise.py`.

An exercise is a file with `EXERCISE = "name"` and a function to fill in.  A right answer passes; the answer is never shown.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from . import exercise_proofs as proofs


class NoExercise(Exception):
    """A file that cannot be judged, in one line."""


@dataclass(frozen=True)
class Exercise:
    """What is asked, the function to fill in, and its proof: (function) -> complaints, none where it is right."""

    file: str
    title: str
    asks: str
    function: str
    proof: Callable[[Callable[..., Any]], Iterator[str]]


def judge(path: Path | str) -> tuple[bool, str]:
    """Is the exercise in this file right; and what to say.  Raises NoExercise for a file that holds none."""
    where = Path(path)
    if not where.is_file():
        raise NoExercise(f"there is no file {where}")
    spec = importlib.util.spec_from_file_location("exercise", where)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise NoExercise(f"cannot run {where}: {type(error).__name__}: {error}") from error
    name = getattr(module, "EXERCISE", None)
    if name not in EXERCISES:
        raise NoExercise(f"{where} is no exercise; it must say EXERCISE = one of {', '.join(EXERCISES)}")
    exercise = EXERCISES[name]
    function = getattr(module, exercise.function, None)
    if function is None:
        raise NoExercise(f"{where} has no function {exercise.function}; the exercise asks for one")
    return verdict(exercise, function)


def verdict(exercise: Exercise, function: Callable[..., Any]) -> tuple[bool, str]:
    try:
        complaint = next(exercise.proof(function), None)
    except NotImplementedError:
        line = f"{exercise.title}: not solved yet.  Fill in `{exercise.function}`, where it raises NotImplementedError."
        return False, f"{line}\n  {exercise.asks}"
    except Exception as error:
        return False, f"{exercise.title}: `{exercise.function}` raises {type(error).__name__}: {error}"
    if complaint is None:
        return True, f"{exercise.title}: right."
    return False, f"{exercise.title}: not right yet.\n  {complaint}"


def files() -> dict[str, str]:
    """The exercises' own files, by name."""
    folder = resources.files("refnorm.atlas").joinpath("exercises")
    return {e.file: folder.joinpath(e.file).read_text(encoding="utf-8") for e in EXERCISES.values()}


EXERCISES: dict[str, Exercise] = {
    "center": Exercise("01_center.py", "Exercise 1, centring", "The gradient of y = x - mean(x).", "backward", proofs.center),
    "layer_norm": Exercise(
        "02_layer_norm.py", "Exercise 2, layer norm", "The gradients of x, gamma and beta.", "backward", proofs.layer_norm
    ),
    "rms_norm": Exercise(
        "03_rms_norm.py", "Exercise 3, RMS norm", "The same without a mean: which term goes?", "backward", proofs.rms_norm
    ),
    "radial": Exercise(
        "04_radial.py", "Exercise 4, what is left of the scale", "Predict ⟨dx, x̂⟩ without computing dx.", "dx_dot_xhat",
        proofs.radial,
    ),
    "evaluation": Exercise(
        "05_evaluation.py", "Exercise 5, evaluation mode", "Batch norm’s gradients when the statistics are constants.",
        "backward", proofs.evaluation,
    ),
    "merge": Exercise(
        "06_merge.py", "Exercise 6, a variance in one pass", "Merge two counts, means and sums of squares.", "merge",
        proofs.merge,
    ),
    "weight_norm": Exercise(
        "07_weight_norm.py", "Exercise 7, weight norm", "The gradients of direction and length.", "backward", proofs.weight_norm
    ),
}  # fmt: skip
"""By name, in their order."""
