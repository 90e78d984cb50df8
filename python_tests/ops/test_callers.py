"""Forked callers: the same results, and no waiting for threads that stayed behind in the parent."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest
import torch

from python_tests import graphs
from python_tests.emulated import EMULATED
from python_tests.ops.test_threads import everything, products

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

pytestmark = [
    pytest.mark.skipif(EMULATED, reason="about threads of the CPU"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*use of fork.* may lead to deadlocks:DeprecationWarning"),
]


def called(threads: int | None) -> list[torch.Tensor]:
    """With more than one thread torch's own ops wait in a forked process for those that stayed behind."""
    return (products if threads is None else everything)(graphs.make("one_hub"), torch.float32)


def child(answer: Connection, threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    results = called(threads)
    answer.send([result.numpy().tobytes() for result in results])
    answer.close()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("threads", [1, None])
def test_a_forked_caller_gets_the_same(threads: int | None) -> None:
    """With one thread, as torch's DataLoader sets it in its workers, and with what was set in the parent."""
    expected = [result.numpy().tobytes() for result in called(threads)]
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=child, args=(theirs, threads))
    process.start()
    theirs.close()
    try:
        assert ours.poll(60), "the forked caller waits for ever"
        assert ours.recv() == expected
    finally:
        process.kill()
        process.join()
