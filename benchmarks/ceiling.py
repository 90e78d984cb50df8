"""What can this machine do at best? Its own gather, read and copy, to set the ops beside.

A sparse product fetches a row of the features an edge, in an order that no prefetcher guesses. `gather` does that
alone, in the order of the graph itself, with every fetch announced far ahead, and writes nothing: no kernel that reads
each row in that order is faster. On CUDA the ceiling is a copy.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.suite import Family, Setting, UnableError

if TYPE_CHECKING:
    from benchmarks.suite import Run

SOURCE = Path(__file__).with_name("ceiling.cpp")
ROWS_BYTES = (64, 128, 256, 512, 1024)


@cache
def library() -> ctypes.CDLL:
    """The native part, compiled for this machine once a process."""
    compiler = os.environ.get("CXX", "g++")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "ceiling.so")
        command = [compiler, "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-o", str(target), str(SOURCE)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            raise UnableError(f"needs a C++ compiler: there is no {compiler}") from None
        if done.returncode != 0:
            raise UnableError(f"{compiler} does not compile it: {done.stderr.splitlines()[0]}")
        native = ctypes.CDLL(str(target))
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    native.gather_rows.argtypes = [pointer, size, pointer, size, ctypes.c_int]
    native.read_all.argtypes = [pointer, size, ctypes.c_int]
    native.copy_all.argtypes = [pointer, pointer, size, ctypes.c_int]
    return native


def gather(setting: Setting) -> Run:
    """A row of the features an edge, in the order of the graph."""
    setting.on_the_cpu()
    table, index = setting.x, setting.csr.indices.int()
    width = table.shape[1] * table.element_size()
    if width not in ROWS_BYTES:
        raise UnableError(f"rows of {width} bytes")
    call, count, threads = library().gather_rows, len(index), torch.get_num_threads()
    return lambda: call(table.data_ptr(), width, index.data_ptr(), count, threads)


MEBIBYTES = (64, 1024)


def _block(setting: Setting) -> torch.Tensor:
    return torch.ones(setting.width << 20, dtype=torch.uint8, device=setting.device)


def read(setting: Setting) -> Run:
    """All of a block, in order."""
    setting.on_the_cpu()
    block, call, threads = _block(setting), library().read_all, torch.get_num_threads()
    return lambda: call(block.data_ptr(), len(block), threads)


def copy(setting: Setting) -> Run:
    """All of a block to another one."""
    block = _block(setting)
    target = torch.empty_like(block)
    if setting.device.type == "cuda":
        return lambda: target.copy_(block)
    call, threads = library().copy_all, torch.get_num_threads()
    target.fill_(0)
    return lambda: call(target.data_ptr(), block.data_ptr(), len(block), threads)


# Not ours against a rival: what the machine offers. On CUDA both are a copy.
MEMORY = [
    Family("memory: read", None, {"ceiling": read}, MEBIBYTES, "MiB", graphs=("ten-nodes",)),
    Family("memory: copy", None, {"ceiling": copy}, MEBIBYTES, "MiB", graphs=("ten-nodes",)),
]
