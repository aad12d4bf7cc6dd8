"""Where sweeps run: `--executor local|serial|dask://HOST:PORT|mpi`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from .sweep import Serial

NAMES = "local, serial, dask://HOST:PORT, mpi"


def executor(name: str, workers: int) -> Callable[[], Executor]:
    """What opens the executor of that name.  Raises ValueError or ImportError with one line that says what exists.

    local: processes of this machine.  dask: a scheduler that runs already, workers that can import refnorm; it moves the items
    of a worker that dies by itself.  mpi: start as `mpiexec -n N python -m mpi4py.futures -m refnorm reproduce ...`.
    """
    if workers < 1:
        raise ValueError(f"--workers is {workers}; it must be 1 or more")
    if name == "serial":
        return Serial
    if name == "local":
        return lambda: ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    if name.startswith("dask://"):
        return _dask("tcp://" + name.removeprefix("dask://"))
    if name == "mpi":
        return _mpi(workers)
    raise ValueError(f"no executor is called {name!r}; there are {NAMES}")


def _dask(address: str) -> Callable[[], Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("Dask is not installed: pip install 'refnorm[cluster]'") from error
    try:
        client: Any = Client(address, timeout=10)
    except OSError as error:
        raise ValueError(f"no Dask scheduler answers at {address}") from error
    return lambda: client.get_executor(pure=False)


def _mpi(workers: int) -> Callable[[], Executor]:
    try:
        from mpi4py.futures import MPIPoolExecutor
    except ImportError as error:
        raise ImportError("mpi4py, or the MPI under it, is not installed: pip install 'refnorm[cluster]'") from error
    return lambda: MPIPoolExecutor(workers)
