"""What a bare function is taken for, from its first call: NumPy's or PyTorch's, of one trailing axis or of several."""

import inspect
from argparse import Namespace

import numpy as np
import pytest

from refnorm.conformance import Candidate, Unusable, check
from refnorm.conformance.adapters.bare import as_it_is_called
from refnorm.conformance.candidate import load_candidate
from refnorm.conformance.command import placed
from refnorm.conformance.session import Session

from .kernels import candidate

TORCH = """
import torch
from torch.nn.functional import layer_norm

def last(x, weight, bias, eps=1e-5):
    return layer_norm(x, x.shape[-1:], weight, bias, eps)

def all_of_gamma(x, weight, bias, eps=1e-5):
    return layer_norm(x, weight.shape, weight, bias, eps)

class Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        return layer_norm(x, x.shape[-1:], gamma, beta, eps)

class Wide(torch.nn.Module):
    def __init__(self, width):
        super().__init__()

class Around(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x)

class Rms(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(8))
        self.variance_epsilon = 1e-6

    def forward(self, x):
        h = x.float()
        return self.weight * (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + self.variance_epsilon)).to(x.dtype)

layer, group, batch = (
    Around(norm) for norm in (torch.nn.LayerNorm(8), torch.nn.GroupNorm(2, 6), torch.nn.BatchNorm2d(4))
)
rms = Around(Rms())
two = torch.nn.Sequential(torch.nn.LayerNorm(8), torch.nn.LayerNorm(8))
"""


def last_axis(x, gamma, beta, *, eps=1e-5):
    c = x - x.mean(-1, keepdims=True)
    y = c / np.sqrt(np.square(c).mean(-1, keepdims=True) + eps)
    return (y if gamma is None else gamma * y) + (0 if beta is None else beta)


@pytest.fixture
def torchs(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'refnorm[peers]'")
    (tmp_path / "torchs.py").write_text(TORCH)
    return lambda name: f"{tmp_path / 'torchs.py'}:{name}"


@pytest.mark.parametrize(("name", "axes"), [("last", 1), ("all_of_gamma", None), ("Function", 1)])
def test_a_function_of_tensors_is_pytorchs(torchs, name, axes):
    session = Session(load_candidate(torchs(name)), "layer_norm")
    found = as_it_is_called(session)
    assert found.convert == "torch" and found.backward is not None and found.origin == session.candidate.origin
    session = Session(found, "layer_norm")
    assert session.normalized_ndim == axes
    assert [words.partition(":")[0] for words in session.skipped] == ["several normalized axes are not offered"] * (axes or 0)


def test_a_function_of_arrays_is_numpys(torchs):
    load_candidate(torchs("last"))                            # PyTorch is there
    for function in (last_axis, candidate("layer_norm").forward):
        bare = Candidate(function)
        assert as_it_is_called(Session(bare, "layer_norm")) is bare
        assert Session(bare, "layer_norm").normalized_ndim is None


def test_a_class_that_needs_arguments_is_no_candidate(torchs):
    with pytest.raises(Unusable, match=r"cannot make a Wide\(\): TypeError.*width.*; name an object or a function"):
        load_candidate(torchs("Wide"))


def test_the_last_axis_alone_is_wrong_unless_it_is_said():
    report = check(Candidate(last_axis, dtypes=("float64",)), "layer_norm", quick=True)
    meant = "the statistics are over the last axis alone, whatever shape gamma has (if that is meant: normalized_ndim=1)"
    assert not report.passed and meant in report.headline


def test_the_command_line_says_where_axes_are():
    target = "tests.conformance.test_as_called:last_axis"
    said = placed(Namespace(target=target, normalized_ndim=1, channel_axis=-1))
    assert (said.normalized_ndim, said.channel_axis, said.origin) == (1, -1, target)
    assert placed(Namespace(target=target, normalized_ndim=None, channel_axis=None)).normalized_ndim is None


@pytest.mark.parametrize(
    ("name", "norm", "options", "axes"),
    [
        ("layer", "layer_norm", {"eps", "normalized_shape"}, None), ("group", "group_norm", {"eps", "num_groups"}, 1),
        ("batch", "batch_norm", {"eps", "momentum", "running_mean", "running_var"}, 1), ("rms", "rms_norm", {"eps"}, 1),
    ],
)  # fmt: skip
def test_a_module_around_one_norm_is_that_norm(torchs, name, norm, options, axes):
    found = load_candidate(torchs(name))
    session = Session(found, norm)
    assert options <= set(inspect.signature(found.forward).parameters) and found.normalized_ndim == axes
    assert session.offers("gamma", "eps") and session.call(next(session.cases())).ran


def test_a_module_around_two_norms_is_none_of_them(torchs):
    assert set(inspect.signature(load_candidate(torchs("two")).forward).parameters) == {"x", "training"}


def test_arithmetic_in_float32_is_said_where_it_is_given_float64(torchs):
    report = check(torchs("rms"), "rms_norm", quick=True, dtypes=("float64",))
    assert "it computes in float32, whatever it is given" in report.headline


def test_who_takes_no_gamma_is_not_excused_by_its_being_none():
    def of_eight(x, *, eps=1e-5):
        if x.shape[-1] != 8:
            raise RuntimeError("rows of 8, please")
        c = x - x.mean(-1, keepdims=True)
        return c / np.sqrt(np.square(c).mean(-1, keepdims=True) + eps)

    report = check(Candidate(of_eight, normalized_ndim=1, dtypes=("float64",)), "layer_norm", quick=True)
    assert [f.check for f in report.failures] == ["forward.runs"] and "rows of 8, please" in report.headline


def test_a_weight_norm_of_one_axis_need_not_know_dim_none():
    def weight_norm(v, g, *, dim=0):
        axes = tuple(k for k in range(v.ndim) if k != dim % v.ndim)
        norm = np.sqrt(np.square(v).sum(axes, keepdims=True))
        return v / norm * g.reshape(norm.shape)

    report = check(weight_norm, "weight_norm", quick=True)
    assert report.passed and any(words.startswith("dim None is not offered") for words in report.coverage)
