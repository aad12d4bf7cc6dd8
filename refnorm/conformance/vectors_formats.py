"""How golden vectors lie in files: one writer and one reader a format.

    npz          vectors.npz, each array under "<case>/<array>", and manifest.json
    safetensors  vectors.safetensors, under the same keys, and manifest.json
    json         vectors.json, manifest and numbers in one
    raw          vectors.bin and manifest.txt (vectors_raw)

A case has its inputs under their names (x, gamma, ..., dy; absent where None), and for each result r (y, running_mean,
running_var, dx, dgamma, dbeta) the arrays "expected.r" and "tolerance.r", float64; all in C order.  float16 and bfloat16
are uint16 holding their bits in npz and raw, native in safetensors, numbers in JSON; the manifest has their name.
JSON numbers are decimal and read back as the very double; "NaN", "Infinity" and "-Infinity" are strings, for JSON has none.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .golden import JUDGING, Vector, Vectors, as_bits, from_bits
from .npz import write_npz
from .tolerance_arithmetic import NAMES
from .vectors_raw import read_raw, write_raw

SAFETENSORS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class Format(NamedTuple):
    """write(folder, vectors) -> the files written, the manifest last; read(folder) -> vectors; data: the file that shows it."""

    data: str
    write: Callable[[Path, Vectors], list[Path]]
    read: Callable[[Path], Vectors]


def read_vectors(folder: Path | str) -> Vectors:
    """What `write_vectors` wrote.  Raises ValueError where the folder holds none, or several formats."""
    found = [form for form in FORMATS.values() if (Path(folder) / form.data).is_file()]
    if len(found) != 1:
        have = ", ".join(form.data for form in found) or "none of them"
        raise ValueError(f"{folder} holds {have}; it must hold one of {', '.join(form.data for form in FORMATS.values())}")
    return found[0].read(Path(folder))


def _keyed(vectors: Vectors) -> Iterator[tuple[str, np.ndarray]]:
    return ((f"{case.name}/{name}", array) for case in vectors.cases for name, array in case.arrays())


def _write_npz(folder: Path, vectors: Vectors) -> list[Path]:
    path = folder / FORMATS["npz"].data
    write_npz(path, {key: as_bits(array) for key, array in _keyed(vectors)})
    return [path, _write_manifest(folder, vectors, path.name)]


def _read_npz(folder: Path) -> Vectors:
    with np.load(folder / FORMATS["npz"].data, allow_pickle=False) as data:
        return _read_manifest(folder, lambda key, words: from_bits(data[key], words["dtype"]))


def _write_safetensors(folder: Path, vectors: Vectors) -> list[Path]:
    index: dict[str, Any] = {"__metadata__": {"norm": vectors.header["norm"], "manifest": "manifest.json"}}
    body = io.BytesIO()
    for key, array in _keyed(vectors):
        start = body.tell()
        body.write(as_bits(array).tobytes())
        index[key] = {"dtype": SAFETENSORS[array.dtype.name], "shape": array.shape, "data_offsets": [start, body.tell()]}
    head = json.dumps(index, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # so that the data starts aligned
    path = folder / FORMATS["safetensors"].data
    path.write_bytes(len(head).to_bytes(8, "little") + head + body.getvalue())
    return [path, _write_manifest(folder, vectors, path.name)]


def _read_safetensors(folder: Path) -> Vectors:
    whole = (folder / FORMATS["safetensors"].data).read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    index = json.loads(whole[8:start])

    def array(key: str, words: Mapping[str, Any]) -> np.ndarray:
        first, last = index[key]["data_offsets"]
        return np.frombuffer(whole[start + first : start + last], NAMES[words["dtype"]])

    return _read_manifest(folder, array)


def _write_manifest(folder: Path, vectors: Vectors, data: str) -> Path:
    path = folder / "manifest.json"
    path.write_text(_json({"file": data, "key": "<case>/<array>"}, vectors, (case.words() for case in vectors.cases)))
    return path


def _read_manifest(folder: Path, array: Callable[[str, Mapping[str, Any]], np.ndarray]) -> Vectors:
    """array(key, {"dtype", "shape"}) -> its contents, of any shape."""
    header = json.loads((folder / "manifest.json").read_text())
    cases = []
    for words in header.pop("cases"):
        said = words["arrays"].items()
        arrays = {name: array(f"{words['name']}/{name}", of).reshape(of["shape"]) for name, of in said}
        cases.append(Vector.of(words, arrays))
    return Vectors({k: v for k, v in header.items() if k not in ("judging", "file", "key")}, cases)


def _write_json(folder: Path, vectors: Vectors) -> list[Path]:
    def whole(case: Vector) -> dict[str, Any]:
        words = case.words()
        for name, array in case.arrays():
            words["arrays"][name]["data"] = [_number(v) for v in array.astype(np.float64).ravel().tolist()]
        return words

    path = folder / FORMATS["json"].data
    path.write_text(_json({}, vectors, (whole(case) for case in vectors.cases)))
    return [path]


def _number(value: float) -> float | str:
    return value if np.isfinite(value) else "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _read_json(folder: Path) -> Vectors:
    header = json.loads((folder / FORMATS["json"].data).read_text())
    cases = []
    for words in header.pop("cases"):
        arrays = {
            name: np.array([float(v) for v in of["data"]], np.float64).astype(NAMES[of["dtype"]]).reshape(of["shape"])
            for name, of in words["arrays"].items()
        }
        cases.append(Vector.of(words, arrays))
    return Vectors({k: v for k, v in header.items() if k != "judging"}, cases)


def _json(more: dict[str, str], vectors: Vectors, cases: Iterator[dict[str, Any]]) -> str:
    """The header, then one case a line."""
    head = json.dumps({"judging": " ".join(JUDGING), **vectors.header, **more}, allow_nan=False)
    lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
    return f'{head[:-1]}, "cases": [\n{lines}\n]}}\n'


FORMATS = {
    "npz": Format("vectors.npz", _write_npz, _read_npz),
    "safetensors": Format("vectors.safetensors", _write_safetensors, _read_safetensors),
    "json": Format("vectors.json", _write_json, _read_json),
    "raw": Format("vectors.bin", write_raw, read_raw),
}
