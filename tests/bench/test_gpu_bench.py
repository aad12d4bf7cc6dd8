"""The GPU benchmark, as far as it goes without a GPU: what is measured, how medians are taken, what is said."""

import json
import math

import pytest

from refnorm.bench import cuda
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


def test_rows_say_the_fraction_of_the_copy_and_the_ratios():
    cell = cuda.Cell("layer norm", "layer_norm", (1024, 1024), "float32")
    seconds = {"copy": 1e-3, "ours": 2e-3, "call": 4e-3, "torch": 3e-3}
    row = cuda.row_of(cell, "backward", seconds, {"1": 1.5, "1e+06": 2.0})
    assert row["ratio"] == {"torch": pytest.approx(1.5)} and row["copy_fraction"] == pytest.approx(0.75)
    line = cuda.line_of(row)
    assert "75% of copy" in line and "torch 1.50x" in line and "1024x1024" in line and "ulp 1.5 2.0" in line
    behind = {**row, "ratio": {"torch": 0.5}}
    assert cuda.summary([row, behind]) == f"torch: geometric mean of 2 ratios {math.sqrt(0.75):.2f}, behind in 1"
    json.dumps(row)


def test_without_a_gpu_it_says_what_is_missing(capsys, tmp_path):
    if not device.unavailable():
        pytest.skip("there is a GPU here")
    assert bench(backend="cuda", file=tmp_path / "none.json") == 2
    assert "refnorm: " in capsys.readouterr().out and not (tmp_path / "none.json").exists()
