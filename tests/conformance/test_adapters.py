"""Adapters: what JAX functions, ONNX models and libraries that speak DLPack are given, and what comes back."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import refnorm
from refnorm.conformance import Candidate, check
from refnorm.conformance.adapters.dlpack import on_host
from refnorm.conformance.candidate import Unusable, as_candidate, load_candidate
from refnorm.conformance.cases import Case
from refnorm.conformance.tolerance_arithmetic import Arithmetic

RNG = np.random.default_rng(11)


def drawn(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


class TestDLPack:
    """A library of its own: arrays that only DLPack gets in and out."""

    class Array:
        def __init__(self, values):
            self.values = values

        @classmethod
        def imported(cls, other):
            return cls(np.from_dlpack(other))

        def __dlpack__(self, **kwargs):
            return self.values.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.values.__dlpack_device__()

    @classmethod
    def rms_norm(cls, x, gamma, *, eps, offset):
        r = 1 / np.sqrt(np.mean(np.square(x.values), axis=-1, keepdims=True) + np.asarray(eps, x.values.dtype))
        return cls.Array((x.values * r * (gamma.values + x.values.dtype.type(offset))).astype(x.values.dtype))

    def candidate(self, **fields):
        return Candidate.from_dlpack(self.rms_norm, from_dlpack=self.Array.imported, dtypes=("float32",), **fields)

    def test_a_right_one_passes(self):
        one_axis = self.candidate(supports=lambda case: case.normalized_ndim == 1)
        report = check(one_axis, "rms_norm", quick=True)
        assert report.passed, report
        assert report.cases > 30

    def test_a_wrong_one_fails(self):
        def mean_removed(x, gamma, *, eps, offset):
            values = x.values - x.values.mean(axis=-1, keepdims=True)
            return self.rms_norm(self.Array(values), gamma, eps=eps, offset=offset)

        judged = Candidate.from_dlpack(mean_removed, from_dlpack=self.Array.imported, dtypes=("float32",))
        assert not check(judged, "rms_norm", quick=True).passed

    def test_read_only_and_reversed_arrays_are_copied(self):
        x, gamma = drawn(2, 4), drawn(4)
        given = (np.broadcast_to(x[:1], (2, 4)), gamma[::-1])
        y = self.candidate().forward(*given, eps=1e-5, offset=0)
        assert np.allclose(y, refnorm.rms_norm(*given, eps=1e-5), atol=1e-6)

    def test_bfloat16_is_refused_in_words(self):
        x = drawn(2, 4).astype(ml_dtypes.bfloat16)
        with pytest.raises(TypeError, match="bfloat16"):
            self.candidate().forward(x, x[0], eps=1e-5, offset=0)

    def test_what_is_no_array_is_a_finding(self):
        def in_words(x, gamma, *, eps, offset):
            return "y"

        judged = Candidate.from_dlpack(in_words, from_dlpack=self.Array.imported, dtypes=("float32",))
        report = check(judged, "rms_norm", quick=True)
        assert not report.passed
        assert any("str" in f.message for f in report.failures)

    def test_a_plain_candidate_may_answer_by_dlpack(self):
        """NumPy in, another library's arrays out: judged like any other, wrong where it is wrong."""

        def right(x, gamma, *, eps, offset):
            return self.rms_norm(self.Array(x), self.Array(gamma), eps=eps, offset=offset)

        def wrong(x, gamma, *, eps):
            return right(x, gamma, eps=2 * eps, offset=0)

        fields = {"dtypes": ("float32",), "normalized_ndim": 1}
        report = check(Candidate(right, **fields), "rms_norm", quick=True)
        assert report.passed and report.not_offered["backward.runs"] == "a backward", report
        report = check(Candidate(wrong, **fields), "rms_norm", quick=True)
        assert not report.passed and "forward.result" not in {f.check for f in report.failures}

    @pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=str)
    def test_tensors_come_back_whatever_their_type(self, peer, dtype):
        torch = peer("torch")
        tensor = torch.ones(2, 3, dtype=torch.float32 if dtype == np.float32 else torch.bfloat16, requires_grad=True)
        found = on_host(2 * tensor)
        assert isinstance(found, np.ndarray) and found.dtype == dtype and np.all(found == 2)

    def test_torch_with_a_backward_that_saves(self, peer):
        torch = peer("torch")

        def forward(x, gamma, *, eps, offset):
            r = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
            return x * r * (gamma + offset), (x, r, gamma, offset)

        def backward(dy, saved):
            x, r, gamma, offset = saved
            g, xhat = dy * (gamma + offset), x * r
            dgamma = (dy * xhat).reshape(-1, gamma.numel()).sum(0).reshape(gamma.shape)
            return r * (g - xhat * (g * xhat).mean(-1, keepdim=True)), dgamma

        judged = Candidate.from_dlpack(
            forward, backward, from_dlpack=torch.from_dlpack, saves=True, dtypes=("float32",),
            supports=lambda case: case.normalized_ndim == 1 and case.arguments["gamma"] is not None,
        )  # fmt: skip
        report = check(judged, "rms_norm", quick=True)
        assert report.passed, report
        assert "backward.dx" not in [o.check for o in report.outcomes if o.status == "not offered"]


