"""Rules of the discrete Fourier transforms.

The matrix F of the unscaled transform is symmetric, so its adjoint is conj(F), the unscaled inverse.  `norm` says which of the
two bears the factor 1/n: the adjoint of a transform is the other one with the factor on the same side.  Cutting or padding the
input to n is adjoint to padding or cutting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .core import composite
from .recording import defvjp

OTHER: dict[Any, Any] = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def resized(a: Any, n: int, axis: int) -> Any:
    """The first n entries along the axis, zeros where there are fewer."""
    have, axis = np.shape(a)[axis], axis % np.ndim(a)
    if have >= n:
        return a[(slice(None),) * axis + (slice(0, n),)] if have > n else a
    return np.pad(a, [(0, n - have if i == axis else 0) for i in range(np.ndim(a))])


def _fft(g: Any, y: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return resized(np.fft.ifft(g, axis=axis, norm=OTHER[norm]), np.shape(a)[axis], axis)


def _ifft(g: Any, y: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return resized(np.fft.fft(g, axis=axis, norm=OTHER[norm]), np.shape(a)[axis], axis)


def _rfft(g: Any, y: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """rfft is fft of a real input, cut after n // 2 + 1: so pad, transform back, take the real part."""
    n = np.shape(a)[axis] if n is None else n
    return resized(np.real(np.fft.ifft(g, n, axis, OTHER[norm])), np.shape(a)[axis], axis)


def _irfft(g: Any, y: Any, a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    """irfft reads entry k as k and as its conjugate at n - k; but entries 0 and n/2 once."""
    n = np.shape(y)[axis]
    times = np.where((np.arange(n // 2 + 1) * 2) % n == 0, 1.0, 2.0)
    times = np.reshape(times, [-1 if i == axis % np.ndim(y) else 1 for i in range(np.ndim(y))])
    return resized(times * np.fft.rfft(g, n, axis, OTHER[norm]), np.shape(a)[axis], axis)


for _fun, _rule in ((np.fft.fft, _fft), (np.fft.ifft, _ifft), (np.fft.rfft, _rfft), (np.fft.irfft, _irfft)):
    defvjp(_fun, _rule)

composite(np.fft.hfft)(lambda a, n=None, axis=-1, norm=None, out=None: np.fft.irfft(np.conj(a), n, axis, OTHER[norm]))
composite(np.fft.ihfft)(lambda a, n=None, axis=-1, norm=None, out=None: np.conj(np.fft.rfft(a, n, axis, OTHER[norm])))


def _sizes(a: Any, s: Any, axes: Any, halved: bool = False) -> list[tuple[int | None, int]]:
    """(n, axis) of each one-dimensional transform, as NumPy reads s and axes."""
    axes = range(-(np.ndim(a) if s is None else len(s)), 0) if axes is None else axes
    s = [None] * len(axes) if s is None else s
    return [(np.shape(a)[axis] if (n is None and not halved) or n == -1 else n, axis) for n, axis in zip(s, axes, strict=True)]


def _each_axis(fun: Any) -> Any:
    def body(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
        for n, axis in reversed(_sizes(a, s, axes)):
            a = fun(a, n, axis, norm)
        return a

    return body


def _real_last(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    *others, (n, axis) = _sizes(a, s, axes)
    a = np.fft.rfft(a, n, axis, norm)
    for n, axis in reversed(others):
        a = np.fft.fft(a, n, axis, norm)
    return a


def _back_to_real(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    *others, (n, axis) = _sizes(a, s, axes, halved=True)
    for m, other in others:
        a = np.fft.ifft(a, m, other, norm)
    return np.fft.irfft(a, n, axis, norm)


def _last_two(body: Any) -> Any:
    return lambda a, s=None, axes=(-2, -1), norm=None, out=None: body(a, s, axes, norm)


for _many, _two, _body in (
    (np.fft.fftn, np.fft.fft2, _each_axis(np.fft.fft)),
    (np.fft.ifftn, np.fft.ifft2, _each_axis(np.fft.ifft)),
    (np.fft.rfftn, np.fft.rfft2, _real_last),
    (np.fft.irfftn, np.fft.irfft2, _back_to_real),
):
    composite(_many)(_body)
    composite(_two)(_last_two(_body))


def _shifted(sign: int) -> Any:
    def body(x: Any, axes: Any = None) -> Any:
        axes = range(np.ndim(x)) if axes is None else (axes,) if isinstance(axes, int) else axes
        return np.roll(x, [sign * (np.shape(x)[i] // 2) for i in axes], tuple(axes))

    return body


composite(np.fft.fftshift)(_shifted(1))
composite(np.fft.ifftshift)(_shifted(-1))
