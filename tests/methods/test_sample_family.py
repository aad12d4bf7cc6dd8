"""Partial RMS, heads, p-norms, responses and divisive norms: papers, dialects, corners, equalities."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refnorm as rn
from refnorm.operations import divisive
from refnorm.proofs import prove


@pytest.fixture
def x():
    return np.random.default_rng(3).normal(0.5, 2.0, size=(5, 6, 4))


def red(method):
    return {f.proof for f in prove(method) if not f.ok}


# Partial RMS norm


def test_partial_rms_looks_at_the_first_entries_only(x):
    y = rn.partial_rms_norm(x, axis=1, partial=0.25, eps=0.0)
    first = x.reshape(5, 24)[:, :6]
    np.testing.assert_allclose(y, x / np.sqrt((first**2).mean(1))[:, None, None], rtol=1e-14)


def test_partial_rms_of_everything_is_rms_norm(x):
    np.testing.assert_allclose(rn.partial_rms_norm(x, partial=1.0, eps=1e-6), rn.rms_norm(x, eps=1e-6), rtol=1e-14)


@pytest.mark.parametrize(
    ("n", "partial", "ceil", "floor"), [(30, 0.1, 3, 3), (7, 0.5, 4, 3), (10, 0.0625, 1, None), (100, 0.07, 7, 7)]
)
def test_the_papers_ceiling_and_the_codes_floor(n, partial, ceil, floor):
    x = np.arange(1.0, n + 1)[None]
    rms = {k: math.sqrt(sum(i * i for i in range(1, k + 1)) / k) for k in (ceil, floor) if k}
    np.testing.assert_allclose(rn.partial_rms_norm(x, partial=partial, eps=0.0), x / rms[ceil], rtol=1e-13)
    if floor is None:
        with pytest.raises(
            ValueError, match=r"partial is 0.0625; of 10 entries that is none at all, so it must be 0.1 or more"
        ):
            rn.partial_rms_norm(x, partial=partial, dialect="repo")
    else:
        np.testing.assert_allclose(rn.partial_rms_norm(x, partial=partial, dialect="repo", eps=0.0), x / rms[floor], rtol=1e-13)


def test_partial_rms_pulls_back_through_the_first_entries_only(x):
    """An entry that is not looked at moves its own output and no other."""
    _, cache = rn.partial_rms_norm.forward(x, partial=0.5)
    dy = np.zeros_like(x)
    dy[0, 0, 0] = 1.0
    dx = rn.partial_rms_norm.backward(dy, cache)[0]
    assert np.all(dx[0, 0, :2] != 0) and np.all(dx[0, 0, 2:] == 0) and np.all(dx[1:] == 0)


# Heads


def test_heads_are_the_last_axis_split(x):
    rows = x.reshape(5, 4, 6)
    gamma, beta = np.random.default_rng(1).normal(size=(2, 3))
    apart = rows.reshape(5, 4, 2, 3)
    np.testing.assert_array_equal(
        rn.query_key_norm(rows, gamma, num_heads=2), rn.rms_norm(apart, gamma, eps=1e-6).reshape(5, 4, 6)
    )
    np.testing.assert_array_equal(
        rn.query_key_layer_norm(rows, gamma, beta, num_heads=2), rn.layer_norm(apart, gamma, beta).reshape(5, 4, 6)
    )


def test_one_head_is_the_whole_axis(x):
    np.testing.assert_allclose(rn.query_key_norm(x, num_heads=1), rn.rms_norm(x, eps=1e-6), rtol=1e-15)


def test_logits_of_normalized_heads_are_bounded(x):
    """|<q, k>| <= d: with gamma 1, whatever the projections' scale (A. Henry et al., section 3)."""
    q, k = (rn.query_key_norm(1e6 * a, num_heads=2, axis=1, eps=0.0) for a in (x, x[::-1].copy()))
    logits = np.einsum("nhds,nhdt->nhst", q.reshape(5, 2, 3, 4), k.reshape(5, 2, 3, 4))
    assert np.max(np.abs(logits)) <= 3 * (1 + 1e-14)


# p-norms


@given(p=st.sampled_from([1, 2, 3, 1.5]), scale=st.floats(1e-6, 1e6))
def test_a_row_has_length_one(p, scale):
    x = scale * np.random.default_rng(2).normal(size=(4, 5))
    for dialect in ("torch", "onnx"):
        y = rn.lp_norm(x, p=p, dialect=dialect)
        np.testing.assert_allclose((np.abs(y) ** p).sum(-1), 1, rtol=1e-13)