@pytest.fixture
def onnx(peer):
    return peer("onnx")


def layer_norm_model(onnx, *, two_pass=True, dtype=np.float32, shape=(None, None), **attributes):
    """LayerNormalization-17 as a node, or E[x^2] - E[x]^2 spelled out."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    info = onnx.helper.make_tensor_value_info
    inputs = [info("X", kind, list(shape)), info("Scale", kind, [None]), info("B", kind, [None])]
    if two_pass:
        nodes = [onnx.helper.make_node("LayerNormalization", ["X", "Scale", "B"], ["Y"], **attributes)]
        graph = onnx.helper.make_graph(nodes, "norm", inputs, [info("Y", kind, None)])
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    return onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        norm (float[N, D] X, float[D] Scale, float[D] B) => (float[N, D] Y) <float eps = {0.00001}> {
            mean = ReduceMean <axes = [-1]> (X)
            squares = Mul (X, X)
            of_squares = ReduceMean <axes = [-1]> (squares)
            of_mean = Mul (mean, mean)
            var = Sub (of_squares, of_mean)
            widened = Add (var, eps)
            deviation = Sqrt (widened)
            centred = Sub (X, mean)
            xhat = Div (centred, deviation)
            scaled = Mul (xhat, Scale)
            Y = Add (scaled, B)
        }""")


