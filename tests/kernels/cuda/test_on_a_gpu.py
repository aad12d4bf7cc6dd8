"""examples/on_a_gpu.sh without a GPU: what it says here, and its way through all steps with a Python that only pretends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refnorm.kernels.cuda import device

SCRIPT = Path(__file__).parents[3] / "examples" / "on_a_gpu.sh"
PRETENDED = """#!/usr/bin/env bash
echo "$*" | head -n 1 >> "$CALLS"
case "$*" in
    *missing*) exit 7 ;;
    *METHODS*) printf 'layer_norm\\nrms_norm\\n' ;;
    *--norm*rms_norm*) echo "rms_norm is wrong"; exit "${FULL:-0}" ;;
    *--quick*) echo "all right"; exit "${QUICK:-0}" ;;
    *bench*) echo "measured"; exit "${BENCH:-0}" ;;
    *) cat >/dev/null; echo "something" ;;
esac
"""


def run(tmp_path, **changed):
    (tmp_path / "python").write_text(PRETENDED)
    (tmp_path / "python").chmod(0o755)
    calls = tmp_path / "calls"
    given = {**os.environ, "PYTHON": str(tmp_path / "python"), "CALLS": str(calls), **changed}
    said = subprocess.run(["bash", str(SCRIPT), str(tmp_path / "out")], env=given, capture_output=True, text=True, timeout=60)
    return said, calls.read_text() if calls.exists() else ""


def test_all_steps_are_gone_through(tmp_path):
    said, calls = run(tmp_path)
    assert said.returncode == 0 and said.stdout.endswith("all is right\n"), said.stdout + said.stderr
    for dtype in ("float32", "bfloat16", "float16", "float64"):
        assert f"-m refnorm check --backend cuda --quick --dtype {dtype}" in calls
        assert f"{dtype}: exit code 0; all right" in said.stdout
    assert "-m refnorm bench --backend cuda --against torch --json" in calls
    assert "-m refnorm check --backend cuda --norm layer_norm" in calls
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found >= {"machine.txt", "first.txt", "quick-float32.txt", "bench.txt", "full-layer_norm.txt", "full-rms_norm.txt"}


@pytest.mark.parametrize(
    ("failing", "words"),
    [("QUICK", "quickly judged"), ("BENCH", "measured"), ("FULL", "judged in full")],
)
def test_a_step_that_fails_is_named_and_the_others_are_done(tmp_path, failing, words):
    said, calls = run(tmp_path, **{failing: "1"})
    assert said.returncode == 1 and said.stdout.endswith(f"wrong, or cut short: {words}\n")
    assert "--norm rms_norm" in calls and "bench" in calls


def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    if not device.unavailable():
        pytest.skip("there is a GPU here")
    said, _ = run(tmp_path, PYTHON=sys.executable)
    assert said.returncode == 2
    assert said.stdout.count("\n") == 1 and said.stdout.startswith("refnorm: backend 'cuda' cannot run here: ")
