"""Every field of Candidate, each on the calling convention of a kernel that is shipped so; and what misuse of them says."""

import time
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from refnorm.conformance import Candidate, Unusable, check, fused, load_candidate
from refnorm.conformance import caller as caller_module
from refnorm.conformance.caller import Caller
from refnorm.conformance.deadline import Hangs
from refnorm.conformance.session import Session

from .kernels import candidate

BF16 = np.dtype(ml_dtypes.bfloat16)
RNG = np.random.default_rng(5)
LN = candidate("layer_norm")
RMS = candidate("rms_norm")
BN = candidate("batch_norm")


def failed(report) -> set[str]:
    return {f.check for f in report.failures}


def axes_of(x, gamma):
    return tuple(range(x.ndim - (1 if gamma is None else gamma.ndim), x.ndim))


# saves, saved_as: ATen's native_layer_norm returns (y, mean, rstd), and native_layer_norm_backward takes them back


def aten_forward(x, gamma=None, beta=None, *, eps):
    wide = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
    axes = axes_of(x, gamma)
    mean = wide.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(np.square(wide - mean).mean(axes, keepdims=True) + wide.dtype.type(eps))
    y = (wide - mean) * rstd
    y = y if gamma is None else y * gamma.astype(wide.dtype)
    y = y if beta is None else y + beta.astype(wide.dtype)
    return y.astype(x.dtype), (mean.ravel(), rstd.ravel())


def aten_backward(dy, saved, x, gamma=None, beta=None):
    axes, lead = axes_of(x, gamma), tuple(range(x.ndim - (1 if gamma is None else gamma.ndim)))
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    mean, rstd = (s.reshape(shape) for s in saved)
    wide, up = x.astype(mean.dtype), dy.astype(mean.dtype)
    xhat = (wide - mean) * rstd
    g = up if gamma is None else up * gamma.astype(mean.dtype)
    dx = rstd * (g - g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))
    dgamma = None if gamma is None else (up * xhat).sum(lead).astype(gamma.dtype)
    return dx.astype(x.dtype), dgamma, None if beta is None else up.sum(lead).astype(beta.dtype)


ATEN = {"saves": True, "saved_as": ("mean", "rstd"), "dtypes": ("float32", "bfloat16")}


def test_saves_and_saved_as() -> None:
    report = check(Candidate(aten_forward, aten_backward, **ATEN), "layer_norm", quick=True)
    assert report.passed, str(report)
    assert "forward.saved" not in report.not_offered


def test_a_saved_statistic_that_is_wrong_is_seen() -> None:
    def forward(x, gamma=None, beta=None, *, eps):
        y, (mean, rstd) = aten_forward(x, gamma, beta, eps=eps)
        return y, (mean, rstd * np.float32(1.001))

    report = check(Candidate(forward, saves=True, saved_as=("mean", "rstd"), dtypes=("float32",)), "layer_norm", quick=True)
    assert failed(report) == {"forward.saved"}


def test_saved_in_the_storage_type_is_a_class_that_passes_only_where_declared() -> None:
    """Apex and ATen on the CPU keep mean and rstd in bfloat16 when everything else is."""

    def forward(x, gamma=None, beta=None, *, eps):
        y, saved = aten_forward(x, gamma, beta, eps=eps)
        return y, tuple(s.astype(x.dtype) for s in saved)

    def backward(dy, saved, x, gamma=None, beta=None):
        return aten_backward(dy, tuple(s.astype(np.float32) for s in saved), x, gamma, beta)

    fields = {"saves": True, "saved_as": ("mean", "rstd")}
    plain = check(Candidate(forward, backward, dtypes=("bfloat16",), **fields), "layer_norm", quick=True)
    assert not plain.passed and "saved" in plain.arithmetic
    roles = {"x": "bfloat16", "saved": "bfloat16"}
    declared = check(Candidate(forward, backward, dtypes=roles, **fields), "layer_norm", quick=True)
    assert declared.passed, str(declared)


# dtypes by role: Liger and flash-attn's layer_norm keep parameters in float32 and activations in 16 bits


def mixed_forward(x, gamma, beta, *, eps):
    y = LN.forward(x.astype(np.float32), gamma, beta, eps=eps)
    return y.astype(x.dtype)


def mixed_backward(dy, x, gamma, beta, *, eps):
    dx, dgamma, dbeta = LN.backward(dy.astype(np.float32), x.astype(np.float32), gamma, beta, eps=eps)
    return dx.astype(x.dtype), dgamma, dbeta


