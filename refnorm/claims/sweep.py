"""Sweep: a function mapped over items through any concurrent.futures.Executor, in order, losing nothing when a worker dies.

Dask's `client.get_executor()` and mpi4py's `MPIPoolExecutor` are such executors.  Functions must be importable by name
(module-level) and items picklable.  Every item, and the claim around the sweep, runs on one BLAS thread: the order of a sum,
and with it the last bit, then depends neither on the number of cores nor on where an item runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from typing import Any

PATIENCE = 3
"""Pools that may break one after another without an item done in between, before the items are blamed."""


class Serial(Executor):
    """Runs at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Sweep:
    """sweep(function, items) -> [function(item) for item in items], wherever the executor runs them.

    `executor` makes one, and another one when that breaks: what was under way then is run again.  `watch(done, total)` hears of
    progress.
    """

    def __init__(self, executor: Callable[[], Executor], watch: Callable[[int, int], None] = lambda done, total: None) -> None:
        self.watch = watch
        self._open, self._executor = executor, executor()

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        todo = dict(enumerate(items))
        total, answers, broken = len(todo), {}, 0
        self.watch(0, total)
        while todo:
            for i, answer in self._round(function, todo):
                answers[i] = answer
                self.watch(len(answers), total)
            broken = 0 if any(i in answers for i in todo) else broken + 1
            todo = {i: item for i, item in todo.items() if i not in answers}
            if broken == PATIENCE:
                raise RuntimeError(f"{PATIENCE} pools of workers broke, none of these items got done: {list(todo.values())}")
            if todo:
                self.close()
                self._executor = self._open()
        return [answers[i] for i in range(total)]

    def _round(self, function: Callable[[Any], Any], todo: dict[int, Any]) -> Iterable[tuple[int, Any]]:
        """(position, answer) of the items that this executor lives to finish."""
        futures: dict[Future, int] = {}
        try:
            for i, item in todo.items():
                futures[self._executor.submit(on_one_thread, function, item)] = i
        except BrokenExecutor:
            pass
        try:
            for future in as_completed(futures):
                try:
                    answer = future.result()
                except BrokenExecutor:
                    continue
                yield futures[future], answer
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        self._executor.shutdown(wait=False)                  # what was not started has been cancelled

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def serial() -> Sweep:
    """A sweep in this process."""
    return Sweep(Serial)


@functools.cache
def _threads() -> Any:
    """The controller of the BLAS in this process; None without threadpoolctl, which scikit-learn brings."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def on_one_thread(function: Callable[[Any], Any], item: Any) -> Any:
    """function(item) on one BLAS thread."""
    controller = _threads()
    if controller is None:
        return function(item)
    with controller.limit(limits=1, user_api="blas"):
        return function(item)
