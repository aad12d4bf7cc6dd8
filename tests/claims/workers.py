"""Functions that a worker imports by name."""

import os
import time
from pathlib import Path

import numpy as np


def spectrum(seed: int) -> np.ndarray:
    """Sums whose last bit depends on their order, such as BLAS on several threads would change."""
    a = np.random.default_rng(seed).normal(size=(200, 300))
    return np.linalg.eigvalsh(a @ a.T)


def square(n: int) -> int:
    return n * n


def dies_once(item: tuple[int, str]) -> int:
    """Kills its own worker the first time that it meets the item 3; the mark left in the folder says that it did."""
    n, folder = item
    mark = Path(folder) / "died"
    if n == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    time.sleep(0.02)
    return n * n


def dies(n: int) -> int:
    os._exit(1)


def fails(n: int) -> float:
    return 1 / n