def test_short_and_zero_rows_by_dialect():
    x, eps = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0
    divisors = {"torch": [5, 1, 1], "keras": [5, 1, 1], "chainer": [6, 1.5, 1], "haiku": [np.sqrt(26), np.sqrt(1.25), 1]}
    for dialect, by in divisors.items():
        np.testing.assert_allclose(rn.lp_norm(x, dialect=dialect, eps=eps), x / np.array(by)[:, None], rtol=1e-15)
    np.testing.assert_allclose(rn.lp_norm(x, dialect="onnx"), x / np.array([5, 0.5, 1])[:, None], rtol=1e-15)


def test_gradients_at_short_and_zero_rows(peer):
    """PyTorch's subgradients: through max(n, eps) nothing below eps, and 0 for the norm of a zero row."""
    torch = peer("torch")
    x, dy = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), np.random.default_rng(0).normal(size=(3, 2))
    for p in (1, 2, 3):
        leaf = torch.tensor(x, requires_grad=True)
        torch.nn.functional.normalize(leaf, p=p, dim=-1, eps=1.0).backward(torch.tensor(dy))
        mine = rn.lp_norm.backward(dy, rn.lp_norm.forward(x, p=p, eps=1.0)[1])[0]
        np.testing.assert_allclose(mine, leaf.grad.numpy(), rtol=1e-13, atol=1e-15)
    assert np.all(rn.lp_norm.backward(dy, rn.lp_norm.forward(x, dialect="onnx")[1])[0][2] == 0)


def run_onnx(peer, operator, x, **attributes):
    """One operator in ONNX Runtime, float32.

    Not onnx.reference: up to 1.23 at least its LRN loops over as many channels as there are *samples*, and its LpNormalization
    takes no absolute value for p = 1.
    """
    onnx, runtime = peer("onnx"), peer("onnxruntime")
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape) for n in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node(operator, ["x"], ["y"], **attributes)], "g", info[:1], info[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype(np.float32)})[0]


@pytest.mark.parametrize("p", [1, 2])
def test_onnx_runtime_has_the_same_p_norms(x, p, peer):
    y = run_onnx(peer, "LpNormalization", x, axis=1, p=p)
    np.testing.assert_allclose(rn.lp_norm(x, p=p, axis=1, dialect="onnx"), y, rtol=1e-5, atol=1e-7)


def test_scale_norm_is_rms_norm_with_one_number(x):
    g = np.array(1.7)
    np.testing.assert_allclose(rn.scale_norm(x, g), rn.rms_norm(x, np.full(4, 1.7 / 2), eps=0.0), rtol=1e-14)
    dy = np.random.default_rng(1).normal(size=x.shape)
    dx, dg = rn.scale_norm.backward(dy, rn.scale_norm.forward(x, g)[1])
    assert dg.shape == () and abs(np.sum(dx * x)) < 1e-12


# Filter response norm and dynamic tanh


def test_filter_response_without_positions_is_kept_from_a_sign_by_eps_alone():
    """C = HW = 1: x / sqrt(x^2 + eps), which the learned eps rescues (S. Singh and S. Krishnan, section 3.2)."""
    x = np.array([[-2.0], [0.1], [3.0]])
    np.testing.assert_allclose(rn.filter_response_norm(x, eps=0.0), np.sign(x), rtol=1e-15)
    learned = rn.filter_response_norm(x, learned_eps=np.array([-4.0]), eps=0.0)
    np.testing.assert_allclose(learned, x / np.sqrt(x**2 + 4), rtol=1e-15)


def test_the_sign_of_the_learned_eps_does_not_matter_but_its_gradient_follows(x):
    dy, eps = np.random.default_rng(0).normal(size=x.shape), np.random.default_rng(1).normal(size=6)
    answers = []
    for sign in (1, -1):
        y, cache = rn.filter_response_norm.forward(x, learned_eps=sign * eps)
        answers.append((y, rn.filter_response_norm.backward(dy, cache)[4] * sign))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_tlu_with_a_far_threshold_is_no_unit_and_with_zero_a_relu(x):
    plain = rn.filter_response_norm(x)
    np.testing.assert_array_equal(rn.filter_response_norm(x, tau=np.full(6, -1e9)), plain)
    np.testing.assert_array_equal(rn.filter_response_norm(x, tau=np.zeros(6)), np.maximum(plain, 0))


def test_dynamic_tanh_starts_at_a_half_slope(x):
    np.testing.assert_allclose(rn.dynamic_tanh(x, np.array(0.5)), np.tanh(x / 2), rtol=1e-15)
    np.testing.assert_allclose(rn.dynamic_tanh(x), np.tanh(x), rtol=1e-15)


