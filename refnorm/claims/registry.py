"""CLAIMS: every claim by name, in the order of their sections; the files of catalogue/ are read when it is first asked."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from . import catalogue
from .claim import Claim


class Registry(Mapping[str, Claim]):
    """Each module of a package has `CLAIMS`, a tuple of claims."""

    @functools.cached_property
    def _claims(self) -> dict[str, Claim]:
        modules = [importlib.import_module(f"{catalogue.__name__}.{m.name}") for m in pkgutil.iter_modules(catalogue.__path__)]
        claims: dict[str, Claim] = {}
        for claim in sorted((c for m in modules for c in m.CLAIMS), key=lambda c: c.section):
            if claim.name in claims:
                raise ValueError(f"two claims are called {claim.name!r}")
            claims[claim.name] = claim
        return claims

    def __getitem__(self, name: str) -> Claim:
        return self._claims[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)


CLAIMS = Registry()
