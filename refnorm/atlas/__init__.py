"""`refnorm atlas OUT`: static pages that people look at, made from the declarations, the proofs and the claims.

    from refnorm.atlas import build

    build("site", claims="results")
"""

from .site import Site, Unbuildable, build

__all__ = ["Site", "Unbuildable", "build"]
