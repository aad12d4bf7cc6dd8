"""The benchmark runs, and says what it says it says; no test looks at a time."""

import json

import numpy as np
import pytest

from refnorm.bench import bench, command
from refnorm.bench.accuracy import ulp
from refnorm.bench.cells import Cell, arrays, cells, ours, torchs
from refnorm.bench.timing import medians

SMALL = [
    Cell("layer norm", "layer_norm", (6, 20)),
    Cell("rms norm", "rms_norm", (6, 20)),
    Cell("batch norm", "batch_norm", (4, 3, 5, 5)),
    Cell("batch norm NHWC", "batch_norm", (4, 5, 5, 3), {"channel_axis": -1}),
    Cell("group norm", "group_norm", (4, 6, 5, 5), {"num_groups": 3}),
    Cell("instance norm", "instance_norm", (4, 3, 5, 5)),
    Cell("whitening, Cholesky", "batch_whitening_cholesky", (60, 20)),
    Cell("whitening, Newton", "iterative_norm", (60, 20)),
    Cell("whitening, ZCA", "batch_whitening_zca", (60, 20)),
]


def test_medians_call_every_function_in_turn():
    seen = []
    found = medians({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=3, least=0.0)
    assert set(found) == {"a", "b"} and all(t >= 0 for t in found.values())
    assert seen[:4] == ["a", "a", "b", "b"] and seen[4:] == ["a", "a", "b", "b"] * 3


def test_an_ulp_is_that_of_float32():
    one = np.ones(1)
    assert ulp(np.nextafter(one.astype(np.float32), np.float32(2)), one, 0.0) == 1.0
    assert ulp(np.array([2.0**-23], np.float32), np.zeros(1), 1.0) == 1.0


def test_it_has_the_shapes_it_should_have():
    shapes = {(cell.op, cell.shape) for cell in cells()}
    assert {("layer norm", (4, 16)), ("rms norm", (100_000, 64)), ("batch norm NHWC", (32, 14, 14, 256))} <= shapes


@pytest.mark.slow
@pytest.mark.parametrize("cell", SMALL, ids=lambda c: c.op)
def test_both_sides_compute_the_same(cell, peer):
    """What is timed side by side is one and the same computation."""
    peer("torch")
    a = arrays(cell)
    mine, theirs = ours(cell, a), torchs(cell, a)
    last = cell.options.get("channel_axis") == -1
    y, dy = mine["forward"]["call"](), mine["backward"]["call"]()
    mine["forward"]["preallocated"](), mine["backward"]["preallocated"]()
    for found, right in zip((y[0], dy[0]), (theirs["forward"](), theirs["backward"]()[0]), strict=True):
        right = right.detach().numpy().reshape(np.moveaxis(found, -1, 1).shape if last else found.shape)
        np.testing.assert_allclose(found, np.moveaxis(right, 1, -1) if last else right, rtol=1e-4, atol=1e-5)


def test_the_report_is_complete(peer, tmp_path, monkeypatch, capsys):
    peer("torch")
    monkeypatch.setattr(command, "cells", lambda: iter(SMALL[:1]))
    monkeypatch.setattr(command, "medians", lambda functions, rounds: dict.fromkeys(functions, 2.0))
    assert bench(file=tmp_path / "found.json", threads=(1,)) == 0
    said = json.loads((tmp_path / "found.json").read_text())
    assert {"processor", "torch", "numba"} <= set(said["machine"])
    forward, backward = said["cells"]
    assert forward["op"] == "layer norm" and forward["shape"] == [6, 20] and forward["threads"] == 1
    assert forward["ratio"] == forward["copy_fraction"] == 1.0 and backward["copy_fraction"] is None
    assert set(forward["ulp"]) == set(forward["ulp_peer"]) == {"1", "1e3", "1e6"}
    assert "geometric mean of 2 ratios: 1.00" in capsys.readouterr().out


def test_what_it_does_not_know_it_says(capsys):
    assert bench(backend="cuda", against="nothing") == 2
    assert "knows numba and cuda against torch, not cuda against nothing" in capsys.readouterr().out