class TestOnnx:
    @pytest.mark.parametrize("engine", ["onnx", "onnxruntime"])
    def test_a_model_passes_or_fails_by_what_it_computes(self, onnx, peer, engine):
        peer(engine)
        models = (layer_norm_model(onnx, two_pass=two_pass) for two_pass in (True, False))
        right, wrong = (
            check(Candidate.from_onnx(model, engine=engine), "layer_norm", "onnx", quick=True) for model in models
        )
        assert right.passed, right
        assert {f.check for f in wrong.failures} >= {"numerics.scale"}

    def test_eps_that_the_model_fixes_is_found(self, onnx):
        report = check(Candidate.from_onnx(layer_norm_model(onnx, epsilon=1e-3), engine="onnx"), "layer_norm", quick=True)
        assert report.passed, report
        assert report.dialect == "keras"

    def test_a_path_and_bytes_are_read(self, onnx, tmp_path):
        model = layer_norm_model(onnx)
        onnx.save(model, tmp_path / "norm.onnx")
        x, gamma, beta = drawn(2, 5), drawn(5), drawn(5)
        given = (tmp_path / "norm.onnx", model.SerializeToString())
        first, second = (Candidate.from_onnx(m, engine="onnx").forward(x, gamma, beta) for m in given)
        assert np.array_equal(first, second)
        assert np.allclose(first, refnorm.layer_norm(x, gamma, beta), atol=1e-5)

    def test_a_models_file_and_a_model_are_candidates(self, onnx, tmp_path):
        """`refnorm check norm.onnx`, check(proto): a wrong one is printed with lines that run."""
        path = tmp_path / "norm.onnx"
        onnx.save(layer_norm_model(onnx, two_pass=False), path)
        report = check(str(path), "layer_norm", quick=True, dtypes=("float32",))
        assert "E[x^2] - E[x]^2" in report.headline
        with pytest.raises(AssertionError), np.errstate(all="ignore"):
            exec(report.chief.reproduce(), {})
        model = layer_norm_model(onnx)
        x, gamma, beta = drawn(2, 5), drawn(5), drawn(5)
        assert np.allclose(as_candidate(model).forward(x, gamma, beta), refnorm.layer_norm(x, gamma, beta), atol=1e-5)
        with pytest.raises(Unusable, match="there is no model"):
            load_candidate(str(tmp_path / "none.onnx"))

    def test_types_are_those_of_the_model(self, onnx):
        judged = Candidate.from_onnx(layer_norm_model(onnx, dtype=np.float16), engine="onnx")
        (arithmetic,) = judged.arithmetics()
        assert arithmetic.x == arithmetic.params == arithmetic.out == np.float16

    def test_what_the_model_was_not_built_for_is_coverage(self, onnx):
        judged = Candidate.from_onnx(layer_norm_model(onnx, shape=(None, 8)), engine="onnx")

        def case(*shape):
            x = drawn(*shape)
            given = {"x": x, "gamma": drawn(shape[-1]), "beta": drawn(shape[-1]), "eps": 1e-5}
            return Case("layer_norm", "ordinary", "", given, x, Arithmetic.of("float32"))

        assert judged.supports(case(3, 8)) is True
        assert judged.supports(case(3, 9)) == "built for shape any x 8"
        assert judged.supports(case(2, 3, 8)) == "built for rank 2"
        assert "required" in judged.supports(case(3, 8).replaced(gamma=None))

    def test_a_missing_input_is_named(self, onnx):
        with pytest.raises(TypeError, match="Scale, B"):
            Candidate.from_onnx(layer_norm_model(onnx), engine="onnx").forward(drawn(2, 3))

    def test_bad_engines_and_paths_are_unusable(self, onnx):
        with pytest.raises(Unusable, match="onnxruntime, onnx"):
            Candidate.from_onnx(layer_norm_model(onnx), engine="tensorrt")
        with pytest.raises(Unusable, match=r"nowhere\.onnx"):
            Candidate.from_onnx("nowhere.onnx")

    def test_it_is_loaded_by_name_like_any_other(self, onnx, tmp_path):
        onnx.save(layer_norm_model(onnx), tmp_path / "norm.onnx")
        (tmp_path / "mine.py").write_text(
            "from pathlib import Path\nfrom refnorm.conformance import Candidate\n"
            "norm = Candidate.from_onnx(Path(__file__).parent / 'norm.onnx', engine='onnx')\n"
        )
        assert load_candidate(f"{tmp_path}/mine.py:norm").forward(drawn(2, 3), drawn(3), drawn(3)).shape == (2, 3)


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", reason="jax is not installed: pip install jax flax")


