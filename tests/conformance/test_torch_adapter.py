"""PyTorch as candidates: functions, modules, autograd.Functions; and PyTorch's own faults, each confirmed by hand."""

import numpy as np
import pytest

import refnorm
from refnorm.conformance import Candidate, Unusable, check
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
RNG = np.random.default_rng(7)


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


@pytest.mark.parametrize(
    ("norm", "build"),
    [
        ("batch_norm", lambda nn: nn.BatchNorm2d(4, track_running_stats=False)),
        ("instance_norm", lambda nn: nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
        ("instance_norm", lambda nn: nn.InstanceNorm2d(4)),
    ],
)
def test_modules_with_and_without_statistics(torch, norm: str, build) -> None:
    """Without running statistics nothing is asked of evaluation; those that a norm has not are the module's own affair."""
    report = check(Candidate.from_torch(build(torch.nn), dtypes=("float32",)), norm, "torch", quick=True)
    assert report.passed, str(report)
    assert norm == "instance_norm" or {"state.evaluation", "state.running"} <= set(report.not_offered)
    assert norm == "batch_norm" or any("fewer are one sample's" in words for words in report.coverage)


def test_synchronized_batch_norm_runs_where_there_is_one_process(torch) -> None:
    x, dy = RNG.normal(size=(2, 5, 3, 2)).astype(np.float32)
    given = {"x": x, "gamma": np.ones(3, np.float32), "beta": np.zeros(3, np.float32), "eps": 1e-5, "momentum": 0.1}
    given |= {"running_mean": np.zeros(3, np.float32), "running_var": np.ones(3, np.float32), "training": True}
    found = []
    for module in (torch.nn.SyncBatchNorm(4), torch.nn.BatchNorm1d(4)):
        judged = Candidate.from_torch(module)
        outputs, saved = judged.forward(**given)
        found.append([*outputs, *judged.backward(dy, saved)])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["LazyBatchNorm2d", "LazyInstanceNorm1d"])
def test_lazy_modules_have_to_be_called_first(torch, name) -> None:
    with pytest.raises(Unusable, match=f"{name} has no parameters yet"):
        Candidate.from_torch(getattr(torch.nn, name)())


def test_parametrizations_of_weights(torch) -> None:
    """A layer with weight norm is that norm, whatever its shape; the module itself stays as it is."""
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 3))
    before = module.weight.detach().clone()
    report = check(Candidate.from_torch(module, dtypes=("float32",)), "weight_norm", "torch", quick=True)
    assert report.passed, str(report)
    assert torch.equal(module.weight, before)


def test_statistics_that_a_function_returns_after_y(torch) -> None:
    """native_layer_norm's (y, mean, rstd), named by saved_as: wrong ones are seen, and gradients are y's."""

    def function(wrong):
        class Norm(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, weight, bias, eps):
                y, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
                ctx.save_for_backward(x, mean, rstd, weight, bias)
                ctx.mark_non_differentiable(mean, rstd)
                return y, mean, rstd + wrong

            @staticmethod
            def backward(ctx, dy, *_):
                x, mean, rstd, weight, bias = ctx.saved_tensors
                back = torch.ops.aten.native_layer_norm_backward
                return *back(dy, x, weight.shape, mean, rstd, weight, bias, [True] * 3), None

        return Candidate.from_torch(Norm, dtypes=("float32",), saved_as=("mean", "rstd"))

    report = check(function(0.0), "layer_norm", "torch", quick=True)
    assert report.passed and "forward.saved" not in report.not_offered, str(report)
    assert [f.check for f in check(function(0.1), "layer_norm", "torch", quick=True).failures] == ["forward.saved"]


def test_function_transforms(torch) -> None:
    """torch.func: vmap over the rows, the module's parameters by functional_call."""

    def norm(x, weight, bias, *, normalized_shape, eps=1e-5):
        module = torch.nn.LayerNorm(normalized_shape, eps=eps)
        each = torch.func.vmap(lambda row: torch.func.functional_call(module, {"weight": weight, "bias": bias}, (row,)))
        return each(x.reshape(-1, *normalized_shape)).reshape(x.shape)

    judged = Candidate.from_torch(norm)
    x, dy = RNG.normal(size=(2, 5, 3))
    y, saved = judged.forward(x=x, gamma=np.ones(3), beta=np.zeros(3), normalized_shape=(3,))
    right, cache = refnorm.layer_norm.forward(x, np.ones(3), np.zeros(3))
    np.testing.assert_allclose(y, right, atol=1e-12)
    for found, exact in zip(judged.backward(dy, saved), refnorm.layer_norm.backward(dy, cache), strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-12)


