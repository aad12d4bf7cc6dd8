"""Arrays of other libraries, in place: a made-up one whose device memory is the simulator's.  test_without_a_gpu.py runs this:
pytest -p tests.kernels.cuda.simulator tests/kernels/cuda/in_libraries.py
"""

import types

import numpy as np
import pytest
from numba import cuda
from numba.cuda.simulator import kernel as simulated_kernel
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

import refnorm as rn
from refnorm.bench import cuda_cells
from refnorm.bench.cuda import Cell
from refnorm.kernels.cuda import adopt
from refnorm.kernels.cuda.arrays import c_strides
from tests.kernels.cuda.in_simulator import small  # noqa: F401


class Tensor:
    """An array of another library: its interface alone."""

    def __init__(self, array, stream=None, **changed):
        self.array, self.stream, self.changed = array, stream, changed
        self.dtype = array.dtype

    @property
    def __cuda_array_interface__(self):
        described = {**self.array.__array_interface__, "version": 3, "stream": self.stream, **self.changed}
        return {k: v for k, v in described.items() if k != "descr"}


def host(array):
    return array.copy_to_host()


def drawn(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def test_arrays_are_read_in_place_and_results_are_device_arrays():
    x, gamma, beta, dy = drawn((3, 8), 8, 8, (3, 8))
    given = [Tensor(a) for a in (x, gamma, beta)]
    assert adopt(given[0], "x").pointer == x.ctypes.data
    y, cache = rn.layer_norm.forward(*given, backend="cuda")
    right, right_cache = rn.layer_norm.forward(x, gamma, beta)
    assert not isinstance(y, np.ndarray)
    np.testing.assert_allclose(host(y), right, atol=1e-6)
    for a, b in zip(cache.saved, right_cache.saved, strict=True):
        assert a.shape == b.shape == (3, 1, 1)
        np.testing.assert_allclose(host(a), b, rtol=1e-12)
    gradients = rn.layer_norm.backward(Tensor(dy), cache, backend="cuda")
    for found, wanted in zip(gradients, rn.layer_norm.backward(dy, right_cache), strict=True):
        np.testing.assert_allclose(host(found), wanted, atol=2e-6)


def test_strided_and_misaligned_memory():
    (room,) = drawn((4, 9, 3))
    for x in (room[:, 1:, 0], room[::2, ::-1, 1], room[1:, 1:8].transpose(2, 0, 1), room.reshape(-1)[1:21].reshape(4, 5)):
        y, cache = rn.layer_norm.forward(Tensor(x), backend="cuda")
        np.testing.assert_allclose(host(y), rn.layer_norm(x), atol=1e-6)
        dx, *_ = rn.layer_norm.backward(y, cache, backend="cuda")
        wanted = rn.layer_norm.backward(host(y).astype(np.float32), rn.layer_norm.forward(x)[1])[0]
        np.testing.assert_allclose(host(dx), wanted, atol=1e-6)


def test_channels_last_memory_is_read_in_place_and_kept():
    (x,) = drawn((2, 5, 4, 6))
    seen = np.moveaxis(x, -1, 1)                     # (N, C, H, W) in the order N, H, W, C
    y, _ = rn.group_norm.forward(Tensor(seen), num_groups=2, backend="cuda")
    assert y.strides == seen.strides
    np.testing.assert_allclose(host(y), rn.group_norm(seen, num_groups=2), atol=1e-6)


def test_a_state_on_the_device_stays_there():
    x, gamma, mean, var, dy = drawn((4, 3, 5), 3, 3, 3, (4, 3, 5))
    var = np.abs(var)
    state, right_state = rn.batch_norm.state(Tensor(mean), Tensor(var)), rn.batch_norm.state(mean, var)
    y, cache, new = rn.batch_norm.forward(Tensor(x), Tensor(gamma), state=state, backend="cuda")
    right, right_cache, right_new = rn.batch_norm.forward(x, gamma, state=right_state)
    np.testing.assert_allclose(host(y), right, atol=1e-6)
    for a, b in zip(new[:2], right_new[:2], strict=True):
        assert not isinstance(a, np.ndarray) and host(a).dtype == b.dtype
        np.testing.assert_allclose(host(a), b, rtol=1e-6)
    assert new.count == right_new.count
    y, cache, _ = rn.batch_norm.forward(Tensor(x), Tensor(gamma), state=new, training=False, backend="cuda")
    right, right_cache, _ = rn.batch_norm.forward(x, gamma, state=right_new, training=False)
    np.testing.assert_allclose(host(y), right, atol=1e-6)
    gradients = rn.batch_norm.backward(Tensor(dy), cache, backend="cuda")[:2]
    for a, b in zip(gradients, rn.batch_norm.backward(dy, right_cache)[:2], strict=True):
        np.testing.assert_allclose(host(a), b, atol=5e-6)


def test_a_fresh_state_on_the_device():
    (x,) = drawn((4, 3, 5))
    for options in ({}, {"momentum": None}, {"dialect": "keras"}):
        _, _, new = rn.batch_norm.forward(Tensor(x), **options, backend="cuda")
        right = rn.batch_norm.forward(x, **options)[2]
        for a, b in zip(new[:2], right[:2], strict=True):
            np.testing.assert_allclose(host(a), b, rtol=1e-6)


def test_a_cache_from_the_device_serves_the_reference():
    x, dy = drawn((3, 8), (3, 8))
    _, cache = rn.layer_norm.forward(Tensor(x), backend="cuda")
    kept = cache._replace(saved=type(cache.saved)(*(host(a) for a in cache.saved)))
    wanted = rn.layer_norm.backward(dy, rn.layer_norm.forward(x)[1])[0]
    np.testing.assert_allclose(rn.layer_norm.backward(dy, kept)[0], wanted, atol=1e-6)


def test_the_caller_s_stream_is_used(monkeypatch):
    streams = []
    monkeypatch.setattr(cuda, "external_stream", lambda pointer: streams.append(pointer) or 0)
    (x,) = drawn((2, 8))
    rn.layer_norm(Tensor(x, stream=1234), backend="cuda")
    assert set(streams) == {1234}


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (Tensor(np.ones((2, 4), np.int32)), TypeError, "x has dtype int32; it must be one of float64"),
        (Tensor(np.ones((2, 4), np.float32), mask=1), TypeError, "x has a mask"),
        (Tensor(np.ones((2, 4), np.float32), strides=(18, 4)), ValueError, "multiples of its 4 bytes"),
    ],
)
def test_what_cannot_be_read_is_refused(array, error, words):
    with pytest.raises(error, match=words):
        rn.layer_norm(array, backend="cuda")


