"""Every claim: its asserted numbers, its page and its figure; and the command that shows them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from refnorm.anatomy.method import Citation
from refnorm.claims import CLAIMS, Claim, Number, Result, Sweep, serial
from refnorm.claims.executors import executor
from refnorm.claims.record import record, write
from refnorm.claims.sweep import on_one_thread
from refnorm.cli import main
from refnorm.display import claims as display

for name in ("matplotlib", "sklearn"):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install 'refnorm[plots]'")

QUICK = {
    "activation-gains",
    "certified-radius",
    "convolution-spectra",
    "exemplar-normalization",
    "kronecker-factors",
    "layer-conditioning",
    "residual-growth",
    "santurkar-equalities",
    "scale-dynamics",
    "sharpness-perturbations",
    "fisher-information",
    "group-whitening",
    "iterative-whitening",
    "newton-steps",
    "whitening-feasibility",
}
"""Claims that take a second or two; the others are slow."""


@pytest.fixture(scope="module")
def sweep():
    with Sweep(executor("local", 2)) as sweep:
        yield sweep


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CLAIMS])
def test_claim(name, sweep, tmp_path):
    claim = CLAIMS[name]
    result = on_one_thread(claim.measure, sweep)
    wrong = [n for n in result.numbers if n.ok is False]
    assert not wrong, "\n".join(map(str, wrong))
    assert any(n.asserted for n in result.numbers) or result.verdict == "reported"
    write(claim, result, 1.0, tmp_path)
    page = json.loads((tmp_path / f"{name}.json").read_text())
    assert page["name"] == name and page["verdict"] == result.verdict and len(page["numbers"]) == len(result.numbers)
    assert (tmp_path / page["figure"]).read_text().startswith("<?xml")
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_quick_claims_exist():
    assert set(CLAIMS) >= QUICK


def test_processes_and_one_process_measure_the_same(sweep):
    claim = CLAIMS["whitening-feasibility"]
    one, two = (on_one_thread(claim.measure, s) for s in (serial(), sweep))
    assert [n.measured for n in one.numbers] == [n.measured for n in two.numbers]


def test_numbers():
    assert Number("x", 1.0, low=1.0).ok is True
    assert Number("x", 1.0, high=0.9).ok is False
    assert Number("x", float("nan"), low=0.0, high=1.0).ok is False
    assert Number("x", float("nan"), low=0.0).ok is False
    assert Number("x", 3.0, asserted=False).ok is None
    with pytest.raises(ValueError, match="'x' is asserted without a range"):
        Number("x", 1.0)
    with pytest.raises(ValueError, match="the verdict is 'true'"):
        Result((), "true", "")
    with pytest.raises(ValueError, match="table 't' has 2 columns"):
        Result((), "reported", "", {"t": (("a", "b"), [(1,)])})
    with pytest.raises(ValueError, match="'Capital'"):
        claim("Capital", ())


def claim(name, numbers):
    def figure(result, figure):
        figure.subplots().plot(result.data["x"])

    def measure(sweep):
        return Result(numbers, "holds", "so", {"t": (("a",), [(np.float64(1),)])}, {"x": np.arange(3)})

    return Claim(name, 1, "a title", Citation("A", "B", "C", 2000), "says", (0,), measure, figure)


def test_page_holds_plain_numbers_and_no_infinity():
    made = claim("made", (Number("x", np.float64("inf"), low=0), Number("y", np.int64(3), low=0)))
    page = json.loads(json.dumps(record(made, made.measure(serial()), 0.123), allow_nan=False))
    assert page["numbers"][0]["measured"] == "inf" and page["numbers"][1]["measured"] == 3
    assert page["tables"] == {"t": {"columns": ["a"], "rows": [[1.0]]}}
    assert page["command"] == "refnorm reproduce made" and page["seconds"] == 0.1


@pytest.mark.parametrize("right", [True, False])
def test_exit_code(right, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(display, "CLAIMS", {"made": claim("made", (Number("x [y]", 1.0, 1.2, low=1 if right else 2),))})
    assert main(["reproduce", "--executor", "serial", "--out", str(tmp_path / "new")]) == (0 if right else 1)
    out = capsys.readouterr().out
    assert "x [y]" in out and ("all asserted numbers hold" in out) == right
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["made.json", "made.png", "made.svg"]


def test_unusable(monkeypatch, capsys):
    assert main(["reproduce", "nonsense"]) == 2
    assert "no claim is called 'nonsense'; there are" in capsys.readouterr().err
    assert main(["reproduce", "activation-gains", "--executor", "cloud"]) == 2
    assert "there are local, serial, dask://HOST:PORT, mpi" in capsys.readouterr().err
    monkeypatch.setattr(display.importlib.util, "find_spec", lambda name: None)
    assert main(["reproduce"]) == 2
    assert "matplotlib and sklearn not installed: pip install 'refnorm[plots]'" in capsys.readouterr().err


def test_list(capsys):
    assert main(["reproduce", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in CLAIMS)


def test_importing_claims_loads_nothing_heavy():
    code = "import sys, refnorm.claims; len(refnorm.claims.CLAIMS); print(*sorted(sys.modules))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"numba", "scipy", "matplotlib", "sklearn", "torch"}
