"""PyTorch as candidates: functions, modules, autograd.Functions; and PyTorch's own faults, each confirmed by hand."""

import numpy as np
import pytest

from refnorm.conformance import Candidate, check
from refnorm.conformance.presets import candidates, run_preset
from refnorm.conformance.session import Session


@pytest.fixture(scope="module")
def torch(request):
    torch = request.getfixturevalue("peer")("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


WIDE = {"dtypes": ("float64", "float32")}


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm", "rms_norm", "group_norm", "instance_norm"])
def test_functions_are_right(torch, norm: str) -> None:
    operation = getattr(torch.nn.functional, norm)
    report = check(Candidate.from_torch(operation, **WIDE), norm, "torch", quick=True)
    failures = {f.check for f in report.failures}
    assert failures <= ({"backward.runs"} if norm == "group_norm" else set()), str(report)


@pytest.mark.parametrize(
    ("norm", "build"),
    [
        ("batch_norm", lambda nn: nn.BatchNorm1d(4)),
        ("layer_norm", lambda nn: nn.LayerNorm(4)),
        ("rms_norm", lambda nn: nn.RMSNorm(4)),
        ("group_norm", lambda nn: nn.GroupNorm(2, 4)),
    ],
)
def test_modules_are_right(torch, norm: str, build) -> None:
    module = build(torch.nn)
    if norm == "batch_norm":
        module._check_input_dim = lambda x: None  # any rank: the class of one rank would refuse the others
    before = {k: v.clone() for k, v in module.state_dict().items()}
    report = check(Candidate.from_torch(module, **WIDE), norm, "torch", quick=True)
    assert {f.check for f in report.failures} <= ({"backward.runs"} if norm == "group_norm" else set()), str(report)
    assert report.dialect == "torch"
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def rms_function(torch):
    class RMS(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, gamma, eps, offset, normalized_ndim):
            axes = tuple(range(-normalized_ndim, 0))
            r = (x.square().mean(axes, keepdim=True) + eps).rsqrt()
            ctx.save_for_backward(x, gamma, r)
            ctx.axes, ctx.offset = axes, offset
            return x * r if gamma is None else x * r * (offset + gamma)

        @staticmethod
        def backward(ctx, dy):
            x, gamma, r = ctx.saved_tensors
            g = dy if gamma is None else dy * (ctx.offset + gamma)
            xhat = x * r
            dx = r * (g - xhat * (g * xhat).mean(ctx.axes, keepdim=True))
            dgamma = None if gamma is None else (dy * xhat).reshape(-1, *gamma.shape).sum(0)
            return dx, dgamma, None, None, None

    return RMS


def test_autograd_functions(torch) -> None:
    right = rms_function(torch)
    report = check(Candidate.from_torch(right, **WIDE), "rms_norm", quick=True)
    assert report.passed, str(report)

    class Wrong(right):
        @staticmethod
        def backward(ctx, dy):
            dx, dgamma, *rest = right.backward(ctx, dy)
            return dx, dgamma * 2 if dgamma is not None else None, *rest

    report = check(Candidate.from_torch(Wrong, **WIDE), "rms_norm", quick=True)
    assert {f.check for f in report.failures} >= {"backward.parameters"}


def test_a_module_of_ones_own_with_a_bug(torch) -> None:
    class Norm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias, self.eps = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.zeros(4)), 1e-5

        def forward(self, x):
            return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + self.eps) * self.weight + self.bias

    report = check(Candidate.from_torch(Norm(), normalized_ndim=1, **WIDE), "layer_norm", quick=True)
    assert not report.passed


def test_strides_reach_the_candidate(torch) -> None:
    def forward(x, gamma, beta, eps):
        return torch.nn.functional.layer_norm(
            x.as_strided(x.shape, torch.empty(x.shape).stride()), gamma.shape, gamma, beta, eps
        )

    report = check(Candidate.from_torch(forward, dtypes=("float32",)), "layer_norm", quick=True)
    assert "layout.y" in {f.check for f in report.failures}
    assert "right where they are contiguous" in report.headline


# Red cells of `refnorm check torch` (PyTorch 2.13, CPU), computed by hand


