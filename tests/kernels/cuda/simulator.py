"""Numba's CUDA simulator, made complete enough for the kernels: import this first, in a process of its own.

What Numba's own lacks: warp shuffles, threads that do not race (shared.array is created without a lock there) nor poll, the
fake `cuda` module in every module of kernels and not in the kernel's alone, arrays made from a pointer.  The kernels'
intrinsics are LLVM; memory_in_python stands in their place.
"""

import os

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import contextlib
import sys
import threading

import numpy as np
from numba import cuda
from numba.cuda.simulator import api, kernel, kernelapi
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray


class Block:
    """A thread block whose threads take turns: one runs at a time, up to its next barrier or shuffle.

    In every round each thread that is not done goes on to its next meeting.  Lanes of a warp shuffle in the same round and read
    in the next; a barrier opens between two rounds, when every thread that is not done waits at it.
    """

    def __init__(self, f, grid_dim, block_dim, debug):
        self.f, self.grid_dim, self.block_dim = f, kernelapi.Dim3(*grid_dim), kernelapi.Dim3(*block_dim)
        self.opened, self.exchanged, self.failed = 0, {}, None

    def run(self, grid_point, *args):
        lanes = int(np.prod(tuple(self.block_dim)))
        threads = [Lane(self, kernelapi.Dim3(*grid_point), i, args) for i in range(lanes)]
        for thread in threads:
            thread.start()
        alive = threads
        while alive:
            for thread in alive:
                thread.turn.release()
                thread.met.acquire()
                if self.failed:
                    raise self.failed
            alive = [thread for thread in alive if not thread.done]
            if alive and all(thread.at_barrier for thread in alive):
                self.opened += 1
        for thread in threads:
            thread.join()


class Lane(threading.Thread):
    """One thread of a block, with what Numba's simulator asks of it."""

    def __init__(self, block, grid_point, number, args):
        super().__init__(daemon=True)
        size = block.block_dim
        self.block, self.thread_id, self.args, self.blockIdx = block, number, args, grid_point
        self.threadIdx = kernelapi.Dim3(number % size.x, number // size.x % size.y, number // (size.x * size.y))
        self.blockDim, self.gridDim = size, block.grid_dim
        self.turn, self.met = threading.Semaphore(0), threading.Semaphore(0)
        self.done = self.at_barrier = False
        self.meetings = 0

    def run(self):
        self.turn.acquire()
        try:
            with np.errstate(all="ignore"):          # 0 / 0 at eps 0 speaks for itself
                self.block.f(*self.args)
        except BaseException as error:
            self.block.failed = error
        self.done = True
        self.met.release()

    def meet(self):
        self.met.release()
        self.turn.acquire()

    def syncthreads(self):
        before, self.at_barrier = self.block.opened, True
        while self.block.opened == before:
            self.meet()
        self.at_barrier = False

    def exchange(self, value, k):
        """The value of lane ^ k of this warp."""
        self.meetings += 1
        values = self.block.exchanged.setdefault((self.thread_id >> 5, self.meetings), {})
        lane = self.thread_id & 31
        values[lane] = value
        self.meet()
        return values.get(lane ^ k, value)


kernel.BlockManager = Block
kernelapi.FakeCUDAModule.shfl_xor_sync = lambda self, mask, value, k: threading.current_thread().exchange(value, k)


def shared_array(self, shape, dtype, alignment=None):
    """As the simulator's, one a line of the kernel; filled with NaN, as nothing promises zeros."""
    frame = sys._getframe(1)
    if hasattr(dtype, "bitwidth"):
        dtype = np.dtype(f"float{dtype.bitwidth}")
    return self._allocations.setdefault((frame.f_code.co_filename, frame.f_lineno), np.full(shape, np.nan, dtype))


kernelapi.FakeCUDAShared.array = shared_array
kernelapi.FakeCUDALocal.array = lambda self, shape, dtype, alignment=None: np.full(shape, np.nan, f"float{dtype.bitwidth}")


@contextlib.contextmanager
def swapped_everywhere(fn, fake):
    modules = [m for name, m in sys.modules.items() if name.startswith("refnorm.kernels.cuda") and hasattr(m, "cuda")]
    globals_ = [vars(m) for m in modules if m.cuda is cuda]
    for names in globals_:
        names["cuda"] = fake
    try:
        yield
    finally:
        for names in globals_:
            names["cuda"] = cuda


kernel.swapped_cuda_module = swapped_everywhere
jit = cuda.jit


def jit_of_plain_device_functions(*args, **options):
    """A device function is the function itself: what it calls `cuda` has been swapped for the whole launch."""
    options.pop("launch_bounds", None)
    return (lambda function: function) if options.get("device") else jit(*args, **options)


cuda.jit = jit_of_plain_device_functions


class _At:
    def __init__(self, described, owner):
        self.__array_interface__, self.owner = described, owner


def from_cuda_array_interface(described, owner=None, sync=True):
    kept = {k: described[k] for k in ("shape", "strides", "typestr", "data", "version")}
    return FakeCUDAArray(np.asarray(_At(kept, owner)))


cuda.from_cuda_array_interface = api.from_cuda_array_interface = from_cuda_array_interface
FakeCUDAArray.__cuda_array_interface__ = property(lambda self: {**self._ary.__array_interface__, "version": 3})
FakeCUDAArray.reshape = lambda self, *shape: FakeCUDAArray(self._ary.reshape(*shape))
cuda.SHUFFLES = True

from tests.kernels.cuda import memory_in_python  # noqa: E402

sys.modules["refnorm.kernels.cuda.memory"] = memory_in_python