def test_dtypes_by_role() -> None:
    roles = {"x": "bfloat16", "params": "float32", "out": "bfloat16", "grads": "float32", "compute": "float32"}
    report = check(Candidate(mixed_forward, mixed_backward, dtypes=(roles, "float32")), "layer_norm", quick=True)
    assert report.passed, str(report)
    wrong = check(Candidate(mixed_forward, mixed_backward, dtypes={**roles, "grads": "bfloat16"}), "layer_norm", quick=True)
    assert failed(wrong) == {"backward.result"}


def test_compute_is_checked() -> None:
    """float32 in and out; who says that it sums in float64 is held to it."""
    wide = {"x": "float32", "compute": "float64"}

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        given = (None if a is None else a.astype(np.float64) for a in (x, gamma, beta))
        return LN.forward(*given, eps=eps, normalized_ndim=normalized_ndim).astype(x.dtype)

    assert check(Candidate(forward, dtypes=wide), "layer_norm", quick=True).passed
    report = check(Candidate(LN.forward, dtypes=wide), "layer_norm", quick=True)
    assert not report.passed


# supports: a Triton kernel that holds a row in one block


def test_supports_is_coverage_and_no_failure() -> None:
    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        assert x.size <= 512
        return LN.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)

    def supports(case):
        return True if case.x.size <= 512 else "more than 512 entries"

    report = check(Candidate(forward, supports=supports), "layer_norm", quick=True)
    assert report.passed, str(report)
    assert any("more than 512 entries" in reason for reason in report.coverage)


def test_supporting_nothing_is_not_right() -> None:
    report = check(Candidate(LN.forward, supports=lambda case: "no"), "layer_norm", quick=True)
    assert not report.passed and "nothing could be judged" in report.headline


# factory: a layer that is built for one shape


class Layer:
    def __init__(self, features: int, eps: float) -> None:
        self.features, self.eps = features, eps

    def __call__(self, x, gamma=None, beta=None):
        assert x.shape[-1] == self.features
        return LN.forward(x, gamma, beta, eps=self.eps)


def test_factory() -> None:
    def build(case):
        return Candidate(Layer(case.x.shape[-1], case.arguments["eps"]))

    report = check(Candidate(LN.forward, factory=build, normalized_ndim=1, dtypes=("float32",)), "layer_norm", quick=True)
    assert report.passed, str(report)


# channel_axis: cuDNN's NHWC


def test_channels_last() -> None:
    gn = candidate("group_norm")

    def forward(x, gamma=None, beta=None, *, num_groups, eps):
        y = gn.forward(np.moveaxis(x, -1, 1), gamma, beta, num_groups=num_groups, eps=eps)
        return np.ascontiguousarray(np.moveaxis(y, 1, -1))

    def backward(dy, x, gamma=None, beta=None, *, num_groups, eps):
        moved = (np.moveaxis(a, -1, 1) for a in (dy, x))
        dx, *rest = gn.backward(*moved, gamma, beta, num_groups=num_groups, eps=eps)
        return np.ascontiguousarray(np.moveaxis(dx, 1, -1)), *rest

    report = check(Candidate(forward, backward, channel_axis=-1, dtypes=("float32",)), "group_norm", quick=True)
    assert report.passed, str(report)
    assert not check(Candidate(forward, backward, dtypes=("float32",)), "group_norm", quick=True).passed


def test_normalized_ndim() -> None:
    """Who normalizes one axis says so; else gamma's axes are meant, and one axis of two is wrong."""

    def one_axis(x, gamma=None, beta=None, *, eps):
        mean = x.mean(-1, keepdims=True)
        y = (x - mean) / np.sqrt(np.square(x - mean).mean(-1, keepdims=True) + x.dtype.type(eps))
        y = y if gamma is None else y * gamma
        return y if beta is None else y + beta

    assert check(Candidate(one_axis, normalized_ndim=1), "layer_norm", quick=True).passed
    report = check(Candidate(one_axis), "layer_norm", quick=True)
    assert failed(report) >= {"forward.y"}


def test_parameters_where_no_signature_can_be_read() -> None:
    class Extension:
        __signature__ = "not a signature"

        def __call__(self, *arrays, **options):
            return LN.forward(*arrays, **options)

    names = ("x", "gamma", "beta", "eps", "normalized_ndim")
    assert check(Candidate(Extension(), parameters=names), "layer_norm", quick=True).passed


