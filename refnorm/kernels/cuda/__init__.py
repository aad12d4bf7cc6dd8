"""Numba on NVIDIA GPUs.  Start reading at rows.py; then planes.py, columns.py, whitening.py and matrices.py; launch.py says who
runs where, traffic.py what that costs; contract.py and whitening_contract.py tie them up.

Importing this asks for no GPU and no CUDA: the first call does, and says what is missing.
"""

from . import contract, whitening_contract
from .device import unavailable
from .libraries import adopt

METHODS = {**contract.methods(), **whitening_contract.methods()}

__all__ = ["METHODS", "adopt", "unavailable"]
