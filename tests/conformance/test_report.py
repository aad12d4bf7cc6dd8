"""Reports: what they hold, JSON and JUnit, replay, the command's exit codes; pytest's one test per check."""

import json
import subprocess
import sys
import xml.etree.ElementTree as xml
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from refnorm.cli import main
from refnorm.conformance import Candidate, check, parametrize_with_checks, replay
from refnorm.conformance.checks import CHECKS
from refnorm.conformance.records import case_dict, read_case
from refnorm.conformance.session import Session

from .kernels import candidate, having
from .test_search import KERNELS

WRONG = having(rstd=lambda v, e: 1 / (np.sqrt(v) + e))


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    path = tmp_path / "kernels.py"
    right = KERNELS.replace("* (n / (n - 1) if n > 1 else 1)", "").replace("def layer_norm(", "def right(")
    path.write_text(KERNELS + right)
    return path


def test_a_report_says_what_the_contract_says() -> None:
    report = check(candidate("layer_norm", WRONG, dtypes=("float32",)), norm="layer_norm", quick=True)
    assert not report.passed and report.dialect == "torch"
    failure = report.failures[0]
    assert failure.check == "forward.y" and failure.stratum in ("ordinary", "parameters", "shapes", "cotangents")
    assert {"x", "gamma", "beta", "eps"} <= set(failure.inputs)
    assert failure.observed.shape == failure.expected.shape == failure.tolerance.shape == failure.inputs["x"].shape
    error = np.abs(failure.observed.astype(float) - failure.expected)
    assert np.any(error > failure.tolerance)
    assert "eps stands outside the root" in failure.message
    assert "np." in failure.reproduce()
    assert report.accuracy.bits["float32"]["ordinary"] > 10


@pytest.mark.slow
def test_a_right_kernel_loses_what_two_passes_lose() -> None:
    report = check(candidate("layer_norm", dtypes=("float32",)), norm="layer_norm")
    assert report.passed and report.headline == "right: torch's dialect"
    assert report.accuracy.growth["float32"] == pytest.approx(1, abs=0.4)
    assert report.accuracy.sentence() == ""
    rungs = report.accuracy.ladders["float32"][33]
    assert all(abs(r.bits - r.stable) < 3 for r in rungs)


@pytest.mark.slow
def test_one_pass_is_told_by_its_exponent() -> None:
    def one_pass(x):
        mean = x.mean(axis=1, keepdims=True)
        return mean, np.maximum(np.square(x).mean(axis=1, keepdims=True) - np.square(mean), 0)

    report = check(candidate("layer_norm", having(statistics=one_pass), dtypes=("float32",)), norm="layer_norm")
    assert report.arithmetic == "one-pass"
    assert report.accuracy.growth["float32"] > 1.7
    assert "where a two-pass variance loses" in report.headline


def test_cases_survive_json() -> None:
    session = Session(candidate("batch_norm", dtypes=("float64", "bfloat16")), "batch_norm", quick=True)
    for case in list(session.cases())[::9]:
        again = read_case(json.loads(json.dumps(case_dict(case))))
        assert again.norm == case.norm and again.layout == case.layout and again.arithmetic == case.arithmetic
        for name, value in case.arguments.items():
            if isinstance(value, np.ndarray):
                assert again.arguments[name].dtype == value.dtype
                assert again.arguments[name].tobytes() == np.ascontiguousarray(value).tobytes()
            else:
                assert again.arguments[name] == value
        assert np.array_equal(again.dy, case.dy)


def test_json_junit_and_replay(kernels: Path, tmp_path: Path) -> None:
    report = check(f"{kernels}:layer_norm", "layer_norm", quick=True, dtypes=("float32",))
    record = json.loads(report.to_json())
    assert record["passed"] is False and record["failures"][0]["check"] == report.failures[0].check
    suite = xml.fromstring(report.to_junit()).find("testsuite")
    assert int(suite.get("tests")) == len(CHECKS) and int(suite.get("failures")) == len(report.failures)
    saved = tmp_path / "report.json"
    saved.write_text(report.to_json())
    again = replay(saved)
    assert [r.passed for r in again] == [False] * len(report.failures)
    mended = replay(saved, f"{kernels}:right")
    assert all(not r.failures for r in mended)


