"""Numba on the CPU.  Start reading at row.py; then rows.py, planes.py, columns.py, positions.py; contract.py ties them up."""

from .contract import methods

METHODS = methods()
