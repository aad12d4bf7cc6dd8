"""Programs as candidates: what they are given, what they may answer, and every way in which they fail to."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from refnorm.conformance import Unusable, check
from refnorm.conformance.adapters.command import candidate
from refnorm.conformance.caller import Caller
from refnorm.conformance.conventions import method_named
from refnorm.conformance.expected import Expectation
from refnorm.conformance.plan import Plan
from refnorm.conformance.tolerance_arithmetic import Arithmetic
from refnorm.conformance.tolerance_verdict import compare
from refnorm.conformance.values import ordinary

EXAMPLES = Path(__file__).parents[2] / "examples" / "c"
RIGHT = """
x, k, eps = given["x"].astype(float), int(given["normalized_ndim"]), float(given["eps"])
axes, rows = tuple(range(x.ndim - k, x.ndim)), tuple(range(x.ndim - k))
gamma, beta = given.get("gamma", 1.0), given.get("beta", 0.0)
c = x - x.mean(axes, keepdims=True)
r = 1 / np.sqrt(np.square(c).mean(axes, keepdims=True) + eps)
if given["call"] == "forward":
    found = {"y": gamma * c * r + beta}
else:
    dy = given["dy"].astype(float)
    g = dy * gamma
    dx = r * (g - g.mean(axes, keepdims=True) - c * r * (g * c * r).mean(axes, keepdims=True))
    found = {"dx": dx, "dgamma": (dy * c * r).sum(rows), "dbeta": dy.sum(rows)}
np.savez("outputs.npz", **{name: a.astype(given["x"].dtype) for name, a in found.items()})
"""


@pytest.fixture
def program(tmp_path):
    """program(body) -> an executable Python script that has np, sys, os and `given`, the inputs."""

    def write(body: str, name: str = "my_norm") -> str:
        path = tmp_path / name
        imports = "import json, os, sys, time\nimport numpy as np\ngiven = np.load('inputs.npz')"
        path.write_text(f"#!{sys.executable}\n{imports}\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


def case_of(norm="layer_norm", dtype="float32", **asked):
    plan = Plan(method_named(norm), Arithmetic.of(dtype), 1e-5)
    return plan.rows("ordinary", "a small one", ordinary, 3, 8, **asked)


@pytest.mark.parametrize("asked", [{}, {"gamma": "none", "beta": "none"}, {"spatial": 2}])
def test_a_right_program_passes(program, asked):
    case = case_of(**asked)
    trial = Caller(candidate(program(RIGHT)))(case)
    assert trial.faults == []
    right = Expectation(case, "torch")
    expected = {**right.outputs(), **right.gradients()}
    assert set(expected) <= set(trial.values)
    for name, value in expected.items():
        assert compare(trial.values[name], value.value, value.bound).ok, name


def test_what_a_program_is_given(program, tmp_path):
    told = tmp_path / "told.json"
    body = f"""
