"""A time limit for one call of code that is not ours."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any


class Hangs(BaseException):
    """Raised inside a call that takes too long; no `except Exception` of the candidate's catches it."""


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """call(), or Hangs after `seconds`.

    On the main thread a timer's signal interrupts Python code and sleeps; elsewhere the call runs on a thread of its own
    that is left behind.  Native code that never returns to Python can be interrupted by neither.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _by_signal(seconds, call)
    return _by_thread(seconds, call)


def prepared(seconds: float, prepare: Callable[[], Any]) -> bool:
    """Did it compile within `seconds`?  What it raises, the call that it prepares raises again, and is judged there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            within(seconds, prepare)
        except Hangs:
            return False
        except KeyboardInterrupt:
            raise
        except BaseException:
            return True
    return True


def _by_signal(seconds: float, call: Callable[[], Any]) -> Any:
    def expired(*_: Any) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _by_thread(seconds: float, call: Callable[[], Any]) -> Any:
    result: dict[str, Any] = {}

    def body() -> None:
        try:
            result["value"] = call()
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise Hangs
    if "error" in result:
        raise result["error"]
    return result["value"]