# Local response norm


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 11])
def test_local_response_is_pytorchs_at_every_size(x, size, peer):
    torch, dy = peer("torch"), np.random.default_rng(0).normal(size=x.shape)
    leaf = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.local_response_norm(leaf, size, 0.7, 0.6, 1.5)
    y.backward(torch.tensor(dy))
    mine, cache = rn.local_response_norm.forward(x, size=size, alpha=0.7, beta=0.6, k=1.5)
    np.testing.assert_allclose(mine, y.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(rn.local_response_norm.backward(dy, cache)[0], leaf.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_onnx_runtime_has_the_same_response(x, size, peer):
    y = run_onnx(peer, "LRN", x[..., None], size=size, alpha=0.7, beta=0.6, bias=1.5)
    mine = rn.local_response_norm(x, size=size, alpha=0.7, beta=0.6, k=1.5, dialect="onnx")
    np.testing.assert_allclose(mine[..., None], y, rtol=1e-5)


@pytest.mark.parametrize("size", [2, 4])
def test_onnx_takes_one_channel_less_before(size, peer):
    """The specification's even sizes, which ONNX Runtime refuses: its reference evaluator, right where N = C."""
    onnx = peer("onnx")
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(1).normal(size=(6, 6, 4, 1)).astype(np.float32)
    node = onnx.helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.7, beta=0.6, bias=1.5)
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape) for n in "xy"]
    y = ReferenceEvaluator(onnx.helper.make_model(onnx.helper.make_graph([node], "g", info[:1], info[1:]))).run(None, {"x": x})[
        0
    ]
    mine = rn.local_response_norm(x, size=size, alpha=0.7, beta=0.6, k=1.5, dialect="onnx")
    np.testing.assert_allclose(mine, y, rtol=1e-5)


def test_alpha_raw_and_over_size(x):
    """Krizhevsky's alpha is PyTorch's over its size; TensorFlow's radius 2 is size 5."""
    torch = rn.local_response_norm(x, size=5, alpha=0.5, beta=0.75, k=2.0)
    np.testing.assert_allclose(rn.local_response_norm(x, size=5, alpha=0.1, dialect="krizhevsky"), torch, rtol=1e-14)
    np.testing.assert_allclose(
        rn.local_response_norm(x, size=5, alpha=0.1, beta=0.75, k=2.0, dialect="tensorflow"), torch, rtol=1e-14
    )


def test_windows_of_an_even_size_by_hand():
    x = np.eye(5)[None].transpose(0, 2, 1)[:, :, 2]  # a single 1 in channel 2
    seen = {"torch": [2, 3], "onnx": [1, 2], "krizhevsky": [1, 2, 3]}
    for dialect, channels in seen.items():
        y = rn.local_response_norm(np.ones((1, 5)) * 1e-9 + x, size=2, alpha=1.0, beta=1.0, k=1.0, dialect=dialect)
        assert np.flatnonzero(np.abs(y[0] - 1e-9) > 1e-10).tolist() == sorted({2, *channels}), dialect


