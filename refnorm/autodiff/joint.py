"""A step of the tape with one backward for all its arguments, which may use what the forward kept.

`defvjp` has a rule an argument, and each rule sees the arguments and the result alone.  An explicit backward such as that of a
declared norm answers every cotangent at once, from statistics that its forward has computed: as a joint step it runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .core import Box, Node
from .recording import fitted


def joint(
    forward: Callable[..., tuple[Any, Any]], backward: Callable[[Any, Any], Sequence[Any]]
) -> Callable[..., Any]:
    """The function whose value is forward(*arrays)[0] and whose derivative is `backward`.

    forward(*arrays) -> (y, kept), one array and whatever the backward needs; backward(g, kept) -> one cotangent an array, None
    for one that does not influence y or is None itself.  Both made of functions that have rules: any order of derivative.
    """

    def call(*arrays: Any) -> Any:
        level = max((a.level for a in arrays if type(a) is Box), default=None)
        if level is None:
            return forward(*arrays)[0]
        traced = [i for i, a in enumerate(arrays) if type(a) is Box and a.level == level]
        raw = [a.value if i in traced else a for i, a in enumerate(arrays)]
        y, kept = forward(*raw)

        def pull(g: Any) -> list[Any]:
            cotangents = backward(g, kept)
            return [fitted(cotangents[i], raw[i]) for i in traced]

        return Box(y, level, Node([arrays[i].node for i in traced], pull))

    return call
