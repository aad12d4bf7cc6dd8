"""Presets: what they list, and that the kit calls wrong what exact arithmetic calls wrong, and nothing else."""

import argparse
import inspect
import sys
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from math import sqrt

import ml_dtypes
import numpy as np
import pytest

import refnorm
from refnorm.anatomy.method import NORMS
from refnorm.conformance import Candidate, check, presets
from refnorm.conformance.candidate import Unusable, load_candidate
from refnorm.conformance.command import judge

RNG = np.random.default_rng(3)
NEEDS = {"jax": ("jax", "flax"), "keras": ("keras",)}
NEAR = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 0.25}
"""Is it the same norm at all, on one ordinary call?  How well it is computed, the kit says."""


@pytest.fixture(params=["onnx", "onnxruntime", "jax", "keras"])
def preset(request, peer):
    """The name of a preset whose framework is here."""
    for package in NEEDS.get(request.param, ()):
        if find_spec(package) is None:                  # not imported: keras reads its backend when it is
            pytest.skip(f"{package} is not installed: pip install {package}")
    if request.param not in NEEDS:
        peer(request.param)
    return request.param


def options(target, **given):
    unset = dict.fromkeys(("norm", "dialect", "dtype", "json", "junit", "replay", "backend", "plot"))
    return argparse.Namespace(target=target, verbose=False, quick=True, seed=0, **{**unset, **given})


