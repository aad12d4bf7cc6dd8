"""Golden vectors: the kit's cases written to files, for implementations that Python cannot call.

    refnorm vectors OUT --norm layer_norm --format npz|safetensors|json|raw

A vector is one case of one stratum: the inputs in their storage types, the options, and for every result (y, running
statistics, dx, dgamma, dbeta) what it must be and by how much each element may differ.  Expected values and tolerances are
float64, whatever the storage.  A program that judges them needs one rule, element by element:

    tolerance finite    right where |observed - expected| <= tolerance, the difference taken in double
    tolerance inf       the conditioning leaves nothing to compare: right where observed is finite
    tolerance nan       out of range: not judged

The tolerance is `tolerance.py`'s for the arithmetic that the manifest declares (by default sums in float64 for float64, in
float32 for all others).  Rounding the exact value to the expected float64 adds to it what it changes.  Taking the difference
in double adds nothing: rounding is monotonous, so a difference that is within a double stays within it.

Arrays are contiguous, so the stratum of memory layouts is left out; so are, to keep the files small, cases of more than LARGE
entries (SMALL in all types but one), unless --quick has them or a stratum would be empty; JSON keeps to TINY, whatever is lost.
Facts that need no oracle (purity, determinism, exact scaling), dialect detection and shrinking are `refnorm check`'s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refnorm.anatomy.method import NORMS

from . import oracle, strata
from .candidate import Unusable
from .cases import Case, role_of
from .conventions import method_named
from .expected import Expectation, Expected, OutsideDialect
from .golden import Result, Vector, Vectors
from .plan import Plan
from .tolerance_arithmetic import NAMES, Arithmetic
from .vectors_formats import FORMATS

LARGE, SMALL, TINY = 2600, 520, 256
"""Entries of x up to which a case is written: in the main type, in the others, in JSON."""
DTYPES = ("float64", "float32", "float16", "bfloat16")
ROLES = ("x", "params", "out", "dx", "grads", "state", "compute")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Summary:
    """What was written: `files`, their `size` in bytes, cases by stratum; and how many cases were left out, by reason."""

    norm: str
    dialect: str
    format: str
    files: tuple[Path, ...]
    size: int
    strata: Mapping[str, int]
    left_out: Mapping[str, int]
    dtypes: tuple[str, ...]

    @property
    def cases(self) -> int:
        return sum(self.strata.values())

    def __str__(self) -> str:
        lines = [
            f"{self.norm}, dialect {self.dialect}: {self.cases} cases in {', '.join(self.dtypes)}",
            "  " + ", ".join(f"{stratum} {n}" for stratum, n in self.strata.items()),
            *(f"  left out: {n}, {reason}" for reason, n in self.left_out.items()),
            f"  {self.size / 2**20:.1f} MiB in {' and '.join(map(str, self.files))}",
        ]
        return "\n".join(lines)


def write_vectors(
    out: Path | str, norm: str, format: str = "npz", dialect: str | None = None, dtypes: Any = None,
    seed: int = 0, quick: bool = False, progress: Progress | None = None,
) -> Summary:  # fmt: skip
    """Write the golden vectors of a norm into the folder `out`, which is made where it is absent; same arguments, same bytes.

    format   "npz", "safetensors", "json" or "raw" (`vectors_formats`)
    dialect  one of the norm's; its first unless said
    dtypes   names, or mappings by role as a Candidate has them ({"x": "bfloat16", "params": "float32"}); all four unless said
    quick    the cases of `refnorm check --quick` alone
    progress called (done, total, stratum)

    Raises Unusable, in one line, for a norm, format, dialect, dtype, seed or folder that is none.
    """
    if format not in FORMATS:
        raise Unusable(f"format {format!r} is unknown; it must be one of {', '.join(FORMATS)}")
    made = Maker(norm, dialect, dtypes, seed, quick, TINY if format == "json" else LARGE)
    vectors = Vectors(made.header(), list(made.vectors(progress)))
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = FORMATS[format].write(folder, vectors)
    except OSError as error:
        raise Unusable(f"cannot write to {folder}: {error.strerror or error}") from error
    counted = Counter(v.stratum for v in vectors.cases)
    size = sum(path.stat().st_size for path in files)
    return Summary(norm, made.dialect, format, tuple(files), size, counted, +made.left_out, tuple(map(tag, made.arithmetics)))


def offered() -> list[str]:
    """The norms that have golden vectors: those whose exact values a second oracle confirms, and whose bounds are derived."""
    return [name for name in NORMS if oracle.knows(name)]


def tag(arithmetic: Arithmetic) -> str:
    """ "float32"; "bfloat16.params-float32" where a role differs from what the type of x implies."""
    usual = Arithmetic.of(arithmetic.x)
    roles = (r for r in ROLES if getattr(arithmetic, r) != getattr(usual, r))
    return ".".join([arithmetic.x.name, *(f"{r}-{getattr(arithmetic, r).name}" for r in roles)])


@dataclass
class Maker:
    """Draws the cases of a norm and derives what they must give."""

    norm: str
    asked: str | None
    dtypes: Any
    seed: int
    quick: bool
    limit: int
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.method = method_named(self.norm)
        if not oracle.knows(self.norm):
            raise Unusable(f"norm {self.norm!r} has no golden vectors; there are some of {', '.join(offered())}")
        self.dialect = next(iter(self.method.dialects)) if self.asked is None else self.asked
        if self.dialect not in self.method.dialects:
            names = ", ".join(self.method.dialects)
            raise Unusable(f"dialect {self.dialect!r} is unknown to {self.norm}; it must be one of {names}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise Unusable(f"seed is {self.seed!r}; it must be a whole number, 0 or more")
        self.casts = self.method.dialects[self.dialect].casts
        asked = (self.dtypes,) if isinstance(self.dtypes, str | Mapping) else DTYPES if self.dtypes is None else self.dtypes
        self.arithmetics = [_arithmetic(entry) for entry in asked]
        if not self.arithmetics:
            raise Unusable(f"dtypes is empty; it must name at least one of {', '.join(NAMES)}")
        self.main = min(self.arithmetics, key=lambda a: (a.x != np.float32, -a.x.itemsize))

    def header(self) -> dict[str, Any]:
        """What the manifest says before its cases."""
        types = {tag(a): {role: getattr(a, role).name for role in ROLES} for a in self.arithmetics}
        return {
            "version": 1, "norm": self.norm, "dialect": self.dialect, "seed": self.seed, "quick": self.quick,
            "casts": self.casts, "arithmetic": types,
        }  # fmt: skip

    def vectors(self, progress: Progress | None = None) -> Iterator[Vector]:
        seen: set[str] = set()
        chosen = [case for arithmetic in self.arithmetics for case in self._chosen(arithmetic)]
        for k, case in enumerate(chosen):
            vector = self._vector(case, seen)
            if vector is not None:
                yield vector
            if progress is not None:
                progress(k + 1, len(chosen), case.stratum)

    def _chosen(self, arithmetic: Arithmetic) -> list[Case]:
        """What is written of one arithmetic: small cases; of the main one, also --quick's and one of every stratum."""
        default = self.method.dialects[self.dialect].defaults.get("eps")
        is_main = arithmetic is self.main
        plan = Plan(self.method, arithmetic, 1e-6 if default is None else default, self.seed, heavy=is_main)
        limit = self.limit if is_main else min(self.limit, SMALL)
        drawn: dict[str, Case] = {}
        for case in strata.cases(plan, self.quick):
            if case.layout == "contiguous":  # what follows tells two cases apart: their draws hang on nothing else
                drawn.setdefault(f"{case.stratum} {case.label} {case.words} {case.normalized_ndim}", case)
            else:
                self.left_out["of memory layouts: what is written here is contiguous"] += 1
        chosen = [c for c in drawn.values() if c.x.size <= limit or (is_main and c.quick and self.limit > TINY)]
        if is_main and self.limit > TINY:
            met = {c.stratum for c in chosen}
            rest = sorted((c for c in drawn.values() if c.stratum not in met), key=lambda c: c.x.size)
            chosen += {c.stratum: c for c in reversed(rest)}.values()
        self.left_out["too large for these files"] += len(drawn) - len(chosen)
        return chosen

    def _vector(self, case: Case, seen: set[str]) -> Vector | None:
        expectation = Expectation(case, self.dialect, self.casts)
        try:
            right = expectation.outputs()
        except OutsideDialect:
            right = {}
        if not right or expectation.refused:
            self.left_out[f"an error under the dialect {self.dialect}"] += 1
            return None
        right |= expectation.gradients()
        results = {name: Result(*rounded_up(e), _stored_as(case, name)) for name, e in right.items()}
        if case.x.size and all(np.isnan(r.tolerance).all() for r in results.values()):
            self.left_out["out of range: nothing can be judged"] += 1
            return None
        name = "/".join(map(_slug, (tag(case.arithmetic), case.stratum, case.label)))
        while name in seen:
            name += "-again"
        seen.add(name)
        arrays = {k: v for k, v in case.arguments.items() if isinstance(v, np.ndarray)}
        options = {k: v for k, v in case.arguments.items() if v is not None and not isinstance(v, np.ndarray)}
        return Vector(
            name, _slug(case.stratum), case.label, tag(case.arithmetic), {**options, **self._placing(case)},
            {**arrays, "dy": case.dy}, results,
        )  # fmt: skip

    def _placing(self, case: Case) -> dict[str, int]:
        """Which axes are meant, where an option of the norm does not say."""
        known = self.method.signature.parameters
        placing = {"channel_axis": case.channel_axis} if "channel_axis" in known else {}
        return placing | ({"normalized_ndim": case.normalized_ndim} if "axis" in known else {})