def test_the_reference_refuses_device_arrays():
    with pytest.raises(TypeError, match="x is a Tensor; it must be a NumPy array"):
        rn.layer_norm(Tensor(np.ones((2, 4))))


def test_arrays_on_two_devices_are_refused():
    x, gamma = (adopt(Tensor(a), "x") for a in drawn((2, 4), 4))
    x.library.device, gamma.library.device = 0, 1
    with pytest.raises(ValueError, match="gamma is on device 1, x on device 0; they must be on the same one"):
        rn.layer_norm(x, gamma, backend="cuda")


def test_dy_of_another_type_is_refused():
    (x,) = drawn((2, 4))
    _, cache = rn.layer_norm.forward(Tensor(x), backend="cuda")
    with pytest.raises(TypeError, match="dy has dtype float64; on the device it must have x's, float32"):
        rn.layer_norm.backward(Tensor(np.ones((2, 4))), cache, backend="cuda")


def test_empty_arrays_launch_nothing():
    y, _ = rn.layer_norm.forward(Tensor(np.ones((0, 4), np.float32)), backend="cuda")
    assert tuple(y.shape) == (0, 4)


def test_strides_in_entries():
    assert c_strides((2, 3, 4)) == (12, 4, 1) and c_strides(()) == ()


LOST = {
    "in a launch": (simulated_kernel.FakeCUDAKernel, "__call__", "CUDAError"),
    "in a copy there": (cuda, "to_device", "CudaAPIError"),
    "in an allocation": (cuda, "device_array", "CudaAPIError"),
    "in a copy back": (FakeCUDAArray, "copy_to_host", "CudaAPIError"),
}


