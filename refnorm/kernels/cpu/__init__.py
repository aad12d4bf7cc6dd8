"""Numba on the CPU.  Start reading at row.py; then rows.py, planes.py, columns.py, positions.py; contract.py ties them up.

Whitening: whitening.py, then panels.py and whitening_panels.py; whitening_contract.py ties them up.
"""

from . import contract, whitening_contract

METHODS = {**contract.methods(), **whitening_contract.methods()}
