"""Large outputs go round in a pool: never one that somebody still holds, never more than allowed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import torch

from gnas_ext import CSR, memory, ops

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
WIDTH = 256
ROWS = 8 * MIB // (4 * WIDTH)  # an output of 8 MiB


@pytest.fixture(autouse=True)
def pool() -> Iterator[None]:
    before = memory.stats().limit
    memory.set_limit(64 * MIB)
    memory.trim()
    yield
    memory.trim()
    memory.set_limit(before)


def identity(rows: int = ROWS) -> CSR:
    return CSR(torch.arange(rows + 1), torch.arange(rows), None, (rows, rows))


def output(value: float, rows: int = ROWS) -> torch.Tensor:
    return ops.spmm(identity(rows), torch.full((rows, WIDTH), float(value)))


def test_memory_that_is_free_again_is_used_again() -> None:
    first = output(1)
    where, reused = first.data_ptr(), memory.stats().reused
    del first
    assert memory.stats().kept == 8 * MIB
    again = output(2)
    assert again.data_ptr() == where
    assert memory.stats().reused == reused + 1
    assert torch.equal(again, torch.full((ROWS, WIDTH), 2.0))


def test_memory_that_somebody_holds_is_not_handed_out() -> None:
    first = output(1)
    view = first[5:7, 3]
    storage = first.untyped_storage()
    del first
    others = [output(value) for value in (2.0, 3.0, 4.0)]
    assert torch.equal(view, torch.ones(2))
    assert len({storage.data_ptr(), *(other.data_ptr() for other in others)}) == 4
    assert memory.stats().in_use >= 32 * MIB
    del view, others
    assert output(5).data_ptr() != storage.data_ptr()


def test_no_more_is_kept_than_the_limit() -> None:
    memory.set_limit(16 * MIB)
    outputs = [output(value) for value in range(5)]
    where = [out.data_ptr() for out in outputs]
    while outputs:
        outputs.pop(0)
    assert memory.stats().kept == 16 * MIB
    assert output(0).data_ptr() in where[-2:]  # the oldest went first
    memory.set_limit(8 * MIB)
    assert memory.stats().kept == 8 * MIB
    assert memory.trim() == 8 * MIB
    assert memory.stats().kept == 0


def test_switched_off_it_serves_nothing() -> None:
    held = output(1)
    memory.set_limit(0)
    before = memory.stats()
    assert torch.equal(output(3), torch.full((ROWS, WIDTH), 3.0))
    assert memory.stats() == before
    del held
    assert memory.stats().kept == 0


def test_small_outputs_do_without() -> None:
    before = memory.stats()
    held = output(1, rows=100)
    assert held.shape == (100, WIDTH)
    assert memory.stats() == before


def test_a_block_serves_outputs_that_fill_most_of_it() -> None:
    first = output(1)
    where = first.data_ptr()
    del first
    assert output(2, ROWS // 2).data_ptr() != where
    memory.trim()
    first = output(1)
    where = first.data_ptr()
    del first
    slightly_smaller = output(2, ROWS - 10)
    assert slightly_smaller.data_ptr() == where
    assert slightly_smaller.is_contiguous()
    assert slightly_smaller.stride() == (WIDTH, 1)


def test_what_tensors_do(tmp_path: object) -> None:
    """A block is a tensor's memory like any other: in place, saved, cloned, as a leaf, in autograd."""
    out = output(2)
    out.mul_(2).add_(1)
    assert torch.equal(out.clone(), torch.full((ROWS, WIDTH), 5.0))
    x = torch.ones(ROWS, WIDTH, requires_grad=True)
    (x.grad,) = torch.autograd.grad(ops.spmm(identity(), x).square().sum(), x)
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((ROWS, WIDTH), 2.0))


def test_threads_never_share_a_block() -> None:
    wrong: list[float] = []

    def work(value: float) -> None:
        for _ in range(20):
            first, second = output(value), output(value + 0.5)
            if not (torch.equal(first, torch.full_like(first, value)) and (second == value + 0.5).all()):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert memory.stats().in_use == 0


def test_a_forked_child_has_a_pool_of_its_own() -> None:
    held = output(1)
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)  # torch's own ops would wait for threads that stayed behind
        right = bool((output(2) == 2).all()) and bool((held == 1).all())
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(held, torch.ones(ROWS, WIDTH))


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="set_limit: expected bytes of 0 or more, got -1"):
        memory.set_limit(-1)


@pytest.mark.parametrize(
    ("value", "expected"), [("0", "0"), ("123456789", "123456789"), ("lots", "GNAS_EXT_POOL_BYTES=lots")]
)
def test_the_limit_can_be_set_from_outside(value: str, expected: str) -> None:
    code = "from gnas_ext import memory; print(memory.stats().limit)"
    environment = {**os.environ, "GNAS_EXT_POOL_BYTES": value}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert expected in (done.stdout if done.returncode == 0 else done.stderr)
