"""The examples in C, JavaScript and Rust judge a layer norm of their language by golden vectors, right and wrong ones."""

import shutil
import subprocess
from pathlib import Path

import pytest

from refnorm.conformance.vectors import write_vectors

EXAMPLES = Path(__file__).parents[2] / "examples"
FAULTS = {
    "eps": ("n + eps", "n + 10 * eps"),
    "variance": ("(sum / n + eps)", "(sum / (n - 1) + eps)"),
    "mean term": ("- a - ", "- "),
    "tail": ("i < n; i++)\n            y[", "i < n / 4 * 4; i++)\n            y["),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_vectors(folder, "layer_norm", "raw", dtypes=("float32", "bfloat16"))
    return folder


def c_judge(folder, kernel):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (gcc, cc) on the PATH")
    (folder / "layer_norm.c").write_text(kernel)
    sources = [str(EXAMPLES / "c" / "judge.c"), str(folder / "layer_norm.c"), f"-I{EXAMPLES / 'c'}"]
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-lm", "-o", str(folder / "judge")]
    subprocess.run([compiler, *sources, *flags], check=True, timeout=100)
    return folder / "judge"


def test_c_judges_a_right_layer_norm(tmp_path, raw):
    judge = c_judge(tmp_path, (EXAMPLES / "c" / "layer_norm.c").read_text())
    done = subprocess.run([judge, raw], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "") and "cases in float32, 0 arrays wrong" in done.stdout
    absent = subprocess.run([judge, tmp_path], capture_output=True, text=True, timeout=100)
    assert absent.returncode == 2 and "manifest.txt: No such file" in absent.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_c_judges_a_wrong_layer_norm(tmp_path, raw, fault):
    kernel = (EXAMPLES / "c" / "layer_norm.c").read_text()
    assert FAULTS[fault][0] in kernel
    judge = c_judge(tmp_path, kernel.replace(*FAULTS[fault]))
    done = subprocess.run([judge, raw], capture_output=True, text=True, timeout=100)
    first = done.stdout.splitlines()[0]
    result = "dx" if fault == "mean term" else "y"
    assert done.returncode == 1 and first.startswith("float32/ordinary/") and f": {result}[" in first and "expected" in first


def test_javascript_judges_a_right_and_a_wrong_layer_norm(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH")
    for path in (EXAMPLES / "js").iterdir():
        shutil.copy(path, tmp_path)
    write_vectors(tmp_path / "vectors", "layer_norm", "json", quick=True)
    judge = [node, str(tmp_path / "judge.mjs"), str(tmp_path / "vectors")]
    right = subprocess.run(judge, capture_output=True, text=True, timeout=100)
    assert right.returncode == 0 and "float64 and float32, 0 arrays wrong" in right.stdout
    kernel = (tmp_path / "layer_norm.mjs").read_text()
    (tmp_path / "layer_norm.mjs").write_text(kernel.replace("/ n + eps", "/ n + 10 * eps"))
    done = subprocess.run(judge, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and done.stdout.startswith("float64/ordinary/") and ": y[" in done.stdout
    assert subprocess.run([*judge[:2], str(tmp_path)], capture_output=True, timeout=100).returncode == 2


def rust_judge(folder, kernel):
    compiler = shutil.which("rustc") or shutil.which("rustc", path=Path.home() / ".cargo" / "bin")
    if compiler is None:
        pytest.skip("there is no rustc on the PATH: https://rustup.rs")
    shutil.copy(EXAMPLES / "rust" / "judge.rs", folder)
    (folder / "layer_norm.rs").write_text(kernel)
    flags = ["-O", "--edition", "2021", "-D", "warnings", "-o", str(folder / "judge")]
    subprocess.run([compiler, str(folder / "judge.rs"), *flags], check=True, timeout=300)
    return folder / "judge"


def test_rust_judges_a_right_and_a_wrong_layer_norm(tmp_path, raw):
    kernel = (EXAMPLES / "rust" / "layer_norm.rs").read_text()
    judge = rust_judge(tmp_path, kernel)
    done = subprocess.run([judge, raw], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "") and "cases in float32, 0 arrays wrong" in done.stdout
    absent = subprocess.run([judge, tmp_path], capture_output=True, text=True, timeout=100)
    assert absent.returncode == 2 and "manifest.txt: No such file" in absent.stderr
    assert subprocess.run([judge], capture_output=True, timeout=100).returncode == 2
    for fault, result in ((("/ n + eps", "/ (n - 1.0) + eps"), "y"), (("- a - ", "- a / 2.0 - "), "dx")):
        assert fault[0] in kernel
        done = subprocess.run([rust_judge(tmp_path, kernel.replace(*fault)), raw], capture_output=True, text=True, timeout=100)
        assert done.returncode == 1 and f": {result}[" in done.stdout.splitlines()[0]
