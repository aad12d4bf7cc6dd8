"""Side-by-side timing: kernels against a peer and against the machine's own bandwidth, with accuracy beside speed."""

from .command import bench

__all__ = ["bench"]
