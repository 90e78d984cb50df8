"""What does an item-item matrix cost? `python -m benchmarks.topk_product`, on the graph of `data.load`.

Ours keeps the best of each row as it goes; scipy has the whole product first. Each runs in a process of its own, so
that its peak of memory is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import scipy.sparse
import torch

from benchmarks import data
from gnas_ext import CSR
from gnas_ext.graph import normalize, spspmm_topk

K = 50


def items_of_users() -> CSR:
    """[users, items], float32, symmetric weights."""
    folder = data.DEFAULT
    user, item = data.read(folder / "train.txt") if (folder / "train.txt").exists() else data.bipartite()
    return normalize(CSR.from_coo(user, item))


def ours(graph: CSR) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of each item's K best, by row."""
    best = spspmm_topk(graph.t(), graph, K, exclude_diagonal=True)
    assert best.weight is not None
    return best.indices.numpy(), best.weight.numpy()


def scipys(graph: CSR) -> tuple[np.ndarray, np.ndarray]:
    """The same from scipy's product: a sort of each row."""
    assert graph.weight is not None
    arrays = (graph.weight.numpy(), graph.indices.numpy(), graph.indptr.numpy())
    matrix = scipy.sparse.csr_array(arrays, shape=graph.shape)
    product = (matrix.T.tocsr() @ matrix).tocsr()
    columns, values = [], []
    for row in range(product.shape[0]):
        part = slice(product.indptr[row], product.indptr[row + 1])
        others = product.indices[part] != row
        col, value = product.indices[part][others], product.data[part][others]
        if len(value) > K:
            kept = np.argpartition(-value, K - 1)[:K]
            col, value = col[kept], value[kept]
        order = np.lexsort((col, -value))
        columns.append(col[order])
        values.append(value[order])
    return np.concatenate(columns), np.concatenate(values)


def main() -> None:
    """One side if it is named, else both, each in a new process."""
    if len(sys.argv) == 1:
        for side in ("ours", "scipy"):
            subprocess.run([sys.executable, "-m", "benchmarks.topk_product", side], check=True)
        return
    graph = items_of_users()
    graph.t()
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    _, values = (ours if sys.argv[1] == "ours" else scipys)(graph)
    seconds = time.perf_counter() - start
    peak_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_kib) / 1024
    print(
        f"{sys.argv[1]}: {graph.cols} items, best {K} of each: {seconds:.2f} s, {peak_mib:.0f} MiB more, "
        f"{torch.get_num_threads()} threads, sum of values {values.sum(dtype=np.float64):.3f}"
    )


if __name__ == "__main__":
    main()
