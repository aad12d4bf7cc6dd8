"""Any program as a candidate: `refnorm check "exec:./my_norm" --norm layer_norm`.

The program is started once a call, in a folder of its own that holds inputs.npz, and leaves outputs.npz there.  The folder is
its working directory and its last argument.  Words of the command that name existing files are made absolute; further
words are passed on ("exec:./norms layer_norm"), and nothing goes through a shell.

inputs.npz, uncompressed, every size in its local headers (a loop over the file reads it; examples/c/npz.h):

    call                     "forward" or "backward"
    norm                     what it is judged as: "layer_norm", so that one program may hold several
    x, gamma, ...            arrays under the contract's names, in C order; what is None is left out
    eps, training, ...       options as scalars (0-d: float64, int64, bool), lists as int64
    normalized_ndim          how many trailing axes are normalized, where a norm is over these
    channel_axis             which axis is the channels', where a norm has some
    dy                       in a backward: the cotangent of y
    dtypes                   JSON, {"x": "bfloat16", ...}: every array's type, since bfloat16 comes as uint16 holding its bits

outputs.npz, any npz: y (running_mean, running_var, u, v where the norm has them), or dx, dgamma, dbeta ... in the types of
their arguments; a uint16 result is bfloat16.  What is left out, but y and dx, is not judged.

Exit code 0: answered.  77: this call is not offered (a program without a backward exits so from every "backward").  Anything
else, a signal, no or an unreadable outputs.npz, or no answer in time is a finding of the report, with the last line of stderr.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ..candidate import Candidate, Unusable
from ..conventions import convention_of, method_named
from ..deadline import Hangs
from ..golden import as_bits
from ..npz import write_npz

NOT_OFFERED = 77
"""The exit code by which test programs say "skipped" (Automake, Meson)."""
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class ProgramFails(RuntimeError):
    """It ran and gave no answer; the message says how."""


class NotOffered(TypeError):
    """It says that it does not take these arguments."""


def candidate(command: str, *, seconds: float = 60.0, **fields: Any) -> Candidate:
    """The program as a Candidate; fields are a Candidate's.

    seconds: the longest that a call may take, whatever the kit's own patience.
    Raises Unusable where there is no such program.
    """
    program = Program(_words(command), seconds)

    def forward(
        *_: Any, norm: str, normalized_ndim: int | None = None, channel_axis: int | None = None, **named: Any
    ) -> Any:  # fmt: skip
        given = {"norm": norm, **named, "normalized_ndim": normalized_ndim, "channel_axis": channel_axis}
        return program("forward", given, convention_of(method_named(norm)).outputs), given

    def backward(dy: np.ndarray, given: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        gradients = tuple("d" + name for name in convention_of(method_named(given["norm"])).gradients)
        try:
            return program("backward", {**given, "dy": dy}, gradients)
        except NotOffered:
            return ()

    return Candidate(forward, backward, **{"name": command, "saves": True, "by_name": True, **fields})


@dataclass(frozen=True)
class Program:
    """words: the command.  Called with a stage, arguments by name, and the names of results, the first of them required."""

    words: tuple[str, ...]
    seconds: float

    def __call__(self, call: str, given: Mapping[str, Any], results: tuple[str, ...]) -> tuple[np.ndarray | None, ...]:
        """One run -> the results in order, None for what was left out.

        Raises ProgramFails, NotOffered, Hangs.
        """
        with tempfile.TemporaryDirectory(prefix="refnorm-") as name:
            folder = Path(name)
            write_npz(folder / "inputs.npz", packed(call, given))
            code = self._run(folder)
            if code == NOT_OFFERED:
                raise NotOffered(f"exit code {NOT_OFFERED}: this call is not offered{_last_words(folder)}")
            if code != 0:
                raise ProgramFails(f"{_ending(code)}{_last_words(folder)}")
            return unpacked(folder / "outputs.npz", results)

    def _run(self, folder: Path) -> int:
        """The exit code.  Whatever ends the wait (the kit's own limit raises in it), the program does not stay behind."""
        with (folder / "stderr").open("wb") as log:
            try:
                running = subprocess.Popen(
                    [*self.words, str(folder)], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise ProgramFails(f"cannot be started: {error.strerror or error}") from error
            try:
                return running.wait(self.seconds)
            except subprocess.TimeoutExpired:
                raise Hangs from None
            finally:
                if running.poll() is None:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()


def packed(call: str, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What inputs.npz holds."""
    arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
    types = {name: a.dtype.name for name, a in arrays.items()}
    plain = {name: as_bits(a) if a.dtype == BFLOAT16 else np.array(a, order="C") for name, a in arrays.items()}
    return {"call": np.asarray(call), **plain, "dtypes": np.asarray(json.dumps(types))}


def unpacked(path: Path, results: tuple[str, ...]) -> tuple[np.ndarray | None, ...]:
    """The named arrays of outputs.npz, None for those that it has not.  Raises ProgramFails."""
    if not path.is_file():
        raise ProgramFails("it wrote no outputs.npz")
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as found:  # a reader that fails keeps no file open
            have = list(found.files)
            arrays = {name: found[name] for name in results if name in have}
    except Exception as error:  # whatever a stranger's file makes the reader raise
        raise ProgramFails(f"outputs.npz cannot be read: {type(error).__name__}: {error}") from error
    if results[0] not in arrays:
        raise ProgramFails(f"outputs.npz has no {results[0]}; it has {', '.join(have) or 'nothing'}")
    return tuple(a.view(BFLOAT16) if a is not None and a.dtype == np.uint16 else a for a in map(arrays.get, results))


def _words(command: str) -> tuple[str, ...]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Unusable(f"exec:{command} is no command: {error}") from error
    if not words:
        raise Unusable("exec: names no program; it must read exec:./program")
    program = shutil.which(words[0])
    if program is None:
        why = "is not executable" if Path(words[0]).exists() else "does not exist"
        raise Unusable(f"exec:{command}: the program {words[0]} {why}; it must be an executable file or stand on the PATH")
    return os.path.abspath(program), *(os.path.abspath(word) if Path(word).is_file() else word for word in words[1:])


def _ending(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _last_words(folder: Path) -> str:
    """The last line of what it wrote to stderr, after a colon; empty where it wrote nothing."""
    with (folder / "stderr").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
        lines = log.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""
