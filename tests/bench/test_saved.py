"""A saved run is shown as it is: what misses its floor is bold, and a picture has every cell."""

import json

import pytest

from refnorm.bench import blas
from refnorm.bench.cells import cells
from refnorm.bench.command import show
from refnorm.bench.goals import goal
from refnorm.bench.saved import markdown, mean_ratio


def drawn():
    """Every cell at its floor, but the first backward on two threads; on one thread all at half of it."""
    machine = {"processor": "a processor", "cores": 2, "torch": "2", "numba": "0"}
    found = []
    for cell in cells():
        for threads in (1, 2):
            for direction in ("forward", "backward"):
                row = {"op": cell.op, "pass": direction, "shape": list(cell.shape), "threads": threads}
                ratio = goal(row).floor / (2 if threads == 1 else 1)
                errors = {"1": 1.0, "1e3": 2.0, "1e6": 3e6}
                copied = 0.8 if direction == "forward" else None
                row |= {"ratio": ratio, "ratio_call": 0.5, "copy_fraction": copied, "ulp": errors}
                found.append(row | ({"ulp_peer": errors} if direction == "forward" else {}))
    found[3]["ratio"] = 0.1
    return {"machine": machine, "cells": found}


def test_every_cell_has_a_goal():
    for cell in cells():
        for direction in ("forward", "backward"):
            floor, aim = goal({"op": cell.op, "pass": direction, "shape": list(cell.shape)})
            assert 0 < floor <= aim


def test_tables():
    said = markdown(drawn()).splitlines()
    assert "| layer norm | 4 x 16 | **0.60**, **0.60** | 1.20, **0.10** | 1.2, 1.2 | 80% | 0.50, 0.50 |" in said
    assert "| layer norm | 64 x 768 | 1.0, 2.0, 3.0e+06 | 1.0, 2.0, 3.0e+06 | 1.0, 2.0, 3.0e+06 |" in said
    count = sum(1 for _ in cells())
    assert f"On 2 threads {2 * count - 1} of {2 * count} cells pass their floor" in "\n".join(said)
    assert mean_ratio([{"ratio": 2.0}, {"ratio": 8.0}]) == pytest.approx(4.0)


def test_picture_and_tables_of_a_file(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "run.json").write_text(json.dumps(drawn()))
    assert show(tmp_path / "run.json", tmp_path / "run.png") == 0
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG" and capsys.readouterr().out == ""
    assert show(tmp_path / "run.json") == 0
    assert capsys.readouterr().out == markdown(drawn())


def test_blas_has_the_threads_that_the_others_have(monkeypatch):
    for name in blas.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if blas.settable():
        import scipy.linalg  # noqa: F401
        from threadpoolctl import threadpool_info

        with blas.limited(1):
            assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
        assert blas.described()["libraries"]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")          # which is kept
    assert not blas.settable()
    assert blas.described()["OPENBLAS_NUM_THREADS"] == "3"
    with blas.limited(1):
        pass