def test_parameters_that_are_missing_are_not_passed() -> None:
    """An RMS norm without an offset, and one whose eps is built in: 1e-6, which is Flax's."""

    def forward(x, gamma=None):
        return RMS.forward(x, gamma, eps=1e-6, offset=0)

    report = check(Candidate(forward, normalized_ndim=1), "rms_norm", quick=True)
    assert report.passed, str(report)
    assert report.dialect == "flax"
    assert {"facts.scaling", "facts.invariance"} <= set(report.not_offered)
    report = check(Candidate(forward, normalized_ndim=1), "rms_norm", "gemma", quick=True)
    assert not report.passed and any("flax" in words for words in report.mismatches)


def test_names_of_frameworks_are_understood() -> None:
    def forward(input, weight=None, bias=None, epsilon=1e-5):
        return LN.forward(input, weight, bias, eps=epsilon)

    assert check(Candidate(forward, normalized_ndim=1), "layer_norm", quick=True).passed


# mutates: cuDNN and PyTorch update running statistics in place


def in_place(x, gamma, beta, running_mean, running_var, *, momentum, eps, training):
    y, mean, var = BN.forward(x, gamma, beta, running_mean, running_var, momentum=momentum, eps=eps, training=training)
    if training and running_mean is not None:
        running_mean[...], running_var[...] = mean, var
    return y


def test_mutates() -> None:
    fields = {"mutates": ("running_mean", "running_var"), "dtypes": ("float32",)}
    report = check(Candidate(in_place, **fields), "batch_norm", "torch", quick=True)
    assert report.passed, str(report)
    assert "state.running" not in report.not_offered
    undeclared = check(Candidate(in_place, dtypes=("float32",)), "batch_norm", "torch", quick=True)
    assert "facts.purity" in failed(undeclared)


def test_a_type_that_is_asked_for_is_every_declaration_of_it() -> None:
    """float16 with parameters of float16 and of float32; one that is not declared is taken as it is named."""
    both = Candidate(LN.forward, dtypes=("float32", "float16", {"x": "float16", "params": "float32", "out": "float16"}))
    asked = Session(both, "layer_norm", dtypes=("float16", "float64")).arithmetics
    found = [(a.x.name, a.params.name) for a in asked]
    assert found == [("float16", "float16"), ("float16", "float32"), ("float64", "float64")]


# prologue, epilogue: vLLM's and Liger's fused_add_rms_norm; a norm with its activation fused


def add_rms(x, residual, gamma=None, *, eps, offset, normalized_ndim=1):
    h = x + residual
    return RMS.forward(h, gamma, eps=eps, offset=offset, normalized_ndim=normalized_ndim), h


def add_rms_backward(dy, dh, x, residual, gamma=None, *, eps, offset, normalized_ndim=1):
    dx, dgamma = RMS.backward(dy, x + residual, gamma, eps=eps, offset=offset, normalized_ndim=normalized_ndim)
    return dx + dh, dx + dh, dgamma


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, BF16], ids=str)
def test_the_parts_of_a_residual_are_finite_and_sum_exactly(dtype) -> None:
    """Up to the largest number of the type, whose leading bits would overflow if they were rounded."""
    largest = np.array(ml_dtypes.finfo(dtype).max, dtype)
    x = np.concatenate([[largest, -largest, 0.0], RNG.normal(size=29)]).astype(dtype)
    for part, rest in (fused.parts(x), fused.parts(x[::-1])):
        assert np.isfinite(part.astype(float)).all() and np.isfinite(rest.astype(float)).all()
        assert part.dtype == rest.dtype == dtype
        assert set((part + rest).tolist()) == set(x.tolist())
    part, rest = fused.parts(x[3:])
    assert np.count_nonzero(part) > 20 and np.count_nonzero(rest) > 20


def test_residual_prologue() -> None:
    fields = {"prologue": "residual", "dtypes": ("float32",)}
    assert check(Candidate(add_rms, add_rms_backward, **fields), "rms_norm", quick=True).passed

    def forgets_dh(dy, dh, x, residual, gamma=None, **options):
        dx, _, dgamma = add_rms_backward(dy, 0 * dh, x, residual, gamma, **options)
        return dx, dx, dgamma

    assert "backward.dx" in failed(check(Candidate(add_rms, forgets_dh, **fields), "rms_norm", quick=True))

    def forgets_residual(x, residual, gamma=None, **options):
        return RMS.forward(x, gamma, **options), x + residual

    assert "forward.y" in failed(check(Candidate(forgets_residual, **fields), "rms_norm", quick=True))


