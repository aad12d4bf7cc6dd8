"""How fast a run of training is."""

from __future__ import annotations

import numpy as np


def steps_to(losses: np.ndarray, target: float, window: int = 10) -> float:
    """After how many steps the mean of the last `window` losses is below the target; infinite where it never is."""
    if len(losses) < window:
        return np.inf
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    below = np.flatnonzero(smooth < target)
    return float(below[0] + window) if len(below) else np.inf