class TestListing:
    def test_norms_dialects_and_origins_exist(self, preset):
        listed = presets.candidates(preset)
        assert len(listed) >= 5
        for norm, dialect, candidate in listed:
            assert dialect in NORMS[norm].dialects
            assert isinstance(candidate, Candidate)
            assert candidate.origin is not None
            assert load_candidate(candidate.origin).forward is not None
        titles = [candidate.title for _, _, candidate in listed]
        assert len(set(titles)) == len(titles)
        assert all(any(c.isdigit() for c in title) for title in titles), "a title names the version"

    def test_a_norm_that_it_has_not(self, preset, capsys):
        assert judge(options(preset, norm="conv_norm")) == 2
        assert "layer_norm" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["onnx", "onnxruntime", "jax", "keras"])
    def test_a_missing_framework_is_unusable_in_one_line(self, name, monkeypatch, capsys):
        for module in (name, f"refnorm.conformance.presets.{name}"):
            monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"refnorm.conformance.presets.{name}")
        assert judge(options(name)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
        assert "pip install" in line

    def test_an_unknown_preset(self):
        with pytest.raises(Unusable, match="onnxruntime"):
            presets.candidates("caffe")


def test_a_one_pass_variance_comes_with_the_option_that_avoids_it():
    """Where its framework has one, and beside arithmetic in float16; what is right is told nothing."""

    def one_pass(x, *, eps=1e-5, fast=True):
        mean = x.mean(-1, keepdims=True)
        square = np.square(x if fast else x - mean).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(np.maximum(square - mean**2 if fast else square, 0) + x.dtype.type(eps))

    chosen = [
        ("layer_norm", "torch", Candidate(lambda x, *, eps=1e-5: one_pass(x, eps=eps), name="lib Norm",
                                          dtypes=("float32", "float16"), normalized_ndim=1)),
        ("layer_norm", "torch", Candidate(lambda x, *, eps=1e-5: one_pass(x, eps=eps, fast=False), name="lib Norm2",
                                          dtypes=("float32",), normalized_ndim=1)),
    ]  # fmt: skip
    fast, stable = presets.run_each(chosen, advice={"lib": "fast=False"}, quick=True)
    named = {f.check: f.diagnosis for f in fast.failures}
    assert "E[x^2] - E[x]^2" in named["numerics.scale"] and "float16" in named["forward.y"]
    assert fast.notes[-1] == "fast=False computes the variance in two passes"
    assert stable.passed and not any("two passes" in note for note in stable.notes)


OF_EXAMPLES = ("weight_norm", "spectral_norm", "lp_norm", "local_response_norm")
WRONG = {
    ("onnx", "lp_norm"): "absolute values are left out of the sum", ("onnx", "local_response_norm"): "axis 1",
    ("keras", "lp_norm"): "dx is nan",
}  # fmt: skip


class TestWeightsVectorsAndFusedNorms:
    """Weight, spectral and Lp norms, LRN, norms with a residual: the quick check in float32; what it says of the wrong ones."""

    def test_what_is_right_and_what_is_wrong(self, preset):
        listed = [entry for entry in presets.candidates(preset) if entry[0] in OF_EXAMPLES or entry[2].prologue is not None]
        assert listed
        for norm, dialect, candidate in listed:
            report = check(candidate, norm, dialect, quick=True, dtypes=("float32",))
            words = WRONG.get((preset, norm), "")
            assert report.passed == (not words) and words in report.headline, str(report)


class TestEveryCandidateAnswers:
    """One ordinary call of each, float32 and 16 bits, held against refnorm's reference."""

    def test_values(self, preset):
        for norm, dialect, candidate in presets.candidates(preset):
            plain = norm not in OF_EXAMPLES and candidate.prologue is None
            for arithmetic in candidate.arithmetics()[:2] if plain else ():
                given, reference = self.call(norm, dialect, candidate, arithmetic)
                returned = candidate.forward(**given)
                outputs = returned[0] if candidate.saves else returned
                y = outputs[0] if isinstance(outputs, tuple) else outputs
                assert y.dtype == arithmetic.out, candidate.title
                near = NEAR[arithmetic.x.name]
                np.testing.assert_allclose(y.astype(float), reference.astype(float), near, near, err_msg=candidate.title)

    @staticmethod
    def call(norm, dialect, candidate, arithmetic):
        """Arguments by name, those that the candidate takes, and the reference's y."""
        x = RNG.normal(size=(2, 3, 2, 4) if candidate.channel_axis == -1 else (2, 4, 3, 2)).astype(arithmetic.x)
        known = NORMS[norm].signature.parameters
        width = x.shape[-1] if norm in ("layer_norm", "rms_norm") else 4
        parameters = {n: p for n, p in (("gamma", np.ones(width)), ("beta", np.zeros(width))) if n in known}
        given = {"x": x, **{n: p.astype(arithmetic.params) for n, p in parameters.items()}}
        options = {"num_groups": 2, "axes": (0, 2, 3), "channel_axis": candidate.channel_axis}
        options |= {} if norm == "mean_variance_norm" else {"eps": 1e-3}
        reference = getattr(refnorm, norm)(**given, **{k: v for k, v in options.items() if k in known}, dialect=dialect)
        if norm == "batch_norm":                    # the batch's own statistics: evaluation gives what training gives
            axes = tuple(a for a in range(4) if a != candidate.channel_axis % 4)
            statistics = {"running_mean": x.astype(float).mean(axes), "running_var": x.astype(float).var(axes)}
            given |= {n: value.astype(arithmetic.state) for n, value in statistics.items()}
            options |= {"momentum": 0.9, "training": "opset 9" not in candidate.title}
        accepted = inspect.signature(candidate.forward).parameters
        y = reference[0] if isinstance(reference, tuple) else reference
        return {k: v for k, v in {**given, **options}.items() if k in accepted}, y


ROW = [4096, 4097, 4098, 4097]
"""Mean 4097, variance 1/2; its squares need 25 bits: in float32, E[x^2] - E[x]^2 is 0."""


def standardized(values, eps):
    mean = Fraction(sum(values), len(values))
    var = sum((v - mean) ** 2 for v in values) / len(values)
    return [float(v - mean) / sqrt(var + Fraction(eps)) for v in values]


ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)
HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def ones(like, n=1):
    return np.ones(n, like.dtype)