def test_compiled_functions(torch) -> None:
    """Compiled before the call whose time is taken, for every kind of input; backwards run as often as they are asked for."""
    kinds = []

    def backend(graph, examples):
        kinds.append(len(examples))
        return graph

    def norm(x, weight, bias, *, normalized_shape, eps=1e-5):
        return torch.nn.functional.layer_norm(x, normalized_shape, weight, bias, eps)

    judged = Candidate.from_torch(torch.compile(norm, backend=backend, dynamic=False))
    x, dy = RNG.normal(size=(2, 11, 3))
    for rows in range(1, 12):
        given = {"x": x[:rows], "gamma": np.ones(3), "beta": np.zeros(3), "normalized_shape": (3,)}
        judged.prepare(**given)
        before = len(kinds)
        _, saved = judged.forward(**given)
        twice = [judged.backward(dy[:rows], saved) for _ in range(2)]
        assert len(kinds) == before == rows
        assert all(np.array_equal(a, b) for a, b in zip(*twice, strict=True))


# Red cells of `refnorm check torch` (PyTorch 2.13, CPU), on whole numbers: exact values are worked out in the comments


def gradients(torch, function, dtype, x, dy, *parameters, parameters_in=None):
    """y, dx and the parameters' gradients as lists."""
    kind = getattr(torch, dtype)
    leaves = [torch.tensor(x, dtype=kind), *(torch.tensor(p, dtype=parameters_in or kind) for p in parameters)]
    for leaf in leaves:
        leaf.requires_grad_()
    y = function(*leaves)
    found = torch.autograd.grad(y, leaves, dy if isinstance(dy, torch.Tensor) else torch.tensor(dy, dtype=kind))
    return [a.detach().double().flatten().tolist() for a in (y, *found)]


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 128.0), ("float16", 1024.0)])
def test_statistics_are_kept_in_16_bits(torch, dtype, least) -> None:
    """[128, 129] has mean 128.5, which bfloat16 does not hold: -+1 becomes 0, 2; dx is 0 for a constant dy, and is -4."""
    functional, one, zero = torch.nn.functional, [1.0, 1.0], [0.0, 0.0]
    row, wide = [[least, least + 1]], {"parameters_in": torch.float32}
    for narrow in (lambda x, g, b: functional.layer_norm(x, (2,), g, b), lambda x, g, b: functional.group_norm(x, 1, g, b)):
        y, dx, dgamma, _ = gradients(torch, narrow, dtype, row, [one], one, zero)
        assert (y, dx, dgamma) == ([-1, 1], [0, -4], [0, 2])
        y, dx, dgamma, _ = gradients(torch, narrow, dtype, row, [one], one, zero, **wide)
        assert (y, dx, np.round(dgamma, 3).tolist()) == ([-1, 1], [0, 0], [-1, 1])
    y, dx, *_ = gradients(torch, functional.instance_norm, dtype, [row], [[one]])
    assert (y, dx) == ([0, 2], [0, -4])
    columns = [[least], [least + 1]]
    y, dx, *_ = gradients(torch, lambda x: functional.batch_norm(x, None, None, training=True), dtype, columns, [[1.0]] * 2)
    assert y[0] == dx[0] == 0 and y[1] > 1.4 and dx[1] < -1.4


@pytest.mark.parametrize(("dtype", "sums_to"), [("bfloat16", 256), ("float16", 2048)])
def test_layer_norm_sums_the_gradients_of_float32_parameters_in_16_bits(torch, dtype, sums_to) -> None:
    """4097 rows whose cotangents are ones: dbeta is 4097 in each place, and stops where adding 1 changes nothing."""
    rows = [[1.0, 0.0]] * 4097
    norm = torch.nn.functional.layer_norm
    called = gradients(torch, lambda x, g, b: norm(x, (2,), g, b), dtype, rows, [[1.0] * 2] * 4097, [1.0] * 2, [0.0] * 2,
                       parameters_in=torch.float32)  # fmt: skip
    assert called[3] == [sums_to] * 2


