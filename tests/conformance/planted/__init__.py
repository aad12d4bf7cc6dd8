"""The project's own mutants, a module a stage."""

from . import backward, behaviour, edges, forward, memory, numerics, running, shipped, sizes, state, strides, supported
from .base import MUTANTS, Mutant

__all__ = [
    "MUTANTS", "Mutant", "backward", "behaviour", "edges", "forward", "memory", "numerics", "running", "shipped", "sizes",
    "state", "strides", "supported",
]  # fmt: skip