BY_HAND = {
    ("batch_norm, opset 9", "float32"): (
        [1, 3], lambda o, x: o.batch_norm_9(x, ONE, ZERO, ZERO, ONE, training=False), [1, 3],
    ),
    ("group_norm, opset 18", "float32"): (ROW, lambda o, x: o.group_norm_18(x, num_groups=1), standardized(ROW, 1e-5)),
    ("group_norm, opset 21", "float32"): (
        ROW, lambda o, x: o.group_norm_21(x, ONE, ZERO, num_groups=1), standardized(ROW, 1e-5),
    ),
    ("group_norm, opset 18", "float16"): ([64, 66], lambda o, x: o.group_norm_18(x, num_groups=1), [-1, 1]),
    ("mean_variance_norm, opset 13", "float32"): ([0, 0], lambda o, x: o.mean_variance_norm_13(x, axes=(0, 2)), [0, 0]),
    ("rms_norm, opset 23", "float16"): ([300, 400], lambda o, x: o.rms_norm_23(x, ones(x, 2)), [0.8485281, 1.1313708]),
    ("lp_norm, opset 22", "float16"): ([300, 400], lambda o, x: o.lp_norm_22(x), [0.6, 0.8]),
    ("lp_norm, opset 22", "float32"): ([3, -1], lambda o, x: o.lp_norm_22(x, p=1), [0.75, -0.25]),
}  # fmt: skip
"""An operator on one small row in one type, and its exact values; below, rows whose mean the type does not hold."""
for half, least in (("float16", 1024), ("bfloat16", 128)):
    row, exact = [least, least + 1], [-1, 1]
    BY_HAND |= {
        ("batch_norm, opset 15", half): (
            row, lambda o, x: o.batch_norm_15(x, ONE, ZERO, ZERO, ONE, training=True)[0], exact,
        ),
        ("layer_norm, opset 17", half): (row, lambda o, x: o.layer_norm_17(x, ones(x, 2), 0 * ones(x, 2)), exact),
        ("instance_norm, opset 22", half): (row, lambda o, x: o.instance_norm_22(x, ones(x), 0 * ones(x)), exact),
    }  # fmt: skip


def listed(engine, operator):
    (found,) = [entry for entry in presets.candidates(engine) if entry[2].title.endswith(operator)]
    return found


@pytest.mark.parametrize("operator", BY_HAND, ids=" ".join)
def test_red_cells_are_faults_by_hand(operator, peer):
    """Where ONNX's evaluator is wrong on the input by hand, the kit calls it wrong in that type; the version decides which."""
    peer("onnx")
    name, dtype = operator
    norm, dialect, candidate = listed("onnx", name)
    row, call, exact = BY_HAND[operator]
    with np.errstate(all="ignore"):
        y = np.asarray(call(candidate.forward.__self__, np.array([[row]]).astype(HALVES.get(dtype, dtype))), float).ravel()
    assert y.shape == np.shape(exact)
    if not np.all(np.abs(y - exact) <= 5e-3):
        assert not check(candidate, norm, dialect, quick=True, dtypes=(dtype,)).passed


@pytest.mark.parametrize("operator", [o for o in BY_HAND if o[1] != "bfloat16"], ids=" ".join)
def test_onnx_runtime_by_hand(operator, peer):
    """It takes no bfloat16, one-pass group norms are wrong, mean-variance norms leave eps out; the others are right."""
    peer("onnx"), peer("onnxruntime")
    name, dtype = operator
    row, call, exact = BY_HAND[operator]
    y = np.asarray(call(listed("onnxruntime", name)[2].forward.__self__, np.array([[row]]).astype(dtype)), float).ravel()
    right = bool(np.all(np.abs(y - exact) <= 5e-3))
    assert right == ((name, dtype) not in WRONG_IN_ONNX_RUNTIME)


WRONG_IN_ONNX_RUNTIME = [
    ("group_norm, opset 18", "float32"), ("group_norm, opset 21", "float32"), ("mean_variance_norm, opset 13", "float32"),
]  # fmt: skip


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm", "rms_norm", "instance_norm"])
def test_onnx_runtime_has_no_red_cell_where_none_is_by_hand(norm, peer):
    """What fails here is a false alarm of the kit."""
    peer("onnx"), peer("onnxruntime")
    for _, dialect, candidate in (c for c in presets.candidates("onnxruntime") if c[0] == norm and c[2].prologue is None):
        report = check(candidate, norm, dialect, quick=True)
        assert report.passed, report


def test_local_response_and_lp_norms_of_onnx_runtime(peer):
    """By hand; ONNX's evaluator is wrong on the first two (presets/onnx.py)."""
    peer("onnx"), peer("onnxruntime")
    o = import_module("refnorm.conformance.presets.onnxruntime").OPERATORS
    channels = np.float32([1, 2, 3]).reshape(1, 3, 1, 1)
    near = {"rtol": 1e-6}
    np.testing.assert_allclose(o.local_response_norm_13(channels, size=1, alpha=1.0, beta=1.0).ravel(), [0.5, 0.4, 0.3], **near)
    for normalized in (o.lp_norm_1, o.lp_norm_22):
        np.testing.assert_allclose(normalized(np.float32([[3, -1]]), p=1), [[0.75, -0.25]], **near)
        np.testing.assert_allclose(normalized(np.float32([[3, -4], [0, 0]])), [[0.6, -0.8], [0, 0]], **near)
