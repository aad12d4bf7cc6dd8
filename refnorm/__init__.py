"""refnorm: what normalization in deep learning computes, what its gradient is, and whether a kernel is right."""

from .anatomy.method import NORMS
from .methods import *  # noqa: F403
from .methods import __all__ as _methods

__version__ = "0.1.0"
__all__ = ["NORMS", *_methods]
