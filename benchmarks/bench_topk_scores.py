"""How fast are the best items of each user found, beside what people use?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from benchmarks import data, rivals, suite
from gnas_ext import CSR, ops
from gnas_ext.ops.quantized_rows import QuantizedRows

if TYPE_CHECKING:
    from benchmarks.suite import Run, Setting

K = 20
# Users whose scores torch has in memory at once: what was fastest of 64 … 2048.
BLOCK, CUDA_BLOCK = 256, 2048
MANY, WIDTH = 1_000_000, 64


class Catalogue(NamedTuple):
    """Factors, and what each user has seen."""

    users: torch.Tensor
    items: torch.Tensor
    seen: CSR


def catalogue(setting: Setting) -> Catalogue:
    """Gowalla's users by its items; on another graph, nodes by nodes."""
    csr, bipartite = setting.csr, setting.csr.rows == data.USERS + data.ITEMS
    users = data.USERS if bipartite else csr.rows
    first = users if bipartite else 0
    indptr = csr.indptr[: users + 1].contiguous()
    indices = csr.indices[: int(indptr[-1])] - first
    factors = (setting.numbers(users, setting.width), setting.numbers(csr.rows - first, setting.width, seed=1))
    return Catalogue(*factors, CSR(indptr, indices, None, (users, csr.rows - first)))


def unseen(setting: Setting) -> Run:
    users, items, seen = catalogue(setting)
    return lambda: ops.topk_scores(users, items, K, seen)[0]


def whole(setting: Setting) -> Run:
    users, items, _ = catalogue(setting)
    return lambda: ops.topk_scores(users, items, K)[0]


def torch_blocks(setting: Setting) -> Run:
    """A product into one buffer, -inf where it was seen, and topk. Where that is, is found before the timer starts."""
    users, items, seen = catalogue(setting)
    row, col = seen.row_index().long(), seen.indices.long()
    step = CUDA_BLOCK if setting.device.type == "cuda" else BLOCK
    scores = users.new_empty(step, len(items))
    places = []
    for first in range(0, len(users), step):
        begin, end = int(seen.indptr[first]), int(seen.indptr[min(first + step, len(users))])
        places.append((row[begin:end] - first, col[begin:end]))
    never = torch.tensor(-torch.inf, device=setting.device)

    def run() -> torch.Tensor:
        best = []
        for block, masked in zip(torch.split(users, step), places, strict=True):
            part = torch.mm(block, items.T, out=scores[: len(block)])
            part.index_put_(masked, never)
            best.append(part.topk(K).values)
        return torch.cat(best)

    return run


def flat(setting: Setting) -> tuple[Catalogue, Any]:
    setting.on_the_cpu()
    found = catalogue(setting)
    index = rivals.peer("faiss").IndexFlatIP(setting.width)
    index.add(found.items.numpy())
    return found, index


def faiss_flat(setting: Setting) -> Run:
    (users, _, _), index = flat(setting)
    return lambda: torch.from_numpy(index.search(users.numpy(), K)[0])


def faiss_asked_for_more(setting: Setting) -> Run:
    """What faiss leaves out, it leaves out for all: so each user asks for K and as many as were seen, together with
    others who ask for about as many, and what was seen is dropped then.
    """
    (users, items, seen), index = flat(setting)
    row, degree = seen.row_index().long(), seen.degree().long()
    pairs = (row * len(items) + seen.indices).sort().values
    groups: list[tuple[int, torch.Tensor, Any]] = []
    for more in (8, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048):
        fewer = groups[-1][0] if groups else -1
        group = ((degree > fewer) & (degree <= more)).nonzero().squeeze(1)
        groups.append((more, group, users[group].numpy()))

    def run() -> torch.Tensor:
        best = users.new_empty(len(users), K)
        for more, group, rows in groups:
            if not len(group):
                continue
            scores, columns = map(torch.from_numpy, index.search(rows, min(K + more, len(items))))
            wanted = group.unsqueeze(1) * len(items) + columns
            at = torch.searchsorted(pairs, wanted).clamp_(max=len(pairs) - 1)
            best[group] = scores.masked_fill_(pairs[at] == wanted, -torch.inf).topk(K).values
        return best

    return run


def many(setting: Setting) -> int:
    """A million items, fewer beside a small graph."""
    return MANY if setting.csr.nnz > 100_000 else setting.csr.rows