def test_a_window_that_is_not_mirrored_in_the_backward_is_caught():
    """The window of an even size is lopsided: its transpose takes in the other side."""
    method = rn.NORMS["local_response_norm"]

    def unmirrored(dy, saved, *, x, size, alpha, beta, **_):
        pool = ((1, divisive.window(x.shape[1], size // 2, (size - 1) // 2) * alpha / size),)
        v, q = saved
        return (
            np.reshape(
                dy.reshape(v.shape) * q**-beta
                - 2 * v * divisive.pooled(beta * dy.reshape(v.shape) * v * q ** (-beta - 1), pool),
                x.shape,
            ),
        )

    even, odd = ({"shape": (5, 7), "alpha": 1.5, "size": size} for size in (4, 3))
    assert not red(replace(method, derive=unmirrored, examples=(odd,)))
    assert {"tape", "differences"} <= red(replace(method, derive=unmirrored, examples=(even,)))


# Divisive norms


def test_divisive_norm_over_everything_is_layer_norm(x):
    """Windows that reach everywhere: M. Ren et al.'s unified view, layer norm with eps = sigma^2."""
    gamma, beta = np.random.default_rng(0).normal(size=(2, 6))
    y = rn.divisive_norm(x, gamma, beta, centre_window=9, pool_window=9, eps=0.5)
    np.testing.assert_allclose(y, rn.group_norm(x, gamma, beta, num_groups=1, eps=0.5), rtol=1e-12, atol=1e-14)
    rows = x[:, :, 0]
    y = rn.divisive_norm(rows, centre_window=13, pool_window=13, eps=0.5)
    np.testing.assert_allclose(y, rn.layer_norm(rows, eps=0.5), rtol=1e-12, atol=1e-14)


def test_divisive_norm_at_the_edge(x):
    """Three channels of a row, window 3: at the edge the paper's mean is over two, the code's over three with a zero."""
    row = np.array([[3.0, 1.0, 2.0]])
    for dialect, first in (("paper", 3 - 4 / 2), ("repo", 3 - 4 / 3)):
        y = rn.divisive_norm(row, centre_window=3, pool_window=1, eps=0.0, dialect=dialect)
        np.testing.assert_allclose(y[0, 0], np.sign(first), rtol=1e-15)
        y = rn.divisive_norm(row, centre_window=3, pool_window=1, eps=1.0, dialect=dialect)
        np.testing.assert_allclose(y[0, 0], first / math.sqrt(1 + first**2), rtol=1e-15)


def test_the_authors_code_divides_both_windows_by_the_first_ones_size():
    """On images; seen as a factor in the pooled square: 3 positions where 5 are summed."""
    x = np.random.default_rng(4).normal(size=(1, 2, 9))
    kw = {"centre_window": 3, "eps": 0.0, "dialect": "repo"}
    narrow, wide = rn.divisive_norm(x, pool_window=3, **kw), rn.divisive_norm(x, pool_window=5, **kw)
    v = x - np.convolve(x.mean((0, 1)), np.ones(3), "same") / 3
    np.testing.assert_allclose(narrow, v / np.sqrt(np.convolve((v**2).mean((0, 1)), np.ones(3), "same") / 3), rtol=1e-13)
    np.testing.assert_allclose(wide, v / np.sqrt(np.convolve((v**2).mean((0, 1)), np.ones(5), "same") / 3), rtol=1e-13)


def test_generalized_divisive_norm_with_a_uniform_pool_is_rms_norm(x):
    beta, gamma = np.full(6, 0.3), np.full((6, 6), 1 / 6)
    expected = np.moveaxis(rn.rms_norm(np.moveaxis(x, 1, -1), eps=0.3), -1, 1)
    np.testing.assert_allclose(rn.generalized_divisive_norm(x, beta, gamma), expected, rtol=1e-14)


def test_the_authors_inverse_is_a_fixed_point_step():
    """IGDN(y) = y sqrt(beta + gamma y^2), iterated on the *given* y from x, converges to what GDN came from."""
    rng = np.random.default_rng(5)
    x, beta, gamma = rng.normal(size=(4, 3)), rng.uniform(1, 2, 3), rng.uniform(0, 0.1, (3, 3))
    y = rn.generalized_divisive_norm(x, beta, gamma)
    np.testing.assert_allclose(rn.generalized_divisive_norm(y, beta, gamma, inverse=True), y * np.sqrt(beta + y**2 @ gamma.T))
    back = y
    for _ in range(60):
        back = y * np.sqrt(beta + back**2 @ gamma.T)
    np.testing.assert_allclose(back, x, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: rn.partial_rms_norm(x, partial=0.0), "partial is 0.0; it must be a finite number, in 0..1"),
        (lambda x: rn.partial_rms_norm(x, partial=1.5), "partial is 1.5; it must be a finite number, in 0..1"),
        (
            lambda x: rn.query_key_norm(x, num_heads=3),
            r"num_heads is 3; it must divide 4, x has shape \(5, 6, 4\)",
        ),
        (lambda x: rn.query_key_norm(x, np.ones(4), num_heads=2), r"gamma has shape \(4,\).*it must have shape \(2,\)"),
        (lambda x: rn.lp_norm(x, p=0.5), "p is 0.5; it must be a finite number, 1 or more"),
        (lambda x: rn.lp_norm(x, p=np.inf), "p is inf; it must be a finite number, 1 or more"),
        (lambda x: rn.lp_norm(x, axis=3), "axis names 3"),
        (lambda x: rn.scale_norm(x, np.ones(1)), r"g has shape \(1,\).*it must have shape \(\)"),
        (lambda x: rn.filter_response_norm(x, tau=np.ones(4)), r"tau has shape \(4,\).*\(6,\)"),
        (lambda x: rn.local_response_norm(x, alpha=None), "alpha is None; it must be a finite number"),
        (lambda x: rn.query_key_norm(x, num_heads=2.0), "num_heads is 2.0; it must be a positive integer, a divisor of 4"),
        (lambda x: rn.local_response_norm(x, size=0), "size is 0; it must be a positive integer"),
        (lambda x: rn.divisive_norm(x, centre_window=3, pool_window=(3, 3)), r"pool_window is \(3, 3\).*or 1 of them"),
        (lambda x: rn.generalized_divisive_norm(x, np.ones(6), np.ones(6)), r"gamma has shape \(6,\).*\(6, 6\)"),
    ],
)
def test_bad_input(x, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(x)
    assert "\n" not in str(caught.value)
