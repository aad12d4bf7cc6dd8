"""Numba on the CPU.  Start reading at row.py; then rows.py, planes.py, columns.py, positions.py; contract.py ties them up.

Whitening: whitening.py, then panels.py and whitening_panels.py; whitening_contract.py ties them up.
"""

from functools import partial

from refnorm.anatomy.method import NORMS

from . import contract, response, whitening_contract

METHODS = {**contract.methods(), **whitening_contract.methods()}
if "filter_response_norm" in NORMS:                 # the one method here that is no operation and recovery
    _method = NORMS["filter_response_norm"]
    METHODS["filter_response_norm"] = (partial(response.forward, _method), partial(response.backward, _method))