@pytest.mark.parametrize("where", LOST)
@pytest.mark.parametrize("name", ["layer_norm", "iterative_norm"])
def test_a_lost_context_is_said_so(name, where, monkeypatch):
    """By the names of the drivers' own errors: Numba's, and cuda.core's, which launches."""
    place, function, error = LOST[where]

    def lost(*_, **__):
        raise type(error, (Exception,), {})("[700] CUDA_ERROR_ILLEGAL_ADDRESS")

    monkeypatch.setattr(place, function, lost)
    with pytest.raises(RuntimeError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS.*needs a new process"):
        rn.NORMS[name].forward(np.ones((3, 2)), backend="cuda")


def test_the_drivers_errors_have_these_names():
    from cuda.core._utils.cuda_utils import CUDAError
    from numba.cuda.cudadrv import error as simulated

    from refnorm.kernels.cuda.device import DRIVERS_ERRORS

    assert DRIVERS_ERRORS == ("CudaAPIError", CUDAError.__name__) and hasattr(simulated, "CudaSupportError")


class Foreign:
    """Another library's array that has DLPack alone, on a device of this kind."""

    def __init__(self, array, kind):
        self.array, self.kind = array, kind

    def __dlpack__(self, **given):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.kind, 0


def test_what_has_dlpack_alone_is_read_in_place(monkeypatch):
    from cuda.core.utils import StridedMemoryView

    room, asked = np.arange(24, dtype=np.float32).reshape(3, 8), []
    x = room[:, ::2]
    of_host = StridedMemoryView.from_dlpack
    seen = lambda value, stream_ptr: asked.append(stream_ptr) or of_host(value.array, stream_ptr=stream_ptr)  # noqa: E731
    monkeypatch.setattr("cuda.core.utils.StridedMemoryView", types.SimpleNamespace(from_dlpack=seen))
    for kind in (2, 13):                             # CUDA, CUDA managed
        span = adopt(Foreign(x, kind), "x")
        assert span.pointer == x.ctypes.data and span.strides == (8, 2) and span.shape == (3, 4)
        np.testing.assert_allclose(host(rn.layer_norm(Foreign(x, kind), backend="cuda")), rn.layer_norm(x), atol=1e-6)
    assert set(asked) == {-1}


@pytest.mark.parametrize(("kind", "words"), [(1, "on the host"), (10, "on DLPack's device type 10")])
def test_what_lies_elsewhere_is_refused(kind, words):
    with pytest.raises(TypeError, match=f"x is a Foreign {words}; it must be on a CUDA device, or a NumPy array"):
        rn.layer_norm(Foreign(np.ones((2, 4), np.float32), kind), backend="cuda")


def test_calls_run_on_the_caller_s_device(monkeypatch):
    entered = []

    class Device:
        def __enter__(self):
            entered.append(self)

        def __exit__(self, *_):
            entered.pop()

    launched = []
    monkeypatch.setattr(cuda, "gpus", {3: Device()})
    monkeypatch.setattr(simulated_kernel.FakeCUDAKernel, "__call__", lambda *_: launched.append(len(entered)))
    x = adopt(Tensor(np.ones((2, 4), np.float32)), "x")
    x.library.device = 3
    rn.layer_norm(x, backend="cuda")
    assert launched and set(launched) == {1} and not entered


@pytest.mark.parametrize(
    ("name", "options"),
    [("iterative_norm", {}), ("batch_whitening_cholesky", {"dialect": "matrix"}), ("batch_whitening_zca", {"num_groups": 3})],
)
def test_whitening_in_place_and_its_state_stays_there(name, options):
    method, options = rn.NORMS[name], {"eps": 0.1, **options}
    x, gamma, dy = drawn((6, 3, 2), 3, (6, 3, 2))
    y, cache, state = method.forward(Tensor(x), Tensor(gamma), **options, backend="cuda")
    right, right_cache, right_state = method.forward(x, gamma, **options)
    for step in ("of the batch", "of the state"):
        np.testing.assert_allclose(host(y), right, atol=1e-6, err_msg=step)
        for field, found in cache.saved._asdict().items():
            wanted = getattr(right_cache.saved, field)
            assert (found is None) == (wanted is None) and not isinstance(found, np.ndarray)
            if found is not None:
                np.testing.assert_allclose(host(found), wanted, rtol=1e-11, atol=1e-13)
        for a, b in zip(state[:2], right_state[:2], strict=True):
            assert not isinstance(a, np.ndarray)
            np.testing.assert_allclose(host(a), b, rtol=1e-11, atol=1e-13)
        assert state.count == right_state.count == 1
        gradients = method.backward(Tensor(dy), cache, backend="cuda")
        for found, wanted in zip(gradients[:2], method.backward(dy, right_cache)[:2], strict=True):
            np.testing.assert_allclose(host(found), wanted, atol=5e-6)
        assert gradients[2] is None
        given = {**options, "state": state, "training": False}
        y, cache, state = method.forward(Tensor(x), Tensor(gamma), **given, backend="cuda")
        right, right_cache, right_state = method.forward(x, gamma, **{**given, "state": right_state})


BENCHED = {
    "layer_norm": ((6, 16), {}), "rms_norm": ((3, 260), {}), "batch_norm": ((4, 3, 24), {}), "instance_norm": ((2, 3, 24), {}),
    "group_norm": ((2, 9, 8), {"num_groups": 2, "channel_axis": -1}),
}  # fmt: skip


@pytest.mark.parametrize("name", BENCHED)
def test_what_the_bench_times_is_the_method(name):
    """bench/cuda_cells.py's own calls on the k-th inputs, into arrays that are there, and through the public function."""
    shape, options = BENCHED[name]
    method = rn.NORMS[name]
    x, dy = drawn(shape, shape), drawn(shape, shape)
    shapes = method.shapes(**method.resolve(x[0], **options)[0])
    parameters = dict(zip(shapes, drawn(*shapes.values()), strict=True))
    cell = Cell(name, name, shape, "float32", options)
    given = [[Tensor(a) for a in arrays] for arrays in (x, dy)]
    ready = cuda_cells.ours(cell, *given, {k: Tensor(p) for k, p in parameters.items()})
    for k in (1, 0):
        right, cache, *_ = method.forward(x[k], **parameters, **options)
        wanted = method.backward(dy[k], cache)
        np.testing.assert_allclose(host(ready.calls["forward"]["call"](k)[0]), right, atol=1e-6)
        for a, b in zip(ready.calls["backward"]["call"](k), wanted, strict=True):
            np.testing.assert_allclose(host(a), b, atol=2e-5)
        assert ready.calls["forward"]["ours"](k) is ready.calls["backward"]["ours"](k) is None
    assert ready.moved["forward"] in (2, 3) and ready.moved["backward"] in (3, 5) and not ready.failed


MEMORY = {
    "channels last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "samples within channels": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, 1)), 1, 0),
    "positions first": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 2, 0)), 0, 2),
    "with gaps": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
}


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("name", ["batch_whitening_cholesky", "group_whitening_iterative"])
def test_whitening_in_any_order_of_memory(name, memory):
    """In place where blocks can be read so, or by way of a copy: the same numbers."""
    method, options = rn.NORMS[name], {"num_groups": 2, "eps": 0.1}
    x, dy, gamma, beta = drawn((3, 4, 2, 3), (3, 4, 2, 3), 4, 4)
    given = Tensor(MEMORY[memory](x))
    y, cache, *_ = method.forward(given, Tensor(gamma), Tensor(beta), **options, backend="cuda")
    right, right_cache, *_ = method.forward(x, gamma, beta, **options)
    np.testing.assert_allclose(host(y), right, atol=2e-6)
    gradients = method.backward(Tensor(MEMORY["channels last"](dy)), cache, backend="cuda")
    for found, wanted in zip(gradients, method.backward(dy, right_cache), strict=True):
        np.testing.assert_allclose(host(found), wanted, atol=1e-5)
