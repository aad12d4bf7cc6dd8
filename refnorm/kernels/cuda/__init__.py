"""Numba on NVIDIA GPUs.  Start reading at rows.py; then planes.py, columns.py; launch.py says who runs where; contract.py ties
them up.

Importing this asks for no GPU and no CUDA: the first call does, and says what is missing.
"""

from .arrays import adopt
from .contract import methods

METHODS = methods()

__all__ = ["METHODS", "adopt"]
