"""The GPU benchmark, as far as it goes without a GPU: what is measured, how medians are taken, what is said."""

import json
import math
import sys
import types
from importlib import metadata

import pytest

from refnorm.bench import cuda, cuda_cells
from refnorm.bench.accuracy import measure
from refnorm.bench.command import bench
from refnorm.kernels.cuda import METHODS, device


def test_cells_are_large_and_have_kernels():
    found = list(cuda.cells())
    for cell in found:
        assert 0.97 * cuda.LARGE <= cell.bytes <= cuda.LARGE and cell.method in METHODS and cell.method in cuda.SMALL_ROWS
        assert cell.passes == ((3, 5) if cell.method == "batch_norm" else (2, 3))
    assert len({(c.op, c.shape, c.dtype) for c in found}) == len(found)


def test_inputs_rotate_among_more_than_the_cache():
    for size in (1 << 20, 1 << 26, 1 << 28):
        sets = cuda.sets_of_inputs(size, 50 << 20)
        assert sets >= 2 and sets * size >= 4 * (50 << 20)


class Device:
    """Events on a clock that calls move."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def event(self):
        clock = self

        class Event:
            def record(self):
                self.at = clock.now

            def elapsed_time(self, other):
                return other.at - self.at

        return Event()

    def taking(self, who, milliseconds):
        def call(k):
            self.calls.append((who, k))
            self.now += milliseconds

        return call


def test_medians_are_of_the_device_s_time_a_call():
    clock = Device()
    calls = {"ours": clock.taking("ours", 2.0), "torch": clock.taking("torch", 3.0)}
    found = cuda.medians(calls, 3, clock.event, lambda: None, 5)
    assert found == {"ours": pytest.approx(2e-3), "torch": pytest.approx(3e-3)}
    assert {k for who, k in clock.calls if who == "ours"} == {0, 1, 2}


READY = cuda.Prepared({}, {"forward": 2, "backward": 5}, {"liger": "ImportError: none"})


def test_rows_say_the_fraction_of_the_copy_and_the_ratios():
    cell = cuda.Cell("layer norm", "layer_norm", (1024, 1024), "float32")
    seconds = {"copy": 1e-3, "ours": 2e-3, "call": 4e-3, "torch": 3e-3}
    row = cuda.row_of(cell, "backward", seconds, {"ulp": {"1": 1.5, "1e+06": 2.0}, "ulp_peer": {"1": 4.0}}, READY)
    assert row["ratio"] == {"torch": pytest.approx(1.5)} and row["copy_fraction"] == pytest.approx(0.75) and row["moved"] == 5
    line = cuda.line_of(row)
    for words in ("75% of copy, moves 5", "torch 1.50x", "1024x1024", "ulp 1.5 2 (torch 4)", "liger failed: ImportError: none"):
        assert words in line, line
    behind = {**row, "ratio": {"torch": 0.5}}
    assert cuda.summary([row, behind]) == f"torch: geometric mean of 2 ratios {math.sqrt(0.75):.2f}, behind in 1"
    json.dumps(row)


def test_without_a_gpu_it_says_what_is_missing(capsys, tmp_path):
    if not device.unavailable():
        pytest.skip("there is a GPU here")
    assert bench(backend="cuda", file=tmp_path / "none.json") == 2
    said = capsys.readouterr().out
    assert said.startswith("refnorm: backend 'cuda' cannot run here: ") and said.count("\n") == 1
    assert not (tmp_path / "none.json").exists()


# The whole command on a pretended GPU: PyTorch's calls run on the CPU, and our accuracy is the reference's.


@pytest.fixture
def pretended(monkeypatch):
    """A device whose clock every call moves; Liger is there, torch.compile takes the function as it is."""
    torch = pytest.importorskip("torch")
    clock = Device()
    properties = types.SimpleNamespace(name="pretended", multi_processor_count=132, L2_cache_size=1 << 12)
    found = {"is_available": lambda: True, "get_device_properties": lambda _: properties, "synchronize": lambda: None,
             "empty_cache": lambda: None, "Event": lambda enable_timing: clock.event()}  # fmt: skip
    for name, value in found.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(device, "unavailable", lambda: "")
    monkeypatch.setattr(cuda_cells, "DEVICE", "cpu")
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    monkeypatch.setitem(vars(torch), "_dynamo", types.SimpleNamespace(reset=lambda: None))
    monkeypatch.setattr(cuda, "CALLS_IN_A_ROW", 2)
    functional = types.SimpleNamespace(
        liger_layer_norm=lambda a, g, b, eps: torch.nn.functional.layer_norm(a, a.shape[1:], g, b, eps),
        liger_rms_norm=lambda a, g, eps: torch.nn.functional.rms_norm(a, a.shape[1:], g, eps),
    )
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", types.SimpleNamespace(functional=functional))
    monkeypatch.setattr(metadata, "version", lambda name: "0")
    monkeypatch.setattr(cuda, "measure", lambda *given, backend="numpy", **how: measure(*given, backend="numpy", **how))
    monkeypatch.setattr(cuda, "SMALL_ROWS", dict.fromkeys(cuda.SMALL_ROWS, (2, 32, 3, 3)) | dict.fromkeys(
        ("layer_norm", "rms_norm"), (4, 64)))  # fmt: skip

    def ours(cell, x, dy, parameters):
        assert len(x) == len(dy) >= 2 and {a.shape for a in (*x, *dy)} == {cell.shape}
        assert "gamma" in parameters and str(x[0].dtype) == f"torch.{cell.dtype}"
        call = clock.taking("ours", 2.0)
        calls = {direction: {"ours": call, "call": call} for direction in ("forward", "backward")}
        return cuda.Prepared(calls, {"forward": 2, "backward": 3}, {})

    monkeypatch.setattr(cuda_cells, "ours", ours)
    monkeypatch.setattr(cuda_cells, "copy_of", lambda cell, sets: clock.taking("copy", 1.0))
    real = cuda_cells.differentiated

    def timed(*given):
        return tuple(lambda k, call=call: (call(k), clock.taking("peer", 3.0)(k)) for call in real(*given))

    monkeypatch.setattr(cuda_cells, "differentiated", timed)
    return clock


ENTRIES = 256 * 28 * 28 * 4                       # bytes of one image of every operation, in float32


def test_the_whole_command_on_a_pretended_gpu(pretended, tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert cuda.bench(file, rounds=1, large=ENTRIES) == 0
    found = json.loads(file.read_text())
    assert found["machine"]["gpu"] == "pretended" and len(found["cells"]) == 2 * len(list(cuda.cells(ENTRIES)))
    for row in found["cells"]:
        assert row["copy_fraction"] > 0 and row["microseconds"]["ours"] == pytest.approx(2000) and not row["failed"]
        peers = {"torch", "compiled"} | ({"liger"} if row["op"] in ("layer norm", "rms norm") else set())
        assert row["ratio"] == {who: pytest.approx(1.5) for who in peers}
        assert set(row["ulp"]) == {"1", "1000", "1e+06"} and ("ulp_peer" in row) == (row["pass"] == "forward")
    said = capsys.readouterr().out
    assert "torch: geometric mean of" in said and said.count("% of copy") == len(found["cells"])


def test_what_fails_is_said_and_the_rest_is_measured(pretended, tmp_path, capsys, monkeypatch):
    ours, compiled = cuda_cells.ours, {"failed": 0}

    def failing(cell, *given):
        if cell.op == "rms norm":
            raise RuntimeError("the CUDA driver reports\nout of memory")
        return ours(cell, *given)

    def no_compiler(function):
        compiled["failed"] += 1
        raise ImportError("no Triton here")

    monkeypatch.setattr(cuda_cells, "ours", failing)
    monkeypatch.setattr(cuda_cells, "compile_afresh", no_compiler)
    assert cuda.bench(tmp_path / "bench.json", only="norm", rounds=1, large=ENTRIES) == 1
    rows, said = json.loads((tmp_path / "bench.json").read_text())["cells"], capsys.readouterr().out
    assert {r["op"] for r in rows if "ours" in r["failed"]} == {"rms norm"} and compiled["failed"]
    assert all("compiled" in r["failed"] and r["ratio"]["torch"] > 0 for r in rows if r["op"] != "rms norm")
    assert "RuntimeError: the CUDA driver reports out of memory" in said and "compiled failed: ImportError: no Triton" in said


def test_a_run_that_is_out_of_time_keeps_what_it_has(pretended, tmp_path, capsys):
    assert cuda.bench(tmp_path / "bench.json", only="layer", rounds=1, large=ENTRIES, seconds=1e-9) == 0
    assert "cells were left out" in capsys.readouterr().out or json.loads((tmp_path / "bench.json").read_text())["cells"]


def test_an_operation_that_there_is_none_of(pretended, capsys):
    assert cuda.bench(only="no such norm") == 2
    assert "there are: layer norm, rms norm, batch norm" in capsys.readouterr().out


def test_a_pytorch_without_cuda_is_said_so(monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr(device, "unavailable", lambda: "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cuda.bench() == 2 and "sees no GPU: pip install torch" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cuda.bench() == 2 and "is not installed: pip install torch" in capsys.readouterr().out