@pytest.mark.parametrize("name", ["relu", "silu", "gelu"])
def test_activation_epilogue(name: str) -> None:
    from scipy.special import erf

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def normal(z):
        return ((1 + erf(z / np.sqrt(2))) / 2).astype(z.dtype)

    value, slope = {
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
        "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
        "gelu": (lambda z: z * normal(z), lambda z: normal(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi).astype(z.dtype)),
    }[name]

    def forward(x, gamma=None, beta=None, **options):
        return value(LN.forward(x, gamma, beta, **options)).astype(x.dtype)

    def backward(dy, x, gamma=None, beta=None, **options):
        z = LN.forward(x, gamma, beta, **options)
        return LN.backward((dy * slope(z)).astype(x.dtype), x, gamma, beta, **options)

    named = {"parameters": ("x", "gamma", "beta", "eps", "normalized_ndim")}
    report = check(Candidate(forward, backward, epilogue=name, **named), "layer_norm", quick=True)
    assert report.passed, str(report)
    without = check(Candidate(forward, LN.backward, epilogue=name, dtypes=("float32",), **named), "layer_norm", quick=True)
    assert "backward.dx" in failed(without)


def test_needs_grad() -> None:
    """Inference-time adapters train gamma alone."""

    def gamma_alone(dy, x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        return LN.backward(dy, x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)[1]

    report = check(Candidate(LN.forward, gamma_alone, needs_grad=("gamma",), dtypes=("float32",)), "layer_norm", quick=True)
    assert report.passed, str(report)
    assert "backward.dx" in report.not_offered


def masked(x, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum, eps, training, mask=None, num_shards=1):
    counts = np.ones(x.shape, bool) if mask is None else np.broadcast_to(mask, x.shape)
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *(1 for _ in x.shape[2:]))
    if training:
        parts = zip(np.array_split(x, num_shards), np.array_split(counts, num_shards), strict=True)
        sums = [((a * m).sum(axes), m.sum(axes)) for a, m in parts]
        n = sum(m for _, m in sums).astype(x.dtype)
        mean = sum(s for s, _ in sums) / n
        var = (np.square(x - mean.reshape(shape)) * counts).sum(axes) / n
    else:
        mean, var, n = running_mean, running_var, None
    y = (x - mean.reshape(shape)) / np.sqrt(var + x.dtype.type(eps)).reshape(shape)
    y = y if gamma is None else y * gamma.reshape(shape)
    y = y if beta is None else y + beta.reshape(shape)
    if not training:
        return y, running_mean, running_var
    m = x.dtype.type(momentum)
    unbiased = (var * n / np.maximum(n - 1, 1)).astype(x.dtype)
    return y.astype(x.dtype), (1 - m) * running_mean + m * mean, (1 - m) * running_var + m * unbiased


def test_mask_and_shards() -> None:
    report = check(Candidate(masked, dtypes=("float32",)), "batch_norm", quick=True)
    assert report.passed, str(report)

    def mean_of_means(x, gamma, beta, running_mean, running_var, *, momentum, eps, training, num_shards=1):
        kept = {"momentum": momentum, "eps": eps, "training": training}
        y, mean, var = masked(x, gamma, beta, running_mean, running_var, **kept)
        if training and num_shards > 1:
            shards = np.mean([a.mean((0, *range(2, x.ndim))) for a in np.array_split(x, num_shards)], axis=0)
            mean = ((1 - momentum) * running_mean + momentum * shards).astype(x.dtype)
        return y, mean, var

    wrong = check(Candidate(mean_of_means, dtypes=("float32",)), "batch_norm", quick=True)
    assert {f.stratum for f in wrong.failures} == {"shards"}

    def unmasked(x, gamma, beta, running_mean, running_var, *, momentum, eps, training, mask=None):
        return masked(x, gamma, beta, running_mean, running_var, momentum=momentum, eps=eps, training=training)

    wrong = check(Candidate(unmasked, dtypes=("float32",)), "batch_norm", quick=True)
    assert {f.stratum for f in wrong.failures} == {"mask"}


# misbehaviour is a finding


def test_compiling_for_a_shape_is_not_hanging() -> None:
    """An adapter's `prepare` has a time of its own; what never ends there hangs, what raises there is left to the call."""
    seconds = {"prepared": 0.0}

    def prepare(x):
        time.sleep(seconds["prepared"])
        raise ValueError("as the call will")

    patient = replace(Candidate(lambda x: x, dtypes=("float32",)), by_name=True, prepare=prepare)
    case = Session(patient, "rms_norm").blank
    caller = Caller(patient, patience=0.05)
    for shape, slept, fault in ((2, 0.3, None), (3, 60.0, "hangs")):
        seconds["prepared"] = slept
        trial = caller.forward(case.replaced(x=case.x[:shape], dy=case.dy[:shape]))
        assert (trial.faults[0].kind if trial.faults else None) == fault
        assert not trial.faults or "not compiled within" in trial.faults[0].message