told = {{name: [a.dtype.str, a.shape, a.tolist()] for name, a in given.items()}}
told["where"] = [os.getcwd(), *sys.argv[1:]]
json.dump(told, open({str(told)!r}, "w"))
names = {{"forward": ["y", "running_mean", "running_var"], "backward": ["dx", "dgamma"]}}[str(given["call"])]
shape = {{"y": "x", "dx": "x", "dgamma": "gamma"}}
np.savez("outputs.npz", **{{name: given[shape.get(name, name)] for name in names}})
"""
    case = case_of("batch_norm", "bfloat16", beta="none", training=True, momentum=0.25)
    caller = Caller(candidate(program(body) + " 'an argument'"))
    trial = caller.forward(case)
    assert trial.faults == [] and trial.values["y"].dtype == ml_dtypes.bfloat16
    given = json.loads(told.read_text())
    folder, *words = given.pop("where")
    assert words == ["an argument", folder] and not Path(folder).exists()
    assert given["call"] == ["<U7", [], "forward"]
    assert given["x"][:2] == ["<u2", list(case.x.shape)] and given["x"][2] == case.x.view(np.uint16).tolist()
    assert given["eps"] == ["<f8", [], 1e-5] and given["training"] == ["|b1", [], True]
    assert given["channel_axis"] == ["<i8", [], 1] and given["norm"] == ["<U10", [], "batch_norm"]
    assert json.loads(given["dtypes"][2])["running_var"] == "bfloat16"
    assert set(given) == {
        "call", "norm", "dtypes", "x", "gamma", "running_mean", "running_var", "momentum", "eps", "training", "channel_axis",
        "normalized_ndim",
    }  # fmt: skip
    caller.backward(trial)
    assert trial.faults == [] and {"dx", "dgamma"} < set(trial.values)
    given = json.loads(told.read_text())
    assert given["call"][2] == "backward" and given["dy"][2] == case.dy.view(np.uint16).tolist()


def test_paths_in_the_command_are_those_of_the_caller(program, tmp_path, monkeypatch):
    program(RIGHT, "norm.py")
    monkeypatch.chdir(tmp_path)
    for command in (f"{sys.executable} norm.py", "./norm.py"):
        assert Caller(candidate(command)).forward(case_of()).faults == []


@pytest.mark.parametrize(
    "body, kind, words",
    [
        ("print('no such n', file=sys.stderr); sys.exit(3)", "raises", "exit code 3: no such n"),
        ("raise ValueError('x is strange')", "raises", "exit code 1: ValueError: x is strange"),
        ("os.kill(os.getpid(), 11)", "raises", "ended by SIGSEGV"),
        ("pass", "raises", "it wrote no outputs.npz"),
        ("open('outputs.npz', 'w').write('y = 1')", "raises", "outputs.npz cannot be read: "),
        ("open('outputs.npz', 'wb').write(open('inputs.npz', 'rb').read()[:200])", "raises", "outputs.npz cannot be read: "),
        ("np.save(open('outputs.npz', 'wb'), given['x'])", "raises", "outputs.npz cannot be read: "),
        ("np.savez('outputs.npz', y=np.array([None]))", "raises", "outputs.npz cannot be read: ValueError"),
        ("np.savez('outputs.npz', z=given['x'], w=given['x'])", "raises", "outputs.npz has no y; it has z, w"),
        ("np.savez('outputs.npz', y=given['x'][:2])", "shape", "y has shape (2, 8); it must be (3, 8)"),
        ("np.savez('outputs.npz', y=given['x'].astype(float))", "dtype", "y has dtype float64; it must be float32"),
        ("sys.exit(77)", "raises", "NotOffered: exit code 77: this call is not offered"),
    ],
)
def test_every_way_to_give_no_answer_is_a_finding(program, body, kind, words):
    trial = Caller(candidate(program(body))).forward(case_of(spatial=1))
    assert [fault.kind for fault in trial.faults] == [kind]
    assert words in trial.faults[0].message


def test_a_program_without_a_backward_says_so_by_its_exit_code(program):
    body = "sys.exit(77) if given['call'] == 'backward' else np.savez('outputs.npz', y=given['x'])"
    trial = Caller(candidate(program(body)))(case_of())
    assert trial.faults == [] and set(trial.values) == {"y"}


@pytest.mark.parametrize("limits", [{"patience": 0.2}, {"seconds": 1.0}])
def test_a_program_that_hangs_is_a_finding_and_is_ended(program, tmp_path, limits):
    pid = tmp_path / "pid"
    hangs = program(f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(1000)")
    seconds, patience = limits.get("seconds", 60.0), limits.get("patience", 10.0)
    start = time.monotonic()
    trial = Caller(candidate(hangs, seconds=seconds), patience=patience).forward(case_of())
    assert [fault.kind for fault in trial.faults] == ["hangs"] and time.monotonic() - start < 30
    if pid.exists():                                # it may not have come so far
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIG_DFL)


def test_bad_commands_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no program")
    for command, words in (
        ("./absent", "exec:./absent: the program ./absent does not exist; it must be an executable file or stand on the PATH"),
        ("./text", "the program ./text is not executable"),
        ("", "exec: names no program; it must read exec:./program"),
        ("./a 'b", "exec:./a 'b is no command: No closing quotation"),
    ):
        with pytest.raises(Unusable) as error:
            candidate(command)
        assert words in str(error.value) and "\n" not in str(error.value)


def compiled(folder: Path, kernel: str) -> str:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (gcc, cc) on the PATH")
    (folder / "layer_norm.c").write_text(kernel)
    sources = [str(EXAMPLES / "program.c"), str(folder / "layer_norm.c"), f"-I{EXAMPLES}"]
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-lm", "-o", str(folder / "program")]
    subprocess.run([compiler, *sources, *flags], check=True, timeout=100)
    return str(folder / "program")


def test_a_program_in_c_is_judged_right(tmp_path):
    report = check(
        candidate(compiled(tmp_path, (EXAMPLES / "layer_norm.c").read_text()), dtypes=("float32",)), "layer_norm", quick=True
    )
    assert report.passed, str(report)
    assert report.dialect == "torch"


def test_a_program_in_c_is_judged_wrong(tmp_path):
    kernel = (EXAMPLES / "layer_norm.c").read_text()
    report = check(
        candidate(compiled(tmp_path, kernel.replace("- a - ", "- ")), dtypes=("float32",)), "layer_norm", quick=True
    )
    assert not report.passed
    failed = {failure.check for failure in report.failures}
    assert "backward.dx" in failed and not any(name.startswith("forward.") for name in failed)