def test_batch_norm_rounds_dbeta_where_the_cotangent_is_a_sums(torch) -> None:
    """y.sum().backward() hands a cotangent of strides 0: 4097 ones are 4096 in bfloat16, in a gradient of float32."""
    column, one = [[float(k % 2)] for k in range(4097)], torch.ones((), dtype=torch.bfloat16)
    for dy, dbeta in ((one.expand(4097, 1), 4096), (one.repeat(4097, 1), 4097)):
        found = gradients(torch, lambda x, g, b: torch.nn.functional.batch_norm(x, None, None, g, b, training=True),
                          "bfloat16", column, dy, [1.0], [0.0], parameters_in=torch.float32)  # fmt: skip
        assert found[3] == [dbeta]


def test_batch_norm_rounds_its_momentum(torch) -> None:
    """0.7 (-2) + 0.3 mean(3, 4) = -0.35, in bfloat16 -0.3496."""
    mean, var = (torch.tensor([v], dtype=torch.bfloat16) for v in (-2.0, 1.0))
    torch.nn.functional.batch_norm(torch.tensor([[3.0], [4.0]], dtype=torch.bfloat16), mean, var, training=True, momentum=0.3)
    assert float(mean) == -0.34375


def test_weight_norm_without_an_axis_has_its_gradient_in_16_bits(torch) -> None:
    """dv = (g / |v|) (dy - v <v, dy> / |v|^2): v = (1, 2, 2), dy = (2, 3, 3) give (4, -1, -1) / 27."""
    def whole(v, g):
        return torch._weight_norm(v, g, -1)

    _, dv, _ = gradients(torch, whole, "bfloat16", [[1.0, 2, 2]], [[2.0, 3, 3]], 1.0)
    assert abs(dv[1] + 1 / 27) > 0.25 / 27
    _, dv, _ = gradients(torch, whole, "float16", [[3.0, 4]], [[30000.0, 1]], 1.0)  # <v, dy> = 90004 is past float16,
    assert np.isinf(dv).all()  # 3839.904 and -2879.928 are not


def test_group_norm_without_a_weight_has_no_backward(torch) -> None:
    x, beta = torch.randn(1, 4, 3, requires_grad=True), torch.zeros(4, requires_grad=True)
    with pytest.raises(RuntimeError, match="device"):
        torch.nn.functional.group_norm(x, 2, None, beta).sum().backward()


@pytest.mark.slow
def test_the_preset_is_red_where_it_was_confirmed_and_nowhere_else(torch) -> None:
    reports = run_preset("torch")
    red = {r.candidate.title.partition(" ")[2].partition(" ")[2] for r in reports if not r.passed}
    confirmed = {f"F.{n}" for n in ("batch_norm", "layer_norm", "group_norm", "instance_norm", "layer_norm, moved")}
    mixed = {f"{name}, parameters in float32" for name in confirmed if name != "F.layer_norm, moved"}
    assert red == confirmed | mixed | {"_weight_norm", "parametrizations.weight_norm"}
    for report in reports:
        for failure in report.failures:
            assert set(failure.dtypes) <= {"float16", "bfloat16"}, f"{report.candidate.title}: {failure.message}"


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


def test_gradients_are_in_the_order_of_each_norm(torch) -> None:
    """x, alpha, gamma, beta; g, w; x, beta, gamma: also under names of one's own."""

    def dynamic_tanh(x, alpha=None, gamma=None, beta=None):
        y = torch.tanh(x if alpha is None else alpha * x) * (1 if gamma is None else gamma)
        return y if beta is None else y + beta

    def tangent(gradient, kernel):
        rows, kernels = gradient.flatten(1), kernel.flatten(1)
        along = (rows * kernels).sum(1, keepdim=True) / kernels.square().sum(1, keepdim=True)
        return (rows - along * kernels).reshape(gradient.shape)

    def generalized(x, beta, gamma):
        channels = (-1,) + (1,) * (x.ndim - 2)
        return x / (beta.reshape(channels) + torch.einsum("cd,nd...->nc...", gamma, x.square())).sqrt()

    functions = {"dynamic_tanh": dynamic_tanh, "tangent_projection": tangent, "generalized_divisive_norm": generalized}
    for norm, function in functions.items():
        axis = -1 if norm == "dynamic_tanh" else 1
        report = check(Candidate.from_torch(function, dtypes=("float32",), channel_axis=axis), norm, quick=True)
        assert report.passed, str(report)
