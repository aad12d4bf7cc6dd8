"""Kernels compiled for compute capability 9.0 with no driver and no GPU: PTX by NVVM, machine code and its costs by the linker.

Import this first, in a process of its own, without the simulator.
"""

import re
from typing import NamedTuple

import numba.cuda.compiler
import numba.cuda.dispatcher
from cuda.bindings import nvjitlink
from numba import cuda
from numba.cuda import types

CAPABILITY = (9, 0)


class Hopper:
    compute_capability = CAPABILITY


for module in (numba.cuda.dispatcher, numba.cuda.compiler):
    module.get_current_device = lambda: Hopper


class Compiled(NamedTuple):
    ptx: str
    registers: int
    spilled: int                                  # bytes
    stack: int
    shared: int

    def count(self, pattern):
        return len(re.findall(pattern, self.ptx))


def flat(name):
    return types.Array(getattr(types, {"float16": "int16", "bfloat16": "uint16"}.get(name, name)), 1, "C")


def table(dimensions=2):
    return types.Array(types.float64, dimensions, "C")


def compiled(kernel, *signature):
    """A kernel for arguments of these types."""
    bounds = kernel.targetoptions.get("launch_bounds")
    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=CAPABILITY, launch_bounds=bounds)
    log = linked(ptx)
    numbers = {what: int(re.search(rf"(\d+) bytes {what}", log)[1]) for what in ("stack frame", "spill stores", "spill loads")}
    shared = re.search(r"(\d+) bytes smem", log)
    return Compiled(
        ptx,
        int(re.search(r"Used (\d+) registers", log)[1]),
        numbers["spill stores"] + numbers["spill loads"],
        numbers["stack frame"],
        int(shared[1]) if shared else 0,
    )


def linked(ptx):
    """The linker's log of machine code made from PTX; raises where the assembler refuses it."""
    data = ptx.encode()
    handle = nvjitlink.create(3, ["-arch=sm_90", "-verbose", "-Xptxas=-v"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
        return log.decode()
    except nvjitlink.nvJitLinkError:
        log = bytearray(nvjitlink.get_error_log_size(handle))
        nvjitlink.get_error_log(handle, log)
        raise AssertionError(log.decode()) from None
    finally:
        nvjitlink.destroy(handle)
