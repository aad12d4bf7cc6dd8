"""Times that can be compared: interleaved in one process, medians, each function warm when its clock starts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def medians(functions: Mapping[str, Callable[[], Any]], rounds: int = 9, least: float = 2e-3) -> dict[str, float]:
    """Seconds a call, the median over rounds; in each round every function runs for at least `least` seconds.

    Every function is called once just before its clock starts: after 20 ms of idling the first call on two threads costs 8 ms,
    in Numba's OpenMP layer as in PyTorch's.
    """
    calls = {}
    for name, function in functions.items():
        function()
        start = time.perf_counter()
        function()
        calls[name] = max(1, int(least / max(time.perf_counter() - start, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            function()
            start = time.perf_counter()
            for _ in range(calls[name]):
                function()
            times[name].append((time.perf_counter() - start) / calls[name])
    return {name: statistics.median(found) for name, found in times.items()}