class TestJax:
    @staticmethod
    def candidate(jax, **fields):
        jnp = jax.numpy

        def batch_norm(x, bias, weight, mean, var, *, momentum, eps, train):
            centred = x - (m := jnp.mean(x, axis=0))
            v = jnp.mean(jnp.square(centred), axis=0)
            y = centred * jax.lax.rsqrt(v + eps) * weight + bias
            return y, (1 - momentum) * mean + momentum * m, (1 - momentum) * var + momentum * v

        return Candidate.from_jax(batch_norm, **fields)

    @pytest.mark.parametrize("jit", [True, False])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_values_and_gradients(self, jax, jit, dtype):
        """Of a function that has parameters in another order and under other names, as they were given."""
        x, gamma, beta, dy = (drawn(*s, dtype=dtype) for s in ((6, 3), (3,), (3,), (6, 3)))
        mean, var = drawn(3, dtype=dtype), np.ones(3, dtype)
        judged = self.candidate(jax, jit=jit, traced=("eps",))
        given = {"x": x, "gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        (y, running_mean, _), saved = judged.forward(**given, momentum=0.25, eps=1e-3, training=True)
        before = refnorm.batch_norm.state(mean, var)
        right, cache, state = refnorm.batch_norm.forward(x, gamma, beta, eps=1e-3, momentum=0.25, state=before)
        near = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}
        assert y.dtype == running_mean.dtype == dtype
        np.testing.assert_allclose(y, right, **near)
        np.testing.assert_allclose(running_mean, state.mean, **near)
        for found, wanted in zip(judged.backward(dy, saved), refnorm.batch_norm.backward(dy, cache), strict=True):
            assert found.dtype == dtype
            np.testing.assert_allclose(found, wanted, **near)

    def test_float64_is_switched_on_for_its_calls_alone(self, jax):
        self.test_values_and_gradients(jax, True, np.float64)
        assert jax.numpy.zeros(1).dtype == np.float32

    def test_a_traced_option_compiles_once(self, jax):
        traces = []

        def center(x, *, eps):
            traces.append(eps)
            return x / (1 + eps)

        judged = Candidate.from_jax(center, traced=("eps",))
        judged.prepare(x=drawn(2, 3), eps=0.5)
        once = len(traces)
        for eps in (1e-3, 1e-5, 0.1):
            y, saved = judged.forward(x=drawn(2, 3), eps=eps)
            judged.backward(y, saved)
        assert len(traces) == once == 2         # the shape of y, and y with its gradients: nothing is left to the calls

    def test_arrays_under_names_of_their_own_keep_the_order_of_the_norm(self, jax):
        def shrunk(z, slope, scale, shift, *, eps):
            return jax.numpy.tanh(slope * z) * scale + shift + 0 * eps

        given = {"x": drawn(4, 3), "alpha": np.array(0.5, np.float32), "gamma": drawn(3), "beta": drawn(3)}
        judged, near = Candidate.from_jax(shrunk, traced=("eps",)), {"rtol": 1e-4, "atol": 1e-5}
        y, saved = judged.forward(**given, eps=1e-5)
        right, cache = refnorm.dynamic_tanh.forward(*given.values())
        np.testing.assert_allclose(y, right, **near)
        for found, wanted in zip(judged.backward(y, saved), refnorm.dynamic_tanh.backward(right, cache), strict=True):
            np.testing.assert_allclose(found, wanted, **near)

    def test_jitted_and_custom_vjp(self, jax):
        """Both are judged as any function; a custom gradient that is wrong is seen in the gradient alone."""
        jnp = jax.numpy

        def rms(x, gamma, *, eps):
            return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps) * gamma

        @jax.custom_vjp
        def own(x, gamma, eps):
            return rms(x, gamma, eps=eps)

        def forward(x, gamma, eps):
            return own(x, gamma, eps), (x, gamma, eps)

        def backward(saved, dy):
            x, gamma, eps = saved
            r = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)
            g, xhat = dy * gamma, x * r
            return r * g, jnp.sum(dy * xhat, axis=tuple(range(x.ndim - 1))), None  # <g, xhat> is left out

        own.defvjp(forward, backward)
        fields = {"dtypes": ("float32",), "normalized_ndim": 1, "traced": ("eps",), "supports": lambda c: c.x.shape == (8, 16)}
        assert check(Candidate.from_jax(jax.jit(rms), **fields), "rms_norm", quick=True).passed
        failing = {f.check for f in check(Candidate.from_jax(own, **fields), "rms_norm", quick=True).failures}
        assert "backward.dx" in failing and "forward.y" not in failing

    def test_a_function_that_cannot_be_compiled(self, jax):
        def doubled(x, mask):
            return 2 * x * np.asarray(mask)

        x, mask = drawn(3), np.array([True, False, True])
        with pytest.raises(TypeError, match="traced array"):
            Candidate.from_jax(doubled).forward(x=x, mask=mask)
        judged = Candidate.from_jax(doubled, jit=False)
        y, saved = judged.forward(x=x, mask=mask)
        assert np.array_equal(y, 2 * x * mask)
        assert np.array_equal(judged.backward(x, saved), (2 * x * mask,))


def test_no_framework_is_imported_unasked():
    """`import refnorm.conformance` loads none of them."""
    names = ("torch", "jax", "onnx", "onnxruntime", "keras")
    code = f"import sys, refnorm.conformance; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