def test_layer_norm_in_16_bits_sums_dbeta_in_16_bits(torch) -> None:
    """4097 ones: their sum is 4097, and 512 in bfloat16 where every partial sum is rounded to it."""
    x, dy = (torch.ones(4097, 3, dtype=torch.bfloat16) for _ in range(2))
    gamma, beta = (torch.ones(3, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
    torch.nn.functional.layer_norm(x, (3,), gamma, beta).backward(dy)
    assert abs(float(beta.grad[0]) - 4097) > 1000


def test_layer_norm_in_16_bits_keeps_its_statistics_in_16_bits(torch) -> None:
    """x = dy = (1, 0, 0): dx is (6.4e-5, -3.2e-5, -3.2e-5); with mean and rstd in bfloat16 its signs are others."""
    x = torch.tensor([[1.0, 0, 0]], dtype=torch.bfloat16, requires_grad=True)
    one, zero = torch.ones(3, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.bfloat16)
    torch.nn.functional.layer_norm(x, (3,), one, zero, 1e-5).backward(x.detach().clone())
    r = (2 / 9 + 1e-5) ** -0.5
    right = r**3 * 1e-5 * np.array([2 / 3, -1 / 3, -1 / 3])  # dx = eps r^3 c, since dy is in the span of 1 and c
    assert np.max(np.abs(x.grad.float().numpy()[0] - right)) > 30 * np.max(np.abs(right)) / 2


def test_batch_norm_in_bfloat16_rounds_its_mean(torch) -> None:
    x = torch.tensor([[1.0], [1.5], [3.0]], dtype=torch.bfloat16)
    y = torch.nn.functional.batch_norm(x, None, None, training=True, eps=1e-5).float().numpy()
    wide = x.double().numpy()
    right = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    assert np.max(np.abs(y - right)) > np.max(np.abs(right)) * 2**-9


def test_group_norm_without_a_weight_has_no_backward(torch) -> None:
    x, beta = torch.randn(1, 4, 3, requires_grad=True), torch.zeros(4, requires_grad=True)
    with pytest.raises(RuntimeError, match="device"):
        torch.nn.functional.group_norm(x, 2, None, beta).sum().backward()


@pytest.mark.slow
def test_the_preset_is_red_where_it_was_confirmed_and_nowhere_else(torch) -> None:
    reports = {r.norm: r for r in run_preset("torch")}
    assert reports["rms_norm"].passed
    for norm, report in reports.items():
        for failure in report.failures:
            halves = set(failure.dtypes) <= {"float16", "bfloat16"}
            assert halves or (norm == "group_norm" and failure.check == "backward.runs"), f"{norm}: {failure.message}"


def test_parameters_in_any_order(torch) -> None:
    def swapped(x, bias=None, weight=None, *, eps=1e-5, normalized_shape):
        return torch.nn.functional.layer_norm(x, normalized_shape, weight, bias, eps)

    report = check(Candidate.from_torch(swapped, dtypes=("float32",)), "layer_norm", "torch", quick=True)
    assert report.passed, str(report)


def test_a_power_iteration_has_no_gradient(torch) -> None:
    def spectral(w, u, v, *, n_power_iterations, eps, training):
        matrix = w.flatten(1)
        unit = torch.nn.functional.normalize
        with torch.no_grad():
            for _ in range(n_power_iterations if training else 0):
                u = unit(matrix @ v, dim=0, eps=eps)
                v = unit(matrix.T @ u, dim=0, eps=eps)
        sigma = torch.vdot(u, matrix @ v)
        return w / sigma, u, v

    report = check(Candidate.from_torch(spectral, dtypes=("float32",)), "spectral_norm", "torch", quick=True)
    assert not {f.check for f in report.failures} & {"backward.result", "backward.runs", "backward.dx"}, str(report)
    assert {o.check: o.status for o in report.outcomes}["backward.dx"] == "passed"


def test_only_the_gradients_that_it_returns(torch) -> None:
    given = Candidate.from_torch(torch.nn.functional.layer_norm, dtypes=("float32",), needs_grad=("x", "beta"))
    report = check(given, "layer_norm", "torch", quick=True)
    assert report.passed, str(report)


@pytest.fixture
def llama(torch):
    """Hugging Face's LlamaRMSNorm, verbatim: xhat is cast back before the product with the weight."""

    class LlamaRMSNorm(torch.nn.Module):
        def __init__(self, hidden_size, eps=1e-6):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(hidden_size))
            self.variance_epsilon = eps

        def forward(self, hidden_states):
            input_dtype = hidden_states.dtype
            hidden_states = hidden_states.to(torch.float32)
            variance = hidden_states.pow(2).mean(-1, keepdim=True)
            hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
            return self.weight * hidden_states.to(input_dtype)

    return LlamaRMSNorm(8)


@pytest.mark.parametrize(("dialect", "dtype"), [("llama", "bfloat16"), (None, "bfloat16"), (None, "float16")])
def test_llama_is_right_and_known(llama, dialect, dtype) -> None:
    given = Candidate.from_torch(llama, dtypes=(dtype,), normalized_ndim=1)
    report = check(given, "rms_norm", dialect, quick=True)
    assert report.passed and report.dialect == "llama", str(report)
    assert "Llama's order" in report.traits["casts"]


def test_llama_asked_for_another_order_is_named(llama) -> None:
    given = Candidate.from_torch(llama, dtypes=("bfloat16",), normalized_ndim=1)
    spoken = Session(given, "rms_norm", "flax", quick=True).spoken
    words = "xhat is rounded to storage before the product with gamma, Llama's order, not so in flax"
    assert spoken.dialect == "llama" and spoken.mismatches[0] == words and "llama" in spoken.mismatches[-1]


def test_the_preset_has_weights_and_vectors(torch) -> None:
    norms = ("weight_norm", "spectral_norm", "lp_norm", "local_response_norm")
    listed = [entry for entry in candidates("torch") if entry[0] in norms]
    assert len(listed) == 6
    for norm, dialect, given in listed:
        report = check(given, norm, dialect, quick=True, dtypes=("float32",))
        assert report.passed and report.dialect == dialect, str(report)


def test_weight_norm_of_a_middle_axis_multiplies_in_16_bits(torch) -> None:
    """g / |v| is rounded to float16 there, and the product again: 1.5 roundings of y, where the outer axes keep to one half."""
    generator = torch.Generator().manual_seed(0)
    v, g = (torch.randn(shape, generator=generator).half() for shape in ((2, 300, 2), (300,)))
    exact = g.double()[:, None] * v.double() / v.double().pow(2).sum((0, 2), keepdim=True).sqrt()
    y = torch._weight_norm(v, g.reshape(1, -1, 1), 1).double()
    assert ((y - exact).abs() / exact.abs()).max() > 1.2 * 2.0**-11
    outer = torch._weight_norm(v.movedim(1, 0).contiguous(), g.reshape(-1, 1, 1), 0).double()
    assert ((outer.movedim(0, 1) - exact).abs() / exact.abs()).max() < 1.01 * 2.0**-11
