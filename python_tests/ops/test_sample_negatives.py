"""Negative sampling: the items that the generator names, each as often as its share, and never a known one."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR
from gnas_ext.graph import coalesce
from gnas_ext.ops import reference, sample_negatives
from python_tests import graphs
from python_tests.emulated import EMULATED, refused
from python_tests.ops.oracle import INDEX_TYPES, with_index
from python_tests.philox import Draws, philox4x32

native = torch.ops.gnas_ext.sample_negatives
TRIES = 16
MASK = 2**32 - 1


class DrawsOfOne(Draws):
    """The numbers of one draw: a word of the block that it shares with three others, then blocks of its own."""

    def __init__(self, seed: int, draw: int, family: int) -> None:
        super().__init__(seed, draw // 4, family)
        self.words = [philox4x32((0, *self.rest), self.key)[draw % 4]]
        self.block = 1 + draw % 4

    def next(self) -> int:
        if not self.words:
            self.words = list(philox4x32((self.block, *self.rest), self.key))
            self.block += 4
        return self.words.pop(0)


def drawn_by_hand(row: list[int], items: int, sums: list[int] | None, draws: Draws) -> int:
    """One item, from the same numbers: by lists, not by a search."""
    left = [item for item in range(items) if item not in set(row)]
    if sums is None:
        return left[draws.below(len(left))] if left else -1
    if not items or not sums[-1]:
        return -1
    for _ in range(TRIES if row else 1):
        item = bisect_right(sums, draws.below(sums[-1]))
        if item not in row:
            return item
    weights = [high - low for high, low in zip(sums, [0, *sums], strict=False)]
    rest = sum(weights[item] for item in left)
    if not rest:
        return -1
    at = draws.below(rest)
    for item in left:
        at -= weights[item]
        if at < 0:
            return item
    raise AssertionError


def by_hand(users: list[int], count: int, known: CSR | int, sums: list[int] | None, seed: int, family: int) -> Any:
    rows: dict[int, list[int]] = {}
    if isinstance(known, CSR):
        indptr, indices = known.indptr.tolist(), known.indices.tolist()
        rows = {user: indices[indptr[user] : indptr[user + 1]] for user in users}
    items = known.cols if isinstance(known, CSR) else known
    return [
        [
            drawn_by_hand(rows.get(user, []), items, sums, DrawsOfOne(seed % 2**64, i * count + j, family))
            for j in range(count)
        ]
        for i, user in enumerate(users)
    ]


def check(users: torch.Tensor, count: int, known: CSR | int, cumulative: torch.Tensor | None, **numbers: int) -> None:
    """On the device of users."""
    got = sample_negatives(users, count, known, cumulative, **numbers)
    sums = None if cumulative is None else cumulative.tolist()
    expected = by_hand(users.tolist(), count, known, sums, numbers.get("seed", 0), numbers.get("family", 0))
    assert got.tolist() == expected
    assert (got.dtype, got.device, got.shape) == (users.dtype, users.device, (len(users), count))


def positives(name: str, index: torch.dtype = torch.int64) -> CSR:
    return with_index(coalesce(graphs.make(name)).with_weight(None), index)


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.parametrize("name", ["isolated", "random", "duplicates", "single_row", "zero_cols"])
def test_draws_what_the_generator_names(backend: torch.device, name: str, index: torch.dtype) -> None:
    known = positives(name, index).to(backend)
    users = torch.arange(known.rows - 1, -1, -1, dtype=index, device=backend)
    popular = (torch.arange(known.cols, device=backend) % 5 * 3).cumsum(0)
    for cumulative in (None, popular, popular * 2**33):
        check(users, 3, known, cumulative, seed=2**40 + 3)
        check(users, 2, known.cols, cumulative, seed=-1, family=2**32 - 1)
    check(users, 0, known, None)
    check(users[:0], 4, known, popular)


def test_users_who_know_nearly_all_items(backend: torch.device) -> None:
    """Tries run out, and the walk over the row decides: from none left to a few, of little weight, in every place."""
    items = 300
    kept = [[], [0], [items - 1], [0, 1, 150, 299], list(range(100, 110))]
    rows = [[item for item in range(items) if item not in free] for free in kept]
    indptr = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    known = CSR(indptr, torch.tensor([item for row in rows for item in row]), None, (len(rows), items)).to(backend)
    weight = torch.full((items,), 1_000)
    weight[[0, 1, 150, 299, *range(100, 110)]] = torch.arange(14) % 4
    users = torch.arange(len(rows), device=backend)
    for cumulative in (None, weight.cumsum(0).to(backend)):
        check(users, 40, known, cumulative, seed=11)
    assert sample_negatives(users[:1], 5, known).tolist() == [[-1] * 5]
    assert sample_negatives(users[1:2], 5, known, weight.cumsum(0).to(backend)).tolist() == [[-1] * 5]  # of weight 0


@settings(deadline=None)
@given(
    rows=st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=4),
    users=st.lists(st.integers(0, 3), max_size=5),
    count=st.integers(0, 5),
    weight=st.none() | st.lists(st.sampled_from([0, 0, 1, 3, 2**31]), min_size=8, max_size=8),
    seed=st.integers(-(2**63), 2**63 - 1),
    family=st.integers(0, MASK),
)
def test_any_batch(
    rows: list[set[int]], users: list[int], count: int, weight: list[int] | None, seed: int, family: int
) -> None:
    indptr = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    known = CSR(indptr, torch.tensor([item for row in rows for item in sorted(row)]).long(), None, (len(rows), 8))
    cumulative = None if weight is None else torch.tensor(weight).cumsum(0)
    batch = torch.tensor([user % len(rows) for user in users], dtype=torch.int64)
    check(batch, count, known, cumulative, seed=seed, family=family)


def chi_square(counts: torch.Tensor, shares: torch.Tensor) -> float:
    """How many standard deviations the sum of squares lies above what chance gives."""
    seen = shares > 0
    expected = counts.sum() * shares[seen]
    freedom = int(seen.sum()) - 1
    total = float(((counts[seen] - expected) ** 2 / expected).sum())
    return (total - freedom) / math.sqrt(max(2 * freedom, 1))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_every_item_comes_as_often_as_its_share(backend: torch.device, weighted: bool, share: float) -> None:
    items, count = 200, 2_000 if EMULATED else 40_000
    random = torch.Generator().manual_seed(4)
    mask = torch.rand(5, items, generator=random) < share
    known = CSR(torch.cat([torch.zeros(1).long(), mask.sum(1).cumsum(0)]), mask.nonzero()[:, 1], None, (5, items))
    cumulative = torch.randint(1, 50, (items,), generator=random).cumsum(0) if weighted else None
    users = torch.tensor([4, 0, 2])
    on_device = None if cumulative is None else cumulative.to(backend)
    got = sample_negatives(users.to(backend), count, known.to(backend), on_device, seed=6).cpu()
    assert not mask[users.unsqueeze(1), got].any()
    for row, shares in zip(got, reference.negative_shares(users, known, cumulative), strict=True):
        counts = torch.bincount(row, minlength=items)
        assert int(counts[shares == 0].sum()) == 0
        assert abs(chi_square(counts, shares)) < 4.5
    # One draw says nothing of the next, nor of the next user's.
    if share == 0.0:
        for one, other in ((got[0, :-1], got[0, 1:]), (got[0], got[1])):
            pairs = torch.bincount(one // 20 * 10 + other // 20, minlength=100)
            shares = reference.negative_shares(users[:1], known, cumulative)[0].view(10, 20).sum(1)
            assert abs(chi_square(pairs, torch.outer(shares, shares).flatten())) < 4.5


def test_never_a_known_item_of_a_large_log(backend: torch.device) -> None:
    known = positives("desert").to(backend)
    users = torch.arange(known.rows, device=backend)
    for cumulative in (None, torch.arange(known.cols, device=backend).cumsum(0)):
        got = sample_negatives(users, 4, known, cumulative, seed=1)
        dense = torch.zeros(known.shape, dtype=torch.bool, device=backend)
        dense[known.row_index(), known.indices] = True
        full = dense.all(1) if cumulative is None else dense[:, 1:].all(1)  # item 0 has no weight
        assert bool((got[full] == -1).all())
        assert not bool(dense[users.unsqueeze(1), got][~full].any())
        assert int(got[~full].min()) >= (0 if cumulative is None else 1)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("weighted", [False, True])
def test_does_not_depend_on_the_threads(weighted: bool) -> None:
    known = positives("desert")
    users = torch.arange(known.rows)
    cumulative = (torch.arange(known.cols) % 7).cumsum(0) if weighted else None
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(sample_negatives(users, 7, known, cumulative, seed=9))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    # Nor on the batch: what stands first does not hear of what stands behind.
    assert torch.equal(results[0][:500], sample_negatives(users[:500], 7, known, cumulative, seed=9))


def test_seeds_and_families_draw_apart() -> None:
    users = torch.zeros(50, dtype=torch.int32)
    drawn = [
        sample_negatives(users, 4, 2**31 - 1, seed=seed, family=family).flatten().tolist()
        for seed in (0, 1, 2**32, 2**64 - 1)
        for family in (0, 1)
    ]
    assert len({item for part in drawn for item in part}) > 0.999 * sum(map(len, drawn))
    assert drawn[-2] == sample_negatives(users, 4, 2**31 - 1, seed=-1).flatten().tolist()


def test_compiles_in_one_graph() -> None:
    known = positives("random")
    cumulative = torch.arange(known.cols).cumsum(0)
    users = torch.tensor([3, 1, 4])
    torch.compiler.reset()
    compiled = torch.compile(sample_negatives, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(users, 6, known, cumulative, 5), sample_negatives(users, 6, known, cumulative, 5))


def test_what_a_graph_says_of_itself_is_kept() -> None:
    known = positives("random")
    twice = graphs.make("duplicates").to()
    assert known.ascends()
    assert known.to(torch.device("cpu"))._kept["ascends"] == known._kept["ascends"]
    assert not twice.ascends()
    assert not CSR(torch.tensor([0, 2]), torch.tensor([1, 0])).ascends()
    assert CSR(torch.tensor([0, 1, 2]), torch.tensor([1, 0])).ascends()


def test_says_what_was_expected_and_what_came() -> None:
    known, users = positives("random"), torch.tensor([0, 1])
    sums = torch.arange(70)
    cases: list[tuple[type[Exception], str, Any]] = [
        (ValueError, r"users of shape \[batch\], got \[1, 2\]", lambda: sample_negatives(users[None], 1, known)),
        (TypeError, "users in int32 or int64, got torch.float32", lambda: sample_negatives(users.float(), 1, 5)),
        (TypeError, "users in known's torch.int64, got torch.int32", lambda: sample_negatives(users.int(), 1, known)),
        (ValueError, "users is on meta, known on cpu", lambda: sample_negatives(users.to("meta"), 1, known)),
        (ValueError, "a number of items that torch.int32 holds, got 2147483648", lambda: sample_negatives(
            users.int(), 1, 2**31)),
        (ValueError, "a number of items that torch.int64 holds, got -1", lambda: sample_negatives(users, 1, -1)),
        (TypeError, "cumulative in int64, got torch.float32", lambda: sample_negatives(users, 1, known, sums.float())),
        (ValueError, r"cumulative of shape \[70\], got \[69\]", lambda: sample_negatives(users, 1, known, sums[1:])),
        (ValueError, "users is on cpu, cumulative on meta", lambda: sample_negatives(
            users, 1, known, sums.to("meta"))),
        (ValueError, "count of 0 or more, got -1", lambda: sample_negatives(users, -1, known)),
        (ValueError, r"family of 0 to 2\^32 - 1, got -1", lambda: sample_negatives(users, 1, known, family=-1)),
        (ValueError, "none twice: use graph.coalesce", lambda: sample_negatives(
            users, 1, graphs.make("duplicates"))),
        (RuntimeError, r"users\[1\] is 90, but known has 90 rows", lambda: sample_negatives(users * 90, 1, known)),
        (RuntimeError, r"users\[1\] is -1, but known has", lambda: sample_negatives(-users, 1, known)),
    ]  # fmt: skip
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_raw_calls_never_read_out_of_bounds(index: torch.dtype) -> None:
    def call(
        users: list[int], indptr: list[int], indices: list[int], sums: list[int] | None, items: int = 4, count: int = 2
    ) -> list[list[int]]:
        arrays = (torch.tensor(part, dtype=index) for part in (users, indptr, indices))
        weights = None if sums is None else torch.tensor(sums, dtype=torch.int64)
        drawn: list[list[int]] = native(*arrays, weights, items, count, 0, 0).tolist()
        return drawn

    assert call([1, 1], [0, 2, 5], [0, 3, 0, 1, 3], None) == [[2, 2], [2, 2]]
    assert call([1, 1], [0, 2, 5], [0, 3, 0, 1, 3], [2**20, 2**20, 2**20 + 1, 2**21]) == [[2, 2], [2, 2]]
    calls: list[tuple[tuple[Any, ...], str]] = [
        (([2, 0], [0, 2, 5], [0, 3, 0, 1, 3], None), r"users\[0\] is no row of the positives"),
        (([0, -1], [0, 2, 5], [0, 3, 0, 1, 3], None), r"users\[1\] is no row"),
        (([0, 1], [0, 2, 6], [0, 3, 0, 1, 3], None), r"users\[1\] is no row"),
        (([0, 1], [0, 3, 2], [0, 3, 0, 1, 3], None), r"users\[1\] is no row"),
        (([0, 0], [-1, 2, 5], [0, 3, 0, 1, 3], None), r"users\[[01]\] is no row"),
        (([0, 0], [0, 2, 5], [0, 9, 0, 1, 3], [9, 9, 9, 9]), "or one of them is no item"),
        (([0, 0], [0, 2, 5], [-7, 0, 0, 1, 3], [9, 9, 9, 9]), "or one of them is no item"),
        (([0, 0], [], [], None), r"indptr of shape \[rows \+ 1\], got \[0\]"),
        (([0, 0], [0, 0], [], [1, 2, 3]), r"cumulative of shape \[4\], got \[3\]"),
        (([0, 0], [0, 0], [], None, -1), "items of 0 or more"),
        (([0, 0], [0, 0], [], None, 4, -1), "count of 0 or more"),
        (([0, 0], [0, 0], [], None, 4, 2**62), "count of 0 or more"),
    ]  # fmt: skip
    for arguments, message in calls:
        with pytest.raises(RuntimeError, match=refused(message)):
            call(*arguments)
    # Rows and sums that are not in order: whatever comes out is an item, or none.
    for row in ([3, 2, 1, 0], [3, 3, 3, 3], [0, 0, 0, 1], [-(2**31), 2**31 - 1, -5, 9]):
        for sums in (None, [5, 4, 3, 2], [9, -3, 1, 4]):
            if sums is None or max(row) < 4:
                drawn = call([0], [0, 4], row, sums and [*sums, 7, 7], 6, 40)
                assert all(-1 <= item < 6 for item in drawn[0])
    users = torch.tensor([0], dtype=index)
    with pytest.raises(RuntimeError, match="indptr and indices both or neither"):
        native(users, users, None, None, 4, 1, 0, 0)
    with pytest.raises(RuntimeError, match="cumulative of int64"):
        native(users, None, None, torch.ones(4), 4, 1, 0, 0)