def test_a_candidate_that_hangs_is_a_finding() -> None:
    def forward(x, gamma=None, beta=None, *, eps):
        while True:
            time.sleep(0.01)

    report = check(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=True, patience=0.02)
    assert not report.passed
    assert any("no answer within 0.02 s, twice" in f.message for f in report.failures)
    assert any("hung" in reason for reason in report.coverage)


@pytest.mark.parametrize("silences", [1, 2])
def test_a_machine_that_stands_still_for_once_is_no_hang(silences: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence is asked again, its input as it was; the second one is a finding."""
    left = [silences]

    def within(seconds, call):
        returned = call()
        if left[0]:
            left[0] -= 1
            raise Hangs
        return returned

    def forward(x, gamma, beta, running_mean, running_var):
        running_mean += 1
        return x

    monkeypatch.setattr(caller_module, "within", within)
    stands_still = Candidate(forward, mutates=("running_mean", "running_var"), dtypes=("float32",))
    case = Session(stands_still, "batch_norm").blank
    trial = Caller(stands_still).forward(case)
    assert [fault.kind for fault in trial.faults] == ["hangs"] * (silences - 1) and left == [0]
    if silences == 1:
        assert np.array_equal(trial.values["running_mean"], case.arguments["running_mean"] + 1)


def test_an_exception_that_is_no_exception_is_a_finding() -> None:
    def forward(x, gamma=None, beta=None, *, eps):
        raise SystemExit(3)

    assert "forward.runs" in failed(check(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=True))


def test_a_slow_candidate_is_not_asked_for_the_largest_cases() -> None:
    session = Session(Candidate(LN.forward, dtypes=("float32",)), "layer_norm")
    session.pace.rate = 1e-3
    case = next(c for c in session.cases() if c.x.size > 10_000)
    assert "too slow" in session.refusal(case)


def test_none_is_not_asked_of_a_signature_that_does_not_offer_it() -> None:
    def forward(x, gamma, beta, *, eps):
        return LN.forward(x, gamma, beta, eps=eps) + 0 * gamma.sum() + 0 * beta.sum()

    report = check(Candidate(forward), "layer_norm", quick=True)
    assert report.passed, str(report)
    assert any("not offered" in reason for reason in report.coverage)


# what is not usable


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"channel_axis": 0}, "channel_axis"),
        ({"prologue": "add"}, "prologue"),
        ({"epilogue": "tanh"}, "epilogue"),
        ({"mutates": "x"}, "mutates"),
        ({"dtypes": ("float31",)}, "float31"),
        ({"dtypes": {"y": "float32"}}, "role"),
        ({"dtypes": ()}, "dtypes"),
        ({"supports": True}, "supports"),
    ],
)
def test_wrong_fields_name_themselves(fields: dict, word: str) -> None:
    with pytest.raises((TypeError, ValueError), match=word):
        Candidate(LN.forward, **fields)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check(LN, "layernorm"), "layer_norm"),
        (lambda: check(LN, "layer_norm", "tf"), "torch, "),
        (lambda: check(LN, "layer_norm", dtypes=("float8",)), "bfloat16"),
        (lambda: check(3, "layer_norm"), "callable"),
        (lambda: load_candidate("nowhere.py:f"), "no such file"),
        (lambda: load_candidate("no_such_module:f"), "no_such_module"),
        (lambda: load_candidate("math:nothing"), "math has no nothing"),
        (lambda: load_candidate("layer_norm"), "package.module:Name"),
    ],
)
def test_unusable_says_what_exists_in_one_line(call, words: str) -> None:
    with pytest.raises(Unusable, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_largest_arrays_of_the_caller_are_left_alone() -> None:
    kept = {"x": None}

    def forward(x, gamma=None, beta=None, *, eps, normalized_ndim=1):
        kept["x"] = x
        return LN.forward(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim)

    session = Session(Candidate(forward, dtypes=("float32",)), "layer_norm", quick=True)
    case = session.blank
    before = case.x.copy()
    session.call(case)
    assert kept["x"] is not case.x and np.array_equal(case.x, before)
