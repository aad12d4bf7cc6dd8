"""The CUDA kernels without a GPU: in the simulator, and compiled, each in a process of its own; and what a machine without
says."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refnorm as rn
from refnorm.kernels.cuda import METHODS, device

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent.relative_to(ROOT)


def needs_numba_cuda():
    """Skip where the package is absent; under CI it must be there."""
    if importlib.util.find_spec("numba_cuda") is None and os.environ.get("CI") != "true":
        pytest.skip("numba-cuda is not installed: pip install 'refnorm[cuda]'")


def passes(file, *options, **variables):
    """The tests of a file pass, in a process of their own."""
    needs_numba_cuda()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(HERE / file)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    said = subprocess.run(command, cwd=ROOT, env={**inherited, **variables}, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout[-8000:] + said.stderr[-2000:]


@pytest.mark.slow
def test_every_kernel_is_right_in_the_simulator():
    passes("in_simulator.py", "-p", "tests.kernels.cuda.simulator")


@pytest.mark.slow
def test_arrays_of_other_libraries_in_the_simulator():
    passes("in_libraries.py", "-p", "tests.kernels.cuda.simulator")


@pytest.mark.slow
def test_the_conformance_kit_finds_every_method_right_in_the_simulator():
    passes("in_kit.py", "-p", "tests.kernels.cuda.simulator")


@pytest.mark.slow
def test_every_kernel_compiles_for_a_hopper_gpu():
    passes("in_compiler.py", NUMBA_ENABLE_CUDASIM="0")


def without_a_gpu():
    return device.unavailable() != ""


def test_a_machine_without_says_in_one_line_what_is_missing():
    if not without_a_gpu():
        pytest.skip("there is a GPU here")
    with pytest.raises(RuntimeError) as said:
        rn.layer_norm(np.ones((2, 4)), backend="cuda")
    line = str(said.value)
    assert "\n" not in line and line.startswith("backend 'cuda' cannot run here: ") and "backend='numba'" in line
    assert "pip install" in line or "driver" in line


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None)
    assert device.unavailable().startswith("the package numba-cuda is not installed: pip install 'refnorm[cuda]'")


def test_wrong_calls_are_refused_before_the_device_is_asked_for():
    with pytest.raises(ValueError, match="gamma has shape"):
        rn.layer_norm(np.ones((2, 4)), np.ones(3), backend="cuda")
    with pytest.raises(ValueError, match=r"no kernel for batch_norm with weighted or masked.*backend='numpy' has it"):
        rn.batch_norm(np.ones((4, 5)), mask=np.arange(4)[:, None] > 0, backend="cuda")
    with pytest.raises(ValueError, match="has no kernel for evo_norm_b0"):
        rn.evo_norm_b0(np.ones((4, 5, 2)), backend="cuda")


def test_importing_the_room_asks_for_no_cuda():
    code = "import sys; from refnorm.kernels.cuda import METHODS; print(len(METHODS), 'numba_cuda' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert int(said[0]) == len(METHODS) >= 15 and said[1] == "False"


def test_arrays_that_are_nowhere_are_refused():
    class Elsewhere:
        def __dlpack__(self, **_):
            raise AssertionError("not read")

        def __dlpack_device__(self):
            return 1, 0

    with pytest.raises(TypeError, match="x is a Elsewhere on the host; it must be on a CUDA device, or a NumPy array"):
        rn.layer_norm(Elsewhere(), backend="cuda")
    with pytest.raises(TypeError, match="NumPy array"):
        rn.layer_norm([1.0, 2.0], backend="cuda")


def test_the_command_says_so_too():
    if not without_a_gpu():
        pytest.skip("there is a GPU here")
    command = [sys.executable, "-m", "refnorm", "check", "--backend", "cuda", "--norm", "layer_norm"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 2 and "backend 'cuda' cannot run here: " in said.stdout + said.stderr