def test_exit_codes(kernels: Path, tmp_path: Path, capsys) -> None:
    common = ["--norm", "layer_norm", "--quick", "--dtype", "float32"]
    saved, junit = tmp_path / "report.json", tmp_path / "report.xml"
    assert main(["check", f"{kernels}:right", *common]) == 0
    assert main(["check", f"{kernels}:layer_norm", *common, "--json", str(saved), "--junit", str(junit)]) == 1
    out = capsys.readouterr().out
    assert "the unbiased one" in out and "reproduce" not in out.splitlines()[0]
    assert json.loads(saved.read_text())["passed"] is False and junit.read_text().startswith("<?xml")
    assert main(["check", "--replay", str(saved)]) == 1
    assert main(["check", f"{kernels}:right", "--replay", str(saved)]) == 0
    capsys.readouterr()
    for arguments in (
        ["check", f"{kernels}:nothing", *common],
        ["check", f"{kernels}:right", "--norm", "layernorm"],
        ["check", f"{kernels}:right", "--norm", "layer_norm", "--dialect", "tf"],
        ["check", f"{kernels}:right", "--norm", "layer_norm", "--dtype", "float8"],
        ["check", f"{kernels}:right"],
        ["check", "--replay", str(tmp_path / "none.json")],
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and len(captured.err.strip().splitlines()) == 1


def test_the_report_prints_on_a_terminal(capsys) -> None:
    from rich.console import Console

    report = check(candidate("layer_norm", WRONG, dtypes=("float32",)), norm="layer_norm", quick=True)
    console = Console(width=100, record=True, force_terminal=True)
    report.print(console)
    text = console.export_text()
    assert "FAIL forward.y" in text and "not run" not in text.splitlines()[0]
    assert str(report).splitlines()[0] in " ".join(text.split()) or "eps stands outside" in text


RIGHT = candidate("layer_norm", dtypes=("float32",))


@parametrize_with_checks(RIGHT, norm="layer_norm", quick=True)
def test_one_test_per_check(check) -> None:
    check()


def test_a_failing_check_reads_well() -> None:
    mark = parametrize_with_checks(candidate("layer_norm", WRONG, dtypes=("float32",)), norm="layer_norm", quick=True).mark
    bound = {repr(b): b for b in mark.args[1]}
    assert list(bound) == list(CHECKS)
    with pytest.raises(AssertionError, match="eps stands outside the root") as caught:
        bound["forward.y"]()
    assert "import numpy as np" in str(caught.value)
    with pytest.raises(pytest.skip.Exception, match="not offered"):
        bound["state.running"]()


def test_pytest_asks_nothing_while_it_collects() -> None:
    called = []

    def forward(x, gamma, beta, *, eps):
        called.append(1)
        return x

    parametrize_with_checks(Candidate(forward), norm="layer_norm")
    assert not called


def test_a_seed_from_the_command_line(tmp_path) -> None:
    (tmp_path / "test_seeded.py").write_text(
        "from refnorm.conformance import Candidate, parametrize_with_checks\n"
        "def forward(x, gamma=None, beta=None, *, eps): return x\n"
        "@parametrize_with_checks(Candidate(forward), norm='layer_norm', seed=1)\n"
        "def test_it(check): assert check.session().seed == 3\n"
    )
    installed = any(e.name == "refnorm" for e in metadata.entry_points(group="pytest11"))
    plugin = () if installed else ("-p", "refnorm.conformance.pytest_options")
    asked = ("-q", "-p", "no:cacheprovider", *plugin, "--refnorm-seed", "3", "--rootdir", str(tmp_path), str(tmp_path))
    done = subprocess.run([sys.executable, "-m", "pytest", *asked], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and f"{len(CHECKS)} passed" in done.stdout, done.stdout + done.stderr


def test_progress_is_told() -> None:
    seen = []
    check(RIGHT, "layer_norm", quick=True, progress=lambda done, total, stratum: seen.append((done, total, stratum)))
    assert seen[-1][0] == seen[-1][1] and {"ordinary", "lengths"} <= {stratum for _, _, stratum in seen}
