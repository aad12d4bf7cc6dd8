"""Solved exercises pass, unsolved ones say what to do, wrong ones are told what is wrong."""

import subprocess
import sys

import pytest

from refnorm.atlas import exercise

HEAD = "import numpy as np\n"
SOLVED = {
    "center": "def backward(dy):\n    return dy - dy.mean(-1, keepdims=True)",
    "layer_norm": """
def backward(dy, x, gamma, beta, *, eps=1e-5):
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat, g = (x - x.mean(-1, keepdims=True)) * r, dy * gamma
    dx = r * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True))
    return dx, (dy * xhat).sum(0), dy.sum(0)
""",
    "rms_norm": """
def backward(dy, x, gamma, *, eps=1e-6):
    r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    xhat, g = x * r, dy * gamma
    return r * (g - xhat * (g * xhat).mean(-1, keepdims=True)), (dy * xhat).sum(0)
""",
    "radial": "def dx_dot_xhat(g, xhat, var, eps):\n    return g @ xhat * eps * (var + eps) ** -1.5",
    "evaluation": """
def backward(dy, x, gamma, beta, running_mean, running_var, *, eps=1e-5):
    r = 1 / np.sqrt(running_var + eps)
    return dy * gamma * r, (dy * (x - running_mean) * r).sum(0), dy.sum(0)
""",
    "merge": """
def merge(n1, mean1, q1, n2, mean2, q2):
    n, apart = n1 + n2, mean2 - mean1
    return n, mean1 + apart * n2 / n, q1 + q2 + apart**2 * n1 * n2 / n
""",
    "weight_norm": """
def backward(dw, v, g):
    length = np.sqrt((v * v).sum(1, keepdims=True))
    dg = (dw * v / length).sum(1)
    return g[:, None] / length * (dw - v * (dw * v).sum(1, keepdims=True) / length**2), dg
""",
}
WRONG = {
    "center": [("- dy.mean(-1, keepdims=True)", "", "look at what a shift of the row does"), ("-1, ", "0, ", "dx is wrong")],
    "layer_norm": [
        (" - g.mean(-1, keepdims=True)", "", "lies along 1"),
        (" - xhat * (g * xhat).mean(-1, keepdims=True)", "", "lies along xhat"),
        ("dx = r * (", "dx = r * r * (", "its length is not"),
        ("g = (x - x.mean(-1, keepdims=True)) * r, dy * gamma", "g = (x - x.mean(-1, keepdims=True)) * r, dy", "look at gamma"),
        ("dy.sum(0)", "dy.sum(1)", "dbeta has shape"),
        ("(dy * xhat).sum(0), dy.sum(0)", "(dy * xhat).sum(0)", "it must return 3: dx, dgamma, dbeta"),
        ("+ eps", "+ 1e-5", "eps 0.3"),
        ("x.var(-1, keepdims=True)", "x.var(-1, keepdims=True, ddof=1)", "dx is wrong"),
    ],
    "rms_norm": [
        ("xhat * (g * xhat).mean", "(g * xhat).mean", "dx is wrong"),
        (" - xhat * (g * xhat).mean(-1, keepdims=True)", "", "along xhat"),
    ],
    "radial": [
        ("return g @ xhat * eps * (var + eps) ** -1.5", "return 0.0", "It is not zero: eps is not"),
        ("-1.5", "-0.5", "and yours"),
    ],
    "evaluation": [("dy * gamma * r,", "gamma * r * (dy - dy.mean(0)),", "In evaluation nothing is averaged")],
    "merge": [
        (" + apart**2 * n1 * n2 / n", "", "spread by that difference"),
        ("q1 + q2 + apart**2 * n1 * n2 / n", "q1 + n1*mean1**2 + q2 + n2*mean2**2 - n*((n1*mean1+n2*mean2)/n)**2", "q is"),
    ],
    "weight_norm": [
        ("/ length * (dw", "* (dw", "dv is wrong"),
        ("dw - v * (dw * v).sum(1, keepdims=True) / length**2", "dw", "lies along xhat"),
    ],
}  # fmt: skip


def judged(folder, name, body):
    path = folder / "mine.py"
    path.write_text(f'{HEAD}EXERCISE = "{name}"\n{body}\n')
    return exercise.judge(path)


@pytest.mark.parametrize("name", exercise.EXERCISES)
def test_a_solved_exercise_is_right(tmp_path, name):
    right, words = judged(tmp_path, name, SOLVED[name])
    assert right and words.endswith(": right."), words


@pytest.mark.parametrize("name", exercise.EXERCISES)
def test_an_unsolved_exercise_says_what_to_do(tmp_path, name):
    kept = exercise.EXERCISES[name]
    path = tmp_path / kept.file
    path.write_text(exercise.files()[kept.file])
    right, words = exercise.judge(path)
    assert not right and f"Fill in `{kept.function}`" in words and kept.asks in words


@pytest.mark.parametrize(("name", "old", "new", "says"), [(n, *w) for n, of in WRONG.items() for w in of])
def test_a_wrong_answer_is_told_what_is_wrong(tmp_path, name, old, new, says):
    assert old in SOLVED[name]
    right, words = judged(tmp_path, name, SOLVED[name].replace(old, new, 1))
    assert not right and says in words, words


def test_exercises_shipped_hold_no_solution():
    for text in exercise.files().values():
        assert text.count("raise NotImplementedError") == 1 and "return" not in text.split('"""')[2]


def test_the_command(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "refnorm", "check", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    path = tmp_path / "mine.py"
    path.write_text(f'{HEAD}EXERCISE = "center"\n{SOLVED["center"]}\n')
    assert (run(str(path)).returncode, run(str(path)).stdout) == (0, "Exercise 1, centring: right.\n")
    path.write_text('EXERCISE = "other"\n')
    done = run(str(path))
    assert done.returncode == 2 and "it must say EXERCISE = one of center, layer_norm" in done.stderr
    assert run(str(tmp_path / "absent.py")).returncode == 2


def test_what_cannot_be_run_is_no_traceback(tmp_path):
    right, words = judged(tmp_path, "center", "def backward(dy):\n    return dy + undefined")
    assert not right and "NameError" in words
    with pytest.raises(exercise.NoExercise, match="has no function backward"):
        judged(tmp_path, "center", "")
    with pytest.raises(exercise.NoExercise, match="cannot run"):
        judged(tmp_path, "center", "def (")
