"""`refnorm check --backend NAME`: the kit judges refnorm's own backends as it judges anyone."""

import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy import backends
from refnorm.cli import main
from refnorm.conformance import Unusable, check
from refnorm.conformance.backends import candidate, candidates


def test_the_reference_itself_passes(capsys):
    assert main(["check", "--backend", "numpy", "--norm", "layer_norm", "--quick", "--dtype", "float32"]) == 0
    assert "numpy layer_norm as layer_norm: right" in " ".join(capsys.readouterr().out.split())


def test_kernels_pass_in_a_dialect_of_choice(capsys):
    asked = ["check", "--backend", "numba", "--norm", "batch_norm", "--dialect", "keras", "--quick", "--dtype", "float32"]
    assert main(asked) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "numba batch_norm as batch_norm: right: keras's dialect" in said and "channels last" in said


@pytest.mark.slow
def test_a_wrong_kernel_is_found(monkeypatch, capsys):
    right = backends.methods("numba")["layer_norm"]

    def wrong(dy, cache):
        dx, *others = right[1](dy, cache)
        return dx + np.asarray(1e-3, dx.dtype), *others

    room = __import__(backends.ROOMS["numba"], fromlist=["METHODS"])
    monkeypatch.setattr(room, "METHODS", {"layer_norm": (right[0], wrong)})
    assert main(["check", "--backend", "numba", "--norm", "layer_norm", "--quick", "--dtype", "float32"]) == 1
    assert "dx is wrong" in capsys.readouterr().out


def test_what_there_is_no_kernel_for_is_coverage_and_no_failure():
    report = check(candidate("numba", "ghost_batch_norm", dtypes=("float32",)), "ghost_batch_norm", quick=True)
    assert report.passed and any("the backend has no kernel" in reason for reason in report.coverage)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--backend", "abacus"], "backend is 'abacus'; it must be one of numpy, numba, cuda"),
        (["--backend", "numba", "--norm", "spectral_norm"], "backend 'numba' has no kernel for spectral_norm; it has"),
        (["--backend", "numba", "--norm", "layer"], "norm 'layer' is unknown"),
        (["--backend", "numba", "--norm", "layer_norm", "--dialect", "x"], "dialect 'x' is unknown to layer_norm"),
        (["torch", "--backend", "numba"], "takes no target"),
    ],
)
def test_what_it_cannot_judge_it_says(asked, message, capsys):
    assert main(["check", *asked]) == 2
    assert message in capsys.readouterr().err


def test_every_method_of_a_backend_is_a_candidate():
    found = list(candidates("numba"))
    assert {norm for norm, _, _ in found} == set(backends.methods("numba"))
    assert {c.channel_axis for norm, _, c in found if norm == "group_norm"} == {1, -1}
    with pytest.raises(Unusable):
        list(candidates("numba", "no_such_norm"))
    assert len(list(candidates("numpy"))) > len(rn.NORMS)