def numbers(setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 of as many users as the size says, and of a million items."""
    return setting.numbers(setting.width, WIDTH), setting.numbers(many(setting), WIDTH, seed=1)


def best_of(setting: Setting, k: int) -> Run:
    users, items = numbers(setting)
    return lambda: ops.topk_scores(users, items, k)[0]


def torch_best_of(setting: Setting, k: int) -> Run:
    users, items = numbers(setting)
    scores = users.new_empty(len(users), len(items))
    return lambda: torch.mm(users, items.T, out=scores).topk(k).values


def codes(setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 of as many users as the size says, and of a million items."""
    random = torch.Generator(setting.device).manual_seed(0)

    def rows(count: int) -> torch.Tensor:
        return torch.randint(-127, 128, (count, WIDTH), generator=random, device=setting.device, dtype=torch.int8)

    return rows(setting.width), rows(many(setting))


def int8(setting: Setting) -> Run:
    """With scales of 1, as the rivals have none."""
    users, items = (
        QuantizedRows(rows, torch.ones(len(rows), device=rows.device), None, 8, WIDTH) for rows in codes(setting)
    )
    return lambda: ops.topk_scores(users, items, K)[0]


def faiss_int8(setting: Setting) -> Run:
    setting.on_the_cpu()
    faiss, (users, items) = rivals.peer("faiss"), codes(setting)
    kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
    index = faiss.IndexScalarQuantizer(WIDTH, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(items.float().numpy())
    index.add(items.float().numpy())
    queries = users.float().numpy()
    return lambda: torch.from_numpy(index.search(queries, K)[0])


def usearch_int8(setting: Setting) -> Run:
    setting.on_the_cpu()
    search = rivals.peer("usearch.index").search
    users, items = (rows.numpy() for rows in codes(setting))
    # Its distance is 1 - the product.
    return lambda: (
        1
        - torch.from_numpy(search(items, users, K, metric="ip", exact=True, threads=torch.get_num_threads()).distances)
    ).reshape(len(users), K)


def torch_float(setting: Setting) -> Run:
    users, items = (rows.float() for rows in codes(setting))
    scores = users.new_empty(len(users), len(items))
    return lambda: torch.mm(users, items.T, out=scores).topk(K).values


def torch_int_mm(setting: Setting) -> Run:
    users, items = codes(setting)
    return lambda: torch._int_mm(users, items.T).topk(K).values.float()


CUDA_TARGET = suite.Target(2.0, 2.0)
FAMILIES = [
    suite.Family(
        "topk_scores, seen items left out",
        suite.Target(5.0, 5.0),
        {suite.OURS: unseen, "torch mm + mask + topk": torch_blocks},
        sizes=(64,),
        graphs=("gowalla",),
        cuda_target=CUDA_TARGET,
    ),
    suite.Family(
        "topk_scores, seen items left out, beside faiss",
        suite.Target(2.0, 2.0),
        {suite.OURS: unseen, "faiss FlatIP, k + seen": faiss_asked_for_more},
        sizes=(64,),
        graphs=("gowalla",),
    ),
    suite.Family(
        "topk_scores, nothing left out, beside faiss",
        suite.Target(2.0, 2.0),
        {suite.OURS: whole, "faiss FlatIP": faiss_flat},
        sizes=(64,),
        graphs=("gowalla",),
    ),
    *(
        suite.Family(
            f"topk_scores int8, 1M × 64, {batch} user{'s' if batch > 1 else ''}",
            suite.Target(least, least),
            {
                suite.OURS: int8,
                "faiss SQ8 direct signed": faiss_int8,
                "usearch exact": usearch_int8,
                "torch mm + topk": torch_float,
                "torch _int_mm + topk": torch_int_mm,
            },
            sizes=(batch,),
            size="batch",
            graphs=("gowalla",),
            cuda_target=CUDA_TARGET,
        )
        for batch, least in ((256, 4.0), (1, 1.2))
    ),
    *(
        suite.Family(
            f"topk_scores, 1M × 64, k = {k}",
            None,
            {suite.OURS: partial(best_of, k=k), "torch mm + topk": partial(torch_best_of, k=k)},
            sizes=(256, 1),
            size="batch",
            graphs=("gowalla",),
            cuda_target=CUDA_TARGET,
            device="cuda",
        )
        for k in (20, 100)
    ),
]


def bench_topk_scores(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
