"""Golden vectors as raw arrays and a manifest that fscanf can read.

vectors.bin holds the arrays one after the other, little-endian, in C order, each on a multiple of 8 bytes; float16 and
bfloat16 lie there as their bits.  manifest.txt says what they are, one statement a line, its words one space apart.
A reader skips lines whose first word it does not know, comments (`#`) among them.

    norm layer_norm                         of the whole: version, norm, dialect, seed, casts, cases
    arithmetic float32 compute float32      what a dtype of a case stands for: role and type
    case float32/ordinary/3-rows-of-12      up to its `end`:
    stratum ordinary
    dtype float32
    label 3 rows of 12                      in words, to the end of the line
    option eps 1e-05                        a number; true is 1
    list axes 2 0 2                         an option that is a list: its length, then its integers
    result y float32                        something to judge, and the type that it is stored in
    array x float32 4096 3 1 4 3            bytes from the start of vectors.bin, number of axes, axes
    end
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .golden import JUDGING, Vector, Vectors, as_bits
from .tolerance_arithmetic import NAMES

DATA, MANIFEST = "vectors.bin", "manifest.txt"
ALIGNMENT = 8


def write_raw(folder: Path, vectors: Vectors) -> list[Path]:
    body, lines = io.BytesIO(), list(_header(vectors))
    for case in vectors.cases:
        lines += [f"case {case.name}", f"stratum {case.stratum}", f"dtype {case.dtype}", f"label {case.label}"]
        lines += [_option(name, value) for name, value in case.options.items()]
        lines += [f"result {name} {result.dtype}" for name, result in case.results.items()]
        for name, array in case.arrays():
            body.write(b"\0" * (-body.tell() % ALIGNMENT))
            lines.append(" ".join(map(str, ("array", name, array.dtype.name, body.tell(), array.ndim, *array.shape))))
            body.write(as_bits(array).tobytes())
        lines.append("end")
    (folder / DATA).write_bytes(body.getvalue())
    (folder / MANIFEST).write_text("\n".join(lines) + "\n")
    return [folder / DATA, folder / MANIFEST]


def _header(vectors: Vectors) -> Iterator[str]:
    said = dict(vectors.header)
    types = said.pop("arithmetic")
    yield "# Golden vectors of refnorm; refnorm/conformance/vectors_raw.py tells what a line means."
    yield from (f"# {line}" for line in JUDGING)
    yield from (f"{key} {_word(value)}" for key, value in {**said, "cases": len(vectors.cases)}.items())
    yield from (f"arithmetic {name} {role} {dtype}" for name, roles in types.items() for role, dtype in roles.items())


def _option(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, ("list", name, len(value), *value)))
    return f"option {name} {_word(value)}"


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)  # a float's str reads back as the very double


def _value(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def read_raw(folder: Path) -> Vectors:
    data = (folder / DATA).read_bytes()
    header: dict[str, Any] = {"arithmetic": {}}
    cases: list[Vector] = []
    words: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for line in (folder / MANIFEST).read_text().splitlines():
        key, _, rest = line.partition(" ")
        if key == "#":
            continue
        elif key == "case":
            words, arrays = {"name": rest, "options": {}, "results": {}}, {}
        elif key == "end":
            cases.append(Vector.of(words, arrays))
            words = {}
        elif key == "array":
            name, array = _array(data, rest)
            arrays[name] = array
        elif key == "list":
            name, _, *values = rest.split()
            words["options"][name] = tuple(map(int, values))
        elif key in ("option", "result"):
            name, value = rest.split()
            words[f"{key}s"][name] = _value(value)
        elif key == "arithmetic":
            name, role, dtype = rest.split()
            header["arithmetic"].setdefault(name, {})[role] = dtype
        elif words:
            words[key] = rest
        else:
            header[key] = _value(rest)
    del header["cases"]
    return Vectors(header, cases)


def _array(data: bytes, rest: str) -> tuple[str, np.ndarray]:
    name, dtype, *numbers = rest.split()
    offset, _, *shape = map(int, numbers)
    count = int(np.prod(shape, dtype=int))
    return name, np.frombuffer(data, np.dtype(NAMES[dtype]), count, offset).reshape(shape)