def _arithmetic(entry: Any) -> Arithmetic:
    names = entry.values() if isinstance(entry, Mapping) else (entry,)
    for name in names:
        if not isinstance(name, str) or name not in NAMES:
            raise Unusable(f"dtype {name!r} is unknown; it must be one of {', '.join(NAMES)}")
    try:
        return Arithmetic.of(entry)
    except TypeError:
        given = ", ".join(map(str, entry))
        raise Unusable(f"dtypes names the roles {given}; it must name x, and may name {', '.join(ROLES[1:])}") from None


def rounded_up(right: Expected) -> tuple[np.ndarray, np.ndarray]:
    """Value and bound as float64: the bound widened by what rounding the value changes, and rounded up."""
    value = np.array(right.value, np.float64)
    with np.errstate(all="ignore"):
        moved = np.abs(value.astype(right.bound.dtype) - right.value)
        exact = np.asarray(right.bound + np.where(np.isfinite(right.bound), moved, 0))
        bound = exact.astype(np.float64)
        bound = np.where(bound < exact, np.nextafter(bound, np.inf), bound)
    return np.where(np.isnan(value), np.nan, value), np.where(np.isnan(bound), np.nan, bound)  # one NaN: same bytes


def _stored_as(case: Case, name: str) -> str:
    return getattr(case.arithmetic, role_of(case.convention, name)).name


def _slug(words: str) -> str:
    """ "|mean|/std = 4, rows of 7" -> "mean-std-4-rows-of-7": one word, for manifests that are read word by word."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", words).strip("-")
